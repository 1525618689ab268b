"""`burnish lr`: the learning-rate finder alone, on the rows that `burnish tune` would learn from."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from burnish import models, runs
from burnish.catalog import build
from burnish.core import Work
from burnish.errors import UsageError, problem
from burnish.plan.ground import load_rows
from burnish.plan.request import Request, at_work, recipes_for, refuse_augmenting, tuning_of
from burnish.train.evaluate import pad_id_of
from burnish.train.finder import Bench, find
from burnish.train.prepare import encode_work, settings_for
from burnish.tune.finetune import FineTune
from burnish.words import say

__all__ = ["lr"]

Report = Callable[[str, float, Mapping[str, Any]], None]


def lr(request: Request, folder: Path, report: Report) -> dict[str, Any]:
    """Look for the rate of the request's tuning step; returns what `lr --json` prints, without the plot.

    Finished trials stay in `folder`, so that the same request goes on, and a finished one is answered from there.
    """
    step = _step(request)
    with at_work(folder, request):
        return _found(request, step, folder, report)


def _found(request: Request, step: FineTune, folder: Path, report: Report) -> dict[str, Any]:
    start = time.monotonic()
    rows = load_rows(request)
    place = folder / f"{rows.facts['sha256'][:16]}"  # other rows under the same name have trials of their own
    if (place / "lr.json").is_file():
        return dict(runs.read_json(place / "lr.json"))
    report(say("loading the model"), 0.0, {})
    model, tokenizer = models.load(request.model, rows.task, seed=request.seed, new_head=request.new_head)
    work = Work(model, tokenizer, rows.task, rows.splits.train, rows.splits.valid)
    settings, max_length, reasons = settings_for(work, step)
    learn, valid = encode_work(work, max_length)
    bench = Bench(
        model, rows.task, learn, valid, settings, request.seed, pad_id_of(tokenizer), step.tweaks, report
    )  # fmt: skip
    limit = math.inf if request.budget.time is None else request.budget.time - (time.monotonic() - start)
    found = find(bench, seconds=limit, folder=place)
    told = found.to_json()
    result = {"schema_version": 1, "run": str(folder), **told, "reasons": reasons, "metric": rows.task.metric}
    runs.write_json(place / "lr.json", result)
    return result


def _step(request: Request) -> FineTune:
    """The tuning step as asked, its rate left open. Raises UsageError when a rate was given."""
    refuse_augmenting(request, "lr")
    use = tuning_of(request, recipes_for(request) if request.recipe or request.steps else [])
    step = build(use.name, use.settings)
    assert isinstance(step, FineTune)
    if step.lr not in (None, "auto"):
        given = say("lr={lr:g} is given", lr=step.lr)
        raise UsageError(problem(given, say("no rate: it is what this looks for"), say("leave lr out")))
    return step
