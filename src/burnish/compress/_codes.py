"""Weights as codes: w = scale * (code - zero), with a scale and a zero for each row or each group of its columns.

The one inner form of every weight-only technique, whatever file or graph it is written to afterwards. Scales are
rounded to half precision, as they are stored, before any code is chosen; otherwise packing would change codes.
Group 0 means one scale for a row; else columns k with the same k // group share one.

Shapes: N = outputs, K = inputs, G = groups, g = columns of a group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import lcm
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Codes", "Grid", "decode", "fit", "grouped", "groups_of", "nearest", "pack", "round_weights", "unpack"]

NORM = 2.4  # of the errors that a search compares: outliers count a little more than in squares (GPTQ's code)
NARROWEST = 0.2  # the smallest range tried, as a share of the whole one
TINY, HUGE = 2.0**-24, 65504.0  # the smallest and the largest size of a scale in half precision


@dataclass(frozen=True)
class Grid:
    """Which values a weight may take."""

    bits: int  # 2, 3, 4 or 8
    group: int = 0  # columns that share a scale; 0: all of a row
    symmetric: bool = False  # the zero is the middle code, and need not be stored
    steps: int = 0  # ranges tried for each scale; 0: the range of the weights as it is

    @property
    def top(self) -> int:
        """The largest code."""
        return int(2**self.bits - 1)


class Codes(NamedTuple):
    """A quantized matrix. `codes` uint8 [N, K]; `scale`, exact in half precision, and `zero`, whole numbers, [N, G]."""

    codes: Tensor
    scale: Tensor
    zero: Tensor


def groups_of(columns: int, group: int) -> list[Tensor]:
    """The columns of each group, int64; the last group may be shorter."""
    return list(torch.arange(columns).split(group or columns))


def grouped(w_NK: Tensor, group: int) -> Tensor:
    """[N, G, g], with zeros after the last column where `group` does not divide K."""
    size = group or w_NK.shape[1]
    return F.pad(w_NK, (0, -w_NK.shape[1] % size)).unflatten(1, (-1, size))


def round_weights(w_NK: Tensor, grid: Grid) -> Codes:
    """Every weight to its nearest value; the padding of `grouped` changes no range, since every range holds 0."""
    w_NGg = grouped(w_NK, grid.group)
    scale_NG, zero_NG = fit(w_NGg, grid)
    codes_NGg = nearest(w_NGg, scale_NG[..., None], zero_NG[..., None], grid.top)
    return Codes(codes_NGg.flatten(1)[:, : w_NK.shape[1]].to(torch.uint8), scale_NG, zero_NG)


def decode(codes: Codes, group: int) -> Tensor:
    """The weights [N, K] that `codes` stand for, in the precision of its scales."""
    of_K = torch.arange(codes.codes.shape[1], device=codes.codes.device) // (group or codes.codes.shape[1])
    return codes.scale[:, of_K] * (codes.codes.to(codes.scale.dtype) - codes.zero[:, of_K])


def nearest(w: Tensor, scale: Tensor, zero: Tensor, top: int) -> Tensor:
    """The codes nearest to `w`, as whole floats in 0..top."""
    return ((w / scale).round() + zero).clamp(0, top)


def fit(w: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Scale and zero [...] for the weights [..., g] of each group: the best of all candidates, the widest first."""
    best: tuple[Tensor, Tensor, Tensor] | None = None
    for scale, zero in _candidates(w, grid):
        if grid.steps == 0:
            return scale, zero
        at = nearest(w, scale[..., None], zero[..., None], grid.top) - zero[..., None]
        error = (at * scale[..., None] - w).abs().pow(NORM).sum(-1)
        if best is None:
            best = error, scale, zero
            continue
        won = error < best[0]
        best = (
            torch.where(won, error, best[0]),
            torch.where(won, scale, best[1]),
            torch.where(won, zero, best[2]),
        )
    assert best is not None
    return best[1], best[2]


def _candidates(w: Tensor, grid: Grid) -> Iterator[tuple[Tensor, Tensor]]:
    low, high = w.amin(-1).clamp(max=0), w.amax(-1).clamp(min=0)
    for i in range(max(grid.steps, 1)):
        share = 1 - (1 - NARROWEST) * i / max(grid.steps, 1)
        yield from (_symmetric if grid.symmetric else _asymmetric)(low * share, high * share, grid)


def _symmetric(low: Tensor, high: Tensor, grid: Grid) -> Iterator[tuple[Tensor, Tensor]]:
    """One side has a value more than the other: that of the farther weight, then, in a search, the other one."""
    half = 2 ** (grid.bits - 1)
    zero = torch.full_like(low, half)
    scale = _stored(torch.where(-low >= high, -low, -high) / half)
    yield scale, zero
    if grid.steps:
        yield -scale, zero


def _asymmetric(low: Tensor, high: Tensor, grid: Grid) -> Iterator[tuple[Tensor, Tensor]]:
    """With four values in all, where 0 lies among them matters most: its neighbours are tried too."""
    scale = _stored((high - low) / grid.top)
    zero = (-low / scale).round()
    for shift in (0, -1, 1) if grid.steps and grid.bits == 2 else (0,):
        yield scale, (zero + shift).clamp(0, grid.top)


def _stored(scale: Tensor) -> Tensor:
    """As half precision holds it; 1 for a group of zeros, and never 0."""
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    size = scale.abs().clamp(TINY, HUGE).half().to(scale.dtype)
    return torch.where(scale < 0, -size, size)


# -- bits ----------------------------------------------------------------------------------------------


def _words(bits: int) -> tuple[int, int]:
    """Bytes and codes of the shortest run in which both come out whole."""
    width = lcm(bits, 8)
    return width // 8, width // bits


def pack(codes: Tensor, bits: int) -> Tensor:
    """uint8 [..., K] -> uint8 [..., bytes]: one stream of bits, the lowest first; zeros fill the last word."""
    size, count = _words(bits)
    codes = F.pad(codes, (0, -codes.shape[-1] % count)).unflatten(-1, (-1, count)).int()
    word = (codes << bits * torch.arange(count, dtype=torch.int32)).sum(-1, dtype=torch.int32)
    return ((word[..., None] >> 8 * torch.arange(size, dtype=torch.int32)) & 255).to(torch.uint8).flatten(-2)


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    """The first `count` codes of a row that `pack` wrote, uint8 [..., count]."""
    size, each = _words(bits)
    shifts = torch.arange(size, dtype=torch.int32, device=packed.device)
    word = (packed.unflatten(-1, (-1, size)).int() << 8 * shifts).sum(-1, dtype=torch.int32)
    places = bits * torch.arange(each, dtype=torch.int32, device=packed.device)
    return ((word[..., None] >> places) & (2**bits - 1)).to(torch.uint8).flatten(-2)[..., :count]
