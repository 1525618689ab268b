"""Tampering: whatever is changed anywhere, a finding names the file."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish.report.files import Files
from burnish.report.recount import recount
from burnish.report.verify import artifact, chain, hashes, rendered, verify
from tests.report.conftest import Build, copy_run
from tests.report.fake_run import Scene, make, write_manifest

KINDS = ("text-classification", "multi-label-classification", "regression")


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_run_has_no_problems(run_of: Build, kind: str) -> None:
    assert verify(run_of(kind=kind)) == []


@pytest.mark.parametrize("metric", ["macro_f1", "log_loss"])
def test_bootstrapped_intervals_are_recounted_too(tmp_path: Path, metric: str) -> None:
    run = make(tmp_path / "reviews", Scene(rows=60, metric=metric, max_drop=50.0, shrink=1000))
    assert recounted(run) == []


def files_of(run: Path) -> list[Path]:
    return sorted(p for p in run.rglob("*") if p.is_file())


def test_one_flipped_byte_in_any_file_is_found_and_the_file_named(own_run: Path) -> None:
    """In every file the first, the last and some bytes between; the cheap nets alone must catch them all."""
    for path in files_of(own_run):
        name = path.relative_to(own_run).as_posix()
        content = path.read_bytes()
        for at, bit in ((0, 1), (len(content) // 2, 32), (len(content) - 1, 1)):
            path.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
            found = _net(name)(own_run)
            assert any(name in problem for problem in found), (name, at, bit, found)
        path.write_bytes(content)
    assert hashes(own_run) == []


def _net(name: str) -> Callable[[Path], list[str]]:
    if name == "report.html":
        return rendered
    return _manifest if name == "manifest.json" else hashes


def _manifest(run: Path) -> list[str]:
    """A changed manifest accuses the files it lists, and itself when they are right; verify says either."""
    try:
        found = hashes(run)
    except (ValueError, KeyError, AttributeError) as error:
        return [f"manifest.json: {error}"]
    return [f"manifest.json: {problem}" for problem in found]


@given(data=st.data())
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_at_any_place_ends_in_a_finding_and_never_in_a_crash(own_run: Path, data: Any) -> None:
    path = data.draw(st.sampled_from(files_of(own_run)))
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    new = data.draw(st.binary(max_size=4))
    if content[at : at + 1] == new:
        new += b"0"
    path.write_bytes(content[:at] + new + content[at + 1 :])
    try:
        found = verify(own_run)
    finally:
        path.write_bytes(content)
    assert found
    assert path.name == "manifest.json" or any(path.relative_to(own_run).as_posix() in problem for problem in found)


def test_missing_and_extra_files_are_named(own_run: Path) -> None:
    (own_run / "predictions" / "extra.jsonl").write_text("{}\n")
    (own_run / "predictions" / "test-reference.jsonl").unlink()
    found = "\n".join(verify(own_run))
    assert "predictions/extra.jsonl: is not listed" in found
    assert "predictions/test-reference.jsonl: is listed in manifest.json and is not there" in found


def test_caches_of_unfinished_work_are_nobodys_business(own_run: Path) -> None:
    (own_run / "works" / "abc").mkdir(parents=True)
    (own_run / "works" / "abc" / "model.safetensors").write_bytes(b"x")
    assert verify(own_run) == []


def test_the_weights_are_checked_against_both_lists(run_of: Build, tmp_path: Path) -> None:
    run = copy_run(run_of(), tmp_path / "reviews")
    weights = run / "artifact" / "model.onnx"
    size = weights.stat().st_size
    weights.unlink()
    weights.write_bytes(b"other")
    os.truncate(weights, size)
    assert any("artifact/model.onnx" in problem for problem in hashes(run))
    assert any("artifact/model.onnx" in problem for problem in artifact(run))


# -- changes that come with fitting hashes and a fresh report ---------------------------------------------


def forge(run: Path, name: str, change: Callable[[Any], None]) -> list[str]:
    """Change a JSON file and make the manifest fit, as a forger who knows burnish would; what recounting says.

    The forger would write the report anew too; leaving it out saves each test two seconds.
    """
    facts = json.loads((run / name).read_text())
    change(facts)
    (run / name).write_text(json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return recounted(run)


def recounted(run: Path) -> list[str]:
    write_manifest(run)
    assert hashes(run) == []
    return [*artifact(run), *chain(run), *recount(Files(run))]


def put(*path: str | int, value: Any = None, add: float = 0.0) -> Callable[[Any], None]:
    def change(facts: Any) -> None:
        *way, last = path
        for step in way:
            facts = facts[step]
        facts[last] = facts[last] + add if add else value

    return change


@pytest.mark.parametrize("change", [
    put("chosen", "test", "value", add=0.01),
    put("chosen", "test", "low", add=1e-6),
    put("reference", "test", "high", add=-1e-6),
    put("baselines", 1, "test", "value", add=-0.3),
    put("metrics", "chosen", "macro_f1", add=0.001),
    put("metrics", "tfidf+logreg", "mcc", add=0.001),
    put("drop", "value", add=-0.1),
    put("drop", "p", add=0.01),
    put("beats_baseline", "gain", "value", add=1.0),
    put("beats_baseline", "better", value="yes"),
    put("min_visible_drop", add=-1.0),
    put("parity", "flips", value=1),
    put("rows", "test", value=9999),
    put("chosen", "size_bytes", value=9_000_000),
    put("chosen", "p50_ms", value=0.1),
    put("candidates", 0, "status", value="pareto, honestly"),
    put("chosen", "test", value=None),
    put("metrics", value={}),
], ids=repr)  # fmt: skip
def test_a_number_that_does_not_follow_is_found_though_all_hashes_fit(
    own_run: Path, change: Callable[[Any], None]
) -> None:
    found = forge(own_run, "result.json", change)
    assert any(problem.startswith(("result.json", "candidates.json")) for problem in found), found


@pytest.mark.parametrize("key", ["valid", "drop"])
def test_a_candidate_that_does_not_follow_is_found_in_both_lists(own_run: Path, key: str) -> None:
    assert forge(own_run, "candidates.json", put(2, key, "value", add=0.5))
    found = forge(own_run, "result.json", put("candidates", 2, key, "value", add=0.5))
    assert any("candidates.json: 3 (int8)" in problem for problem in found), found


def test_a_forged_prediction_is_found_in_the_numbers_that_follow_from_it(own_run: Path) -> None:
    path = own_run / "predictions" / "test-chosen.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["outputs"] = lines[0]["outputs"][::-1]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert any("metrics.chosen" in problem for problem in recounted(own_run))


def test_a_target_that_is_not_the_rows_is_found(own_run: Path) -> None:
    for path in (own_run / "predictions").glob("test-*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines[0]["target"] = (lines[0]["target"] + 1) % 3
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert any("is not about the rows of rows/test.jsonl" in problem for problem in recounted(own_run))


def test_a_record_that_does_not_follow_from_its_settings_is_found(own_run: Path) -> None:
    path = own_run / "records.jsonl"
    path.write_text(path.read_text().replace('"epochs": 3', '"epochs": 9'))
    found = recounted(own_run)
    assert any(problem.startswith("records.jsonl: tune/finetune") for problem in found), found


def test_a_page_that_tells_another_story_is_found(own_run: Path) -> None:
    page = own_run / "report.html"
    page.write_text(page.read_text("utf-8").replace("limits", "hopes"), "utf-8")
    assert any(problem.startswith("report.html") for problem in verify(own_run))


def test_an_unfinished_run_is_not_called_well(own_run: Path) -> None:
    for name in ("result.json", "manifest.json", "report.html"):
        (own_run / name).unlink()
    found = "\n".join(verify(own_run))
    for name in ("result.json", "manifest.json", "report.html"):
        assert name in found


def test_an_empty_folder_is_full_of_findings(tmp_path: Path) -> None:
    assert verify(tmp_path)
