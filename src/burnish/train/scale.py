"""Train a regression head on standardised targets, and fold the scale back into its weights.

no paper: an identity, y = s·z + m. Targets between 0 and 100 would otherwise ask the head to grow a
hundredfold at a rate made for fine-tuning.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from burnish.core import Task

__all__ = ["Scale", "fit_scale", "head_of"]


@dataclass(frozen=True)
class Scale:
    """Targets are `std * z + mean`; the identity for every task but regression."""

    mean: float = 0.0
    std: float = 1.0

    def unfold(self, model: nn.Module, width: int) -> None:
        """Make the head answer in standard units, in place."""
        if self != Scale():
            self._apply(head_of(model, width), 1 / self.std, -self.mean / self.std)

    def fold(self, model: nn.Module, width: int) -> None:
        """Make the head answer in the units of the data again, in place."""
        if self != Scale():
            self._apply(head_of(model, width), self.std, self.mean)

    @staticmethod
    def _apply(head: nn.Linear, factor: float, shift: float) -> None:
        with torch.no_grad():
            head.weight.mul_(factor)
            head.bias.mul_(factor).add_(shift)


def fit_scale(task: Task, targets: np.ndarray) -> Scale:
    if task.objective != "mean_squared_error":
        return Scale()
    return Scale(float(targets.mean()), float(targets.std()) or 1.0)


def head_of(model: nn.Module, width: int) -> nn.Linear:
    """The linear layer that gives the outputs: the last one of that width."""
    found = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == width]
    return found[-1]
