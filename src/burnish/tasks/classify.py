"""Classification of a text, or of a pair of texts, into exactly one of two or more labels.

Shapes: N = rows, C = labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from burnish.core import Rows
from burnish.errors import UsageError, problem
from burnish.tasks.scores import auroc, calibration_error, f1_per_label, matthews, softmax
from burnish.words import say

__all__ = ["Classify"]

KIND = "text-classification"


@dataclass(frozen=True)
class Classify:
    """`labels` in the order of the model's outputs; with two labels the second counts as positive."""

    labels: tuple[str, ...]
    pair: bool = False
    metric: str = "accuracy"  # the primary one, which budgets and early stopping look at

    METRICS = ("accuracy", "macro_f1", "f1", "mcc", "auroc", "log_loss", "calibration_error")
    name = KIND
    objective = "cross_entropy"
    reads = "rows"

    def __post_init__(self) -> None:
        if self.metric in ("f1", "auroc") and len(self.labels) != 2:
            given = say("{metric} with {n} labels", metric=self.metric, n=len(self.labels))
            raise UsageError(
                problem(given, say("two labels, of which the second is the positive one"), "--metric macro_f1")
            )

    @property
    def width(self) -> int:
        return len(self.labels)

    def encode(self, rows: Rows) -> np.ndarray:
        """Targets as indices into `labels`, int64 [N]."""
        index = {label: i for i, label in enumerate(self.labels)}
        return np.array([index[str(row.target)] for row in rows], dtype=np.int64)

    def read(self, outputs_NC: np.ndarray) -> np.ndarray:
        return outputs_NC

    def answers(self, outputs_NC: np.ndarray) -> list[str]:
        return [self.labels[i] for i in outputs_NC.argmax(1)]

    def decode(self, outputs_NC: np.ndarray, texts: Sequence[str] = ()) -> list[dict[str, Any]]:
        """What the server answers: the best label and its probability."""
        probability_NC = softmax(outputs_NC)
        best_N = outputs_NC.argmax(1)
        return [
            {"label": self.labels[i], "score": round(float(p_C[i]), 6)}
            for i, p_C in zip(best_N, probability_NC, strict=True)
        ]

    def metrics(self, outputs_NC: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        probability_NC, answer_N = softmax(outputs_NC), outputs_NC.argmax(1)
        f1_C = f1_per_label(answer_N, targets, self.width)
        seen = np.unique(np.concatenate([targets, answer_N]))  # a label nobody has or names says nothing
        true_probability_N = probability_NC[np.arange(len(targets)), targets]
        found = {
            "accuracy": float((answer_N == targets).mean()),
            "macro_f1": float(f1_C[seen].mean()),
            "mcc": matthews(answer_N, targets, self.width),
            "log_loss": float(-np.log(np.clip(true_probability_N, 1e-12, 1)).mean()),
            "calibration_error": calibration_error(probability_NC.max(1), answer_N == targets),
        }
        if self.width == 2:
            found["f1"] = float(f1_C[1])
            found["auroc"] = auroc(probability_NC[:, 1], targets == 1)
        return found

    def score(self, outputs_NC: np.ndarray, targets: np.ndarray) -> float:
        """The primary metric, higher is better."""
        value = self.metrics(outputs_NC, targets).get(self.metric, float("nan"))
        return -value if self.metric in ("log_loss", "calibration_error") else value

    def flips(self, a_NC: np.ndarray, b_NC: np.ndarray) -> np.ndarray:
        """Which rows change their answer between two sets of outputs, bool [N]."""
        return np.asarray(a_NC.argmax(1) != b_NC.argmax(1))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "labels": list(self.labels), "pair": self.pair, "metric": self.metric}


TASK = Classify
