"""Try the recipes, cheapest promise first; leave early where the validation rows have already spoken."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from burnish.core import Desk, Step, Task, Work, run
from burnish.measure.intervals import paired_drop
from burnish.measure.quality import quality
from burnish.measure.size import model_size
from burnish.plan.cache import Works
from burnish.plan.candidate import Tried, torch_outputs
from burnish.plan.ground import Ground
from burnish.recipe import Recipe
from burnish.words import say

__all__ = ["Clock", "Left", "settle", "tune", "walk"]


@dataclass
class Clock:
    """Seconds of the whole run, earlier parts of a killed run not counted."""

    limit: float | None
    reserve: float  # kept back for the race, parity and the report
    start: float

    def left(self) -> float:
        return float("inf") if self.limit is None else self.limit - self.reserve - (time.monotonic() - self.start)

    def deadline(self, share: float = 1.0) -> float | None:
        """When a step that may use `share` of what is left should be done."""
        return None if self.limit is None else time.monotonic() + max(1.0, share * self.left())


@dataclass(frozen=True)
class Left:
    """A recipe that was not walked to its end, and why."""

    recipe: Recipe
    steps: tuple[str, ...]
    status: str  # 'dropped early' or 'not tried'
    why: str


class _Memo:
    """Scores a work once, though it is needed as a probe, for the drop and as an engine's reference."""

    def __init__(self) -> None:
        self.work: Work | None = None
        self.outputs_NC = np.empty(0)

    def __call__(self, work: Work) -> np.ndarray:
        if work is not self.work:
            self.outputs_NC, self.work = torch_outputs(work), work
        return self.outputs_NC


def tune(
    ground: Ground,
    step: Step,
    clock: Clock,
    report: Callable[..., None],
    *,
    work: Work | None = None,
    parent: str | None = None,
    before: tuple[str, ...] = (),
    share: float = 0.7,
) -> Tried:
    """The reference: the tuned float model every other one is compared with.

    `work`, of the step with the key `parent` and after the steps `before`, is where it begins; else the ground's own.
    `share` of the time left is what it may take.
    """
    memo = _Memo()
    lent = Desk(report=report, deadline=clock.deadline(share))
    for made, record in run(
        [step], work or ground.work, _probes(ground.work.task, memo), _cache(ground), parent=parent or ground.key,
        lent=lent, seed=ground.request.seed,
    ):  # fmt: skip
        return Tried(say("tuned"), "tuned", (*before, record.step), record.key, made, memo(made))
    raise AssertionError("a step was run")


def walk(
    ground: Ground,
    recipe: Recipe,
    reference: Tried,
    limit: float,
    clock: Clock,
    report: Callable[..., None],
    settled: Mapping[str, Any],
    at: int = 1,
) -> Iterator[Tried | Left]:
    """Walk one recipe from the tuned work on, from its step `at`; yield what it ends in. `settled` goes to `settle`.

    It is left early when, after some step, even the kindest end of the paired interval loses more than `limit`
    points: the steps after it would only make the model smaller, not better.
    """
    memo, steps = _Memo(), [settle(step, settled) for step in recipe.build()[at:]]
    names: list[str] = list(reference.steps)
    last: Tried | None = None
    targets = ground.work.task.encode(ground.work.valid)
    lent = Desk(report=report, deadline=clock.deadline())
    for work, record in run(
        steps, reference.work, _probes(ground.work.task, memo), _cache(ground), parent=reference.key, lent=lent,
        seed=ground.request.seed,
    ):  # fmt: skip
        names.append(record.step)
        last = Tried(recipe.name, recipe.name, tuple(names), record.key, work, memo(work))
        drop = paired_drop(ground.work.task, reference.outputs, last.outputs, targets)
        if drop.low > limit:
            why = say(
                "after {step} it loses {v:.1f} points, surely over {limit:.1f}",
                step=record.step,
                v=drop.value,
                limit=limit,
            )
            yield Left(recipe, tuple(names), "dropped early", why)
            return
    if last is not None:
        yield last


def settle(step: Step, settled: Mapping[str, Any]) -> Step:
    """Give a step the choices that were measured once for the whole run, where it leaves them open.

    They become settings, and so part of the step's key: a run that is resumed, on a machine that happens to be
    busier, cannot decide anew in the middle. `settled` has "precision", and "epochs" when time is short.
    """
    found = {}
    if getattr(step, "precision", None) == "auto":
        found["precision"] = settled["precision"]
    if settled["reasons"] and getattr(step, "epochs", 0) is None:
        found["epochs"] = settled["epochs"]
    return replace(step, **found) if found else step  # type: ignore[type-var]


def _cache(ground: Ground) -> Works:
    return Works(ground.run, ground.work.train)


def _probes(task: Task, memo: _Memo) -> dict[str, Callable[[Work], Any]]:
    return {
        "quality": lambda work: quality(memo(work), task.encode(work.valid), task),
        "size": lambda work: model_size(work.model),
    }
