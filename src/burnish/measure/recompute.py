"""Every number about a split again, from its stored predictions alone: what `verify`, `compare` and the
report share.

Because they all call this one file, a number in the report and its recount can only differ when a file was
changed.
"""

from typing import Any

import numpy as np

from burnish.core import Task
from burnish.errors import DataError, problem
from burnish.measure.intervals import Drop, interval, paired_drop
from burnish.measure.quality import quality
from burnish.runs import Predictions
from burnish.words import say

__all__ = ["recompute", "recompute_drop"]


def recompute(task: Task, predictions: Predictions, *, seed: int = 0) -> dict[str, Any]:
    """{"rows", "metrics", "score", "interval": {"value", "low", "high"}}; the value is the score.

    Raises UsageError when the task's metric is undefined on these rows.
    """
    found = quality(predictions.outputs, predictions.targets, task)
    around = interval(task, predictions.outputs, predictions.targets, seed=seed)
    return {"rows": len(predictions.ids), **found, "interval": around.to_json()}


def recompute_drop(task: Task, reference: Predictions, candidate: Predictions, *, seed: int = 0) -> Drop:
    """The paired drop between two stored sets of predictions.

    Raises DataError when they are not about the same rows in the same order with the same targets.
    """
    if reference.ids != candidate.ids or not np.array_equal(reference.targets, candidate.targets):
        given = say("the two sets of predictions are about different rows")
        expected = say("the same rows in the same order, with the same targets")
        raise DataError(problem(given, expected, say("make both with the same data, --test file and seed")))
    return paired_drop(task, reference.outputs, candidate.outputs, reference.targets, seed=seed)
