"""Linear layers become two thinner ones, chosen so that what they answer to the training rows changes least.

Paper: Wang, Zheng, Wan, Zhang, "SVD-LLM: Truncation-aware Singular Value Decomposition for Large Language Model
Compression", ICLR 2025, arXiv:2403.07378 (whitening).
Differs from it: all layers are factored from the inputs that the whole model gives them, not one after the other;
ranks may follow what each layer loses, under one budget (`spread`), which was better at 0.75 of MiniLM on trec and
worse below; recovery is by distillation from the model before instead of low-rank adapters.

    S S' = X'X + damping,    W S = U sigma V',    W ~ (U sqrt(sigma))_r (sqrt(sigma) V' S^-1)_r

Errors are squares of sigma: what is cut off is exactly what the outputs lose. A layer is left whole where its two
parts would not be smaller.

When it helps: size, and time where the parts are much thinner; it composes with INT8. At half of the parameters MiniLM
lost 1 or 2 points of trec without any training, where the plain decomposition lost 30; below that it needs `epochs`.
What it costs: one pass over some rows and a decomposition of each layer; two small products take longer than their
share of the arithmetic says.

Shapes: N = outputs, K = inputs, R = rank, M = min(N, K).
"""

import copy
import heapq
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from burnish.compress._gram import calibration, drawn, fitting, grams
from burnish.compress._recover import recovered, wanted
from burnish.compress.student import lesson_of
from burnish.core import Rng, Work, desk
from burnish.errors import UsageError, problem
from burnish.models import add_structure, family
from burnish.train.tweak import Tweak
from burnish.words import say

__all__ = ["Factored", "LowRank", "even_ranks", "factors", "ranks_by_energy", "whitener"]

Shapes = Mapping[str, tuple[int, int]]  # N and K by layer


@dataclass(frozen=True)
class LowRank:
    share: float = 0.5  # of the parameters of the encoder's linear layers left, 0..1
    spread: Literal["even", "energy"] = "even"  # the same share of each layer, or ranks by what each loses
    weighted: bool = True  # by the layers' inputs; False is the plain decomposition of the weights
    rows: int = 256  # of the training rows, to see inputs
    damping: float = 1e-6  # added to the inputs' squares, as a share of their mean; grows tenfold where it must
    multiple: int = 8  # ranks are multiples of this, which kernels like
    epochs: int | None = 0  # of training afterwards, with the model before as teacher; none is the usual number
    alpha: float = 0.3  # weight of the labels in it; the model before has the rest
    temperature: float = 2.0  # softens both sides of the comparison
    lr: float | None = None
    batch_size: int | None = None
    tweaks: tuple[Tweak, ...] = ()
    max_length: int | None = None
    precision: str = "auto"
    patience: int = 6
    doctor: Literal["act", "advise", "off"] = "act"

    def __post_init__(self) -> None:
        example = "--with compress/low_rank:share=0.5"
        wanted("share", self.share, 0 < self.share < 1, say("between 0 and 1"), example)
        wanted("rows", self.rows, self.rows >= 1, say("1 or more"), example)
        wanted("damping", self.damping, self.damping >= 0, say("0 or more"), example)
        wanted("multiple", self.multiple, self.multiple >= 1, say("1 or more"), example)

    def __call__(self, work: Work, rng: Rng) -> Work:
        model = copy.deepcopy(work.model)
        layers = _linear_layers(model)
        shapes = {name: (layer.out_features, layer.in_features) for name, layer in layers.items()}
        found = self._decomposed(work, layers, rng)
        energies = {name: energy_M for name, (_, _, energy_M) in found.items()}
        if self.spread == "even":
            ranks = even_ranks(shapes, self.share, self.multiple)
        else:
            ranks = ranks_by_energy(energies, shapes, self.share, self.multiple)
        for name, rank in ranks.items():
            outer_NR, inner_RK, _ = found[name]
            _put(model, name, _factored(layers[name], outer_NR[:, :rank], inner_RK[:rank]))
        add_structure(model, "compress/low_rank", {"ranks": ranks})
        model, tokenizer, notes = recovered(work, model, lesson_of(self), rng)
        notes = {**notes, "ranks": ranks, "error": _lost(energies, ranks), **_counts(shapes, ranks)}
        return replace(work, model=model, tokenizer=tokenizer, notes=notes)

    def _decomposed(
        self, work: Work, layers: Mapping[str, nn.Linear], rng: Rng
    ) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """Both parts of each layer at the highest rank that makes it smaller, and the energies of all ranks."""
        batches = calibration(work, drawn(work, self.rows, rng))
        readers = _readers(work.model, list(layers))
        found: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        for names in fitting(work.model, list(readers)):
            gram = grams(work.model, names, batches) if self.weighted else {}
            for first in names:
                for name in readers[first]:
                    w_NK = layers[name].weight.data.double()
                    n, k = w_NK.shape
                    gram_KK = gram[first][:k, :k] if self.weighted else torch.eye(k, dtype=torch.float64)
                    parts = factors(w_NK, whitener(gram_KK, self.damping), _highest(n, k, 1))
                    found[name] = (parts[0].float(), parts[1].float(), parts[2])
                    desk().report(say("decomposing layers"), len(found) / len(layers), {})
        return found


def restore(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Give a freshly built float model the parts that this step left, in place; weights are loaded after."""
    for name, rank in facts["ranks"].items():
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        _put(model, name, Factored(layer.out_features, layer.in_features, rank, bias=layer.bias is not None))


def to_float(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """One linear layer in the place of two, in place: the same answers, the old size."""
    for name in facts["ranks"]:
        parts = model.get_submodule(name)
        assert isinstance(parts, Factored)
        made = nn.Linear(parts.inner.in_features, parts.outer.out_features, bias=parts.outer.bias is not None)
        made.weight.data = parts.outer.weight.data @ parts.inner.weight.data
        if parts.outer.bias is not None:
            made.bias.data = parts.outer.bias.data
        _put(model, name, made)


# -- the maths -----------------------------------------------------------------------------------------


def whitener(gram_KK: Tensor, damping: float) -> Tensor:
    """Lower triangular S [K, K] with S S' = gram + damping x mean of its diagonal.

    A Gram matrix of few tokens is singular: damping grows tenfold until it is not.
    """
    mean = float(gram_KK.diagonal().mean()) or 1.0
    for step in range(16):
        added = (damping or (1e-12 if step else 0.0)) * 10.0**step * mean
        s_KK, failed = torch.linalg.cholesky_ex(gram_KK + added * torch.eye(len(gram_KK), dtype=gram_KK.dtype))
        if not failed:
            return s_KK
    raise AssertionError("a matrix with its own mean many times over on the diagonal is positive definite")


def factors(w_NK: Tensor, s_KK: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Outer [N, R] and inner [R, K] parts with the least || (w - outer inner) s ||, and the energy of all M ranks."""
    u_NM, sigma_M, v_MK = torch.linalg.svd(w_NK @ s_KK, full_matrices=False)
    root_R = sigma_M[:rank].sqrt()
    inner_RK = torch.linalg.solve_triangular(s_KK, v_MK[:rank], upper=False, left=False)
    return u_NM[:, :rank] * root_R, root_R[:, None] * inner_RK, sigma_M.square()


def even_ranks(shapes: Shapes, share: float, multiple: int) -> dict[str, int]:
    """The rank at which each layer keeps that share of its parameters; layers that would not shrink are left out."""
    wish = {name: int(share * n * k / (n + k)) // multiple * multiple for name, (n, k) in shapes.items()}
    made = {name: max(rank, multiple) for name, rank in wish.items()}
    return {name: rank for name, rank in made.items() if rank <= _highest(*shapes[name], multiple)}


def ranks_by_energy(energies: Mapping[str, Tensor], shapes: Shapes, share: float, multiple: int) -> dict[str, int]:
    """Ranks that lose least of the layers' energies, each counted as a share of its own, under one budget.

    Greedy: each layer has half of its even share, and the next `multiple` ranks go where they bring most a parameter;
    past its highest useful rank a layer is left whole, and is not in the answer. Without that half, layers whose energy
    is in few directions were left with those alone, and lost more answers than energy.
    """
    left = share * sum(n * k for n, k in shapes.values())
    ranks = {name: 0 for name, shape in shapes.items() if _highest(*shape, multiple)}
    left -= sum(n * k for name, (n, k) in shapes.items() if name not in ranks)
    queue: list[tuple[float, str]] = []

    def offer(name: str) -> None:
        gain, cost, _ = _next(energies[name], shapes[name], ranks[name], multiple)
        heapq.heappush(queue, (-gain / cost, name))

    for name, (n, k) in shapes.items():
        if name in ranks:
            ranks[name] = max(multiple, int(share * n * k / (n + k) / 2) // multiple * multiple)
            left -= ranks[name] * (n + k)
            offer(name)
    if left < 0 or not ranks:
        given = say("share={share}: too little for {multiple} ranks in each layer", share=share, multiple=multiple)
        raise UsageError(problem(given, say("more, or smaller steps"), "--with compress/low_rank:share=0.5,multiple=1"))
    whole = set()
    while queue:
        _, name = heapq.heappop(queue)
        _, cost, rank = _next(energies[name], shapes[name], ranks[name], multiple)
        if cost > left:
            continue
        left -= cost
        if rank is None:
            whole.add(name)
        else:
            ranks[name] = rank
            offer(name)
    return {name: rank for name, rank in ranks.items() if name not in whole}


def _next(energy_M: Tensor, shape: tuple[int, int], rank: int, multiple: int) -> tuple[float, int, int | None]:
    """What `multiple` more ranks bring of a layer's energy, what they cost in parameters, and the rank then.

    At the highest rank that makes a layer smaller the next is the whole layer, None.
    """
    n, k = shape
    more = rank + multiple
    total = float(energy_M.sum()) or 1.0
    if more > _highest(n, k, multiple):
        return float(energy_M[rank:].sum()) / total, n * k - rank * (n + k), None
    return float(energy_M[rank:more].sum()) / total, multiple * (n + k), more


def _highest(n: int, k: int, multiple: int) -> int:
    """The highest rank, in multiples, at which two parts hold fewer numbers than one layer."""
    return (n * k - 1) // (n + k) // multiple * multiple


# -- the modules ---------------------------------------------------------------------------------------


class Factored(nn.Module):
    """A linear layer of low rank: K inputs to R, R to N outputs."""

    def __init__(self, outputs: int, inputs: int, rank: int, *, bias: bool):
        super().__init__()
        self.inner = nn.Linear(inputs, rank, bias=False)
        self.outer = nn.Linear(rank, outputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(x))


def _factored(layer: nn.Linear, outer_NR: Tensor, inner_RK: Tensor) -> Factored:
    made = Factored(layer.out_features, layer.in_features, len(inner_RK), bias=layer.bias is not None)
    made.outer.weight.data, made.inner.weight.data = outer_NR.contiguous(), inner_RK.contiguous()
    if layer.bias is not None:
        made.outer.bias.data = layer.bias.data
    return made


def _put(model: nn.Module, name: str, made: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, made)


def _linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """The encoder's linear layers that are plain still, each once."""
    place = family(model)
    children = model.get_submodule(place.layers).named_children()
    names = [f"{place.layers}.{number}.{part}" for number, _ in children for part in place.linear]
    found = {name: model.get_submodule(name) for name in names}
    plain = {name: layer for name, layer in found.items() if type(layer) is nn.Linear}
    if not plain:
        given = say("the encoder of this model has no plain linear layers left")
        raise UsageError(problem(given, say("a float model"), say("put compress/low_rank before compress/int8")))
    return plain


def _readers(model: nn.Module, names: list[str]) -> dict[str, list[str]]:
    """The layers by the first one that reads the same input: queries, keys and values do."""
    place = family(model)
    found: dict[str, list[str]] = {}
    firsts: dict[str, str] = {}
    for name in names:
        of = next((name.removesuffix(p) for p in (place.query, place.key, place.value) if p and name.endswith(p)), name)
        found.setdefault(firsts.setdefault(of, name), []).append(name)
    return found


def _lost(energies: Mapping[str, Tensor], ranks: Mapping[str, int]) -> dict[str, float]:
    """Which share of each factored layer's energy is gone: || x change ||² / || x w ||² on the rows that were seen."""
    return {name: round(float(energies[name][r:].sum() / energies[name].sum()), 6) for name, r in ranks.items()}


def _counts(shapes: Shapes, ranks: Mapping[str, int]) -> dict[str, int]:
    before = sum(n * k for n, k in shapes.values())
    now = sum(ranks[name] * (n + k) if name in ranks else n * k for name, (n, k) in shapes.items())
    return {"weights_before": before, "weights": now}
