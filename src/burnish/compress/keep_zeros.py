"""Weights of linear layers that are exactly 0 when training begins stay so.

no paper: what every training after pruning does, such as that of Han et al. 2015 (see compress/magnitude).

When it helps: as a tweak of a training that follows compress/magnitude, compress/wanda, compress/sparsegpt or
compress/movement; without it, one step of training fills what they emptied.
What it costs: a bit for each weight, and a pass over the weights at each step.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from burnish.errors import UsageError, problem
from burnish.models import family
from burnish.train.parts import Facts
from burnish.train.tweak import Tweak
from burnish.words import say

__all__ = ["KeepZeros"]


@dataclass(frozen=True)
class KeepZeros(Tweak):
    def begin(self, facts: Facts) -> Tweak:
        return _Live()


class _Live(Tweak):
    def __init__(self) -> None:
        self.zeros: list[tuple[nn.Linear, Tensor]] = []

    def prepare(self, model: nn.Module) -> nn.Module:
        path = family(model).layers + "."
        linear = [m for name, m in model.named_modules() if isinstance(m, nn.Linear) and name.startswith(path)]
        self.zeros = [(m, zero) for m in linear if (zero := m.weight.detach() == 0).any()]
        if not self.zeros:
            given = say("compress/keep_zeros on a model whose weights hold no zeros")
            hint = say("put compress/sparsegpt before this training, or leave it out")
            raise UsageError(problem(given, say("a model that was thinned"), hint))
        return model

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int) -> None:
        for layer, zero in self.zeros:
            layer.weight.masked_fill_(zero, 0)

    def notes(self) -> dict[str, Any]:
        return {"zeros_kept": sum(int(zero.sum()) for _, zero in self.zeros)}
