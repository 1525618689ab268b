"""Single stages of the way: tune alone, export a finished run's model in another form."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from burnish import models, runs
from burnish.catalog import build
from burnish.core import Desk, Record, Rows, Step, Work, run
from burnish.errors import UsageError, nearest, problem
from burnish.measure.intervals import interval
from burnish.measure.quality import quality
from burnish.measure.size import model_size
from burnish.plan import effect
from burnish.plan.budget import Budget
from burnish.plan.cache import Works
from burnish.plan.forecast import forecast
from burnish.plan.ground import Ground, lay
from burnish.plan.request import Request, at_work, augmenting, recipes_for, tuning_of
from burnish.plan.search import Clock
from burnish.serve.artifact import write_artifact
from burnish.train.evaluate import outputs_of_rows
from burnish.tune.finetune import FineTune
from burnish.words import say

__all__ = ["export", "tune"]

Report = Callable[[str, float, Mapping[str, Any]], None]
FORMS = ("transformers", "onnx", "openvino")


def tune(request: Request, folder: Path, report: Report) -> dict[str, Any]:
    """Fine-tune and score; the model is saved in `folder`/model as plain transformers. Returns `tune --json`."""
    use = tuning_of(request, recipes_for(request) if request.recipe or request.steps else [])
    step = build(use.name, use.settings)
    for one in augmenting(request):
        one.build()  # a slip there is answered before any row is read
    with at_work(folder, request):
        return _tuned(request, step, folder, report)


def _tuned(request: Request, step: Step, folder: Path, report: Report) -> dict[str, Any]:
    start = time.monotonic()
    ground = lay(folder, request, report)
    told: dict[str, Any] = {}
    if augmenting(request):
        work, record, told = _augmented(ground, step, start, report)
    else:
        budget = request.budget
        lent = Desk(report=report, deadline=None if budget.time is None else start + budget.time)
        probes = {"size": lambda work: model_size(work.model)}
        cache = Works(folder, ground.work.train)
        work, record = next(run([step], ground.work, probes, cache, parent=ground.key, seed=request.seed, lent=lent))
    models.save(work.model, work.tokenizer, folder / "model")
    notes = record.notes
    result = {
        "schema_version": 1,
        "run": str(folder),
        "task": work.task.name,
        "metric": work.task.metric,
        "model": str(folder / "model"),
        "settings": record.settings,
        "reasons": notes["reasons"],
        **{k: notes[k] for k in ("train_seconds", "samples_per_second", "tokens_per_second", "peak_memory_bytes")},
        "doctor": notes["events"],
        "valid": _scored(work, work.valid),
        "test": _scored(work, ground.test),
        **({"augmentation": told} if told else {}),
    }
    runs.write_json(folder / "tune.json", result)
    return result


def _augmented(ground: Ground, step: Step, start: float, report: Report) -> tuple[Work, Record, dict[str, Any]]:
    """Tuned with the rows that augmentation makes, or without them, whichever is better; its record, and the facts."""
    request = ground.request
    assert isinstance(step, FineTune)
    limit = request.budget.time
    seconds = 0.0 if limit is None else forecast(ground.work, step, Budget(), 0).tune_seconds
    clock, uses = Clock(limit, 0.0, start), augmenting(request)
    tried, told = effect.tuned(
        ground, uses, step, clock, report, seconds=seconds, anyway=request.augment_anyway
    )  # fmt: skip
    record = next(r for r in runs.read_records(ground.run) if r.key == tried.key)
    return tried.work, record, told


def _scored(work: Work, rows: Rows) -> dict[str, Any]:
    outputs_NC: np.ndarray = outputs_of_rows(
        work.model, work.tokenizer, rows, work.tokenizer.model_max_length, task=work.task
    )
    targets = work.task.encode(rows)
    return {**asdict(interval(work.task, outputs_NC, targets)), **quality(outputs_NC, targets, work.task)}


def export(folder: Path, to: str, out: Path) -> dict[str, Any]:
    """Write the chosen model of the run in `folder` to `out`.

    'transformers' is a plain folder for AutoModelForSequenceClassification: integer layers become float weights on
    the same grid. 'onnx' and 'openvino' are artifacts that `burnish serve` serves. Raises UsageError for another
    form or a folder that is not empty.
    """
    if to not in FORMS:
        close = nearest(to, FORMS) or FORMS[0]
        given = say("there is no form '{to}'", to=to)
        raise UsageError(problem(given, ", ".join(FORMS), f"--to {close}"))
    if out.exists() and any(out.iterdir()):
        given = say("{out} is not empty", out=out)
        raise UsageError(problem(given, say("a new or empty folder"), say("another folder")))
    result = runs.read_json(folder / "result.json")
    chosen = next(c for c in result["candidates"] if c["status"] == "chosen")
    model, tokenizer = models.load_saved(folder / "works" / chosen["key"])
    if to == "transformers":
        models.save(models.as_float(model), tokenizer, out)
        return {
            "schema_version": 1,
            "form": to,
            "folder": str(out),
            "files": sorted(p.name for p in out.iterdir()),
        }
    from burnish import tasks

    facts = runs.read_json(folder / "artifact" / "burnish.json")
    write_artifact(
        out,
        model=model,
        tokenizer=tokenizer,
        task=tasks.from_json(facts["task"]),
        engine=to,
        precision=models.precision(model),
        max_length=tokenizer.model_max_length,
        rows_for_golden=runs.read_rows(folder / "rows" / "valid.jsonl")[:3],
        base_model=facts["base_model"],
        measured={},
    )
    return {
        "schema_version": 1,
        "form": to,
        "folder": str(out),
        "files": sorted(p.name for p in out.iterdir()),
    }
