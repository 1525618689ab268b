"""Cut whole attention heads and feed-forward columns, re-fit what is left, and let it learn from the model before.

Paper: Michel, Levy, Neubig, "Are Sixteen Heads Really Better than One?", NeurIPS 2019, arXiv:1905.10650 (scores of
heads by the gradient of a gate, normalised by layer); Molchanov, Mallya, Tyree, Frosio, Kautz, "Importance Estimation
for Neural Network Pruning", CVPR 2019, arXiv:1906.10771 (the same for columns, to the first order of Taylor).
Differs from them: heads and columns go at once, not a few at a time; the output layers are then re-fitted by ridge
regression to what they gave before, on the inputs of the whole model, attention and feed-forward each by itself
("A Free Lunch in LLM Compression", 2025, arXiv:2510.14444, found this to be worth more than a better score).

    score of a unit = sum over rows of |sum over tokens of activation x gradient of the loss|

When it helps: always where time counts: products get smaller on every engine and at every precision. Columns cost
less quality than heads.
What it costs: one forward and backward pass over `rows`, one forward pass for the fit, and `epochs` of training.
Half of everything usually needs them; a tenth may do without.

Shapes: B = rows of a batch, S = tokens, H = heads, F = columns, U = units, O = outputs, K = inputs of a layer.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from burnish.compress._gram import Batches, calibration, drawn, fitting, grams, output_error, task_loss
from burnish.compress._recover import recovered, wanted
from burnish.compress._units import (
    Units,
    check_linear,
    cut_units,
    head_size,
    inputs_of_heads,
    layer_names,
    linear,
    put_back,
    units_of,
)
from burnish.core import Rng, Task, Work
from burnish.models import add_structure, family
from burnish.train.evaluate import evaluating
from burnish.train.parts import Batching, Clip, Objective, Optimizer, Rates, Schedule, Weighting
from burnish.train.scale import fit_scale
from burnish.train.tweak import Tweak
from burnish.words import say

__all__ = ["PruneUnits"]

# How hard the fit is held to the old weights, as a share of the mean of the Gram matrix's diagonal; rows that the fit
# has not seen choose among them.
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
Scores = dict[str, tuple[Tensor, Tensor]]  # by layer: those of its heads [H] and of its columns [F]


@dataclass(frozen=True)
class PruneUnits:
    heads: float = 0.75  # share of the attention heads left, above 0 up to 1; each layer keeps one
    columns: float = 0.5  # share of the feed-forward columns left, above 0 up to 1; each layer keeps one
    allot: Literal["uniform", "global"] = "uniform"  # the same share in each layer, or layers compete
    criterion: Literal["taylor", "magnitude"] = "taylor"  # of the loss, or of the weights alone
    refit: bool = True  # the output layers to what they gave before
    rows: int = 256  # training rows that scores and fit are made on
    alpha: float = 0.3  # in the lessons after: weight of the labels; the model before has the rest
    temperature: float = 2.0  # softens both sides of the comparison
    lr: float | None = None
    epochs: int | None = None  # of lessons; 0 leaves them out
    batch_size: int | None = None
    accumulate: int | Literal["auto"] = 1
    optimizer: Optimizer | None = None
    schedule: Schedule | None = None
    warmup: float | None = None
    weight_decay: float = 0.01
    clip: float | Clip = 1.0
    objective: Objective | None = None
    weighting: Weighting | None = None
    rates: tuple[Rates, ...] = ()
    batching: Batching | None = None
    tweaks: tuple[Tweak, ...] = ()  # inside the lessons: their loss is the labels' side of it
    max_length: int | None = None
    precision: str = "auto"
    evals_per_epoch: int = 2
    patience: int = 6
    min_difference: float = 0.0
    doctor: Literal["act", "advise", "off"] = "act"

    def __post_init__(self) -> None:
        need = partial(wanted, example="--with compress/prune_units:heads=0.75,columns=0.5")
        need("heads", self.heads, 0 < self.heads <= 1, say("above 0, up to 1"))
        need("columns", self.columns, 0 < self.columns <= 1, say("above 0, up to 1"))
        need("heads and columns", 1, self.heads < 1 or self.columns < 1, say("one of them below 1"))
        need("allot", self.allot, self.allot in ("uniform", "global"), "uniform, global")
        need("criterion", self.criterion, self.criterion in ("taylor", "magnitude"), "taylor, magnitude")
        need("rows", self.rows, self.rows >= 2, say("2 or more"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        check_linear(work.model, "compress/prune_units")
        dense = copy.deepcopy(work.model).eval()
        batches = calibration(work, drawn(work, self.rows, rng))
        scores = taylor(dense, work.task, batches) if self.criterion == "taylor" else magnitude(dense)
        keep = self.chosen(scores)
        pruned = copy.deepcopy(dense)
        for layer, units in keep.items():
            cut_units(pruned, layer, units)
        told = changed(pruned, dense, keep)
        errors = refitted(dense, pruned, keep, batches) if self.refit else {}
        model, tokenizer, notes = recovered(work, pruned, self, rng)
        notes |= {"kept": {layer: [len(u.heads), len(u.columns)] for layer, u in keep.items()}, "refit": errors, **told}
        return replace(work, model=model, tokenizer=tokenizer, notes=notes)

    def chosen(self, scores: Scores) -> dict[str, Units]:
        heads = kept_units([h for h, _ in scores.values()], self.heads, self.allot)
        columns = kept_units([f for _, f in scores.values()], self.columns, self.allot)
        return {layer: Units(h, f) for layer, h, f in zip(scores, heads, columns, strict=True)}


def restore(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Cut a freshly built model as this step did, in place; weights are loaded after."""
    for layer, left in facts["layers"].items():
        cut_units(model, layer, Units(tuple(left["heads"]), tuple(range(left["columns"]))))


def to_float(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Units of zeros in the place of those that were cut, so that a plain config fits; no output changes."""
    for layer, left in facts["layers"].items():
        put_back(model, layer, left["heads"], left["of_heads"], left["of_columns"])


# -- the maths -----------------------------------------------------------------------------------------


def kept_units(scores_LU: Sequence[Tensor], share: float, allot: str) -> list[tuple[int, ...]]:
    """Which units to keep by layer, in rising order; never none of a layer.

    global: scores are divided by the norm of their layer, then all layers compete for the places.
    """
    if allot == "uniform":
        return [_best(s_U, max(1, round(share * len(s_U)))) for s_U in scores_LU]
    scaled = [s_U.double() / s_U.double().norm().clamp(min=1e-30) for s_U in scores_LU]
    for s_U in scaled:
        s_U[s_U.argmax()] = torch.inf  # so that every layer keeps its best
    flat_U = torch.cat(scaled)
    taken = torch.zeros(len(flat_U), dtype=torch.bool)
    taken[list(_best(flat_U, max(len(scaled), round(share * len(flat_U)))))] = True
    return [tuple(part.nonzero().flatten().tolist()) for part in taken.split([len(s) for s in scaled])]


def _best(scores_U: Tensor, count: int) -> tuple[int, ...]:
    order = scores_U.argsort(descending=True, stable=True)[:count]
    return tuple(sorted(order.tolist()))


def refit(w_OK: Tensor, gram_KK: Tensor, kept: Tensor, ridge: float) -> Tensor:
    """Weights [O, len(kept)] float64 for the kept inputs, so that the outputs stay what all inputs gave.

    They minimise ||x_kept vᵀ - x wᵀ||² + ridge mean(diag(gram)) ||v - w_kept||², where gram = xᵀ x.
    """
    w_OK, gone = w_OK.double(), torch.ones(len(gram_KK), dtype=torch.bool)
    gone[kept] = False
    own = gram_KK[kept][:, kept]
    own = own + torch.eye(len(own), dtype=own.dtype) * ridge * own.diagonal().mean().clamp(min=1e-12)
    return w_OK[:, kept] + torch.linalg.solve(own, gram_KK[kept][:, gone] @ w_OK[:, gone].T).T


# -- scores --------------------------------------------------------------------------------------------


def taylor(model: nn.Module, task: Task, batches: Batches) -> Scores:
    """How much the loss would change, to first order, without each unit: see the head of this file."""
    own, size = family(model), head_size(model)
    scale = fit_scale(task, torch.cat([b["targets"] for b in batches]).numpy())
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any], Any]:
        def look(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            seen[name] = args[0] if args[0].requires_grad else args[0].detach().requires_grad_()
            seen[name].retain_grad()
            return (seen[name], *args[1:])

        return look

    names = [f"{layer}.{part}" for layer in layer_names(model) for part in (own.out, own.down)]
    totals: dict[str, Tensor] = {}
    handles = [model.get_submodule(name).register_forward_pre_hook(keep(name)) for name in names]
    try:
        with evaluating(model), torch.enable_grad():
            for batch in batches:
                task_loss(model, task, batch, scale).backward()
                for name in names:
                    a_BSK, g_BSK = seen[name].detach(), seen[name].grad
                    assert g_BSK is not None
                    totals[name] = totals.get(name, 0) + _gates(a_BSK, g_BSK, size if name.endswith(own.out) else 1)
    finally:
        for handle in handles:
            handle.remove()
        model.zero_grad(set_to_none=True)
    return {layer: (totals[f"{layer}.{own.out}"], totals[f"{layer}.{own.down}"]) for layer in layer_names(model)}


def _gates(a_BSK: Tensor, g_BSK: Tensor, size: int) -> Tensor:
    """|gradient of a gate on each unit of `size` inputs|, summed over the rows, [U]."""
    gate_BK = (a_BSK.double() * g_BSK.double()).sum(1)
    return gate_BK.unflatten(1, (-1, size)).sum(2).abs().sum(0)


def magnitude(model: nn.Module) -> Scores:
    """||rows that make a unit|| x ||columns that read it||: of values for heads, of `up` for columns."""
    own, size, found = family(model), head_size(model), {}
    for layer in layer_names(model):
        names = (own.value or own.qkv, own.out, own.up, own.down)
        value, out, up, down = (linear(model, f"{layer}.{name}").weight.data for name in names)
        made_K = value[-out.shape[1] :].norm(dim=1)  # of a fused layer, values are the last third
        heads_H = made_K.unflatten(0, (-1, size)).norm(dim=1) * out.norm(dim=0).unflatten(0, (-1, size)).norm(dim=1)
        made_F = up.unflatten(0, (1 + own.gated, -1)).norm(dim=2).prod(0)
        found[layer] = (heads_H, made_F * down.norm(dim=0))
    return found


# -- the plumbing --------------------------------------------------------------------------------------


def refitted(
    dense: nn.Module, pruned: nn.Module, keep: Mapping[str, Units], batches: Batches
) -> dict[str, list[float]]:
    """Re-fit the output layers of `pruned` in place; by layer, the errors before and after on rows not fitted to.

    A layer that the fit does not help on those rows is left as it was cut.
    """
    own, size, kept = family(dense), head_size(dense), {}
    for layer, units in keep.items():
        has = units_of(dense, layer)
        if units.heads != has.heads:
            kept[f"{layer}.{own.out}"] = inputs_of_heads(units.heads, size)
        if units.columns != has.columns:
            kept[f"{layer}.{own.down}"] = torch.tensor(units.columns)
    errors = {}
    for names in fitting(dense, list(kept), copies=2):
        fit, check = (grams(dense, names, part) for part in (batches[::2], batches[1::2] or batches))
        for name in names:
            layers = linear(dense, name), linear(pruned, name)
            errors[name] = _refit_layer(*layers, kept[name], fit[name], check[name])
    return errors


def _refit_layer(old: nn.Linear, new: nn.Linear, kept: Tensor, fit: Tensor, check: Tensor) -> list[float]:
    w_OK = old.weight.data.double()
    if old.bias is not None:
        w_OK = torch.cat([w_OK, old.bias.data.double()[:, None]], 1)
        kept = torch.cat([kept, torch.tensor([w_OK.shape[1] - 1])])

    def error(v_OK: Tensor) -> float:
        return output_error(torch.zeros_like(w_OK).index_copy(1, kept, v_OK) - w_OK, w_OK, check)

    tried = {ridge: error(refit(w_OK, fit, kept, ridge)) for ridge in RIDGES}
    ridge = min(tried, key=lambda r: tried[r])
    before = error(w_OK[:, kept])
    if not tried[ridge] < before:
        return [before, before]
    v_OK = refit(w_OK, fit + check, kept, ridge).float()
    new.weight.data.copy_(v_OK[:, : new.in_features])
    if new.bias is not None:
        new.bias.data.copy_(v_OK[:, -1])
    return [before, tried[ridge]]


def changed(pruned: Any, dense: nn.Module, keep: Mapping[str, Units]) -> dict[str, Any]:
    """Write down what the config cannot say, in place, or in the config where it can; the sizes before and after."""
    counts = {len(units.columns) for units in keep.values()}
    plain = not getattr(dense, "burnish_structure", ()) and len(counts) == 1
    if plain:
        setattr(pruned.config, family(dense).columns, counts.pop())
    layers: dict[str, dict[str, Any]] = {}
    for layer, units in keep.items():
        has = units_of(dense, layer)
        left = {"heads": list(units.heads), "of_heads": len(has.heads), "columns": len(units.columns)}
        layers[layer] = {**left, "of_columns": len(units.columns) if plain else len(has.columns)}
    if any(len(x["heads"]) != x["of_heads"] or x["columns"] != x["of_columns"] for x in layers.values()):
        add_structure(pruned, "compress/prune_units", {"layers": layers})
    sizes = [sum(p.numel() for p in model.parameters()) for model in (dense, pruned)]
    macs = [sum(_weights(model, layer) for layer in keep) for model in (dense, pruned)]
    return {"parameters": sizes, "multiplications_per_token": macs}


def _weights(model: nn.Module, layer: str) -> int:
    return sum(linear(model, f"{layer}.{name}").weight.numel() for name in family(model).linear)
