"""Every number of result.json and candidates.json that comes from predictions, counted again and compared.

Recounted: values, intervals, metrics, drops, gains, flips and distances. Times and memory cannot be.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from burnish.core import Task
from burnish.measure.agreement import agreement
from burnish.measure.baselines import shown_name
from burnish.measure.effects import gain
from burnish.measure.intervals import beats_baseline
from burnish.measure.power import smallest_visible_drop_for
from burnish.measure.recompute import recompute, recompute_drop
from burnish.report.files import Files
from burnish.runs import Predictions
from burnish.words import say

__all__ = ["recount"]

CLOSE = 1e-9
BASELINES = ("majority", "tfidf")
Json = Mapping[str, Any]


def recount(files: Files) -> list[str]:
    """Sentences about numbers that do not follow from the predictions; empty when all do."""
    if not files.result:
        return [say("result.json: is missing, so the run was not finished")]
    if files.task is None:
        return [say("rows/facts.json: does not say what the task is")]
    return [
        *_rows(files, files.task),
        *_test(files, files.task),
        *_drops(files, files.task),
        *_parity(files, files.task),
        *_candidates(files, files.task),
        *_augmentation(files, files.task),
        *_agree(files),
    ]


def _rows(files: Files, task: Task) -> Iterator[str]:
    """Predictions are about the rows that are kept, in their order, with their targets."""
    rows = {split: files.rows(split) for split in ("valid", "test")}
    targets = {split: task.encode(members) for split, members in rows.items()}
    for path in sorted((files.run / "predictions").glob("*.jsonl")):
        split = path.name.partition("-")[0]
        found = files.predictions(path.stem)
        if split not in rows or found is None:
            continue
        if found.ids != [row.id for row in rows[split]] or not np.array_equal(found.targets, targets[split]):
            yield say("predictions/{name}: is not about the rows of rows/{split}.jsonl", name=path.name, split=split)
    told = files.result.get("rows") or {}
    for split in told:
        if told[split] != len(files.rows(split)):
            yield say("result.json: rows.{split} is not the number of rows kept", split=split)


def _augmentation(files: Files, task: Task) -> Iterator[str]:
    """What augmentation gave follows from both arms' predictions, and the answer says what augment.json says."""
    found = files.augment
    if files.result.get("augmentation", found) != found:
        yield say("result.json: augmentation is not what augment.json says")
    if found.get("gain"):
        seeds = [one["seed"] for one in found["arms_by_seed"]]
        pairs = {arm: [_needed(files, f"valid-augment-{arm}-{s}") for s in seeds] for arm in ("plain", "with")}
        plain, with_ = ([p.outputs for p in pairs[arm]] for arm in ("plain", "with"))
        counted = gain(task, pairs["plain"][0].targets, plain, with_).to_json()
        yield from _same("augment.json", "gain", found["gain"], counted)


def _needed(files: Files, name: str) -> Predictions:
    found = files.predictions(name)
    if found is None:
        raise FileNotFoundError(f"predictions/{name}.jsonl")
    return found


def _test(files: Files, task: Task) -> Iterator[str]:
    """Quality of every model on the test rows: value, interval, all metrics."""
    result = files.result
    named = {shown_name(task, slug): f"test-baseline-{slug}" for slug in BASELINES}
    claims = [(f"baselines.{b['name']}", b, named.get(b["name"], ""), b["name"]) for b in result.get("baselines") or []]
    claims += [(who, result.get(who) or {}, f"test-{who}", who) for who in ("reference", "chosen")]
    for place, claim, file, key in claims:
        if not claim:
            continue
        counted = recompute(task, _needed(files, file))
        yield from _same("result.json", f"{place}.test", claim.get("test"), counted["interval"])
        yield from _same("result.json", f"metrics.{key}", (result.get("metrics") or {}).get(key), counted["metrics"])


def _drops(files: Files, task: Task) -> Iterator[str]:
    """The drop, the gain over the baseline, and the smallest drop that could be seen, all on the test rows."""
    result = files.result
    if not result.get("chosen"):
        return
    reference, chosen = _needed(files, "test-reference"), _needed(files, "test-chosen")
    yield from _same("result.json", "drop", result.get("drop"), recompute_drop(task, reference, chosen).to_json())
    if result.get("beats_baseline"):
        outputs = {slug: _needed(files, f"test-baseline-{slug}").outputs for slug in BASELINES}
        beats = beats_baseline(task, chosen.outputs, outputs, chosen.targets)
        beats["name"] = shown_name(task, beats["name"])
        yield from _same("result.json", "beats_baseline", result["beats_baseline"], beats)
    if result.get("min_visible_drop") is not None:
        visible = smallest_visible_drop_for(task, reference.outputs, chosen.outputs, reference.targets)
        yield from _same("result.json", "min_visible_drop", result["min_visible_drop"], visible)


def _parity(files: Files, task: Task) -> Iterator[str]:
    """What the server answered, against what was measured before."""
    told, served = files.result.get("parity"), files.predictions("valid-served")
    if not told or served is None:
        return
    counted = agreement(task, _needed(files, "valid-chosen").outputs, served.outputs)
    for key in ("rows", "flips", "max_abs", "mean_abs"):
        if told.get(key) is not None:
            yield from _same("result.json", f"parity.{key}", told[key], counted[key])


def _candidates(files: Files, task: Task) -> Iterator[str]:
    """Quality and drop of every candidate on the validation rows, and how far it is from its own float form."""
    reference = files.predictions("valid-reference")
    for number, candidate in enumerate(files.candidates, 1):
        if not candidate.get("valid"):
            continue
        name = f"{number} ({candidate.get('name')})"
        found = _outputs_of(files, candidate)
        if found is None:
            yield say("candidates.json: there are no predictions of candidate {name}", name=name)
            continue
        yield from _same("candidates.json", f"{name}.valid", candidate["valid"], recompute(task, found)["interval"])
        if reference is not None and candidate.get("drop"):
            drop = recompute_drop(task, reference, found).to_json()
            yield from _same("candidates.json", f"{name}.drop", candidate["drop"], drop)
        plain = files.predictions(f"valid-{candidate['key']}")
        if plain is not None and candidate.get("agreement"):
            counted = agreement(task, plain.outputs, found.outputs)
            yield from _same("candidates.json", f"{name}.agreement", candidate["agreement"], counted)


def _outputs_of(files: Files, candidate: Json) -> Predictions | None:
    label = "-".join(str(candidate[k]) for k in ("key", "engine", "precision") if candidate.get(k))
    return files.predictions(f"valid-{label}")


def _agree(files: Files) -> Iterator[str]:
    """The same facts told in two places are the same: candidates, and the chosen one among them."""
    result = files.result
    if result.get("candidates") is not None and result["candidates"] != files.candidates:
        yield say("candidates.json: is not the list of candidates in result.json")
    line: Json = next((c for c in files.candidates if c.get("status") == "chosen"), {})
    chosen = result.get("chosen") or {}
    for key in ("name", "steps", "engine", "precision", "size_bytes", "p50_ms", "p95_ms", "rows_per_second", "speedup"):
        if key in chosen and key in line:
            yield from _same("result.json", f"chosen.{key}", chosen[key], line[key])
    if files.artifact and chosen.get("engine") not in (None, files.artifact.get("engine")):
        yield say("artifact/burnish.json: names another engine than result.json")


def _same(file: str, place: str, told: Any, counted: Any) -> Iterator[str]:
    """Sentences for each leaf of `counted` that `told` contradicts or lacks."""
    if isinstance(counted, Mapping):
        for key, value in counted.items():
            inner = told.get(key) if isinstance(told, Mapping) else None
            yield from _same(file, f"{place}.{key}", inner, value)
    elif not _equal(told, counted):
        yield say(
            "{file}: {place} is {told}, the predictions give {counted}",
            file=file,
            place=place,
            told=told,
            counted=counted,
        )


def _equal(told: Any, counted: Any) -> bool:
    if isinstance(told, bool) or isinstance(counted, bool) or not isinstance(counted, int | float):
        return bool(told == counted)
    return isinstance(told, int | float) and math.isclose(told, counted, rel_tol=CLOSE, abs_tol=CLOSE)
