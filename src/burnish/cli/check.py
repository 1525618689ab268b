"""Look at the data before an hour is spent on it: what is in it, what is wrong, what its test rows can show.

    burnish check reviews.csv
    burnish check reviews.csv --model ./my-bert
    burnish check train.csv --test test.csv --target stars --task regression
    cat reviews.jsonl | burnish check - --json

With --model, lengths are counted in its tokens, and rows that it would cut are reported. Ends with exit
code 5 when the data cannot be learned from as it is, such as a label that no training row has.
"""

from typing import Annotated, Any

import typer

from burnish.cli import flags, out
from burnish.errors import DataError
from burnish.words import say

__all__ = ["check"]

Model = Annotated[
    str | None, typer.Option("--model", metavar="MODEL", help=f"count tokens as this model does: {flags.MODEL}")
]


def check(
    data: flags.Data,
    model: Model = None,
    test: flags.Test = None,
    task: flags.TaskName = None,
    text: flags.Text = None,
    pair: flags.Pair = None,
    target: flags.Target = None,
    metric: flags.Metric = None,
    seed: flags.Seed = 0,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> int:
    from burnish import api
    from burnish.data.check import lines
    from burnish.plan.ground import load_rows

    request = api.open_request(
        data,
        model=model or "",
        test=test,
        task=task,
        text=text,
        pair=pair,
        target=target,
        metric=metric,
        seed=seed,
    )
    rows = load_rows(request)
    for reason in rows.facts["reasons"]:
        out.note(reason, quiet=quiet)
    found = _found(rows, model, seed)
    if json:
        out.document({**found, "columns": rows.facts["columns"], "reasons": rows.facts["reasons"]})
    else:
        out.data(lines(found))
        out.note(say("with --model, lengths are counted in tokens"), quiet=quiet or model is not None)
    return DataError.exit_code if any(f["level"] == "error" for f in found["findings"]) else 0


def _found(rows: Any, model: str | None, seed: int) -> dict[str, Any]:
    """The facts; in tokens of `model` where one is given, which is what takes the seconds."""
    from burnish.data.check import check as facts_of
    from burnish.measure.power import smallest_visible_drop
    from burnish.units import units

    if model is None:
        return facts_of(
            rows.splits,
            rows.task,
            # Shares of rows have an exact answer; for correlations `check` has one of its own.
            power=None if rows.task.name == "regression" else smallest_visible_drop,
            words=units,
            notes=rows.facts["file_notes"],
            mended=rows.facts["mended"],
        )
    from burnish import models
    from burnish.plan.ground import checked

    loaded, tokenizer = models.load(model, rows.task, seed=seed, new_head=True)
    return checked(rows, tokenizer, models.longest(loaded, tokenizer))
