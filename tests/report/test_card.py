"""The model card: YAML that any reader parses, text that stays text, evidence that is in the files."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from burnish.report.card import card
from tests.report.conftest import Build, copy_run


def parts(text: str) -> tuple[dict[str, Any], str]:
    """Front matter and body, split where a hub splits them."""
    assert text.startswith("---\n")
    front, found, body = text[4:].partition("\n---\n")
    assert found
    return yaml.safe_load(front), body


def test_the_front_matter_says_what_the_hub_reads(run_of: Build) -> None:
    front, body = parts(card(run_of()))
    assert front["library_name"] == "onnx"
    assert front["pipeline_tag"] == "text-classification"
    assert {"burnish", "onnx", "int8"} <= set(front["tags"])
    result = json.loads((run_of() / "result.json").read_text())
    (entry,) = front["model-index"]
    readings = {m["name"]: m["value"] for m in entry["results"][0]["metrics"]}
    assert readings["accuracy"] == pytest.approx(result["chosen"]["test"]["value"], abs=1e-6)
    assert "license" not in front, "nobody said what the licence is"
    assert "base_model" not in front, "pypi:... is no model of the hub"
    for title in ("Intended use", "Labels", "How to use", "Evidence", "Limits", "How it was made"):
        assert f"\n## {title}\n" in body


def test_labels_cannot_break_out(run_of: Build) -> None:
    text = card(run_of(hostile=True))
    front, body = parts(text)
    assert "license" not in front
    assert "<b>" not in text
    assert "&lt;b&gt;bad&lt;/b&gt;" in body
    assert not [line for line in body.splitlines() if line.strip() == "---"]


def test_no_path_of_this_machine_is_told(run_of: Build) -> None:
    assert "/home/someone" not in card(run_of())
    assert "reviews.csv" in card(run_of())


@pytest.mark.parametrize("kind", ["multi-label-classification", "regression"])
def test_every_task_has_a_card(run_of: Build, kind: str) -> None:
    front, body = parts(card(run_of(kind=kind)))
    assert front["metrics"]
    assert "| this model |" in body


def test_transformers_alone_is_offered_where_it_works(run_of: Build, tmp_path: Path) -> None:
    run = copy_run(run_of(), tmp_path / "reviews")
    facts = json.loads((run / "artifact" / "burnish.json").read_text())
    (run / "artifact" / "burnish.json").write_text(json.dumps({**facts, "engine": "torch", "base_model": "org/bert"}))
    (run / "artifact" / "model.safetensors").write_bytes(b"its weights")
    front, body = parts(card(run))
    assert front["library_name"] == "transformers"
    assert front["base_model"] == "org/bert"
    assert "AutoModelForSequenceClassification" in body
    assert "AutoModelForSequenceClassification" not in card(run_of())


def test_the_same_run_gives_the_same_card(run_of: Build) -> None:
    assert card(run_of()) == card(run_of())


@pytest.mark.parametrize(
    "name", ["a: b", "- x", "'", '"', "{}", "---", "!!python/object:os.system", "# no", "é\u2028x", "*"]
)
def test_a_name_is_only_a_name(run_of: Build, tmp_path: Path, name: str) -> None:
    run = copy_run(run_of(), tmp_path / "reviews")
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, "name": name}))
    front, _ = parts(card(run))
    assert front["model-index"][0]["name"] == name
