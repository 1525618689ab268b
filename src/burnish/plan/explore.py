"""Search over techniques, their settings and their order, with training in the loop.

Paper: Jamieson & Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016,
arXiv:1502.07943 (successive halving).
Differs from it: a shape that is too large or too slow leaves after the first rung whatever its quality, since
training changes neither; of the others not the best by quality go on, but the cheapest to serve that may still come
within the limit, and the best of the rest beside them.

    rung 1   every shape, a ninth of the epochs     size and speed are known for good, quality roughly
    rung 2   three of them, a third of the epochs
    rung 3   two of them, all epochs                and the ends: ways to write the weights, which need no training

A shape is what learns: fewer layers, fewer heads and columns, or both (layers first: heads are cut for the layers that
stay). Everything is cached step by
step, so a search that was killed goes on, and the same request with the same forecast searches alike.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.plan.budget import Budget, cost, excess, overruns
from burnish.plan.candidate import Candidate
from burnish.recipe import Recipe, Use
from burnish.words import say

__all__ = ["ENDS", "Shape", "epochs_for", "explore", "forecast_of", "going_on", "shapes"]

RUNGS = (1 / 9, 1 / 3, 1.0)
KEEP = (3, 2)  # shapes that go on to the second and the third rung
# Points that a shape may lose over the limit on the first and second rung: lessons go on.
ALLOWED = (8.0, 3.0)
MOST_EPOCHS = 30
ENDS: tuple[tuple[str, tuple[Use, ...]], ...] = (
    ("int8", (Use("compress/vocabulary", {}), Use("compress/int8", {}))),
    ("int8, factored tables", (Use("compress/vocabulary", {}), Use("compress/factor_embeddings", {"share": 0.25}),
                               Use("compress/int8", {}))),
    ("int8, 4-bit tables", (Use("compress/vocabulary", {}),
                            Use("compress/round_weights", {"bits": 8, "group": 0, "embeddings": 4}))),
    ("4 bits", (Use("compress/vocabulary", {}), Use("compress/gptq", {"bits": 4, "embeddings": 4}))),
)  # fmt: skip

# Walk a recipe from the tuned model, over the limit in points given, and measure what it ends in; None: it was left.
Walk = Callable[[Recipe, float], Candidate | None]
Time = Callable[[Sequence[Candidate]], None]


@dataclass(frozen=True)
class Shape:
    """Steps that learn, their epochs left open, and what an epoch of theirs costs against one of tuning."""

    name: str
    uses: tuple[Use, ...]
    share: float

    def recipe(self, epochs: int, end: str, tail: tuple[Use, ...]) -> Recipe:
        """Epochs are dealt among the steps; each has one at least."""
        each = max(1, round(epochs / len(self.uses)))
        learned = tuple(Use(use.name, {**use.settings, **_dealt(use, each)}) for use in self.uses)
        why = say("{n} epochs of lessons from the tuned model", n=each * len(learned))
        return Recipe(f"{self.name}, {end}", why, (*learned, *tail))


def _dealt(use: Use, epochs: int) -> dict[str, Any]:
    """A third of a student's epochs on layers alone, where there are three."""
    first = epochs // 3 if use.name == "compress/distill" else 0
    return {"epochs": epochs - first, **({"first_epochs": first} if use.name == "compress/distill" else {})}


def shapes(layers: int) -> list[Shape]:
    """What to try for an encoder of so many layers, the least change first."""
    depths = sorted({max(1, round(layers * share)) for share in (0.5, 0.34, 0.17)} - {layers}, reverse=True)
    narrow = Use("compress/prune_units", {"heads": 0.5, "columns": 0.5})
    narrower = Use("compress/prune_units", {"heads": 0.25, "columns": 0.25})
    found = [
        Shape(say("half the heads and columns"), (narrow,), 0.8),
        Shape(say("a quarter of the heads and columns"), (narrower,), 0.6),
    ]
    for depth in depths:
        student = Use("compress/distill", {"share": round(depth / layers, 4)})
        named = say("{n} of {m} layers", n=depth, m=layers)
        found.append(Shape(named, (student,), depth / layers))
        if depth == depths[0]:
            both = say("{depth}, then half the heads and columns", depth=named)
            found.append(Shape(both, (student, narrow), 0.8 * depth / layers))
    return found


def epochs_for(seconds: float, epoch: float, found: Sequence[Shape], *, extra: float = 0.0) -> int:
    """Epochs of the last rung for which the whole search fits into `seconds`; at least 1, at most `MOST_EPOCHS`.

    `epoch` are the seconds of one epoch of tuning, `extra` those that each candidate takes besides (export, scoring).
    """
    best = 1
    for epochs in range(1, MOST_EPOCHS + 1):
        if forecast_of(epochs, epoch, found, extra=extra) <= seconds:
            best = epochs
    return best


def forecast_of(epochs: int, epoch: float, found: Sequence[Shape], *, extra: float = 0.0) -> float:
    """Seconds that the search should take; which shapes go on is not known, so the dearest are counted."""
    total, counts = 0.0, (len(found), *KEEP)
    dearest = sorted(found, key=lambda shape: -shape.share)
    for rung, count in zip(RUNGS, counts, strict=True):
        for shape in dearest[:count]:
            total += extra + epoch * shape.share * max(len(shape.uses), rung * epochs)
    return total + extra * KEEP[-1] * (len(ENDS) - 1)


def explore(layers: int, epochs: int, budget: Budget, walk: Walk, time_them: Time, report: Callable[..., None]) -> None:
    """Walk the rungs; `walk` keeps what it measures, and `Candidate.facts` say what was left on the way."""
    left = shapes(layers)
    for rung, share in enumerate(RUNGS):
        whole = rung == len(RUNGS) - 1
        allowed = budget.drop + ALLOWED[rung] if not whole else math.inf
        here: dict[str, Candidate] = {}
        for shape in left:
            report(say("rung {n}: {shape}", n=rung + 1, shape=shape.name), 0.0, {})
            for end, tail in ENDS if whole else ENDS[:1]:
                found = walk(shape.recipe(max(1, round(share * epochs)), end, tail), allowed)
                if found is not None and found.facts["status"] == "built":
                    here.setdefault(shape.name, found)
        if whole or not here:
            break
        time_them(list(here.values()))
        kept = going_on({name: c.facts for name, c in here.items()}, budget, KEEP[rung], ALLOWED[rung])
        left = [shape for shape in left if shape.name in kept]
        for name, candidate in here.items():
            why = say("went on with more epochs") if name in kept else say("others promised more after few epochs")
            if overruns(candidate.facts, budget):  # what meets every limit already stays in the race
                candidate.facts |= {"status": "dropped early", "why": why}


def going_on(facts: Mapping[str, Mapping[str, Any]], budget: Budget, count: int, allowed: float) -> set[str]:
    """Which of the measured shapes go on: the cheapest that may come within the limits, and the best of the rest."""

    def over(one: Mapping[str, Any]) -> bool:
        large = budget.max_size is not None and one["size_bytes"] > budget.max_size
        return large or (budget.max_p95_ms is not None and one["p95_ms"] > budget.max_p95_ms)

    fits = {name: one for name, one in facts.items() if not over(one)}
    if not fits:  # nothing can be small or fast enough: the nearest go on, for the answer that says so
        return set(sorted(facts, key=lambda name: excess(facts[name], budget))[:count])
    hopeful = [name for name, one in fits.items() if one["drop"]["value"] <= budget.drop + allowed]
    cheapest = sorted(hopeful, key=lambda name: cost(fits[name]))[: count - 1]
    rest = sorted((name for name in fits if name not in cheapest), key=lambda name: fits[name]["drop"]["value"])
    return {*cheapest, *rest[: count - len(cheapest)]}
