"""The plain loss of each task objective, by row.

By row, never averaged: the loop divides once, by the weight of the whole accumulated batch, so that
gradient accumulation changes nothing. (A mean of the means of unequal micro-batches is a different number.)
"""

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from burnish.train.parts import Objective
from burnish.units import IGNORE

__all__ = ["Plain", "loss_rows", "loss_sum", "words_in"]


@dataclass(frozen=True)
class Plain(Objective):
    """What the task itself asks for."""

    objective: str

    def rows(self, outputs_BC: Tensor, targets: Tensor) -> Tensor:
        return loss_rows(self.objective, outputs_BC, targets)


def loss_rows(objective: str, outputs_BC: Tensor, targets: Tensor) -> Tensor:
    """The loss of each of the B rows, in float32. Binary cross-entropy is averaged over labels within a row.

    `targets` is int64 [B] for cross_entropy, float32 [B, C] for yes-or-no labels and numbers, int64 [B, S] for a label
    a token (outputs [B, S, C]; the mean over a row's words), and int64 [B, 2] for the two ends of an answer.
    """
    outputs_BC = outputs_BC.float()
    if objective == "cross_entropy":
        return F.cross_entropy(outputs_BC, targets, reduction="none")
    if objective == "binary_cross_entropy":
        return F.binary_cross_entropy_with_logits(outputs_BC, targets, reduction="none").mean(1)
    if objective == "mean_squared_error":
        return F.mse_loss(outputs_BC, targets, reduction="none").mean(1)
    if objective == "word_cross_entropy":
        targets_BS = targets[:, : outputs_BC.shape[1]]
        loss_BS = F.cross_entropy(outputs_BC.transpose(1, 2), targets_BS, reduction="none", ignore_index=IGNORE)
        return loss_BS.sum(1) / (targets_BS != IGNORE).sum(1).clamp(min=1)
    if objective == "span_cross_entropy":
        return F.cross_entropy(outputs_BC, targets, reduction="none").mean(1)
    raise ValueError(f"objective must be that of a task, got {objective!r}")


def loss_sum(objective: str, outputs_BC: Tensor, targets: Tensor) -> Tensor:
    return loss_rows(objective, outputs_BC, targets).sum()


def words_in(objective: str, targets: np.ndarray) -> np.ndarray:
    """How many answers each row asks for, [N]: its words, where words are labelled, else one.

    A row's loss is a mean over them; weighted by their number, rows add up to a mean over words, not over rows.
    """
    if objective == "word_cross_entropy":
        return (targets != IGNORE).sum(1)
    return np.ones(len(targets), dtype=np.int64)
