"""Single stages of the way: tune alone, export a finished run's model in another form."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from burnish import models, runs
from burnish.catalog import build
from burnish.core import Desk, Rows, Step, Work, run
from burnish.errors import UsageError, nearest, problem
from burnish.measure.intervals import interval
from burnish.measure.quality import quality
from burnish.measure.size import model_size
from burnish.plan.cache import Works
from burnish.plan.ground import lay
from burnish.plan.request import Request, at_work, recipes_for, tuning_of
from burnish.serve.artifact import write_artifact
from burnish.train.evaluate import outputs_of_rows
from burnish.words import say

__all__ = ["export", "tune"]

Report = Callable[[str, float, Mapping[str, Any]], None]
FORMS = ("transformers", "onnx", "openvino")


def tune(request: Request, folder: Path, report: Report) -> dict[str, Any]:
    """Fine-tune and score; the model is saved in `folder`/model as plain transformers. Returns `tune --json`."""
    use = tuning_of(request, recipes_for(request) if request.recipe or request.steps else [])
    step = build(use.name, use.settings)
    with at_work(folder, request):
        return _tuned(request, step, folder, report)


def _tuned(request: Request, step: Step, folder: Path, report: Report) -> dict[str, Any]:
    ground = lay(folder, request, report)
    budget = request.budget
    lent = Desk(report=report, deadline=None if budget.time is None else _deadline(budget.time))
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
    }
    runs.write_json(folder / "tune.json", result)
    return result


def _deadline(seconds: float) -> float:
    import time

    return time.monotonic() + seconds


def _scored(work: Work, rows: Rows) -> dict[str, Any]:
    outputs_NC: np.ndarray = outputs_of_rows(work.model, work.tokenizer, rows, work.tokenizer.model_max_length)
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
