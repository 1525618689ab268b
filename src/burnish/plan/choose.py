"""Race the candidates, judge each against the limits, and choose the one that costs least to serve."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.core import Row
from burnish.measure.speed import Entrant, Reading, faster, race, verdict
from burnish.plan.budget import Budget, cost, dominates, excess, overruns
from burnish.plan.candidate import Candidate, inputs_of
from burnish.serve.predict import Local
from burnish.words import say

__all__ = ["judge", "nearest_three", "time_all"]


def time_all(
    candidates: Sequence[Candidate], reference: Candidate, valid: Sequence[Row], seconds: float
) -> dict[str, Reading]:
    """Race all built candidates against plain torch float32, and put the readings into their facts."""
    built = [c for c in candidates if c.facts["status"] == "built"]
    entrants = [_entrant(c) for c in built]
    rows = inputs_of(valid, reference.tried.work.task)
    readings = race(entrants, rows, reference=reference.label, seconds=seconds)
    for candidate in built:
        candidate.facts |= readings[candidate.label].to_json()
    return readings


def _entrant(candidate: Candidate) -> Entrant:
    """Tokens are made inside the timing, as a server has to make them too."""
    local = Local(candidate.folder)
    return Entrant(candidate.label, functools.partial(_one, local), local.outputs)


def _one(local: Local, row: Any) -> Any:
    return local.outputs([row])


def judge(
    candidates: Sequence[Candidate], reference: Candidate, readings: Mapping[str, Reading], budget: Budget
) -> Candidate | None:
    """Give each candidate its status and the sentence for it; return the chosen one, None when none meets the limits.

    An engine that is not clearly faster than plain torch is no optimisation: it is passed over unless it is
    smaller.
    """
    for c in candidates:
        if c.facts["status"] == "built":
            over = overruns(c.facts, budget)
            c.facts |= {"status": "over budget", "why": "; ".join(over)} if over else {"status": "meets"}
    meets = [c for c in candidates if c.facts["status"] == "meets"]
    useful = [c for c in meets if c is reference or _earns(c, reference, readings[c.label])]
    for c in meets:
        better = next((o for o in meets if dominates(o.facts, c.facts)), None)
        if c not in useful:
            c.facts |= {"status": "dominated", "why": verdict_of(readings[c.label], c)}
        elif better is not None:
            c.facts |= {
                "status": "dominated",
                "why": say("{name} is as good in everything", name=_told(better)),
            }
        else:
            c.facts |= {"status": "pareto", "why": verdict_of(readings[c.label], c)}
    chosen = min(useful, key=lambda c: cost(c.facts), default=None)
    if chosen is not None:
        chosen.facts["status"] = "chosen"
        chosen.facts["why"] = say(
            "it meets every limit and costs least to serve (bytes x milliseconds); {verdict}",
            verdict=verdict_of(readings[chosen.label], chosen),
        )
    return chosen


def _earns(c: Candidate, reference: Candidate, reading: Reading) -> bool:
    return faster(reading) or c.facts["size_bytes"] < 0.9 * reference.facts["size_bytes"]


def _told(c: Candidate) -> str:
    return f"{c.facts['name']} ({c.engine} {c.precision})"


def verdict_of(reading: Reading, c: Candidate) -> str:
    """The race's verdict with the names a reader knows instead of keys."""
    text = verdict(reading)
    return text.replace(reading.name, _told(c)).replace(reading.reference, say("plain torch"))


def nearest_three(candidates: Sequence[Candidate], budget: Budget) -> list[Candidate]:
    """The measured candidates closest to the limits, best first."""
    measured = [c for c in candidates if "p95_ms" in c.facts]
    return sorted(measured, key=lambda c: (excess(c.facts, budget), cost(c.facts)))[:3]
