"""The trials of a search: each is one FineTune from the same start, with the same seed and the same order of rows.

    trials/HASH/      a trial's checkpoints while it trains, and result.json once it is done; a trial that is tried
                      again after its worker's death goes on from there
    finalists/HASH-K/ the same for the best settings with seed K

See `burnish.plan.workers` for the processes that run them.
"""

import json
import math
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from burnish import models, runs
from burnish.catalog import build
from burnish.core import Desk, Work, lend
from burnish.errors import BurnishError, DataError, Missing, UsageError
from burnish.measure.word_baselines import nothing
from burnish.plan import space as spaces
from burnish.plan.budget import Budget
from burnish.plan.candidate import torch_outputs
from burnish.plan.ground import Ground
from burnish.plan.request import Request
from burnish.plan.space import STEP, Space, Value, settings_of
from burnish.words import say

if TYPE_CHECKING:
    from burnish.plan.study import Study, Taken

__all__ = ["Hand", "Job", "Outcome", "Plan", "repeat", "train_once"]

Report = Callable[[str, float, Mapping[str, Any]], None]
POLL = 0.3  # seconds between two looks of who waits for others


@dataclass(frozen=True)
class Plan:
    """All that a worker must know; made once, and the same for every worker."""

    run: Path
    request: Request
    base: Mapping[str, Any]  # settings of the step that hold for every trial
    space: Space
    default: Mapping[str, Value]
    trials: int
    sampler: str
    pruner: str
    workers: int = 1

    def open(self) -> "Study":
        from burnish.plan.study import Study

        return Study(
            self.run, self.space, self.default, seed=self.request.seed, sampler=self.sampler, pruner=self.pruner,
            workers=self.workers,
        )  # fmt: skip

    def settings(self, point: Mapping[str, Value]) -> dict[str, Any]:
        return settings_of(self.base, point, self.space)

    def to_json(self) -> dict[str, Any]:
        told = {"run": str(self.run), "request": self.request.to_json(), "space": spaces.to_json(self.space)}
        return {**vars(self), **told}

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> "Plan":
        asked = found["request"]
        request = Request(**{**asked, "budget": Budget(**asked["budget"]), "steps": tuple(asked["steps"])})
        rest = {"run": Path(found["run"]), "request": request, "space": spaces.from_json(found["space"])}
        return Plan(**{**found, **rest})


@dataclass(frozen=True)
class Outcome:
    score: float
    seconds: float
    why: str = ""
    failed: bool = False
    cut: bool = False  # time ended it: its score says little


@dataclass(frozen=True)
class Job:
    """A finalist with one seed."""

    settings: Mapping[str, Any]
    seed: int

    def place(self, ground: Ground) -> Path:
        return ground.run / "finalists" / f"{_key(ground, self.settings)}-{self.seed}"


class _Pruned(Exception):
    """The study gives this trial up."""


# -- one run -------------------------------------------------------------------------------------


def train_once(
    work: Work, settings: Mapping[str, Any], *, draw: str, folder: Path, deadline: float | None, report: Report
) -> Outcome:
    """Tune from `work` and score on its validation rows; `draw` decides all that is random.

    Finished in `folder` before: answered from there. A run that diverges is an outcome; a setting that cannot be meant
    raises.
    """
    if (done := _kept_before(folder)) is not None:
        return done
    start, lent = time.monotonic(), Desk(folder, report, deadline)
    step = build(STEP, settings)
    try:
        with lend(lent):
            tuned = step(replace(work, notes={}), random.Random(draw))
    except (UsageError, DataError, Missing):
        raise
    except BurnishError as error:  # numbers that are not finite
        return _kept(folder, Outcome(_floor(work), time.monotonic() - start, str(error).splitlines()[0], failed=True))
    score = work.task.score(torch_outputs(tuned), work.task.encode(work.valid))
    seconds, stopped = time.monotonic() - start, str(tuned.notes["stopped"])
    if lent.seconds_left() < 0 and stopped:
        return Outcome(score, seconds, stopped, cut=True)
    if not math.isfinite(score):
        return _kept(folder, Outcome(_floor(work), seconds, say("its score is no number"), failed=True))
    return _kept(folder, Outcome(score, seconds, "; ".join(filter(None, (stopped, _rescued(tuned.notes["events"]))))))


def _rescued(events: Sequence[Mapping[str, Any]]) -> str:
    """What the doctor did: the score is then not that of the settings alone."""
    acts = dict.fromkeys(event["name"] for event in events if event["did"] in ("rate", "back", "restart"))
    return say("the doctor acted on: {names}", names=", ".join(acts)) if acts else ""


def _floor(work: Work) -> float:
    """The score of answers that know nothing."""
    nothing_N = np.zeros((len(work.valid), work.task.width), np.float32)
    said = nothing_N if work.task.reads == "rows" else nothing(work.task, work.valid)
    score = work.task.score(said, work.task.encode(work.valid))
    return min(0.0, score) if math.isfinite(score) else -1.0


def _kept_before(folder: Path) -> Outcome | None:
    place = folder / "result.json"
    return Outcome(**runs.read_json(place)) if place.is_file() else None


def _kept(folder: Path, outcome: Outcome) -> Outcome:
    runs.write_json(folder / "result.json", outcome.__dict__)
    _sweep(folder)
    return outcome


def _sweep(folder: Path) -> None:
    """Checkpoints of a run that is over are only gigabytes."""
    for path in folder.glob("*") if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _key(ground: Ground, settings: Mapping[str, Any]) -> str:
    return runs.text_hash(json.dumps([ground.key, settings], sort_keys=True))[:16]


# -- a worker ------------------------------------------------------------------------------------


@dataclass
class Hand:
    """A worker: takes trials until there are enough, or time is over."""

    plan: Plan
    ground: Ground
    study: "Study"
    report: Report
    search_end: float | None  # time.monotonic()
    end: float | None
    wanted: int = field(init=False)

    def __post_init__(self) -> None:
        self.wanted = self.study.most(self.plan.trials)

    def work(self) -> None:
        while not self.late() or self.study.is_new():  # the default is tried whatever the time
            taken = self.study.take(self.wanted)
            if taken is not None:
                with self.study.working(taken):
                    self.attempt(taken)
            elif len(self.study.finished()) >= self.wanted:
                return
            else:
                time.sleep(POLL)  # who is on the rest may die and leave it

    def late(self) -> bool:
        return self.search_end is not None and time.monotonic() > self.search_end

    def attempt(self, taken: "Taken") -> None:
        settings = self.plan.settings(taken.point)
        folder = self.ground.run / "trials" / _key(self.ground, settings)
        is_default = taken.number == 0
        start = time.monotonic()

        def seen(what: str, share: float, facts: Mapping[str, Any]) -> None:
            score = facts.get("score", -math.inf)
            if math.isfinite(score) and taken.report(share, score):
                raise _Pruned
            shown = {k: facts[k] for k in ("loss", "score") if k in facts}
            self.report(say("searching"), min(0.99, (taken.number + share) / self.wanted), shown)

        draw = f"search/{self.plan.request.seed}"  # the same for every trial: only the settings differ
        # The default is what all others are held against, so it may use the time of the finalists too.
        deadline = self.end if is_default else self.search_end
        try:
            outcome = train_once(
                self.ground.work, settings, draw=draw, folder=folder, deadline=deadline, report=seen
            )  # fmt: skip
        except _Pruned:
            why = say("worse than others at {n} of {m} of its way", n=taken.rung, m=taken.rungs)
            self.study.finish(taken, score=None, seconds=time.monotonic() - start, why=why)
            _sweep(folder)
        except UsageError as error:
            if is_default:
                raise
            why = str(error).splitlines()[0]
            self.study.finish(
                taken, score=_floor(self.ground.work), seconds=time.monotonic() - start, why=why, failed=True
            )
        else:
            score = None if outcome.cut else outcome.score
            self.study.finish(taken, score=score, seconds=outcome.seconds, why=outcome.why, failed=outcome.failed)
        self.wrote(taken.number)

    def wrote(self, number: int) -> None:
        line = next((t for t in self.study.finished() if t["trial"] == number), None)
        if line:
            runs.append_line(self.ground.run / "trials.jsonl", line)


# -- finalists -----------------------------------------------------------------------------------


def repeat(ground: Ground, job: Job, *, deadline: float | None, report: Report) -> Outcome:
    """Train a finalist with another seed: of the head, where it is new, of dropout and of the order of rows."""
    request, place = ground.request, job.place(ground)
    if (done := _kept_before(place)) is not None:  # a model need not be loaded for it
        return done
    seed = request.seed + 1_000 + job.seed
    model, _ = models.load(request.model, ground.work.task, seed=seed, new_head=request.new_head)
    return train_once(
        replace(ground.work, model=model), job.settings, draw=f"finalist/{seed}", folder=place,
        deadline=deadline, report=report,
    )  # fmt: skip
