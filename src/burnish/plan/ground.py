"""The ground a run stands on: rows read and split, checked, baselines scored, the model loaded."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from burnish import models, runs, tasks
from burnish.core import Row, Rows, Task, Work
from burnish.data.check import check
from burnish.data.infer import infer
from burnish.data.kind import REGRESS, SEQUENCE, labels_of
from burnish.data.read import read
from burnish.data.rows import all_mended, notes_of, rows_and_mended
from burnish.data.split import Splits, split, with_test
from burnish.measure.baselines import baselines
from burnish.measure.power import smallest_visible_drop
from burnish.plan.request import Request
from burnish.tasks.tags import tags_of
from burnish.train.batches import encode
from burnish.units import units
from burnish.words import say

__all__ = ["Ground", "Rows3", "lay", "load_rows", "rows_of_run"]

Report = Callable[[str, float, dict[str, Any]], None]


@dataclass(frozen=True)
class Rows3:
    """The rows of a run and its task; `facts` are JSON: columns, reasons, notes, hashes."""

    task: Task
    splits: Splits
    facts: dict[str, Any]


@dataclass(frozen=True)
class Ground:
    """Where a run starts from. `key` names the work for the cache: model, rows, task and seed are in it."""

    run: Path
    request: Request
    work: Work
    test: Rows
    key: str
    facts: dict[str, Any]


def load_rows(request: Request) -> Rows3:
    """Read, infer and split. Raises DataError or UsageError, as burnish.data does."""
    table = read(request.data)
    columns = infer(table, text=request.text, pair=request.pair, target=request.target, task=request.task)
    rows, mended = rows_and_mended(table, columns, "data")
    if request.test is None:
        splits = split(rows, seed=request.seed)
    else:
        test_rows, more = rows_and_mended(read(request.test, role="test"), columns, "test")
        splits, mended = with_test(rows, test_rows, seed=request.seed), all_mended([mended, more])
    labels = () if columns.kind == REGRESS else labels_of([row.target for row in rows])
    if columns.kind == SEQUENCE:
        labels = tags_of(labels)
    task = tasks.make(columns.kind, labels, columns.pair is not None, request.metric)
    facts = {
        "columns": {"text": columns.text, "pair": columns.pair, "target": columns.target},
        "reasons": list(columns.reasons),
        "file_notes": list(table.notes),
        "notes": [*table.notes, *splits.notes, *notes_of(mended)],
        "mended": mended,
        "sha256": table.sha256,
        "task": task.to_json(),
    }
    return Rows3(task, splits, facts)


def lay(run: Path, request: Request, report: Report) -> Ground:
    """Everything before the first step; what an earlier try of the same request left is used."""
    found = _rows_of_run(run, request)
    for reason in [*found.facts["reasons"], *found.facts["notes"]]:
        report(reason, 1.0, {})
    report(say("loading the model"), 0.0, {})
    model, tokenizer = models.load(request.model, found.task, seed=request.seed, new_head=request.new_head)
    work = Work(model, tokenizer, found.task, found.splits.train, found.splits.valid)
    if not (run / "check.json").is_file():
        report(say("checking the data"), 0.0, {})
        runs.write_json(run / "check.json", checked(found, tokenizer, models.longest(model, tokenizer)))
    report(say("scoring the baselines"), 0.0, {})
    _baselines(run, work, found.splits.test, request.seed)
    key = runs.text_hash(
        json.dumps(
            [
                found.task.to_json(),
                request.seed,
                _weights_hash(model),
                _rules_hash(tokenizer),
            ]
            + [runs.text_hash(repr([list(part)])) for part in (found.splits.train, found.splits.valid)]
        )
    )[:16]
    return Ground(run, request, work, found.splits.test, key, found.facts)


def checked(found: Rows3, tokenizer: Any, longest: int) -> dict[str, Any]:
    """What `burnish check` says of these rows, lengths in tokens of this tokenizer included."""

    def lengths(rows: Rows) -> np.ndarray:
        return np.array([len(row["input_ids"]) for row in encode(tokenizer, rows, 10**6)])

    with models.quiet():
        return check(
            found.splits,
            found.task,
            lengths=lengths,
            max_length=longest,
            # Shares of rows have an exact answer; for correlations `check` has one of its own.
            power=None if found.task.objective == "mean_squared_error" else smallest_visible_drop,
            notes=found.facts["file_notes"],
            mended=found.facts.get("mended", {}),
            words=units,
        )


def rows_of_run(run: Path) -> Rows3:
    """The rows as a run split them."""
    place = run / "rows"
    facts = runs.read_json(place / "facts.json")
    parts = {name: runs.read_rows(place / f"{name}.jsonl") for name in ("train", "valid", "test")}
    splits = Splits(tuple(parts["train"]), tuple(parts["valid"]), tuple(parts["test"]), tuple(facts["notes"]))
    return Rows3(tasks.from_json(facts["task"]), splits, facts)


def _rows_of_run(run: Path, request: Request) -> Rows3:
    """The rows as this run split them, or a fresh split that is then kept: a resumed run never reads anew."""
    place = run / "rows"
    if (place / "facts.json").is_file():
        return rows_of_run(run)
    found = load_rows(request)
    for name in ("train", "valid", "test"):
        part: list[Row] = list(getattr(found.splits, name))
        runs.write_rows(place / f"{name}.jsonl", part)
    runs.write_json(place / "facts.json", found.facts)  # last: with it, the rows are whole
    return found


def _baselines(run: Path, work: Work, test: Rows, seed: int) -> None:
    """Predictions of the baselines on the validation and test rows; nobody looks at the latter before the end."""
    folder = run / "predictions"
    if (folder / "test-baseline-tfidf.jsonl").is_file():
        return
    parts = {"valid": work.valid, "test": test}
    for name, outputs in baselines(work.task, work.train, *parts.values(), seed=seed).items():
        for (part, rows), outputs_NC in zip(parts.items(), outputs, strict=True):
            found = runs.Predictions([r.id for r in rows], outputs_NC, work.task.encode(rows))
            runs.write_predictions(folder / f"{part}-baseline-{name}.jsonl", found)


def _rules_hash(tokenizer: Any) -> str:
    """Of what a tokenizer does. The cut and the padding of its last call are in its JSON form too, and must not
    count: a resumed run calls it less often."""
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    return runs.text_hash(json.dumps({**rules, "truncation": None, "padding": None}, sort_keys=True))


def _weights_hash(model: Any) -> str:
    import hashlib

    total = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
