"""Does augmentation help on these data? Measured before it is believed, and left out where it is not shown to.

    training rows ──augment──► more rows ──tune, K steps──► with    ┐ paired on the validation rows,
          └────────────────────────────────tune, K steps──► without ┘ over seeds: helps, hurts, cannot tell

Both arms have the same rate, the same batches and the same number of optimizer steps: more rows also mean more steps,
and those alone may help. The arm that wins is the reference of the run, so that it is not trained again.

no paper: the comparison that Longpre, Wang, DuBois, "How Effective is Task-Agnostic Data Augmentation for Pretrained
Transformers?", Findings of EMNLP 2020, arXiv:2010.01764, ask for. The interval is in burnish.measure.effects.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from burnish import runs
from burnish.catalog import build
from burnish.core import Desk, Record, Step, Work, run
from burnish.measure.effects import gain, verdict_of_gain
from burnish.plan.cache import Works
from burnish.plan.candidate import Tried, torch_outputs
from burnish.plan.ground import Ground
from burnish.plan.search import Clock, tune
from burnish.recipe import Use
from burnish.train.prepare import settings_for
from burnish.tune.finetune import FineTune
from burnish.words import say

__all__ = ["FILE", "affordable", "matched", "tuned", "useful"]

FILE = "augment.json"
SEEDS = 3
SHARE = 0.6  # of the time left that the comparison may take; racing, parity and students need the rest
UNKNOWN_RATIO = 1.0  # of a step that chooses its techniques itself
Report = Callable[[str, float, Mapping[str, Any]], None]


def affordable(pair: float, left: float) -> int:
    """Pairs of arms, one a seed, that fit into the time; `pair` is about what one takes."""
    return SEEDS if left == float("inf") else max(0, min(SEEDS, int(SHARE * left / max(pair, 1e-9))))


def useful(uses: Sequence[Use], tune_seconds: float, left: float) -> dict[str, Any]:
    """For a forecast, before any row is made: how many pairs, and what they cost beyond tuning once."""
    ratio = sum(getattr(use.build(), "ratio", UNKNOWN_RATIO) or UNKNOWN_RATIO for use in uses)
    pair = 2 * (1 + ratio) * tune_seconds
    seeds = affordable(pair, left)
    return {"steps": [use.name for use in uses], "seeds": seeds, "seconds": max(0.0, seeds * pair - tune_seconds)}


def matched(work: Work, more: Work, step: FineTune) -> FineTune:
    """The step for both arms: what follows from the number of rows is settled by `work`, so that only rows differ.

    As many optimizer steps as the usual epochs over all rows of `more`.
    """
    settings, max_length, _ = settings_for(work, step)
    steps = settings.epochs * -(-len(more.train) // settings.batch_size) if step.steps is None else step.steps
    return replace(
        step,
        lr=settings.lr if step.lr is None else step.lr,
        epochs=settings.epochs,
        steps=steps,
        batch_size=settings.batch_size,
        warmup=settings.warmup,
        max_length=max_length,
    )


def tuned(
    ground: Ground,
    uses: Sequence[Use],
    step: FineTune,
    clock: Clock,
    report: Report,
    *,
    seconds: float,
    anyway: bool,
) -> tuple[Tried, dict[str, Any]]:
    """The tuned model of the arm that won, and the facts, which FILE in the run folder holds as well.

    `seconds` is about what tuning on the plain rows takes; only asked where the time is limited.
    """
    made = _grown(ground, uses, report)
    told = _facts(ground, made)
    if not made.new:
        told |= {"verdict": "none", "why": say("no technique was chosen: the rows stay as they are"), "kept": False}
        return tune(ground, step, clock, report), _kept(ground, told)
    arms = _Arms(ground, made, matched(ground.work, made.work, step), clock, report)
    pair = 2 * seconds * len(made.work.train) / len(ground.work.train)
    found = arms.compared(_planned(ground, affordable(pair, clock.left())), pair)
    if not found:
        told |= _unmeasured(pair, clock, anyway)
        return (arms.of("with") if anyway else tune(ground, step, clock, report)), _kept(ground, told)
    told |= found
    told["kept"] = anyway or found["verdict"] == "helps"
    told["told"] = _sentence(told)
    report(told["told"], 1.0, {})
    return arms.of("with" if told["kept"] else "plain"), _kept(ground, told)


# -- the rows --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """The work with new rows, the records of the steps that made them, and these steps as a second seed repeats them.

    A step that chose a technique is repeated as its choice: what is measured is the rows, not the luck of choosing.
    """

    work: Work
    records: Sequence[Record]
    again: Sequence[Step]
    parent: str
    new: int


def _grown(ground: Ground, uses: Sequence[Use], report: Report) -> Made:
    steps = [use.build() for use in uses]
    cache, lent = Works(ground.run, ground.work.train), Desk(report=report)
    done = list(run(steps, ground.work, {}, cache, parent=ground.key, seed=ground.request.seed, lent=lent))
    work, records = done[-1][0], [record for _, record in done]
    again: list[Step] = []
    for step, record in zip(steps, records, strict=True):
        picked = record.notes.get("picked")
        again += [step] if picked is None else [_built(one) for one in picked]
    return Made(work, records, again, records[-1].key, len(work.train) - len(ground.work.train))


def _built(one: Mapping[str, Any]) -> Step:
    return build(one["use"], {k: v for k, v in one.items() if k != "use"})


def _facts(ground: Ground, made: Made) -> dict[str, Any]:
    return {
        "rows": len(ground.work.train),
        "new": made.new,
        "share": round(made.new / max(1, len(made.work.train)), 4),
        "warnings": list(made.records[-1].notes.get("warnings", ())),
        "techniques": [
            {
                "technique": record.step,
                "settings": record.settings,
                "new": record.notes.get("new", 0),
                "asked": record.notes.get("asked", 0),
                "short": record.notes.get("short", {}),
                "arms": record.notes.get("arms", []),
                "seconds": round(record.seconds, 2),
            }
            for record in made.records
        ],
    }


def _kept(ground: Ground, told: dict[str, Any]) -> dict[str, Any]:
    told.setdefault("told", _sentence(told))
    runs.write_json(ground.run / FILE, told)
    return told


def _planned(ground: Ground, seeds: int) -> int:
    """Settled once: a resumed run compares as many pairs as it began with."""
    place = ground.run / FILE
    if not place.is_file():
        runs.write_json(place, {"planned": seeds})
    return int(runs.read_json(place).get("planned", seeds))


def _unmeasured(pair: float, clock: Clock, anyway: bool) -> dict[str, Any]:
    text = "its effect was not measured: one comparison needs about {n:.0f} s, and {left:.0f} s are left"
    why = say(text, n=pair, left=max(0.0, clock.left()))
    return {"verdict": "not measured", "why": why, "kept": anyway, "seeds": 0}


def _sentence(told: Mapping[str, Any]) -> str:
    names = ", ".join(one["technique"] for one in told["techniques"])
    verdict = {"helps": say("helps"), "hurts": say("hurts"), "cannot tell": say("is not shown to help")}
    head = say("{names} {verdict}", names=names, verdict=verdict.get(told["verdict"], "")).strip()
    if told["verdict"] == "none":
        return f"{names}: {told['why']}"
    if told["kept"]:
        end = say("kept") if told["verdict"] == "helps" else say("kept, as asked")
    else:
        end = say("left out; --augment-anyway keeps it")
    return f"{head}: {told['why']}; {end}"


# -- the arms --------------------------------------------------------------------------------------


class _Scratch:
    """No work of a further seed is kept, only its predictions; its checkpoints lie where a killed run finds them."""

    def __init__(self, folder: Path):
        self.works, self.used = folder / "works", list[Path]()

    def take(self, key: str, like: Work) -> None:
        return None

    def keep(self, key: str, work: Work, record: Record) -> None:
        self.notes = record.notes

    def folder(self, key: str) -> Path:
        self.used.append(self.works / f"{key}.parts")
        return self.used[-1]


@dataclass
class _Arms:
    ground: Ground
    made: Made
    step: FineTune
    clock: Clock
    report: Report
    tried: dict[str, Tried] = field(default_factory=dict)
    left: int = 2  # arms that still need a part of the time

    def compared(self, seeds: int, pair: float) -> dict[str, Any]:
        """What came of up to `seeds` pairs; empty when there is no time for one."""
        pairs: list[tuple[np.ndarray, np.ndarray]] = []
        told: list[dict[str, Any]] = []
        first = self.ground.request.seed
        for seed in range(first, first + seeds):
            start = time.monotonic()
            if pairs and pair > self.clock.left() and not self._there(seed):
                break
            self.left = 2 * (first + seeds - seed)
            outputs = (self.outputs("plain", seed), self.outputs("with", seed))
            pairs.append(outputs)
            told.append(self._told(seed, outputs, time.monotonic() - start))
            pair = max(1.0, time.monotonic() - start)
            self.report(say("augmentation, seed {seed}", seed=seed), len(pairs) / seeds, told[-1])
        if not pairs:
            return {}
        task = self.ground.work.task
        targets = task.encode(self.ground.work.valid)
        found = gain(task, targets, [a for a, _ in pairs], [b for _, b in pairs])
        verdict, why = verdict_of_gain(found)
        if any(one["cut_short"] for one in told):
            verdict, why = "cannot tell", say("training was cut short by the time limit: {why}", why=why)
        return {
            "gain": found.to_json(),
            "verdict": verdict,
            "why": why,
            "arms_by_seed": told,
            "seeds": len(pairs),
            "seeds_asked": SEEDS,
            "optimizer_steps": self.step.steps,
            "valid": len(targets),
        }

    def of(self, arm: str) -> Tried:
        """The tuned model of the run's own seed."""
        if arm not in self.tried:
            report, clock = self.report, self.clock
            report(say("tuning on the rows with augmentation") if arm == "with" else say("tuning"), 0.0, {})
            with_ = arm == "with"
            self.tried[arm] = tune(
                self.ground,
                self.step,
                clock,
                report,
                work=self.made.work if with_ else None,
                parent=self.made.parent if with_ else None,
                before=tuple(r.step for r in self.made.records) if with_ else (),
                share=0.9 / self.left,
            )
        return self.tried[arm]

    def outputs(self, arm: str, seed: int) -> np.ndarray:
        """On the validation rows, [N, C]; those of a killed run are there already."""
        place = self._place(arm, seed)
        if seed == self.ground.request.seed:
            said_NC = self.of(arm).outputs
        elif place.is_file():
            return runs.read_predictions(place).outputs
        else:
            said_NC = self._again(arm, seed)
        valid = self.ground.work.valid
        kept = runs.Predictions([row.id for row in valid], said_NC, self.ground.work.task.encode(valid))
        runs.write_predictions(place, kept)
        self.left -= 1
        return np.asarray(said_NC, np.float32)

    def _again(self, arm: str, seed: int) -> np.ndarray:
        steps: list[Step] = [*(self.made.again if arm == "with" else ()), self.step]
        scratch = _Scratch(self.ground.run)
        deadline = self.clock.deadline(0.9 / self.left)
        lent = Desk(report=self.report, deadline=deadline)
        key = self.ground.key
        *_, (work, record) = run(steps, self.ground.work, {}, scratch, parent=key, seed=seed, lent=lent)
        runs.write_json(self._notes(arm, seed), _short(record))
        for folder in scratch.used:
            shutil.rmtree(folder, ignore_errors=True)
        return torch_outputs(work)

    def _told(self, seed: int, outputs: tuple[np.ndarray, np.ndarray], seconds: float) -> dict[str, Any]:
        task, valid = self.ground.work.task, self.ground.work.valid
        plain, with_ = (task.score(o, task.encode(valid)) for o in outputs)
        notes = {arm: self._noted(arm, seed) for arm in ("plain", "with")}
        return {
            "seed": seed,
            "plain": float(plain),
            "with": float(with_),
            "points": 100 * float(with_ - plain),
            "steps": {arm: n["steps"] for arm, n in notes.items()},
            "cut_short": any(n["cut_short"] for n in notes.values()),
            "seconds": round(seconds, 1),
        }

    def _noted(self, arm: str, seed: int) -> dict[str, Any]:
        if seed != self.ground.request.seed:
            return dict(runs.read_json(self._notes(arm, seed)))
        return _short(next(r for r in runs.read_records(self.ground.run) if r.key == self.tried[arm].key))

    def _there(self, seed: int) -> bool:
        return all(self._place(arm, seed).is_file() for arm in ("plain", "with"))

    def _place(self, arm: str, seed: int) -> Path:
        return self.ground.run / "predictions" / f"valid-augment-{arm}-{seed}.jsonl"

    def _notes(self, arm: str, seed: int) -> Path:
        return self.ground.run / "works" / f"augment-{arm}-{seed}.json"


def _short(record: Record) -> dict[str, Any]:
    cut = record.notes.get("stopped") == say("the time was used up")
    return {"steps": record.notes.get("steps"), "cut_short": cut}
