"""A number for each text, or for each pair of texts: ratings, similarity, valence.

Shapes: N = rows; outputs are [N, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from burnish.core import Rows
from burnish.tasks.scores import pearson, spearman

__all__ = ["Regress"]

KIND = "regression"
# Two answers count as different when they differ by more than this: an eye would, too.
FLIP = 0.01


@dataclass(frozen=True)
class Regress:
    """The outputs are the values themselves: training rescales the head, so nobody has to divide later."""

    labels: tuple[str, ...] = ()  # none; here so that all tasks are built alike
    pair: bool = False
    metric: str = "pearson"

    METRICS = ("pearson", "spearman", "r2", "mae", "rmse")
    name = KIND
    objective = "mean_squared_error"
    reads = "rows"
    width = 1

    def encode(self, rows: Rows) -> np.ndarray:
        """Targets, float32 [N, 1]."""
        return np.array([[float(row.target)] for row in rows], dtype=np.float32)  # type: ignore[arg-type]

    def read(self, outputs_NC: np.ndarray) -> np.ndarray:
        return outputs_NC

    def answers(self, outputs_NC: np.ndarray) -> list[float]:
        return [float(v) for v in outputs_NC[:, 0]]

    def decode(self, outputs_NC: np.ndarray, texts: Sequence[str] = ()) -> list[dict[str, Any]]:
        return [{"value": round(float(v), 6)} for v in outputs_NC[:, 0]]

    def metrics(self, outputs_NC: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        said_N, true_N = outputs_NC[:, 0].astype(np.float64), targets.reshape(-1).astype(np.float64)
        squared = float(((said_N - true_N) ** 2).mean())
        spread = float(true_N.var())
        return {
            "pearson": pearson(said_N, true_N),
            "spearman": spearman(said_N, true_N),
            "r2": 1 - squared / spread if spread else 0.0,
            "mae": float(np.abs(said_N - true_N).mean()),
            "rmse": squared**0.5,
        }

    def score(self, outputs_NC: np.ndarray, targets: np.ndarray) -> float:
        value = self.metrics(outputs_NC, targets)[self.metric]
        return -value if self.metric in ("mae", "rmse") else value

    def flips(self, a_NC: np.ndarray, b_NC: np.ndarray) -> np.ndarray:
        return ~(np.abs(a_NC[:, 0] - b_NC[:, 0]) <= FLIP)  # in this form nan is a flip too

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "labels": [], "pair": self.pair, "metric": self.metric}


TASK = Regress
