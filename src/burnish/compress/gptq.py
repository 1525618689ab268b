"""GPTQ: round weights one input at a time, and let the inputs still to come make up for each rounding error.

Paper: Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", ICLR 2023, arXiv:2210.17323. Differs from it: Hessians and sweeps are in float64, padding is no part
of them, and queries, keys and values share one; inputs with the largest Hessian come first, inside a group and group
by group, so that the stored layout stays plain ("group aware reordering" of GPTQModel); damping rises until the
Hessian can be inverted; scales are chosen by error and rounded as stored before any code is; an output whose
rounding error is below that of GPTQ keeps its rounding. Every layer is solved on what the quantized ones before it
give (the authors' --true-sequential).

When it helps: a size at which compress/round_weights loses too much, 4 bits by rows or 3 bits and less.
What it costs: a minute for a small encoder; some rows; no training. Bytes and speed are those of rounding.

Shapes: N = outputs, K = inputs, in the order of the sweep; [K, N] is a transposed weight matrix.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from burnish.compress._coded import restore as restore
from burnish.compress._coded import to_float as to_float
from burnish.compress._codes import Codes, Grid, decode, fit, groups_of, nearest, round_weights
from burnish.compress._hessian import Inputs, calibration, sweep
from burnish.compress._weights import Solved, check, finish, grid_for, refuse, relative_error, rounded_rest
from burnish.core import Rng, Work
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Gptq"]

BLOCK = 128  # columns after which the rest is updated at once: section 3.3, step 2, for speed only


@dataclass(frozen=True)
class Gptq:
    bits: int = 4  # of the weights inside the encoder layers: 8, 4, 3 or 2
    group: int = 64  # inputs that share a scale: 16, 32, 64, 128, 256, or 0 for a whole row
    symmetric: bool = True  # zero is the middle code: smaller and, with `search`, as exact
    search: bool = True  # choose each scale by error, not by the largest weight
    rows: int = 128  # of the training rows, to calibrate with
    damp: float = 0.01  # lambda: the first try, as a share of the mean of the Hessian's diagonal, 0..1
    order: bool = True  # inputs with the largest Hessian first
    activations: str = "int8"  # in the products: int8, a scale for each block of a token, or float
    rest: int = 8  # bits of the linear layers outside, by rounding: 8, 4, or 0 for float
    embeddings: int = 8  # bits of the embedding tables, by rounding: 8, 4, or 0 for float

    def __post_init__(self) -> None:
        check(self)
        for name, value, good, expected in (
            ("rows", self.rows, self.rows >= 1, say("1 or more")),
            ("damp", self.damp, 0 <= self.damp < 1, say("0 or more, below 1")),
        ):
            if not good:
                raise UsageError(problem(f"{name}={value}", expected, "compress/gptq:rows=128,damp=0.01"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        refuse(work.model, "compress/gptq")
        model = copy.deepcopy(work.model).eval()
        batches = calibration(work, self.rows, rng)
        notes: dict[str, Any] = {"error": {}, "damp": {}, "rows": sum(len(b["input_ids"]) for b in batches)}

        def solve(weights: Mapping[str, Tensor], inputs: Inputs) -> dict[str, Solved]:
            return self._solve(weights, inputs, notes)

        solved = sweep(model, batches, solve, self.group)
        solved |= rounded_rest(model, self, solved)
        return replace(work, model=model, notes={**finish(model, "compress/gptq", self, solved), **notes})

    def _solve(self, weights: Mapping[str, Tensor], inputs: Inputs, notes: dict[str, Any]) -> dict[str, Solved]:
        """Layers with the same inputs as one matrix, then apart again."""
        w_NK, grid, h_KK = torch.cat(list(weights.values())), grid_for(self), inputs.hessian_KK
        plain = round_weights(w_NK, grid)
        solved, damp = gptq(w_NK, h_KK, grid, damp=self.damp, order=self.order) or (plain, 0.0)
        solved = better_rows(w_NK, h_KK, plain, solved, self.group)
        sizes = [len(w) for w in weights.values()]
        found = {}
        for name, w, ours, theirs in zip(
            weights, weights.values(), _split(solved, sizes), _split(plain, sizes), strict=True
        ):
            found[name] = Solved(ours)
            notes["damp"][name] = damp
            notes["error"][name] = {
                "rounding": relative_error(w, decode(theirs, self.group), h_KK),
                "gptq": relative_error(w, decode(ours, self.group), h_KK),
            }
        return found


# -- the maths -----------------------------------------------------------------------------------------


def gptq(w_NK: Tensor, h_KK: Tensor, grid: Grid, *, damp: float, order: bool) -> tuple[Codes, float] | None:
    """Codes that keep `x @ w.T` for h = x.T @ x, and the damping it took; None when no damping below 1 is enough.

    The scales of a group are found when the sweep arrives there, for weights that by then make up for the errors
    of the groups before it.
    """
    dead_K = h_KK.diagonal() == 0  # inputs that were never there: any weight will do, so 0
    h_KK, w_KN = h_KK.clone(), w_NK.T.to(h_KK.dtype).clone()
    h_KK.diagonal()[dead_K] = 1
    w_KN[dead_K] = 0
    spans = ordered(h_KK.diagonal(), grid.group) if order else groups_of(len(h_KK), grid.group)
    at_K = torch.cat(spans)
    found = inverse_factor(h_KK[at_K][:, at_K], damp)
    if found is None:
        return None
    codes_KN, scale_GN, zero_GN = _sweep_columns(w_KN[at_K], found[0], [len(s) for s in spans], grid)
    group_of = [int(s[0]) // (grid.group or len(h_KK)) for s in spans]
    back_G, back_K = torch.tensor(group_of).argsort(), at_K.argsort()
    return Codes(codes_KN[back_K].T.contiguous(), scale_GN[back_G].T, zero_GN[back_G].T), found[1]


def ordered(diagonal_K: Tensor, group: int) -> list[Tensor]:
    """The columns of each group, those with the largest diagonal first, and the group that has the largest first."""
    spans = [s[diagonal_K[s].argsort(descending=True, stable=True)] for s in groups_of(len(diagonal_K), group)]
    return sorted(spans, key=lambda s: -float(diagonal_K[s[0]]))


def inverse_factor(h_KK: Tensor, damp: float) -> tuple[Tensor, float] | None:
    """Upper u with uᵀ u = (h + damp mean(diagonal) I)⁻¹, and the damping: the first of damp, 2 damp, .. that works."""
    mean = h_KK.diagonal().mean()
    while damp < 1:
        lower, failed = torch.linalg.cholesky_ex(h_KK + damp * mean * torch.eye(len(h_KK), dtype=h_KK.dtype))
        if not failed:
            u_KK, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
            if not failed and torch.isfinite(u_KK).all():
                return u_KK, damp
        damp = max(2 * damp, 1e-4)
    return None


def _sweep_columns(w_KN: Tensor, u_KK: Tensor, sizes: list[int], grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Algorithm 1 of the paper. Codes uint8 [K, N], scales and zeros [G, N], all in the order given; eats `w_KN`."""
    codes_KN, scales, zeros = torch.empty(w_KN.shape, dtype=torch.uint8), [], []
    start = 0
    for size in sizes:
        scale_N, zero_N = fit(w_KN[start : start + size].T, grid)
        scales.append(scale_N)
        zeros.append(zero_N)
        for a in range(start, start + size, BLOCK):
            b = min(a + BLOCK, start + size)
            error_KN = torch.empty_like(w_KN[a:b])
            for k in range(a, b):
                code_N = nearest(w_KN[k], scale_N, zero_N, grid.top)
                codes_KN[k] = code_N.to(torch.uint8)
                error_N = (w_KN[k] - (code_N - zero_N) * scale_N) / u_KK[k, k]
                w_KN[k + 1 : b] -= u_KK[k, k + 1 : b, None] * error_N
                error_KN[k - a] = error_N
            w_KN[b:] -= u_KK[a:b, b:].T @ error_KN
        start += size
    return codes_KN, torch.stack(scales), torch.stack(zeros)


def better_rows(w_NK: Tensor, h_KK: Tensor, a: Codes, b: Codes, group: int) -> Codes:
    """For each output the codes of `a` or of `b`, whichever changes it less on inputs with Hessian h."""

    def error_N1(codes: Codes) -> Tensor:
        gap_NK = decode(codes, group) - w_NK
        return ((gap_NK @ h_KK) * gap_NK).sum(1, keepdim=True)

    first = error_N1(a) < error_N1(b)
    return Codes(*(torch.where(first, x, y) for x, y in zip(a, b, strict=True)))


def _split(codes: Codes, sizes: list[int]) -> list[Codes]:
    return [Codes(*parts) for parts in zip(*(part.split(sizes) for part in codes), strict=True)]
