"""The frame and the lines for a terminal."""

import json

import pytest

from burnish.report.table import steps, summary_lines, table
from tests.report.conftest import Build


def test_the_frame_has_every_candidate_with_its_numbers(run_of: Build) -> None:
    frame = table(run_of())
    written = json.loads((run_of() / "candidates.json").read_text())
    assert list(frame["name"]) == [c["name"] for c in written]
    assert list(frame["status"]) == [c["status"] for c in written]
    chosen = frame[frame["status"] == "chosen"].iloc[0]
    line = next(c for c in written if c["status"] == "chosen")
    assert chosen["quality"] == line["valid"]["value"]
    assert (chosen["drop"], chosen["drop_low"], chosen["drop_high"]) == tuple(
        line["drop"][k] for k in ("value", "low", "high")
    )
    assert chosen["steps"] == "tune/finetune > compress/int8"
    assert frame[frame["status"] == "not tried"]["quality"].isna().all()


def test_the_steps_are_a_frame_too(run_of: Build) -> None:
    frame = steps(run_of())
    assert list(frame["step"]) == ["tune/finetune", "compress/int8", "compress/student", "compress/int8"]
    assert set(frame["parent"][1:]) <= set(frame["key"])


def test_the_summary_begins_with_the_answer_and_compares(run_of: Build) -> None:
    lines = summary_lines(run_of())
    assert lines[0].startswith("An int8 ONNX model of 23.1 MB answers in 2.5 ms")
    assert lines == summary_lines(json.loads((run_of() / "result.json").read_text()))
    text = "\n".join(lines)
    assert text.isascii(), "an old terminal has nothing else"
    for part in ("tuned float", "chosen", "tfidf+logreg", "limit 30 MB, met", "5.6 x as fast"):
        assert part in text
    assert lines[-1].startswith("! ")


def test_a_terminal_is_not_steered(run_of: Build) -> None:
    result = json.loads((run_of() / "result.json").read_text())
    lines = summary_lines({**result, "warnings": ["red \x1b[31m\r\nnext\x9b2J"]})
    assert not [c for line in lines for c in line if ord(c) < 32 or 127 <= ord(c) < 160]


@pytest.mark.parametrize("kind", ["multi-label-classification", "regression"])
def test_every_task_has_a_summary(run_of: Build, kind: str) -> None:
    assert "drop in points" in "\n".join(summary_lines(run_of(kind=kind)))


def test_an_unfinished_run_is_one_line() -> None:
    assert summary_lines({}) == ["This run is not finished. What is below is what its files hold so far."]
