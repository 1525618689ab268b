"""Make more training rows out of those there are, with every new row checked; and let a person look at them.

    burnish augment reviews.csv --with augment/aeda --ratio 0.5 --out more.csv
    burnish augment reviews.csv --with augment/aeda:alpha=0.2 --with augment/entities --out more.jsonl --json
    burnish augment train.csv --test test.csv --with augment/aeda --model ./my-bert --out more.csv --dry-run
    burnish augment reviews.csv --with augment/aeda --out more.csv --review 50
    burnish augment reviews.csv --with augment/aeda --out more.csv --answers more.answers.csv

Writes the training rows of DATA and the new ones, each with its parent, technique, weight and smoothing, which `fit`
reads back: a new row stays with its original, and none is ever validated or tested on. Rows held out are not written.
--with AUGMENT:filters=usual,entities says what a new row may not be: length, changed, script, numbers, negations,
entities, near, similarity, sense, label, or the sets usual and meaning; what a filter takes out is tried again.
--review writes a page and an answers file instead of rows; --answers leaves out what was rejected there.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from burnish.cli import flags, out
from burnish.cli.progress import progress
from burnish.report import show
from burnish.words import say

__all__ = ["augment"]

Ratio = Annotated[
    float | None, typer.Option("--ratio", metavar="R", help="new rows of each technique, as a share of the originals")
]
Out = Annotated[str | None, typer.Option("--out", metavar="FILE", help="the new file: .csv, .tsv or .jsonl")]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help=f"for techniques and filters that ask a model: {flags.MODEL}"),
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="processes that share the rows")]
Review = Annotated[
    int, typer.Option("--review", metavar="N", min=0, help="write a page with N new rows to accept or reject")
]
Answers = Annotated[
    str | None, typer.Option("--answers", metavar="FILE", help="leave out the rows rejected in this file")
]
Force = Annotated[bool, typer.Option("--force", help="replace files that are there")]


def augment(
    data: flags.Data,
    with_: flags.With = None,
    ratio: Ratio = None,
    out_: Out = None,
    model: Model = None,
    test: flags.Test = None,
    task: flags.TaskName = None,
    text: flags.Text = None,
    pair: flags.Pair = None,
    target: flags.Target = None,
    seed: flags.Seed = 0,
    workers: Workers = None,
    review: Review = 0,
    answers: Answers = None,
    force: Force = False,
    dry_run: flags.DryRun = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    steps = flags.checked_steps(with_)
    from burnish import api  # after the check above: a slip is answered at once

    with progress(quiet) as report:
        found = api.augmented(
            data,
            steps=steps,
            out=out_,
            ratio=ratio,
            model=model,
            test=test,
            task=task,
            text=text,
            pair=pair,
            target=target,
            seed=seed,
            workers=workers,
            review=review,
            answers=answers,
            force=force,
            dry_run=dry_run,
            report=report,
        )
    for reason in [] if json else found["reasons"]:
        out.note(reason, quiet=quiet)
    if json:
        out.document(found)
    else:
        out.data(_lines(found, dry_run=dry_run))


def _lines(found: Mapping[str, Any], *, dry_run: bool) -> list[str]:
    rows: list[tuple[str, str]] = []
    for step in found["steps"]:
        rows.append((step["technique"], _told(step, dry_run=dry_run)))
        rows += [("", line) for line in _about(step)]
    held = found["held_out"]
    away = say("{valid} for validation, {test} for the test; not in the file", valid=held["valid"], test=held["test"])
    total = say("{n}, of them {new} new ({share:.1%})", n=found["rows"], new=found["new"], share=found["share"])
    rows += [(say("rows"), total), (say("held out"), away), *((say("warning"), text) for text in found["warnings"])]
    rows += [(say("review"), line) for line in _reviewed(found.get("review", {}))]
    rows += [(say("written"), path) for path in found["written"]]
    return out.columns(rows)


def _told(step: Mapping[str, Any], *, dry_run: bool) -> str:
    if dry_run:
        return say("{asked} rows, in about {time}", asked=step["asked"], time=show.duration(step["seconds"]))
    text = "{new} new of {asked} asked, {share:.1%} of all rows"
    return say(text, new=step["new"], asked=step["asked"], share=step["share"])


def _about(step: Mapping[str, Any]) -> list[str]:
    """What filters took out, why there are fewer than asked, and what the new rows look like."""
    removed = [f"{name} {f['removed']}" for name, f in step.get("filtered", {}).items() if f["removed"]]
    how = [f"{name}: {f['how']}" for name, f in step.get("filtered", {}).items() if f.get("how")]
    lines = [say("filtered: {what}", what=", ".join(removed))] if removed else []
    lines += how
    if step.get("short"):
        reasons = ", ".join(f"{reason} {count}" for reason, count in step["short"].items())
        lines.append(say("fewer than asked, by tries: {reasons}", reasons=reasons))
    lines += [show.printable(" ".join(sample.split())) for sample in step["samples"]]
    return lines


def _reviewed(found: Mapping[str, Any]) -> list[str]:
    if not found:
        return []
    lines = []
    for name, told in found["techniques"].items():
        if told["answered"]:
            low, high = told["interval"]
            text = "{name}: {no} of {n} rejected ({low:.0%} to {high:.0%} of all such rows)"
            lines.append(say(text, name=name, no=told["rejected"], n=told["answered"], low=low, high=high))
    lines += [
        say("leave {name} out, or weaken it: more than a fifth was rejected", name=name) for name in found["poor"]
    ]
    return lines
