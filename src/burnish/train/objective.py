"""The loss of each objective, summed over rows.

Summed, never averaged: the loop divides once, by the number of rows of the whole accumulated batch, so that
gradient accumulation changes nothing. (A mean of the means of unequal micro-batches is a different number.)
"""

import torch.nn.functional as F
from torch import Tensor

__all__ = ["loss_sum"]


def loss_sum(objective: str, outputs_BC: Tensor, targets: Tensor) -> Tensor:
    """Sum over the B rows, in float32. Binary cross-entropy is averaged over labels within a row.

    `targets` is int64 [B] for cross_entropy and float32 [B, C] for the other objectives.
    """
    outputs_BC = outputs_BC.float()
    if objective == "cross_entropy":
        return F.cross_entropy(outputs_BC, targets, reduction="sum")
    if objective == "binary_cross_entropy":
        return F.binary_cross_entropy_with_logits(outputs_BC, targets, reduction="none").mean(1).sum()
    if objective == "mean_squared_error":
        return F.mse_loss(outputs_BC, targets, reduction="none").mean(1).sum()
    raise ValueError(f"objective must be cross_entropy, binary_cross_entropy or mean_squared_error, got {objective!r}")
