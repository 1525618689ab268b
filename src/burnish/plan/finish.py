"""The end of a run: artifact, parity over real HTTP, the test rows once, and the answer on disk."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from burnish import models, runs
from burnish.core import Task
from burnish.errors import BurnishError, problem
from burnish.measure.baselines import shown_name
from burnish.measure.intervals import beats_baseline, interval, paired_drop
from burnish.measure.machine import machine, versions
from burnish.measure.power import smallest_visible_drop_for
from burnish.measure.quality import quality
from burnish.plan.budget import Budget
from burnish.plan.candidate import Candidate, inputs_of
from burnish.plan.ground import Ground
from burnish.serve.artifact import update_measured
from burnish.serve.parity import served_outputs, trace
from burnish.serve.predict import Local
from burnish.words import say

__all__ = ["answer", "deliver", "seal", "write_manifest"]

BASELINES = ("majority", "tfidf")


def deliver(ground: Ground, chosen: Candidate) -> dict[str, Any]:
    """Copy the chosen artifact into place, serve it over HTTP, and compare every validation row.

    Returns the parity facts. Raises BurnishError when an answer flips, naming the hand-off that caused it.
    """
    artifact = ground.run / "artifact"
    shutil.rmtree(artifact, ignore_errors=True)
    shutil.copytree(chosen.folder, artifact)
    _add_weights(artifact, chosen)
    expected = runs.read_predictions(ground.run / "predictions" / f"valid-{chosen.label}.jsonl")
    served = served_outputs(artifact, ground.work.valid)
    work = chosen.tried.work
    parity = trace(
        artifact, ground.work.valid, expected.outputs, served.outputs, model=work.model, tokenizer=work.tokenizer
    )
    found = runs.Predictions(expected.ids, served.outputs, expected.targets)
    runs.write_predictions(ground.run / "predictions" / "valid-served.jsonl", found)
    if parity["flips"]:
        given = say(
            "the served artifact answers {n} of {rows} rows differently than when it was measured",
            n=parity["flips"],
            rows=parity["rows"],
        )
        expected_text = say("the same answers; the difference arises in: {where}", where=parity["handoff"])
        raise BurnishError(problem(given, expected_text, say("report this with {run}/result.json", run=ground.run)))
    return dict(parity)


def _add_weights(artifact: Path, chosen: Candidate) -> None:
    """Where plain transformers can express the model, it can also load the artifact; serving reads no byte of this."""
    model = chosen.tried.work.model
    if not getattr(model, "burnish_structure", ()) and not (artifact / "model.safetensors").exists():
        models.save_weights(model, artifact)


def score_test(ground: Ground, chosen: Candidate, reference: Candidate) -> dict[str, np.ndarray]:
    """Outputs on the test rows of the reference, the chosen model and the baselines, each stored. Scored here once."""
    rows = ground.test
    found = {
        "reference": Local(reference.folder).outputs(inputs_of(rows, ground.work.task)),
        "chosen": Local(ground.run / "artifact").outputs(inputs_of(rows, ground.work.task)),
    }
    folder, targets = ground.run / "predictions", ground.work.task.encode(rows)
    for who, outputs_NC in found.items():
        kept = runs.Predictions([r.id for r in rows], outputs_NC, targets)
        runs.write_predictions(folder / f"test-{who}.jsonl", kept)
    for who, candidate in (("reference", reference), ("chosen", chosen)):
        shutil.copyfile(folder / f"valid-{candidate.label}.jsonl", folder / f"valid-{who}.jsonl")
    for name in BASELINES:
        found[name] = runs.read_predictions(folder / f"test-baseline-{name}.jsonl").outputs
    return found


def answer(
    ground: Ground,
    candidates: Sequence[Mapping[str, Any]],
    chosen: Candidate,
    reference: Candidate,
    budget: Budget,
    parity: dict[str, Any],
    *,
    met: bool,
) -> dict[str, Any]:
    """The document that `fit --json` prints, without the seconds and the forecast."""
    task = ground.work.task
    outputs = score_test(ground, chosen, reference)
    targets = task.encode(ground.test)
    visible = smallest_visible_drop_for(task, outputs["reference"], outputs["chosen"], targets)
    beats = beats_baseline(task, outputs["chosen"], {n: outputs[n] for n in BASELINES}, targets)
    drop = paired_drop(task, outputs["reference"], outputs["chosen"], targets).to_json()
    return {
        "schema_version": 1,
        "run": str(ground.run),
        "name": ground.run.name,
        "task": task.name,
        "metric": task.metric,
        "rows": {"train": len(ground.work.train), "valid": len(ground.work.valid), "test": len(ground.test)},
        "baselines": [
            {"name": shown_name(task, n), "test": interval(task, outputs[n], targets).to_json()} for n in BASELINES
        ],
        "reference": {**_model(reference), "test": interval(task, outputs["reference"], targets).to_json()},
        "chosen": {
            **_model(chosen),
            "artifact": str(ground.run / "artifact"),
            "test": interval(task, outputs["chosen"], targets).to_json(),
        },
        "budget": {"met": met, "limits": budget.limits()},
        "drop": drop,
        "parity": parity,
        "min_visible_drop": visible,
        "beats_baseline": {**beats, "name": shown_name(task, beats["name"])},
        "metrics": {
            ("reference" if n == "reference" else "chosen" if n == "chosen" else shown_name(task, n)): quality(
                o, targets, task
            )["metrics"]
            for n, o in outputs.items()
        },
        "candidates": list(candidates),
        "reasons": ground.facts["reasons"],
        "warnings": _warnings(task, ground.facts, drop, visible, beats, budget),
        "machine": machine(ground.run),
        "versions": versions(),
    }


def _model(candidate: Candidate) -> dict[str, Any]:
    names = (
        "name",
        "steps",
        "engine",
        "precision",
        "size_bytes",
        "p50_ms",
        "p95_ms",
        "rows_per_second",
        "speedup",
    )
    return {k: candidate.facts[k] for k in (*names, "load_speedup")}


def _warnings(
    task: Task,
    facts: Mapping[str, Any],
    drop: Mapping[str, Any],
    visible: float,
    beats: Mapping[str, Any],
    budget: Budget,
) -> list[str]:
    found = list(facts["notes"])
    if not beats["better"]:
        found.append(
            say(
                "the model is not shown to be better than {name}: think of serving that",
                name=shown_name(task, beats["name"]),
            )
        )
    if visible > budget.drop:
        found.append(
            say(
                "these test rows can show a drop of {visible:.1f} points at the least, so a drop of "
                "{limit:.1f} may hide in them; more test rows would show it",
                visible=visible,
                limit=budget.drop,
            )
        )
    if drop["value"] > budget.drop:
        found.append(
            say("on the test rows it loses {v:.1f} points, over the {limit:.1f} it met on the validation rows",
                v=drop["value"], limit=budget.drop)
        )  # fmt: skip
    return found


def told_measured(result: Mapping[str, Any]) -> dict[str, Any]:
    """What goes into the artifact's own file, for /info and the model card."""
    chosen = result["chosen"]
    names = ("size_bytes", "p50_ms", "p95_ms", "rows_per_second", "speedup", "test")
    return {
        "metric": result["metric"],
        **{k: chosen[k] for k in names},
        "drop": result["drop"],
        "reference": {k: result["reference"][k] for k in ("test", "size_bytes", "p50_ms", "p95_ms")},
        "parity": result["parity"],
    }


def seal(ground: Ground, result: Mapping[str, Any]) -> None:
    """Put the measured numbers into the artifact."""
    update_measured(ground.run / "artifact", told_measured(result))


def write_manifest(run: Path) -> None:
    """SHA-256 of everything that the numbers rest on."""
    hashes = runs.tree_hashes(run, skip=("manifest.json", "report.html", "works", "checkpoints"))
    runs.write_json(run / "manifest.json", {"files": hashes})
