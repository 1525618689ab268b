"""The doctor: reads a run's diary while it trains, says what is wrong with it, and acts where it may.

    act       goes back, begins again, lowers the rate or stops, within bounds; notes everything else
    advise    only notes what it sees, and what it would have done
    off       nobody watches

It knows only what is in the diary and what was fixed before the run, so a resumed run is treated alike; and a run in
which it finds nothing to do ends in the same bits as one without it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from burnish.train import diagnoses, diagnoses_dev, diagnoses_rhythm
from burnish.train.case import Case, case_of, look_at
from burnish.train.diary import Diary
from burnish.train.parts import Facts
from burnish.train.readings import by_layer, window
from burnish.train.watch import Act, Watch
from burnish.words import say

__all__ = ["MODES", "Doctor", "doctor_for"]

MODES = ("act", "advise", "off")
# Interventions of one kind, and all in all: after that it only speaks.
MOST_OF_A_KIND, MOST = 3, 5
REPEATS = ("spike",)  # may be said more than once


@dataclass
class Doctor(Watch):
    """`usual` is the rate that is usual for the model, `warmup` the share of the steps; both fixed before the run."""

    mode: str = "act"
    usual: float | None = None
    warmup: float = 0.1
    case: Case = field(init=False)
    facts: Facts = field(init=False)

    def __post_init__(self) -> None:
        self.acts = self.mode == "act"

    def begin(self, facts: Facts, plain: bool) -> None:
        self.facts = facts
        self.case = case_of(facts, plain=plain, usual=self.usual, warmup=self.warmup)

    def stepped(self, diary: Diary, layer_norms: Mapping[str, float]) -> tuple[Act, ...]:
        if layer_norms:
            diary.layers.append({"step": diary.curve[-1]["step"], "norms": by_layer(layer_norms)})
        due = len(diary.curve) % window(self.case) == 0
        return self._decide(diary, self._seen(diary, diagnoses.AT_WINDOWS if due else diagnoses.AT_STEPS))

    def evaluated(self, diary: Diary, facts: Mapping[str, Any]) -> tuple[Act, ...]:
        score = diary.evals[-1]["score"]
        look = look_at(self.facts, facts["outputs"], facts["targets"], facts["metrics"], score)
        found = {"valid_loss": diary.evals[-1]["valid_loss"], "stopped": facts["stopped"], "last": facts["last"]}
        diary.looks.append(look | found)
        if not diary.curve:
            return self._decide(diary, self._seen(diary, (diagnoses.overflow,)))
        wanted = [*diagnoses.AT_EVALUATIONS, *diagnoses_dev.AT_EVALUATIONS, *diagnoses_rhythm.AT_EVALUATIONS]
        if facts["last"]:
            wanted += [*diagnoses.AT_THE_END, *diagnoses_dev.AT_THE_END]
        return self._decide(diary, self._seen(diary, wanted))

    def broke(self, diary: Diary, loss: float, norm: float, rows: list[int]) -> Act | None:
        """Back with a third of the rate; the same rows again, or numbers that were never finite, end the run."""
        source = diary.source
        before = [e for e in diary.events if e["name"] == "not finite" and e["did"] == "back"]
        same = any(set(e["evidence"]["rows"]) & set(source["rows"]) for e in before)
        if not self.acts or same or not diary.curve or source["kind"] == "target" or self._spent(diary, "back"):
            return None
        why = say("{what} stopped being finite", what=source["what"])
        advice = say("a lower rate, --set precision=fp32, or a look at these rows")
        return Act("back", "not finite", why, dict(source), factor=diagnoses.LESS, advice=advice)

    def _seen(self, diary: Diary, wanted: Iterable[Any]) -> Iterable[Act | None]:
        return (diagnose(diary, self.case) for diagnose in wanted)

    def _decide(self, diary: Diary, found: Iterable[Act | None]) -> tuple[Act, ...]:
        """What is new among the findings, up to the first that is acted on: after it, the rest is about another run."""
        said = {e["name"] for e in diary.events if e["did"] == "say" and e["name"] not in REPEATS}
        acts: list[Act] = []
        for act in found:
            act = act and self._allowed(diary, act)
            if act is None or (act.kind == "say" and act.name in said):
                continue
            acts.append(act)
            if act.kind != "say":
                break
        return tuple(acts)

    def _allowed(self, diary: Diary, act: Act) -> Act:
        if act.kind == "say" or (self.acts and not self._spent(diary, act.kind)):
            return act
        return replace(act, kind="say", would=act.kind, factor=1.0)

    def _spent(self, diary: Diary, kind: str) -> bool:
        done = [e["did"] for e in diary.events if e["did"] != "say"]
        return done.count(kind) >= MOST_OF_A_KIND or len(done) >= MOST


def doctor_for(mode: str, *, usual: float | None, warmup: float) -> Doctor | None:
    """The watch for a run, or None when it is off."""
    return None if mode == "off" else Doctor(mode, usual, warmup)
