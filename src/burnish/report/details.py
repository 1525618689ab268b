"""How the numbers came about: training curves, the data, parity, the forecast, the machine, the hashes.

Each function reads `Files` and returns a Table, a Figure or facts; None or empty where the run does not know it.
"""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from burnish.core import Record
from burnish.report import plots, show
from burnish.report.files import Files
from burnish.report.layout import Fact, Facts, Figure, Part, Sentences, Table
from burnish.report.steps import chosen_path
from burnish.runs import file_hash
from burnish.words import say

__all__ = ["commands", "forecast", "hashes", "machine", "parity", "training", "versions"]

Json = Mapping[str, Any]
FEW_POINTS = 3  # fewer make no curve


def training(files: Files) -> list[Figure]:
    """For each step that learned: loss, validation score, learning rate and gradient norm over its steps."""
    learned = [record for record in files.records if len(record.notes.get("curve") or ()) >= FEW_POINTS]
    path = chosen_path(files)
    found = []
    for record in sorted(learned, key=lambda r: r.key not in path):
        twice = sum(other.step == record.step for other in learned) > 1
        name = f"{record.step} {record.key[:6]}" if twice else record.step
        aside = bool(path) and record.key not in path
        fold = say("{step}, which is not part of the chosen model", step=name) if aside else ""
        found.append(_learned(record, files.metric, name, fold))
    return found


def _learned(record: Record, metric: str, name: str, fold: str) -> Figure:
    notes, step = record.notes, say("step")
    curve, evals = notes["curve"], notes.get("evals") or []
    x = [point["step"] for point in curve]
    lines = [plots.Series(say("training"), x, [point["loss"] for point in curve], smooth=True)]
    judged = [e for e in evals if e.get("valid_loss") is not None]
    if judged:
        lines.append(plots.Series(say("validation"), [e["step"] for e in judged], [e["valid_loss"] for e in judged]))
    loss, rate = say("Loss, {step}", step=name), say("Learning rate, {step}", step=name)
    charts = [plots.curves(lines, title=loss, x_label=step, y_label=say("loss"), zero=True)]
    scored = [e for e in evals if e.get("score") is not None]
    if len(scored) > 1:
        factor, unit = (100, "%") if metric in show.PERCENT else (-1 if show.is_error(metric) else 1, "")
        label = ", ".join(part for part in (say("validation {metric}", metric=show.metric_name(metric)), unit) if part)
        values = [factor * e["score"] for e in scored]
        score = plots.Series(label, [e["step"] for e in scored], values, mark=notes.get("best_step"))
        title = say("Validation score, {step}", step=name)
        charts.append(plots.curves([score], title=title, x_label=step, y_label=label))
    rates = [plots.Series(say("learning rate"), x, [point["lr"] for point in curve])]
    charts.append(plots.curves(rates, title=rate, x_label=step, y_label=say("learning rate"), zero=True))
    if all(point.get("grad_norm") is not None for point in curve):
        norms = [plots.Series(say("gradient norm"), x, [point["grad_norm"] for point in curve], smooth=True)]
        title = say("Gradient norm, {step}", step=name)
        charts.append(plots.curves(norms, title=title, x_label=step, y_label=say("gradient norm"), zero=True))
    return Figure(charts, _pace(notes), _evals(evals, metric), title=name, fold=fold)


def _pace(notes: Json) -> str:
    facts = (
        (say("in {time}"), show.duration, notes.get("train_seconds")),
        (say("{time} samples a second"), show.count, notes.get("samples_per_second")),
        (say("{time} tokens a second"), show.count, notes.get("tokens_per_second")),
        (say("{time} of memory at most"), show.size, notes.get("peak_memory_bytes")),
    )
    told = ", ".join(text.format(time=shown(value)) for text, shown, value in facts if value is not None)
    best = notes.get("best_step")
    kept = say("The weights of step {step} were kept.", step=best) if best is not None else ""
    return " ".join(part for part in (say("Trained {how}.", how=told) if told else "", kept) if part)


def _evals(evals: list[Json], metric: str) -> Table | None:
    if not evals:
        return None
    return Table(
        caption=say("Every evaluation on the validation rows."),
        columns=tuple(f"#{c}" for c in (say("step"), say("epoch"), say("validation loss"), show.metric_name(metric))),
        rows=[
            (show.count(e.get("step")), show.plain(e.get("epoch")), show.number(e.get("valid_loss"), 4),
             show.quality(e.get("score"), metric))
            for e in evals
        ],
    )  # fmt: skip


def parity(files: Files) -> list[Part]:
    """What the served artifact answered over HTTP, against what was measured."""
    found = files.result.get("parity") or {}
    if not found:
        return []
    flips, rows = found.get("flips"), show.count(found.get("rows"))
    told = say(
        "The artifact was served over HTTP and asked {rows} rows again: {flips} answers changed.",
        rows=rows,
        flips=flips,
    )
    if flips == 0:
        told = say("The artifact was served over HTTP and asked {rows} rows again: not one answer changed.", rows=rows)
    facts = []
    if found.get("max_abs") is not None:
        facts.append((say("largest difference of an output"), f"{found['max_abs']:.2g}"))
    if found.get("batching"):
        facts.append((say("served as"), say(str(found["batching"]))))
    return [Sentences((told,)), *([Facts(facts)] if facts else [])]


def forecast(files: Files) -> Table | None:
    """What the dry run promised against what happened."""
    told, result = files.forecast, files.result
    tuned = next((record.seconds for record in files.records if record.step.startswith("tune/")), None)
    rows = [
        (name, shown(told[key]), shown(happened), _off(told[key], happened))
        for key, name, shown, happened in (
            ("seconds", say("time"), show.duration, result.get("seconds")),
            ("tune_seconds", say("time of tuning"), show.duration, tuned),
            ("memory_bytes", say("memory"), show.size, _peak(files)),
            ("disk_bytes", say("disk"), show.size, result.get("disk_bytes")),
        )
        if told.get(key) is not None
    ]
    if not rows:
        return None
    return Table(
        caption=say("The forecast made before the run, and what happened."),
        columns=("", f"#{say('forecast')}", f"#{say('happened')}", f"#{say('off by')}"),
        rows=rows,
        foot=" ".join(show.sentence(str(reason)) for reason in told.get("reasons") or ()),
    )


def _off(told: float, happened: float | None) -> str:
    """By how much what happened is above the forecast."""
    return show.NOTHING if happened is None or not told else show.share(happened / told - 1)


def _peak(files: Files) -> float | None:
    if files.result.get("peak_memory_bytes") is not None:
        return float(files.result["peak_memory_bytes"])
    return max((r.notes["peak_memory_bytes"] for r in files.records if r.notes.get("peak_memory_bytes")), default=None)


def machine(files: Files) -> list[Fact]:
    return _facts(files.result.get("machine") or files.request.get("machine") or {})


def versions(files: Files) -> list[Fact]:
    return _facts(files.result.get("versions") or files.artifact.get("versions") or {})


def _facts(found: Json) -> list[Fact]:
    shown = [(key, show.size(v) if key.endswith("_bytes") else show.plain(v)) for key, v in found.items()]
    return [(key.removesuffix("_bytes").replace("_", " "), value) for key, value in shown if value]


def commands(files: Files) -> list[Fact]:
    """How to use what came out: (what for, what to type)."""
    if not files.artifact:
        return []
    run = shlex.quote(str(files.result.get("run") or files.run.name))
    pair = bool((files.artifact.get("task") or {}).get("pair"))
    given = ["first text", "second text"] if pair else "some text"
    body = json.dumps({"inputs": [given] if pair else given})
    words = " ".join(f'"{text}"' for text in given) if pair else f'"{given}"'
    call = "[('first text', 'second text')]" if pair else "['some text']"
    return [
        (say("Serve it over HTTP"), f"burnish serve {run}"),
        (say("Ask the server"), f"curl -s localhost:8000/predict -H 'content-type: application/json' -d '{body}'"),
        (say("Ask it once"), f"burnish predict {run} {words}"),
        (
            say("From Python"),
            f"import burnish\nmodel = burnish.load({str(files.result.get('run') or '.')!r})\nmodel.predict({call})",
        ),
        (say("Check this page"), f"burnish verify {run}"),
    ]


def hashes(files: Files) -> Table | None:
    """SHA-256 of the files this page was made from, and of the artifact's as they were when it was built."""
    mine = ("request.json", "check.json", "recipe.yaml", "records.jsonl", "candidates.json", "result.json",
            "rows/train.jsonl", "rows/valid.jsonl", "rows/test.jsonl")  # fmt: skip
    rows = [(name, file_hash(files.run / name)) for name in mine if (files.run / name).is_file()]
    predictions = sorted((files.run / "predictions").glob("*.jsonl"))
    rows += [(f"predictions/{path.name}", file_hash(path)) for path in predictions]
    rows += [(f"artifact/{name}", str(value)) for name, value in sorted((files.artifact.get("files") or {}).items())]
    if not rows:
        return None
    caption = say("SHA-256 of the files behind this page.")
    return Table(caption=caption, columns=(say("file"), say("SHA-256")), rows=rows, hashes=True)
