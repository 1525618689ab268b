"""Compress what is tuned already: a new run under another budget, on the rows and the tuned model of an old one."""

import shutil
from dataclasses import replace
from pathlib import Path

from burnish import runs
from burnish.errors import UsageError, problem
from burnish.plan.budget import Budget
from burnish.plan.reopen import reference_key, request_of
from burnish.plan.request import Request, open_run
from burnish.words import say

__all__ = ["request_for", "share"]

# What the new run shares with the old: rows and what was found in them, the baselines, and the settings of tuning.
SHARED = ("rows", "check.json", "forecast.json")


def request_for(run: Path, budget: Budget, recipe: str | None, steps: tuple[str, ...]) -> Request:
    """The old run's request under a new budget. Raises UsageError where `steps` would tune anew."""
    if any(step.startswith(("tune/", "augment/")) for step in steps):
        given = say("--with {steps}", steps=" ".join(steps))
        raise UsageError(problem(given, say("techniques of compressing; the model is tuned"), say("burnish fit")))
    key = reference_key(run)
    return replace(request_of(run), budget=budget, recipe=recipe, steps=steps, settings={}, start=key)


def share(run: Path, request: Request, folder: Path) -> None:
    """Make the new run folder with all that it takes over; nothing where it is there already."""
    if not open_run(folder, request) or not (folder / "works" / request.start).is_dir():
        with runs.disk_errors(folder):
            _share(run, folder, request.start)


def _share(run: Path, folder: Path, key: str) -> None:
    for name in (*SHARED, f"works/{key}"):
        source, target = run / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.is_file():
            shutil.copyfile(source, target)
    (folder / "predictions").mkdir(exist_ok=True)
    for path in (run / "predictions").glob("*-baseline-*.jsonl"):
        shutil.copyfile(path, folder / "predictions" / path.name)
