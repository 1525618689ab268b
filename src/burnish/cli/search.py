"""Search for settings of tuning, then hold the best against the default over seeds: is the gain more than luck?

    burnish search reviews.csv --model ./my-bert --time 30m
    burnish search reviews.csv --model ./my-bert --trials 40 --workers 2 --vary lr=1e-5..1e-3 --vary batch_size=16,32
    burnish search train.csv --test test.csv --model ./my-bert --time 1h --with tune/lora --sampler gp --json

The usual space surrounds the table's settings: rate, warmup, weight decay, batch size, epochs, layer decay and label
smoothing. --vary narrows or replaces one of them or adds another setting; --set and --with hold for every trial.
Each trial has the same seed and order of rows; the first is the default. Three quarters of the time go to the search,
the rest to the best three and the default over three other seeds. The default is recommended unless another setting
beats it by more than the noise of the seeds; recipe.yaml in the run folder is for `burnish fit --recipe`. The test rows
are not touched. The same command again goes on where an interrupted one stopped.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from burnish.cli import flags, out
from burnish.cli.progress import progress
from burnish.report import show
from burnish.words import say

__all__ = ["search"]

Vary = Annotated[
    list[str] | None,
    typer.Option("--vary", metavar="NAME=LOW..HIGH|NAME=A,B", help="what to try for a setting (may repeat)"),
]
Trials = Annotated[int | None, typer.Option("--trials", min=1, help="as many trials; 30 without --time")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="processes that share the trials and the cores")]
Sampler = Annotated[str, typer.Option("--sampler", metavar="tpe|gp|random|grid", help="who proposes the trials")]
Pruner = Annotated[
    str, typer.Option("--pruner", metavar="hyperband|halving|none", help="how weak trials are given up early")
]


def search(
    data: flags.Data,
    model: flags.Model,
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
    vary: Vary = None,
    time: flags.Time = None,
    trials: Trials = None,
    workers: Workers = 1,
    sampler: Sampler = "tpe",
    pruner: Pruner = "hyperband",
    new_head: flags.NewHead = False,
    dry_run: flags.DryRun = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    steps, settings = flags.checked_steps(with_), flags.checked_settings(flags.TUNING, set_)
    from burnish.plan.space import varied

    varied(vary or (), settings)
    from burnish import api  # after the checks above: a slip is answered at once

    request = api.open_request(
        data,
        model=model,
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
        time=time,
        new_head=new_head,
    )
    with progress(quiet) as report:
        found = api.search(
            request, out_, report, vary=vary or (), trials=trials, workers=workers, sampler=sampler, pruner=pruner,
            dry_run=dry_run,
        )  # fmt: skip
    if json:
        out.document(found)
    else:
        out.data(_planned(found) if dry_run else _lines(found))


def _planned(found: Mapping[str, Any]) -> list[str]:
    from burnish.plan.space import from_json, told

    rows = [
        (say("trials"), say("about {n}, {time} each", n=found["trials"], time=show.duration(found["trial_seconds"]))),
        (say("time"), say("about {time}, finalists included", time=show.duration(found["seconds"]))),
        (say("memory"), say("about {size} at most", size=show.size(found["memory_bytes"]))),
        *((name, told(dimension)) for name, dimension in from_json(found["space"]).items()),
    ]
    return out.columns(rows)


def _lines(found: Mapping[str, Any]) -> list[str]:
    trials = found["trials"]
    pruned, failed = (sum(bool(t[kind]) for t in trials) for kind in ("pruned", "failed"))
    tried = say("{n}, {p} given up early, {f} failed", n=len(trials), p=pruned, f=failed)
    rows = [
        (say("recommended"), found["recommended"]["which"]),
        (say("why"), found["why"]),
        *((say("finalist"), _finalist(row)) for row in found["finalists"]),
        (say("importance"), ", ".join(f"{name} {share:.0%}" for name, share in found["importance"].items()) or "-"),
        (say("trials"), tried),
        (say("training"), show.duration(found["seconds"])),
        (say("plot"), found["plot"]),
        (say("recipe"), found["recipe"]),
    ]
    return out.columns(rows)


def _finalist(row: Mapping[str, Any]) -> str:
    params = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row["params"].items())
    spread = "" if row["std"] is None else f" ± {row['std']:.4f}"
    name = say("default") if row["trial"] is None else say("trial {n}", n=row["trial"])
    return f"{row['mean']:.4f}{spread}  {name}: {params}"
