"""The whole way on a tiny model: from a file to a served, verified, resumable answer."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest

from burnish import api, runs
from burnish.errors import UsageError
from burnish.report.verify import verify
from burnish.serve.predict import Local

SETTINGS = {"epochs": "4", "lr": "3e-3", "precision": "fp32"}


def command(data: Path, model: Path, out: Path) -> list[str]:
    """A process of its own: other tests leave torch with other threads, and bits depend on those."""
    found = [sys.executable, "-m", "burnish", "fit", str(data), "--model", str(model), "--out", str(out)]
    # Ample time: a clock that cuts training short decides by seconds, and seconds differ from run to run.
    found += ["--time", "120s", "--recipe", "vocabulary-int8", "--max-drop", "100", "--quiet"]
    return found + [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]


@pytest.fixture(scope="module")
def run(tiny_csv: Path, tiny_folder: Path, tmp_path_factory) -> api.Run:
    out = tmp_path_factory.mktemp("runs") / "reviews"
    subprocess.run(command(tiny_csv, tiny_folder, out), check=True, stdout=subprocess.DEVNULL)
    return api.Run(out)


def test_the_answer_has_everything_that_was_promised(run: api.Run) -> None:
    result = run.result
    assert result["schema_version"] == 1
    assert {b["name"] for b in result["baselines"]} == {"majority", "tfidf+logreg"}
    assert result["budget"]["met"] is True
    assert result["parity"] == {**result["parity"], "flips": 0, "rows": result["rows"]["valid"]}
    chosen = [c for c in result["candidates"] if c["status"] == "chosen"]
    assert len(chosen) == 1
    assert chosen[0]["engine"] == result["chosen"]["engine"]
    assert result["chosen"]["size_bytes"] == chosen[0]["size_bytes"]
    assert all(c["why"] for c in result["candidates"])
    for part in (result["reference"], result["chosen"]):
        assert part["test"]["low"] <= part["test"]["value"] <= part["test"]["high"]


def test_integer_engines_agree_with_plain_torch(run: api.Run) -> None:
    for candidate in run.result["candidates"]:
        if candidate.get("precision") in ("int8", "fp32"):
            assert candidate["agreement"]["max_abs"] < 0.02
            assert candidate["agreement"]["flips"] == 0


def test_every_number_can_be_counted_again(run: api.Run) -> None:
    assert verify(run.folder) == []


def test_a_changed_prediction_is_found(run: api.Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    path = copy / "predictions" / "test-chosen.jsonl"
    lines = path.read_text().split("\n")
    line = json.loads(lines[0])
    line["outputs"] = [-v for v in line["outputs"]]
    path.write_text("\n".join([json.dumps(line), *lines[1:]]))
    assert any("test-chosen" in found for found in verify(copy))


def test_the_artifact_answers_what_the_run_measured(run: api.Run) -> None:
    rows = runs.read_rows(run.folder / "rows" / "test.jsonl")
    said = Local(run.folder / "artifact").outputs([row.text for row in rows])
    assert np.array_equal(said, runs.read_predictions(run.folder / "predictions" / "test-chosen.jsonl").outputs)
    assert api.load(run.folder).predict(["a really good film"])[0]["label"] in ("neg", "pos")


def test_the_run_is_a_value(run: api.Run) -> None:
    assert next(r.step for r in run.records) == "tune/finetune"
    assert len(run.table()) == len(run.result["candidates"])
    assert run.report().read_text("utf-8").startswith("<!doctype html>")


def test_the_same_command_again_finds_the_answer(run: api.Run, tiny_csv: Path, tiny_folder: Path) -> None:
    again = api.fit(
        str(tiny_csv),
        model=str(tiny_folder),
        out=run.folder,
        time=120,
        max_drop=100,
        recipe="vocabulary-int8",
        settings=SETTINGS,
    )
    assert again.result == run.result


def test_another_request_does_not_overwrite_a_run(run: api.Run, tiny_csv: Path, tiny_folder: Path) -> None:
    with pytest.raises(UsageError, match="another request"):
        api.fit(str(tiny_csv), model=str(tiny_folder), out=run.folder, seed=1)
    assert verify(run.folder) == []


def test_a_chosen_model_exports_to_plain_transformers(run: api.Run, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    api.export(run.folder, "transformers", tmp_path / "plain")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "plain").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "plain")
    rows = runs.read_rows(run.folder / "rows" / "test.jsonl")
    served = runs.read_predictions(run.folder / "predictions" / "test-chosen.jsonl").outputs
    said = [model(**tokenizer(r.text, return_tensors="pt")).logits.detach().numpy()[0] for r in rows]
    assert np.mean(np.argmax(said, 1) == served.argmax(1)) > 0.95


def test_a_float_artifact_of_any_engine_loads_in_plain_transformers(
    tiny_csv: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    made = api.fit(
        str(tiny_csv), model=str(tiny_folder), out=tmp_path / "run", time=60, recipe="tuned", settings=SETTINGS
    )
    artifact = made.folder / "artifact"
    assert made.result["chosen"]["engine"] in ("torch", "onnx", "openvino")
    model = AutoModelForSequenceClassification.from_pretrained(artifact).eval()
    tokenizer = AutoTokenizer.from_pretrained(artifact)
    rows = runs.read_rows(made.folder / "rows" / "test.jsonl")
    served = runs.read_predictions(made.folder / "predictions" / "test-reference.jsonl").outputs
    said = [model(**tokenizer(r.text, return_tensors="pt")).logits.detach().numpy()[0] for r in rows]
    assert np.abs(said - served).max() < 1e-3
    assert verify(made.folder) == []


def test_with_very_few_rows_cheaper_ways_are_tried_as_well(tiny_csv: Path, tiny_folder: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("".join(tiny_csv.read_text().splitlines(keepends=True)[:121]))
    made = api.fit(str(few), model=str(tiny_folder), out=tmp_path / "run", time=60, max_drop=100)
    assert made.result["reference"]["steps"] == ["tune/few_rows"]
    notes = next(r.notes for r in made.records if r.step == "tune/few_rows")
    assert len(notes["rivals"]) == 3
    assert verify(made.folder) == []
    assert made.report().read_text("utf-8").startswith("<!doctype html>")


def test_what_cannot_be_met_ends_with_the_nearest_three(tiny_csv: Path, tiny_folder: Path, tmp_path: Path) -> None:
    asked = [sys.executable, "-m", "burnish", "fit", str(tiny_csv), "--model", str(tiny_folder)]
    asked += [
        "--out",
        str(tmp_path / "run"),
        "--max-size",
        "1KB",
        "--recipe",
        "int8",
        "--time",
        "20s",
        "--set",
        "epochs=1",
        "--json",
    ]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert sum(bool(c.get("near")) for c in json.loads(done.stdout)["candidates"]) == 3
    assert (tmp_path / "run" / "report.html").is_file()
    assert verify(tmp_path / "run") == []


def fingerprint(run: Path) -> dict[str, str]:
    """Hashes of what must not depend on kills: the weights of every step, and the reference's predictions."""
    found = {}
    for record in runs.read_records(run):
        content = (run / "works" / record.key / "model.safetensors").read_bytes()
        found[f"{record.step} {record.key}"] = hashlib.sha256(content).hexdigest()
    found["reference"] = (run / "predictions" / "test-reference.jsonl").read_text()
    return found


def test_a_fit_killed_again_and_again_ends_in_the_same_models(
    run: api.Run, tiny_csv: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    rng, kills = Random(0), 0
    for _ in range(3):
        child = subprocess.Popen(
            command(tiny_csv, tiny_folder, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            child.wait(rng.uniform(5, 12))
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            kills += 1
    done = subprocess.run(command(tiny_csv, tiny_folder, out), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert kills
    whole, cut = fingerprint(run.folder), fingerprint(out)
    assert cut["reference"] == whole["reference"]
    shared = set(whole) & set(cut)
    assert len(shared) >= 2
    assert all(whole[name] == cut[name] for name in shared)
    assert verify(out) == []
