"""Compare two runs on the same test rows: the paired difference with its interval.

    burnish compare runs/small runs/large
    burnish compare runs/a:reference runs/a:chosen
    burnish compare runs/a runs/b --split valid --json

A run may be followed by :WHO, one of the predictions it keeps: chosen (when left out), reference,
baseline-tfidf, baseline-majority. The difference is in points of the metric (100 x); above 0, B is worse.
Ends with exit code 5 when the two were not measured on the same rows.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from burnish.cli import out
from burnish.cli.flags import Json
from burnish.core import Task
from burnish.errors import DataError, UsageError, nearest, problem
from burnish.report import show
from burnish.report.files import Files
from burnish.runs import Predictions, find
from burnish.words import say

__all__ = ["compare"]

Side = Annotated[str, typer.Argument(help="a run, or RUN:WHO", show_default=False)]


def compare(
    a: Side,
    b: Side,
    split: Annotated[str, typer.Option("--split", metavar="SPLIT", help="test or valid")] = "test",
    seed: Annotated[int, typer.Option("--seed", min=0, help="of the resampling")] = 0,
    json: Json = False,
) -> None:
    facts = difference(_side(a, split), _side(b, split), split, seed)
    if json:
        out.document(facts)
    else:
        out.data(_lines(facts))


@dataclass(frozen=True)
class _Side:
    name: str
    files: Files
    task: Task
    said: Predictions


def difference(a: _Side, b: _Side, split: str, seed: int) -> dict[str, Any]:
    """The paired comparison as JSON. Raises DataError when the two cannot be paired."""
    from burnish.measure.recompute import (  # numpy is here already, scipy comes with this
        recompute,
        recompute_drop,
    )

    _check_rows(a, b, split)
    if a.task.to_json() != b.task.to_json():
        given = say("{a} and {b} have different tasks: {x} and {y}", a=a.name, b=b.name, x=a.task, y=b.task)
        raise DataError(problem(given, say("the same labels and metric"), say("fit both on the same data")))
    drop = recompute_drop(a.task, a.said, b.said, seed=seed)
    found = {side.name: recompute(side.task, side.said, seed=seed)["interval"] for side in (a, b)}
    return {
        "a": {"run": a.name, **found[a.name]},
        "b": {"run": b.name, **found[b.name]},
        "split": split,
        "rows": len(a.said.ids),
        "metric": a.task.metric,
        "drop": drop.to_json(),
        "flips": int(a.task.flips(a.said.outputs, b.said.outputs).sum()),
        "different": bool(drop.p < 0.05),
    }


def _side(name: str, split: str) -> _Side:
    """The task and the stored predictions that 'RUN' or 'RUN:WHO' names."""
    run, who = name, "chosen"
    if not Path(name).exists() and ":" in name:
        run, _, who = name.rpartition(":")
    files = Files(find(run))
    said, task = files.predictions(f"{split}-{who}"), files.task
    if said is None or task is None:
        known = sorted(p.stem for p in (files.run / "predictions").glob("*.jsonl"))
        close = nearest(f"{split}-{who}", known)
        given = say("{run} keeps no predictions '{split}-{who}'", run=files.run, split=split, who=who)
        expected = say("one of: {known}", known=", ".join(known)) if known else say("a finished run")
        hint = say("did you mean '{close}'?", close=close) if close else say("finish its `burnish fit` first")
        raise UsageError(problem(given, expected, hint))
    return _Side(name, files, task, said)


def _check_rows(a: _Side, b: _Side, split: str) -> None:
    """Only the same rows can be paired: the same ids, and the same texts behind them."""
    ids_a, ids_b = set(a.said.ids), set(b.said.ids)
    if ids_a == ids_b and _texts(a, split) == _texts(b, split):
        return
    both = len(ids_a & ids_b) if ids_a != ids_b else 0
    given = say(
        "{a} and {b} were not measured on the same {split} rows: {x} and {y} rows, {both} in common",
        a=a.name,
        b=b.name,
        split=split,
        x=len(ids_a),
        y=len(ids_b),
        both=both,
    )
    expected = say("the same rows on both sides, since only they can be paired")
    raise DataError(problem(given, expected, say("fit both with the same DATA, --test file and --seed")))


def _texts(side: _Side, split: str) -> dict[str, tuple[str, str | None]]:
    return {row.id: (row.text, row.pair) for row in side.files.rows(split)}


def _lines(facts: dict[str, Any]) -> list[str]:
    metric, drop = facts["metric"], facts["drop"]
    rows = [
        (facts[side]["run"], f"{show.metric_name(metric)} {show.estimate(facts[side], metric)}") for side in ("a", "b")
    ]
    verdict = say("B is worse") if drop["value"] > 0 else say("B is better")
    if not facts["different"]:
        verdict = say("no difference can be shown on these rows")
    numbers = {name: f"{round(drop[name], 2) + 0.0:.2f}" for name in ("value", "low", "high")}
    return [
        *out.columns(rows),
        say("B loses {value} points against A ({low} to {high}, paired)", **numbers),
        say(
            "{rows} rows, {flips} answers differ, p {p:.3g}",
            rows=facts["rows"],
            flips=facts["flips"],
            p=drop["p"],
        ),
        verdict,
    ]
