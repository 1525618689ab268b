"""The ledger: what each technique of the chosen model gave, alone and in the company of the others.

    alone     tuned                 against   tuned + it
    removed   the chosen without it against   the chosen

Every model is measured as a served artifact on ONNX Runtime, on the validation rows and in races of its own, so an
effect is that of the technique and not of a change of engine. Steps are cached as in a fit: what the fit has made is
not made again, and a killed ledger goes on.
"""

import functools
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from burnish import runs
from burnish.core import Desk, reads_of, run, step_key
from burnish.errors import BurnishError, UsageError, problem
from burnish.measure.effects import Effect, interaction, inverse, verdict
from burnish.measure.intervals import holm, paired_drop
from burnish.measure.power import smallest_visible_drop_for
from burnish.measure.speed import Reading
from burnish.plan.cache import Works
from burnish.plan.candidate import Candidate, Tried, engines_for, measure, torch_outputs
from burnish.plan.choose import time_all
from burnish.plan.reopen import Opened, reopen
from burnish.recipe import Use
from burnish.words import say

__all__ = ["FILE", "ledger"]

FILE = "ledger.json"
RACE_SECONDS = 30.0
Report = Callable[[str, float, Mapping[str, Any]], None]


def ledger(folder: Path, report: Report) -> dict[str, Any]:
    """Make every model that is needed, measure, and write ledger.json; returns what it holds.

    Raises UsageError when nothing came after tuning, DataError for a run that is not finished.
    """
    with runs.held(folder):
        opened = reopen(folder)
        if not opened.uses:
            given = say("the chosen model of {run} is the tuned one as it is", run=folder)
            hint = say("fit with --recipe or --with, or a tighter --max-size")
            raise UsageError(problem(given, say("one technique or more after tuning"), hint))
        found = _answer(_Bench(opened, report), opened)
        runs.write_json(folder / FILE, found)
        return found


@dataclass
class _Bench:
    """Makes the model of a list of steps after tuning, and its artifact, each once."""

    opened: Opened
    report: Report

    def __post_init__(self) -> None:
        self.made: dict[str, Candidate] = {}
        self.seconds: dict[str, float] = {}

    def candidate(self, uses: Sequence[Use]) -> Candidate:
        ground, tried = self.opened.ground, self.opened.reference
        steps = [use.build() for use in uses]
        self.report(say("making {steps}", steps=" > ".join(u.name for u in uses) or tried.name), 0.0, {})
        lent = Desk(report=self.report)
        cache = Works(ground.run, ground.work.train)
        for work, record in run(
            steps, tried.work, {}, cache, parent=tried.key, seed=ground.request.seed, lent=lent
        ):  # fmt: skip
            names = (*tried.steps, record.step)
            tried = Tried(" + ".join(names[1:]), "ledger", names, record.key, work, tried.outputs)
            self.seconds[record.key] = record.seconds
        if tried.key not in self.made:
            tried = replace(tried, outputs=torch_outputs(tried.work))
            engine, precision = engines_for(tried.work, reference=False)[0]
            found = measure(ground.run, tried, engine, precision, None, ground.request.model)
            if found.facts["status"] == "failed":
                raise BurnishError(found.facts["why"])
            self.made[tried.key] = found
        return self.made[tried.key]


def _answer(bench: _Bench, opened: Opened) -> dict[str, Any]:
    uses = opened.uses
    bare, whole = bench.candidate([]), bench.candidate(uses)
    alone = [_or_why(bench, [use]) for use in uses]
    without = [_or_why(bench, uses[:i] + uses[i + 1 :]) for i in range(len(uses))]
    first = _race(bench, bare, [c for c in alone if isinstance(c, Candidate)])
    second = _race(bench, whole, [c for c in without if isinstance(c, Candidate)])
    rows = []
    for use, one, rest in zip(uses, alone, without, strict=True):
        row: dict[str, Any] = {"technique": use.name, "settings": use.settings}
        row["seconds"] = round(bench.seconds.get(_own_key(opened, uses, use), 0.0), 1)
        row["alone"] = one if isinstance(one, str) else _effect(opened, bare, one, first[one.label])
        row["removed"] = rest if isinstance(rest, str) else _removed(opened, rest, whole, second[rest.label])
        if isinstance(one, Candidate) and isinstance(rest, Candidate):
            outputs = [_outputs(c) for c in (bare, one, rest, whole)]
            row["interaction"] = interaction(opened.ground.work.task, _targets(opened), *outputs)
        rows.append(row)
    return _told(opened, rows, bare, whole)


def _or_why(bench: _Bench, uses: Sequence[Use]) -> Candidate | str:
    """A technique that needs another before it cannot stand alone; the table says so."""
    try:
        return bench.candidate(uses)
    except BurnishError as error:
        return str(error).splitlines()[0]


def _race(bench: _Bench, reference: Candidate, others: Sequence[Candidate]) -> dict[str, Reading]:
    unlike = {c.label: c for c in (reference, *others)}
    bench.report(say("racing {n} models for {s:.0f} s", n=len(unlike), s=RACE_SECONDS), 0.0, {})
    return time_all(list(unlike.values()), reference, bench.opened.ground.work.valid, RACE_SECONDS)


def _effect(opened: Opened, base: Candidate, with_it: Candidate, reading: Reading) -> Effect:
    return Effect(
        paired_drop(opened.ground.work.task, _outputs(base), _outputs(with_it), _targets(opened)),
        with_it.facts["size_bytes"] / base.facts["size_bytes"],
        reading.speedup,
        reading.load_speedup,
        _resident(with_it.folder) / _resident(base.folder),
    )


def _removed(opened: Opened, rest: Candidate, whole: Candidate, reading: Reading) -> Effect:
    """The race had the whole as its reference, so its ratios are turned round."""
    found = _effect(opened, rest, whole, reading)
    return replace(found, speedup=inverse(reading.speedup), load_speedup=inverse(reading.load_speedup))


def _told(opened: Opened, rows: list[dict[str, Any]], bare: Candidate, whole: Candidate) -> dict[str, Any]:
    limit = opened.ground.request.budget.drop
    effects = [(row, kind) for row in rows for kind in ("alone", "removed") if isinstance(row[kind], Effect)]
    adjusted = holm([row[kind].drop.p for row, kind in effects])
    for (row, kind), p in zip(effects, adjusted, strict=True):
        row[kind] = replace(row[kind], p_adjusted=p)
    for row in rows:
        judged = row["removed"] if isinstance(row["removed"], Effect) else row["alone"]
        row["verdict"], row["why"] = verdict(judged, limit) if isinstance(judged, Effect) else ("cannot tell", judged)
    task, targets = opened.ground.work.task, _targets(opened)
    return {
        "schema_version": 1,
        "run": str(opened.ground.run),
        "metric": task.metric,
        "rows": len(targets),
        "split": "valid",
        "smallest_visible_drop": smallest_visible_drop_for(task, _outputs(bare), _outputs(whole), targets),
        "comparisons": len(effects),
        "reference": {k: bare.facts[k] for k in ("valid", "size_bytes", "p50_ms", "rows_per_second")},
        "whole": {k: whole.facts[k] for k in ("valid", "size_bytes", "p50_ms", "rows_per_second")},
        "techniques": [{k: _plain(v) for k, v in row.items()} for row in rows],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Effect):
        return value.to_json()
    return value.to_json() if hasattr(value, "to_json") else value


def _own_key(opened: Opened, uses: Sequence[Use], use: Use) -> str:
    """The key of `use` where it stands in the whole."""
    from burnish.core import describe

    key = opened.reference.key
    for one in uses:
        settings = describe(one.build())
        key = step_key(key, one.name, settings, opened.ground.request.seed, reads_of(settings))
        if one is use:
            break
    return key


def _outputs(candidate: Candidate) -> Any:
    assert candidate.outputs is not None
    return candidate.outputs


def _targets(opened: Opened) -> Any:
    return opened.ground.work.task.encode(opened.ground.work.valid)


RESIDENT = """
import sys
from burnish.measure.memory import rss_bytes
from burnish.serve.artifact import read_artifact
from burnish.serve.predict import Local
local = Local(sys.argv[1])
local.outputs([(g["text"], g["pair"]) if g["pair"] is not None else g["text"] for g in local.facts["golden"]])
print(rss_bytes())
"""


@functools.cache
def _resident(folder: Path) -> int:
    """Resident bytes of a process that has the artifact loaded and has answered a few rows."""
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT, str(folder)], capture_output=True, text=True, check=True
    )  # fmt: skip
    return int(done.stdout)
