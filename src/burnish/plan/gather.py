"""Gather the candidates of a fit: recipes walked in turn, or shapes searched for; every one built and measured."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from burnish import models, runs
from burnish.errors import UsageError
from burnish.plan.candidate import Candidate, Tried, engines_for, measure
from burnish.plan.choose import time_all
from burnish.plan.explore import epochs_for, explore, forecast_of, shapes
from burnish.plan.ground import Ground
from burnish.plan.request import Request, recipes_for
from burnish.plan.search import Clock, Left, walk
from burnish.recipe import Recipe
from burnish.words import say

__all__ = ["CANDIDATE_SECONDS", "Gather", "explores", "needs_training"]

EXPLORE_FROM = 600.0  # seconds of time from which shapes are searched for, in place of the usual students
CANDIDATE_SECONDS = 12.0  # to export and score one, beside its training
QUICK_SECONDS = 2.0  # of racing for each candidate of a rung
Report = Callable[[str, float, Mapping[str, Any]], None]


def explores(request: Request) -> bool:
    """Whether there is time to search for a shape, and nobody asked for one."""
    return (request.budget.time or 0.0) >= EXPLORE_FROM and not request.recipe and len(recipes_for(request)) > 1


def needs_training(one: Recipe) -> bool:
    """Whether a recipe learns anything after tuning."""
    return any(use.name == "compress/student" for use in one.uses)


class Gather:
    """`made` has what was measured, plain torch of the reference first; `left` what was not walked to its end."""

    def __init__(self, ground: Ground, reference: Tried, expected: Mapping[str, Any], clock: Clock, report: Report):
        self.ground, self.reference, self.expected = ground, reference, expected
        self.clock, self.report = clock, report
        self.made: list[Candidate] = []
        self.left: list[Left] = []

    def all_of(self, wanted: Sequence[Recipe]) -> None:
        """The reference on every engine, the recipes, and where there is time the search, which replaces students."""
        self.build(self.reference, is_reference=True)
        model = self.reference.work.model
        exploring = explores(self.ground.request) and model.config.model_type in models.FAMILIES
        for one in wanted:
            if not (exploring and needs_training(one)):
                self.usual(one)
        if exploring:
            layers = int(model.config.num_hidden_layers)
            budget = self.ground.request.budget
            explore(layers, self.epochs(layers), budget, self.attempt, self.quick, self.report)

    def build(self, tried: Tried, *, is_reference: bool) -> Candidate:
        """Every engine that suits a work, each once; the last of them."""
        self.store(tried)
        known = {c.label: c for c in self.made}
        for engine, precision in engines_for(tried.work, reference=is_reference):
            again = known.get(f"{tried.key}-{engine}-{precision}")
            if again is not None:  # few epochs and more may be the same number
                again.facts |= {"status": "built", "why": ""} if again.facts["status"] == "dropped early" else {}
                continue
            facts = {"name": tried.name, "engine": engine, "precision": precision}
            self.report(say("building {name} for {engine} {precision}", **facts), 0.0, {})
            against = self.made[0].outputs if self.made else None
            made = measure(self.ground.run, tried, engine, precision, against, self.ground.request.model)
            self.made.append(made)
            known[made.label] = made
        return known[f"{tried.key}-{engine}-{precision}"]

    def store(self, tried: Tried) -> None:
        """Keep a work's plain torch outputs, so that every engine's agreement with them can be recounted."""
        work = self.ground.work
        found = runs.Predictions([r.id for r in work.valid], tried.outputs, work.task.encode(work.valid))
        runs.write_predictions(self.ground.run / "predictions" / f"valid-{tried.key}.jsonl", found)

    def usual(self, one: Recipe) -> None:
        needed = self.seconds(one)
        if needed and needed > self.clock.left():  # what needs no training is always tried
            why = say("it needs about {n:.0f} s, {left:.0f} s are left", n=needed, left=max(0.0, self.clock.left()))
            self.left.append(Left(one, tuple(u.name for u in one.uses), "not tried", why))
            return
        self.report(say("trying {name}", name=one.name), 0.0, {})
        self.walked(one, self.ground.request.budget.drop, 1)

    def seconds(self, one: Recipe) -> float:
        """About how long the training in a recipe takes, after tuning."""
        students = [use for use in one.uses if use.name == "compress/student"]
        whole = float(self.expected["student_seconds"])
        return sum(whole * 2 * float(use.settings.get("share", 0.5)) for use in students)

    def walked(self, one: Recipe, limit: float, at: int) -> Candidate | None:
        """Walk a recipe from its step `at`; the candidate that came of it."""
        made = None
        steps = walk(self.ground, one, self.reference, limit, self.clock, self.report, self.expected, at)
        for found in steps:
            if isinstance(found, Left):
                self.left.append(found)
                return None
            made = self.build(found, is_reference=False)
        return made

    # -- for the search ----------------------------------------------------------------------------

    def attempt(self, one: Recipe, limit: float) -> Candidate | None:
        if self.clock.left() <= 0:
            why = say("the time was used up")
            self.left.append(Left(one, tuple(u.name for u in one.uses), "not tried", why))
            return None
        try:
            return self.walked(one, limit, 0)
        except UsageError as error:  # a technique that does not fit this model
            self.left.append(Left(one, tuple(u.name for u in one.uses), "failed", str(error).splitlines()[0]))
            return None

    def quick(self, candidates: Sequence[Candidate]) -> None:
        """Size and speed of what may go on; the race at the end is the one that counts."""
        seconds = QUICK_SECONDS * (1 + len(candidates))
        time_all([self.made[0], *candidates], self.made[0], self.ground.work.valid, seconds)

    def epochs(self, layers: int) -> int:
        """How many the last rung may have; settled once, so that a resumed search is the same one."""
        place = self.ground.run / "explore.json"
        if not place.is_file():
            tuned = next(r for r in runs.read_records(self.ground.run) if r.key == self.reference.key)
            epoch = tuned.notes["train_seconds"] / max(0.1, tuned.notes["evals"][-1]["epoch"])
            found = shapes(layers)
            epochs = epochs_for(self.clock.left(), epoch, found, extra=CANDIDATE_SECONDS)
            seconds = forecast_of(epochs, epoch, found, extra=CANDIDATE_SECONDS)
            told = {"epochs": epochs, "epoch_seconds": epoch, "forecast_seconds": seconds}
            runs.write_json(place, {**told, "shapes": [shape.name for shape in found]})
        return int(runs.read_json(place)["epochs"])
