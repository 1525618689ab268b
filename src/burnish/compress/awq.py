"""AWQ: make the weights of busy inputs larger before rounding, and those inputs smaller by as much.

Paper: Lin, Tang, Tang, Yang, Chen, Wang, Xiao, Dang, Gan, Han, "AWQ: Activation-aware Weight Quantization for LLM
Compression and Acceleration", MLSys 2024, arXiv:2306.00978. Differs from it: the inputs are divided by an explicit
product in front of each layer. Folding the division into the norm before is not exact in an encoder with norms after
the residual sum, which reads the same tensor, and folding it through GELU never is. The search compares the errors
of the layers that read one input, from their Hessian, over all calibration tokens, not those of a block; no scaling
at all is among the candidates; the search for scales decides what is clipped. Layers are searched in the order in
which they run, on what the quantized ones before them give.

When it helps: where a few inputs are far larger than the rest, and calibration rows are few or unlike the real ones: it
learns only a scale from them. On a tuned MiniLM its errors are below rounding's, and several times those of
compress/gptq.
What it costs: a minute for a small encoder; some rows; no training. One small product before each layer that is scaled.

Shapes: N = outputs, K = inputs, G = groups, g = columns of a group.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from burnish.compress._coded import restore as restore
from burnish.compress._coded import to_float as to_float
from burnish.compress._codes import Grid, decode, grouped, round_weights
from burnish.compress._hessian import Inputs, calibration, sweep
from burnish.compress._weights import Solved, check, finish, grid_for, refuse, relative_error, rounded_rest
from burnish.core import Rng, Work
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Awq"]


@dataclass(frozen=True)
class Awq:
    bits: int = 4  # of the weights inside the encoder layers: 8, 4, 3 or 2
    group: int = 64  # inputs that share a scale: 16, 32, 64, 128, 256, or 0 for a whole row
    symmetric: bool = True  # zero is the middle code: smaller and, with `search`, as exact
    search: bool = True  # choose each scale by error, not by the largest weight
    rows: int = 128  # of the training rows, to calibrate with
    tries: int = 20  # strengths of the scaling, from none to as large as the inputs themselves
    activations: str = "int8"  # in the products: int8, a scale for each block of a token, or float
    rest: int = 8  # bits of the linear layers outside, by rounding: 8, 4, or 0 for float
    embeddings: int = 8  # bits of the embedding tables, by rounding: 8, 4, or 0 for float

    def __post_init__(self) -> None:
        check(self)
        for name, value in (("rows", self.rows), ("tries", self.tries)):
            if value < 1:
                raise UsageError(problem(f"{name}={value}", say("1 or more"), "compress/awq:rows=128,tries=20"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        refuse(work.model, "compress/awq")
        model = copy.deepcopy(work.model).eval()
        batches = calibration(work, self.rows, rng)
        notes: dict[str, Any] = {"error": {}, "strength": {}, "rows": sum(len(b["input_ids"]) for b in batches)}

        def solve(weights: Mapping[str, Tensor], inputs: Inputs) -> dict[str, Solved]:
            return self._solve(weights, inputs, notes)

        solved = sweep(model, batches, solve, self.group)
        solved |= rounded_rest(model, self, solved)
        return replace(work, model=model, notes={**finish(model, "compress/awq", self, solved), **notes})

    def _solve(self, weights: Mapping[str, Tensor], inputs: Inputs, notes: dict[str, Any]) -> dict[str, Solved]:
        # Nothing is inverted here, so float32 is enough, and faster.
        h_KK, mean_K, grid = inputs.hessian_KK.float(), inputs.mean_K.float(), grid_for(self)
        weights = {name: w.float() for name, w in weights.items()}
        strength, scale_K = searched(torch.cat(list(weights.values())), h_KK, mean_K, grid, self.tries)
        found = {}
        for name, w in weights.items():
            plain = Solved(round_weights(w, grid))
            found[name] = plain if scale_K is None else Solved(round_weights(w * scale_K, grid), 1 / scale_K)
            notes["strength"][name] = strength
            notes["error"][name] = {
                "rounding": relative_error(w, plain.plain(self.group), h_KK),
                "awq": relative_error(w, found[name].plain(self.group), h_KK),
            }
        return found


# -- the maths -----------------------------------------------------------------------------------------


def searched(w_NK: Tensor, h_KK: Tensor, mean_K: Tensor, grid: Grid, tries: int) -> tuple[float, Tensor | None]:
    """The strength 0..1 and the scales [K] whose rounding keeps the outputs best; 0 and None when no scaling does.

    Strengths are compared by rounding to the whole range, since a search in each would take 40 times as long; the
    best of them must then beat no scaling with the search that `grid` asks for.
    """
    plain = replace(grid, steps=0)
    best = min(
        candidates(w_NK, mean_K, grid.group, tries),
        key=lambda one: error_of(w_NK, h_KK, plain, one[1]),
    )
    if error_of(w_NK, h_KK, grid, best[1]) < error_of(w_NK, h_KK, grid):
        return best
    return 0.0, None


def candidates(w_NK: Tensor, mean_K: Tensor, group: int, tries: int) -> Iterator[tuple[float, Tensor]]:
    """Scales x^r / w^(1-r), x the mean |input| and w the mean |weight| as a share of its group's largest."""
    w_NGg = grouped(w_NK, group).abs()
    share_NGg = w_NGg / w_NGg.amax(-1, keepdim=True).clamp(min=torch.finfo(w_NK.dtype).tiny)
    mean_w_K = share_NGg.flatten(1)[:, : w_NK.shape[1]].mean(0)
    for i in range(1, tries + 1):
        strength = i / tries
        scale_K = mean_K**strength / (mean_w_K ** (1 - strength) + 1e-4)
        usable = torch.isfinite(scale_K) & (scale_K > 0)
        if usable.any():
            scale_K = scale_K / (scale_K[usable].max() * scale_K[usable].min()).sqrt()
        yield strength, torch.where(usable, scale_K, torch.ones_like(scale_K)).float().to(w_NK.dtype)


def error_of(w_NK: Tensor, h_KK: Tensor, grid: Grid, scale_K: Tensor | None = None) -> float:
    """How far rounding the weights times `scale_K` moves the outputs: the sum of squares, up to a factor."""
    if scale_K is None:
        gap_NK = decode(round_weights(w_NK, grid), grid.group) - w_NK
    else:
        gap_NK = decode(round_weights(w_NK * scale_K, grid), grid.group) / scale_K - w_NK
    return float(((gap_NK @ h_KK) * gap_NK).sum())
