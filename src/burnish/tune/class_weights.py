"""Let rows of rare labels count more.

Paper: Cui, Jia, Lin, Song, Belongie, "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019,
arXiv:1901.05555, for `effective`; `inverse` and `inverse_sqrt`, one over the number of a label's rows and over its
square root, are older than any paper that could be named for them.
Differs from it: weights are scaled to 1 on average over rows, not over labels, and a step divides by the weight of its
rows, so the loss keeps its size and accumulation changes nothing. In multi-label tasks a row counts by its rarest
label, since a row has one weight; rows without a label are taken as a label of their own.

When it helps: labels of unequal frequency where the rare ones matter (macro F1). `inverse_sqrt` is mild;
`effective` treats labels with far more rows than 1 / (1 - beta) alike and those with far fewer as `inverse` does;
`inverse` gives all labels the same say, and a label of three rows then steers a third of the gradient in a task of
three.
What it costs: no time. Accuracy may fall where macro F1 rises, and probabilities lean toward the rare labels. Do not
add tune/logit_adjustment, which corrects the same.

Shapes: N = rows, C = labels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from burnish.core import Task
from burnish.train.parts import Weighting
from burnish.tune._require import one_of, require, within
from burnish.words import say

__all__ = ["ClassWeights", "rows_alike", "weights_of"]


@dataclass(frozen=True)
class ClassWeights(Weighting):
    of: Literal["inverse_sqrt", "effective", "inverse"] = "inverse_sqrt"  # how the weight falls with a label's rows
    beta: float = 0.999  # for effective: 1 - 1/n, where n rows say nearly all there is to a label; 0..1 without 1

    def __post_init__(self) -> None:
        one_of("of", self.of, ("inverse_sqrt", "effective", "inverse"))
        within("beta", self.beta, 0, 1, "[)")

    def weights(self, task: Task, targets: np.ndarray) -> np.ndarray:
        require(
            task.objective in ("cross_entropy", "binary_cross_entropy"),
            say("tune/class_weights for {task}", task=task.name),
            say("a task whose rows have labels"),
            say("leave weighting out; tune/huber is for outliers"),
        )
        weight_N = weights_of(rows_alike(targets), self.of, self.beta)
        return np.asarray(weight_N / weight_N.mean(), dtype=np.float32)


def rows_alike(targets: np.ndarray) -> np.ndarray:
    """How many rows have the label of each row, [N]; in multi-label [N, C] its rarest label, or none as it has none."""
    if targets.ndim == 1:
        return np.asarray(np.bincount(targets)[targets])
    yes_NC = targets > 0.5
    none_N = ~yes_NC.any(1)
    rarest_N = np.where(yes_NC, yes_NC.sum(0), len(targets)).min(1)
    return np.where(none_N, none_N.sum(), rarest_N)


def weights_of(rows: np.ndarray, of: str, beta: float) -> np.ndarray:
    """The weight of a label with that many rows (1 and more), not scaled, same shape."""
    if of == "inverse_sqrt":
        return 1 / np.sqrt(rows)
    if of == "inverse":
        return 1 / rows
    return np.asarray((1 - beta) / (1 - np.power(beta, rows)))  # 1 / E_n, proposition 1
