"""A finished run, opened again: its rows, its tuned model, and the steps that made the chosen one."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

from burnish import runs
from burnish.core import Record, Work
from burnish.errors import DataError, problem
from burnish.plan.budget import Budget
from burnish.plan.cache import Works
from burnish.plan.candidate import Tried, torch_outputs
from burnish.plan.ground import Ground, rows_of_run
from burnish.plan.request import Request
from burnish.recipe import Use
from burnish.words import say

__all__ = ["Opened", "reference_key", "reopen", "request_of", "started"]


@dataclass(frozen=True)
class Opened:
    """`uses` are the steps of the chosen model after tuning, every setting written out."""

    ground: Ground
    reference: Tried
    uses: tuple[Use, ...]


def request_of(run: Path) -> Request:
    """What the run was asked, from its request.json."""
    found = runs.read_json(run / "request.json")
    known = {f.name for f in fields(Request)}
    facts = {k: v for k, v in found.items() if k in known}
    return Request(**{**facts, "budget": Budget(**found["budget"]), "steps": tuple(found["steps"])})


def reopen(run: Path) -> Opened:
    """Raises DataError for a run that is not finished, or whose models are gone."""
    path = _steps(run)
    ground, reference = started(run, request_of(run), path[0].key)
    return Opened(ground, reference, tuple(Use(r.step, r.settings) for r in path[1:]))


def started(run: Path, request: Request, key: str) -> tuple[Ground, Tried]:
    """The ground and the tuned model of `run`, which has both already; `key` is that model's."""
    rows = rows_of_run(run)
    bare = Work(None, None, rows.task, rows.splits.train, rows.splits.valid)
    found = Works(run, bare.train).take(key, bare)
    if found is None:
        given = say("the tuned model of {run} is gone or changed", run=run)
        raise DataError(problem(given, say("the run with its folder works/"), say("fit again")))
    work, record = found
    before = tuple(r.step for r in _path({r.key: r for r in runs.read_records(run)}, record.parent))
    ground = Ground(run, request, replace(work, train=rows.splits.train), rows.splits.test, record.parent, rows.facts)
    return ground, Tried(say("tuned"), "tuned", (*before, record.step), key, work, torch_outputs(work))


def reference_key(run: Path) -> str:
    """The key of the tuned model. Raises DataError for a run that is not finished."""
    return _steps(run)[0].key


def _steps(run: Path) -> list[Record]:
    """The steps of the chosen model, tuning first."""
    if not (run / "result.json").is_file() or not (run / "candidates.json").is_file():
        given = say("{run} is not a finished run of burnish fit", run=run)
        raise DataError(problem(given, say("a run with a result"), say("give the same `burnish fit` again")))
    records = {record.key: record for record in runs.read_records(run)}
    chosen = next(c for c in runs.read_json(run / "candidates.json") if c.get("status") == "chosen")
    path = _path(records, chosen["key"])
    while path and path[0].step.startswith("augment/"):  # rows are made before the model is tuned
        path = path[1:]
    return path


def _path(records: dict[str, Record], key: str) -> list[Record]:
    """From the tuned model to the one with `key`."""
    path: list[Record] = []
    while key in records:
        path.append(records[key])
        key = records[key].parent
    return path[::-1]
