"""Which weights of a matrix stay: a share of them, N of M in a row, or whole blocks; and what that saves.

Shapes: O = outputs, K = inputs.
"""

import copy
import random
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from burnish.compress._hessian import Inputs, calibration, sweep
from burnish.compress._recover import wanted
from burnish.compress._weights import layers_of, refuse, relative_error
from burnish.core import Work
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Pattern", "Thin", "check", "kept", "pattern_of", "sizes", "swept", "thinnable", "wanted", "weight_of"]


class Wishes(Protocol):
    @property
    def share(self) -> float: ...
    @property
    def pattern(self) -> str: ...


class Pattern(NamedTuple):
    """`keep` of every `of` inputs in a row, or, where `of` is 0, a share of blocks of `rows` outputs x `inputs`."""

    keep: int = 0
    of: int = 0
    rows: int = 1
    inputs: int = 1


class Thin(NamedTuple):
    """Solved weights as `sweep` takes them."""

    w_OK: Tensor

    def plain(self, group: int) -> Tensor:
        return self.w_OK


# From weights [O, K] and what their inputs are like to weights with zeros.
Solve = Any


def pattern_of(text: str) -> Pattern:
    """'' any weights, '2:4' two of every four inputs, '4x1' blocks of four outputs and one input."""
    if not text:
        return Pattern()
    found = re.fullmatch(r"([1-9]\d*)([:x])([1-9]\d*)", text)
    if found and found[2] == "x":
        return Pattern(rows=int(found[1]), inputs=int(found[3]))
    if found and int(found[1]) < int(found[3]):
        return Pattern(keep=int(found[1]), of=int(found[3]))
    raise UsageError(problem(f"pattern={text}", say("'', N:M such as 2:4, RxC such as 4x1"), "pattern=2:4"))


def check(wishes: Wishes, use: str) -> None:
    """Raises UsageError for settings that contradict each other."""
    pattern = pattern_of(wishes.pattern)
    need = partial(wanted, example=f"--with {use}:share=0.5")
    need("share", wishes.share, 0 < wishes.share < 1, say("between 0 and 1"))
    if pattern.of and abs(wishes.share - pattern.keep / pattern.of) > 1e-9:
        expected = say(
            "{share:g}, which is what {pattern} leaves", share=pattern.keep / pattern.of, pattern=wishes.pattern
        )
        need("share", wishes.share, False, expected)


def kept(score_OK: Tensor, share: float, pattern: Pattern, *, by_row: bool = False) -> Tensor:
    """True [O, K] where a weight stays: those with the highest scores that the pattern allows.

    Exactly round(share x all) blocks stay, of the matrix or, with `by_row`, of each row of blocks.
    """
    if pattern.of:
        groups = score_OK.unflatten(1, (-1, pattern.of))
        best = groups.argsort(dim=2, descending=True, stable=True)[..., : pattern.keep]
        return torch.zeros_like(groups, dtype=torch.bool).scatter_(2, best, True).flatten(1)
    blocks = score_OK.unflatten(0, (-1, pattern.rows)).unflatten(2, (-1, pattern.inputs)).sum((1, 3))
    rows = blocks if by_row else blocks.flatten()[None]
    best = rows.argsort(dim=1, descending=True, stable=True)[:, : round(share * rows.shape[1])]
    stays = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, best, True).view_as(blocks)
    return stays.repeat_interleave(pattern.rows, 0).repeat_interleave(pattern.inputs, 1)


def thinnable(model: nn.Module, pattern: Pattern, use: str) -> list[str]:
    """The encoder's linear layers. Raises UsageError where one does not fit the pattern, or holds integers."""
    refuse(model, use)
    names = layers_of(model)[0]
    for name in names:
        outputs, inputs = weight_of(model, name).shape
        if inputs % (pattern.of or pattern.inputs) or outputs % pattern.rows:
            given = say("{name} has {o} outputs and {k} inputs", name=name, o=outputs, k=inputs)
            raise UsageError(problem(given, say("multiples of the pattern"), say("leave pattern out")))
    return names


def swept(work: Work, rows: int, rng: random.Random, solve: Solve) -> tuple[nn.Module, dict[str, float]]:
    """A copy with the weights that `solve(w_OK, inputs)` gives, layer after layer; the error of each layer's output."""
    model = copy.deepcopy(work.model).eval()
    errors: dict[str, float] = {}

    def together(weights: Mapping[str, Tensor], inputs: Inputs) -> Any:
        found = {name: Thin(solve(w_OK, inputs)) for name, w_OK in weights.items()}
        for name, thin in found.items():
            errors[name] = relative_error(weights[name], thin.w_OK, inputs.hessian_KK)
        return found

    sweep(model, calibration(work, rows, rng), together, 0)
    return model, errors


def sizes(model: nn.Module, names: list[str]) -> dict[str, Any]:
    """What is left, and the bytes of these layers as they are and with one bit a weight and the weights that stay."""
    weights = [weight_of(model, name) for name in names]
    total = sum(w.numel() for w in weights)
    left = sum(int(w.count_nonzero()) for w in weights)
    told = say("zeros make the file smaller where it is compressed; no kernel here computes any faster with them")
    return {
        "weights_left": left / total,
        "bytes": 4 * total,
        "bitmask_bytes": 4 * left + total // 8,
        "speed": told,
    }


def weight_of(model: nn.Module, name: str) -> Tensor:
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer.weight.data
