"""What goes in, what comes out and how it is scored: one file a task, numpy only.

Each file holds one frozen dataclass with the members of `burnish.core.Task` and a `KIND`, the name that
`--task` takes. A sentence pair is an input, not a task: any task may have `pair=True`.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from burnish.core import Task
from burnish.errors import UsageError, nearest, problem
from burnish.words import say

__all__ = ["from_json", "kinds", "make"]


def kinds() -> dict[str, Any]:
    """Task name -> class, read off the files in this folder."""
    found = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
    return {m.KIND: m.TASK for m in found if hasattr(m, "KIND")}


def make(kind: str, labels: tuple[str, ...] = (), pair: bool = False, metric: str | None = None) -> Task:
    """Build the task called `kind`; `metric` replaces its primary metric.

    Raises UsageError for an unknown task or a metric the task does not have.
    """
    known = kinds()
    if kind not in known:
        close = nearest(kind, known)
        raise UsageError(
            problem(
                say("there is no task '{kind}'", kind=kind),
                say("one of: {known}", known=", ".join(sorted(known))),
                say("--task {close}", close=close) if close else say("leave --task out and let burnish infer it"),
            )
        )
    cls = known[kind]
    if metric is not None and metric not in cls.METRICS:
        raise UsageError(
            problem(
                say("'{metric}' is not a metric of {kind}", metric=metric, kind=kind),
                say("one of: {known}", known=", ".join(cls.METRICS)),
                say("--metric {close}", close=nearest(metric, cls.METRICS) or cls.METRICS[0]),
            )
        )
    return cast(Task, cls(labels=labels, pair=pair, metric=metric or cls.METRICS[0]))


def from_json(facts: Mapping[str, Any]) -> Task:
    """Rebuild a task from what its `to_json` wrote."""
    made = make(facts["name"], tuple(facts["labels"]), facts["pair"], facts["metric"])
    return replace(made, steps=tuple(map(tuple, facts["steps"]))) if facts.get("steps") else made  # type: ignore[type-var]
