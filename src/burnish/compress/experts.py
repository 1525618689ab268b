"""Feed-forward blocks in experts: columns that fire together in a group, and for each token one or two groups.

Paper: Zhang, Lin, Liu, Li, Sun, Zhou, "MoEfication: Transformer Feed-forward Layers are Mixtures of Experts",
Findings of ACL 2022, arXiv:2110.01786 (columns clustered into experts of one size, a router trained to find those
that carry the activation); Fedus, Zoph, Shazeer, "Switch Transformers", JMLR 2022, arXiv:2101.03961 (the loss that
keeps experts in balance during recovery).
Differs from them: columns are clustered by what they do on the training rows (cluster=activations), or as in the
paper by their weights; the router is one linear layer, fitted by least squares to the share of the output that each
expert carries; the activations stay those of the model, GELU, which fires less sparsely than the paper's ReLU.

When it helps: where the feed-forward blocks cost most, with wide models and a runtime that skips what is not chosen.
What it costs: quality, most of it won back in the recovery; no bytes are saved, the routers come on top.
On a CPU: torch computes the chosen columns only, expert by expert, which pays with many tokens at a time at most; the
ONNX graph computes every column and sets those not chosen to 0, so that it is never faster than the model before.
The notes say the multiplications; time must be measured.

Shapes: T = tokens, K = inputs, F = columns, E = experts, W = outputs.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from burnish.compress._experts import Chosen, Narrow, Widen, balance_loss, balanced_clusters, carried, router_of, top
from burnish.compress._gram import calibration, drawn
from burnish.compress._recover import recovered
from burnish.compress._wishes import Usual
from burnish.core import Rng, Work
from burnish.errors import UsageError, problem
from burnish.models import add_structure, family, layers
from burnish.train.evaluate import evaluating
from burnish.train.tweak import Batch, Loss, Need, Tweak
from burnish.words import say

__all__ = ["Experts"]

TOKENS = 4096  # that the routers are fitted to, at most
CLUSTERS = ("activations", "weights")


@dataclass(frozen=True)
class Experts:
    experts: int = 8  # a layer's columns are cut into so many groups of one size
    active: int = 2  # groups that each token uses
    cluster: Literal["activations", "weights"] = "activations"  # what makes columns alike
    balance: float = 0.01  # weight of the loss that keeps experts in use, against the rows' own
    rows: int = 256  # training rows to cluster and fit on
    epochs: int | None = None  # of recovery; 0: none
    lr: float | None = None
    batch_size: int | None = None
    max_length: int | None = None
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, value, good, expected in (
            ("experts", self.experts, self.experts >= 2, say("2 or more")),
            ("active", self.active, 1 <= self.active <= self.experts, f"1..{self.experts}"),
            ("cluster", self.cluster, self.cluster in CLUSTERS, ", ".join(CLUSTERS)),
            ("balance", self.balance, self.balance >= 0, say("0 or more")),
            ("rows", self.rows, self.rows >= 1, say("1 or more")),
        ):
            if not good:
                given = say("{name} {value}", name=name, value=value)
                raise UsageError(problem(given, expected, f"compress/experts:{name}=..."))

    def __call__(self, work: Work, rng: Rng) -> Work:
        model = copy.deepcopy(work.model).eval()
        _check(model, self.experts)
        batches = calibration(work, drawn(work, self.rows, rng))
        seen = _watched(model, batches, rng.getrandbits(31))
        facts = {"experts": self.experts, "active": self.active}
        own, found = family(model), []
        for layer, (x_TK, h_TF) in zip(_layers(model), seen, strict=True):
            found.append(self._convert(layer, own, x_TK, h_TF, rng.getrandbits(31)))
        add_structure(model, "compress/experts", facts)
        wishes = Usual(self.lr, self.epochs, self.batch_size, (Balance(self.balance),), self.max_length, self.precision)
        model, tokenizer, notes = recovered(work, model, wishes, rng)
        share = self.active / self.experts
        speed = say("the ONNX graph computes all columns and masks them: measure before believing in a gain")
        notes |= {"by_layer": found, "feed_forward_multiplications": share, "speed": speed}
        return replace(work, model=model, tokenizer=tokenizer, notes=notes)

    def _convert(self, layer: nn.Module, own: Any, x_TK: Tensor, h_TF: Tensor, seed: int) -> dict[str, float]:
        """Exchange one layer's two linear layers, in place; how much of its output the chosen experts carry."""
        up, down = layer.get_submodule(own.up), layer.get_submodule(own.down)
        assert isinstance(up, nn.Linear)
        assert isinstance(down, nn.Linear)
        what_FT = h_TF.T if self.cluster == "activations" else up.weight.data[: h_TF.shape[1]]
        unit_FT = what_FT / what_FT.norm(dim=1, keepdim=True).clamp(min=1e-12)
        cluster_F = balanced_clusters(unit_FT, self.experts, seed)
        share_TE = carried(h_TF, down.weight.data, cluster_F, self.experts)
        _reorder(up, down, cluster_F.argsort(stable=True), 2 if own.gated else 1)
        widen = _exchange(layer, own, self.experts, self.active)
        with torch.no_grad():
            weight_EK, bias_E = router_of(x_TK, share_TE)
            widen.router.weight.copy_(weight_EK)
            widen.router.bias.copy_(bias_E)
            chosen_TE = top(widen.router(x_TK), self.active)
        return {
            "carried": float((share_TE * chosen_TE).sum(1).mean()),
            "carried_at_best": float((share_TE * top(share_TE, self.active)).sum(1).mean()),
            "busiest": float(chosen_TE.mean(0).max() / self.active),
        }


class Balance(Tweak):
    """Adds the balance of all routers to the loss of a batch."""

    need = Need()

    def __init__(self, weight: float):
        self.weight = weight

    def loss(self, model: nn.Module, batch: Batch, inner: Loss) -> Tensor:
        loss = inner(model, batch)
        mask_BS = batch["attention_mask"].bool()
        routers = [m for m in model.modules() if isinstance(m, Widen)]
        terms = [
            balance_loss(m.chosen.logits[mask_BS].float(), m.active) for m in routers if m.chosen.logits is not None
        ]
        return loss + self.weight * len(mask_BS) * torch.stack(terms).mean()


# -- seeing --------------------------------------------------------------------------------------------


def _watched(model: Any, batches: list[dict[str, Tensor]], seed: int) -> list[tuple[Tensor, Tensor]]:
    """What goes into each layer's widening and narrowing layer, [T, K] and [T, F], for the same tokens, no padding."""
    total = sum(int(batch["attention_mask"].sum()) for batch in batches)
    generator = torch.Generator().manual_seed(seed)
    keep_T = torch.randperm(total, generator=generator)[:TOKENS].sort().values
    with evaluating(model), torch.inference_mode(), _kept(model) as kept:
        for batch in batches:
            model(**{k: v for k, v in batch.items() if k != "targets"})
            kept.end(batch["attention_mask"].bool())
    return [(torch.cat(x)[keep_T].clone(), torch.cat(h)[keep_T].clone()) for x, h in kept.parts]


class _Kept:
    def __init__(self, layers: int):
        self.now: list[dict[int, Tensor]] = [{} for _ in range(layers)]
        self.parts: list[tuple[list[Tensor], list[Tensor]]] = [([], []) for _ in range(layers)]

    def end(self, mask_BS: Tensor) -> None:
        for now, part in zip(self.now, self.parts, strict=True):
            for place in (0, 1):
                part[place].append(now[place][mask_BS].float())


@contextmanager
def _kept(model: Any) -> Iterator[_Kept]:
    own, layers = family(model), _layers(model)
    kept = _Kept(len(layers))

    def keep(number: int, place: int) -> Any:
        return lambda module, args: kept.now[number].__setitem__(place, args[0])

    handles = [
        layer.get_submodule(name).register_forward_pre_hook(keep(number, place))
        for number, layer in enumerate(layers)
        for place, name in enumerate((own.up, own.down))
    ]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


# -- the structure -------------------------------------------------------------------------------------


def restore(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Put the routers in, in place; the weights, already in the experts' order, are loaded after."""
    for layer in _layers(model):
        _exchange(layer, family(model), int(facts["experts"]), int(facts["active"]))


def to_float(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Every expert for every token, in place."""
    own = family(model)
    for layer in _layers(model):
        for name in (own.up, own.down):
            _put(layer, name, layer.get_submodule(name).linear)  # type: ignore[arg-type]


def _exchange(layer: nn.Module, own: Any, experts: int, active: int) -> Widen:
    chosen, up, down = Chosen(), layer.get_submodule(own.up), layer.get_submodule(own.down)
    widen = Widen(up, experts, active, own.gated, int(up.in_features), chosen)  # type: ignore[arg-type]
    _put(layer, own.up, widen.train(layer.training))
    _put(layer, own.down, Narrow(down, experts, chosen).train(layer.training))
    return widen


def _reorder(up: nn.Linear, down: nn.Linear, order_F: Tensor, halves: int) -> None:
    """Bring columns of one expert together, in place; the block computes what it did."""
    rows = torch.cat([order_F + half * len(order_F) for half in range(halves)])
    up.weight.data = up.weight.data[rows].contiguous()
    if up.bias is not None:
        up.bias.data = up.bias.data[rows].contiguous()
    down.weight.data = down.weight.data[:, order_F].contiguous()


def _put(layer: nn.Module, name: str, made: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(layer.get_submodule(parent) if parent else layer, child, made)


def _layers(model: nn.Module) -> list[nn.Module]:
    """Each layer once, also where layers are shared."""
    return list(dict.fromkeys(layers(model)))


def _check(model: nn.Module, experts: int) -> None:
    own = family(model)
    for layer in _layers(model):
        kinds = {type(layer.get_submodule(name)) for name in (own.up, own.down)}
        if kinds != {nn.Linear}:
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            hint = say("put compress/experts before the step that made them so")
            raise UsageError(problem(say("feed-forward layers are {kinds}", kinds=names), say("float layers"), hint))
        columns = int(layer.get_submodule(own.down).in_features)  # type: ignore[arg-type]
        if columns % experts:
            given = say("{columns} columns in {experts} experts", columns=columns, experts=experts)
            good = next((n for n in range(experts, columns + 1) if columns % n == 0), columns)
            raise UsageError(problem(given, say("a number that divides them"), f"compress/experts:experts={good}"))
