"""Rows whose label is only partly believed: the loss toward the label, and a share of the loss toward any.

Paper: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer Vision", CVPR
2016, arXiv:1512.00567, section 7. Differs from it: each row has a share of its own, as new rows made by augmentation
have, and the loss may be any objective: it is asked about every label, and the answers are averaged.

Shapes: B = rows of a batch, C = labels.
"""

import torch
from torch import Tensor

from burnish.train.parts import Objective
from burnish.units import IGNORE

__all__ = ["SMOOTHED", "smoothed_rows"]

# Kinds of tasks that have labels to share between: not numbers, and not the places of an answer, which are as many as
# the text has words.
SMOOTHED = ("cross_entropy", "binary_cross_entropy", "word_cross_entropy")


def smoothed_rows(objective: Objective, kind: str, outputs: Tensor, targets: Tensor, smoothing_B: Tensor) -> Tensor:
    """The loss of each row, [B]: (1 - s) toward its own label and s toward all alike; in `kind`s without labels plain.

    Where each label is a yes or no, 1 and 0 become 1 - s/2 and s/2, as in tune/label_smoothing.
    """
    loss_B = objective.rows(outputs, targets)
    soft = torch.nonzero(smoothing_B).flatten()
    if kind not in SMOOTHED or not len(soft):
        return loss_B
    some, true, s = outputs[soft], targets[soft], smoothing_B[soft]
    if kind == "binary_cross_entropy":
        any_ = (loss_B[soft] + objective.rows(some, 1 - true)) / 2
    else:
        labels = range(outputs.shape[-1])
        any_ = torch.stack([objective.rows(some, _all(true, label)) for label in labels]).mean(0)
    return loss_B.index_put((soft,), (1 - s) * loss_B[soft] + s * any_)


def _all(targets: Tensor, label: int) -> Tensor:
    """The same targets, were every label `label`; words without one stay so."""
    return torch.where(targets == IGNORE, targets, torch.full_like(targets, label))
