"""New rows for a file: techniques one after the other, filters, what a person refused, and what came of it.

rows ──split──► training rows ──step──► more rows ──step──► more rows ──answers──► file
                held out rows: looked at, so that none is made again, and not written
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from burnish import catalog, models
from burnish.augment._change import edits_between, shown
from burnish.augment._filters import filters_of
from burnish.augment._share import share_made, shares_by_label, too_many, warnings_of
from burnish.core import Desk, Record, Row, Rows, Step, Work, run
from burnish.data.infer import infer
from burnish.data.read import read
from burnish.data.table import Columns, Table
from burnish.data.write import checked_suffix, table_text
from burnish.errors import UsageError, problem
from burnish.plan.ground import Rows3, load_rows
from burnish.plan.request import Request
from burnish.plan.verdicts import Verdicts
from burnish.runs import text_hash, write_text
from burnish.words import say

__all__ = ["Grown", "Pair", "grow", "refuse_existing", "steps_of", "write"]

Report = Callable[[str, float, Mapping[str, Any]], None]
SAMPLES = 5
TRIED = 20  # rows that a dry run makes of each technique


@dataclass(frozen=True)
class Pair:
    """A new row beside the one it was made from."""

    technique: str
    parent: Row
    child: Row

    @property
    def marked(self) -> str:
        return shown(self.parent, self.child)

    def pieces(self) -> list[tuple[str, str]]:
        """The texts as ("same" | "out" | "in", text), for whoever draws them."""
        sides = [(self.parent.text, self.child.text)]
        if self.parent.pair is not None and self.child.pair is not None:
            sides.append((self.parent.pair, self.child.pair))
        found: list[tuple[str, str]] = []
        for old, new in sides:
            at = 0
            for edit in edits_between(old, new):
                found += [("same", old[at : edit.start]), ("out", old[edit.start : edit.end]), ("in", edit.text)]
                at = edit.end
            found += [("same", old[at:]), ("same", "\n")]
        return [(kind, text) for kind, text in found[:-1] if text]


@dataclass(frozen=True)
class Grown:
    """The training rows with what was made, and the facts as JSON."""

    rows: Rows
    pairs: Sequence[Pair]  # of rows that people may look at: what was made of nothing has no pair
    techniques: Mapping[str, str]  # by id of the new rows
    table: Table
    columns: Columns
    facts: dict[str, Any]


def steps_of(texts: Sequence[str], ratio: float | None = None, workers: int | None = None) -> list[Step]:
    """The techniques, built; `ratio` and `workers` hold for those that have such a setting and were not told another.

    Raises UsageError for none, for an unknown one (the nearest is named) and for a step of another stage.
    """
    if not texts:
        raise UsageError(problem(say("no technique was named"), "--with augment/NAME", "burnish ls augment"))
    steps = []
    for text in texts:
        name, settings = catalog.parse(text)
        page = catalog.page(name)
        if not page.name.startswith("augment/"):
            given = say("{name} makes no rows", name=page.name)
            raise UsageError(problem(given, say("a technique of augment"), "burnish ls augment"))
        known = {setting.name for setting in page.settings}
        given_too = {"ratio": ratio, "workers": workers}
        also = {k: v for k, v in given_too.items() if v is not None and k in known and k not in settings}
        step = catalog.build(page.name, {**settings, **also}, "--with")
        filters_of(getattr(step, "filters", ()))  # a slip there is answered before any row is read
        steps.append(step)
    return steps


def refuse_existing(path: Path, force: bool) -> None:
    """Raises UsageError when the file is there and may not be replaced, or its folder is not there."""
    if not path.parent.is_dir():
        given = say("there is no folder {folder} to write {name} to", folder=path.parent, name=path.name)
        raise UsageError(problem(given, say("a folder that is there"), f"mkdir -p {path.parent}"))
    if path.exists() and not force:
        given = say("{path} is there already", path=path)
        raise UsageError(problem(given, say("a new file"), say("--force to replace it, or --out another")))


def grow(
    request: Request,
    steps: Sequence[Step],
    out: Path,
    report: Report,
    *,
    verdicts: Verdicts | None = None,
    dry_run: bool = False,
) -> Grown:
    """Read, split, and make rows of the training part for the file `out`, which is not written yet.

    Raises what reading and the techniques raise, DataError, UsageError and Missing; UsageError for a file that cannot
    hold such rows.
    """
    checked_suffix(out, "")
    if request.data == "-":
        given = say("rows from standard input")
        raise UsageError(problem(given, say("a file: its columns are read again to be written"), "cat > rows.csv"))
    found = load_rows(request)
    table = read(request.data)
    columns = infer(table, text=request.text, pair=request.pair, target=request.target, task=request.task)
    checked_suffix(out, columns.kind)
    work = _work(request, found, report)
    if dry_run:
        return _dry(found, table, columns, work, steps, request.seed, report)
    techniques: dict[str, str] = {}
    told: list[tuple[Record, list[str]]] = []
    before = len(work.train)
    for made, record in run(steps, work, {}, _NoCache(), parent=_key(work), seed=request.seed, lent=_desk(report)):
        new = made.train[before:]
        techniques |= {row.id: record.step for row in new}
        told.append((record, [row.id for row in new]))
        work, before = made, len(made.train)
    rows = list(work.train)
    refused = verdicts.refused(techniques, rows) if verdicts else {}
    rows = [row for row in rows if row.id not in refused]
    pairs = _pairs(rows, techniques)
    facts = _facts(found, rows, [_told(record, ids, refused, rows, pairs) for record, ids in told])
    if verdicts:
        facts["review"] = verdicts.facts(techniques)
    return Grown(rows, pairs, techniques, table, columns, facts)


def write(grown: Grown, path: Path) -> None:
    """The rows as a file of the form its suffix names, whole or not at all."""
    suffix = checked_suffix(path, grown.columns.kind)
    write_text(path, table_text(grown.rows, grown.techniques, grown.table, grown.columns, suffix))


class _NoCache:
    """Rows are made in one go."""

    def take(self, key: str, like: Work) -> None:
        return None

    def keep(self, key: str, work: Work, record: Record) -> None:
        pass

    def folder(self, key: str) -> None:
        return None


def _work(request: Request, found: Rows3, report: Report) -> Work:
    """The rows held out for the test stand beside those for validation: steps only ask whether a row is among them."""
    model = tokenizer = None
    if request.model:
        report(say("loading the model"), 0.0, {})
        model, tokenizer = models.load(request.model, found.task, seed=request.seed, new_head=True)
    held = (*found.splits.valid, *found.splits.test)
    return Work(model, tokenizer, found.task, found.splits.train, held)


def _key(work: Work) -> str:
    return text_hash(repr([(row.text, row.pair, row.target) for row in work.train]))[:16]


def _desk(report: Report) -> Desk:
    return Desk(report=report)


def _pairs(rows: Rows, techniques: Mapping[str, str]) -> list[Pair]:
    originals = {row.id: row for row in rows if not row.parent}
    made = [row for row in rows if row.id in techniques and row.parent in originals]
    return [Pair(techniques[row.id], originals[row.parent], row) for row in made]


def _told(
    record: Record, ids: Sequence[str], refused: Mapping[str, str], rows: Rows, pairs: Sequence[Pair]
) -> dict[str, Any]:
    """What one technique gave, as JSON."""
    mine, notes = set(ids) - set(refused), record.notes
    short = dict(notes.get("short", {}))
    away = sum(1 for name in ids if name in refused)
    if away:
        short[say("refused by a person")] = away
    return {
        "technique": record.step,
        "settings": record.settings,
        "seconds": round(record.seconds, 3),
        "asked": notes.get("asked", notes.get("new")),
        "new": len(mine),
        "short": short,
        "filtered": dict(notes.get("filtered", {})),
        "share": round(len(mine) / max(len(rows), 1), 4),
        "samples": [pair.marked for pair in pairs if pair.child.id in mine][:SAMPLES],
    }


def _facts(found: Rows3, rows: Rows, steps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "rows": len(rows),
        "originals": sum(1 for row in rows if not row.parent),
        "new": sum(step["new"] for step in steps),
        "held_out": {"valid": len(found.splits.valid), "test": len(found.splits.test)},
        "share": round(share_made(rows), 4),
        "shares": {label: round(share, 4) for label, share in shares_by_label(rows).items()},
        "steps": list(steps),
        "warnings": warnings_of(rows),
        "columns": found.facts["columns"],
        "reasons": [*found.facts["reasons"], *found.facts["notes"]],
    }


def _dry(
    found: Rows3, table: Table, columns: Columns, work: Work, steps: Sequence[Step], seed: int, report: Report
) -> Grown:
    """A few rows of each technique, and from them how long all would take."""
    told: list[dict[str, Any]] = []
    originals = sum(1 for row in work.train if not row.parent)
    for step in steps:
        asked = round(getattr(step, "ratio", 0.0) * originals)
        fewer: Any = replace(step, ratio=min(step.ratio, TRIED / originals)) if hasattr(step, "ratio") else step  # type: ignore[type-var]
        start = time.monotonic()
        ((made, record),) = run([fewer], work, {}, _NoCache(), parent=_key(work), seed=seed, lent=_desk(report))
        new = made.train[len(work.train) :]
        pairs = _pairs(made.train, {row.id: record.step for row in new})
        seconds = (time.monotonic() - start) * max(asked, len(new)) / max(len(new), 1)
        told.append(
            {
                "technique": record.step,
                "settings": record.settings,
                "asked": asked or len(new),
                "seconds": round(seconds, 1),
                "samples": [pair.marked for pair in pairs][:SAMPLES],
            }
        )
    total = len(work.train) + sum(step["asked"] for step in told)
    facts = {**_facts(found, work.train, []), "steps": told, "rows": total}
    share = 1 - originals / total
    facts |= {"new": total - len(work.train), "share": round(share, 4), "warnings": too_many(share)}
    return Grown(work.train, [], {}, table, columns, facts)
