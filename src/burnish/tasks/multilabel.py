"""Any number of labels a text: each label is a yes or no of its own.

Shapes: N = rows, C = labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from burnish.core import Rows
from burnish.tasks.scores import sigmoid

__all__ = ["MultiLabel"]

KIND = "multi-label-classification"


@dataclass(frozen=True)
class MultiLabel:
    """A label is given when its output is above 0, that is, its probability above one half."""

    labels: tuple[str, ...]
    pair: bool = False
    metric: str = "micro_f1"

    METRICS = ("micro_f1", "macro_f1", "exact_match", "hamming_accuracy", "log_loss")
    name = KIND
    objective = "binary_cross_entropy"
    reads = "rows"

    @property
    def width(self) -> int:
        return len(self.labels)

    def encode(self, rows: Rows) -> np.ndarray:
        """Targets as 0 and 1, float32 [N, C]."""
        index = {label: i for i, label in enumerate(self.labels)}
        targets_NC = np.zeros((len(rows), self.width), dtype=np.float32)
        for n, row in enumerate(rows):
            for label in row.target or ():  # type: ignore[union-attr]
                targets_NC[n, index[str(label)]] = 1
        return targets_NC

    def read(self, outputs_NC: np.ndarray) -> np.ndarray:
        return outputs_NC

    def answers(self, outputs_NC: np.ndarray) -> list[tuple[str, ...]]:
        return [tuple(self.labels[c] for c in np.flatnonzero(row_C > 0)) for row_C in outputs_NC]

    def decode(self, outputs_NC: np.ndarray, texts: Sequence[str] = ()) -> list[dict[str, Any]]:
        """What the server answers: the labels given, and the probability of every label."""
        return [
            {
                "labels": list(given),
                "scores": {label: round(float(p), 6) for label, p in zip(self.labels, p_C, strict=True)},
            }
            for given, p_C in zip(self.answers(outputs_NC), sigmoid(outputs_NC), strict=True)
        ]

    def metrics(self, outputs_NC: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        answer_NC, true_NC = outputs_NC > 0, targets > 0.5
        hit_C = (answer_NC & true_NC).sum(0)
        size_C = answer_NC.sum(0) + true_NC.sum(0)
        probability_NC = np.clip(sigmoid(outputs_NC), 1e-12, 1 - 1e-12)
        return {
            "micro_f1": float(2 * hit_C.sum() / max(size_C.sum(), 1)),
            "macro_f1": float((2 * hit_C / np.maximum(size_C, 1))[true_NC.any(0)].mean()) if true_NC.any() else 0.0,
            "exact_match": float((answer_NC == true_NC).all(1).mean()),
            "hamming_accuracy": float((answer_NC == true_NC).mean()),
            "log_loss": float(-np.where(true_NC, np.log(probability_NC), np.log1p(-probability_NC)).mean()),
        }

    def score(self, outputs_NC: np.ndarray, targets: np.ndarray) -> float:
        value = self.metrics(outputs_NC, targets)[self.metric]
        return -value if self.metric == "log_loss" else value

    def flips(self, a_NC: np.ndarray, b_NC: np.ndarray) -> np.ndarray:
        return np.asarray(((a_NC > 0) != (b_NC > 0)).any(1))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "labels": list(self.labels), "pair": self.pair, "metric": self.metric}


TASK = MultiLabel
