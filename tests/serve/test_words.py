"""Served entities and answers: what every engine says is what torch says, windows and all, over HTTP too."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from burnish.compress.int8 import Int8
from burnish.core import Work
from burnish.serve.artifact import text_of, write_artifact
from burnish.serve.parity import served_outputs, trace
from burnish.serve.predict import Local
from burnish.train.evaluate import outputs_of_rows
from burnish.tune.crf import Crf
from burnish.tune.finetune import FineTune
from tests.tiny_words import answers_work, words_work

LENGTH = 24  # shorter than many rows: they are cut into windows


def tuned(kind: str) -> Work:
    tweaks = (Crf(),) if kind == "crf" else ()
    work = answers_work(64, 12) if kind == "answers" else words_work(64, 12)
    step = FineTune(epochs=2, lr=3e-3, precision="fp32", doctor="off", max_length=LENGTH, tweaks=tweaks)
    return step(work, Random(0))


@pytest.fixture(scope="module", params=["words", "crf", "answers"])
def work(request: pytest.FixtureRequest) -> Work:
    return tuned(request.param)


def built(work: Work, folder: Path, engine: str, precision: str) -> Path:
    write_artifact(
        folder, model=work.model, tokenizer=work.tokenizer, task=work.task, engine=engine, precision=precision,
        max_length=LENGTH, rows_for_golden=list(work.valid[:3]), base_model="tiny", measured={},
    )  # fmt: skip
    return folder


def texts(work: Work) -> list:
    return [text_of(row, work.task.reads) for row in work.valid]


@pytest.mark.parametrize("engine", ["torch", "onnx", "openvino"])
def test_every_engine_says_what_torch_says(work: Work, engine: str, tmp_path: Path) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    expected = outputs_of_rows(work.model, work.tokenizer, work.valid, LENGTH, task=work.task)
    local = Local(built(work, tmp_path / "a", engine, "fp32"))
    found = local.outputs(texts(work))
    assert not work.task.flips(expected, found).any()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    answers = local.predict(texts(work))
    for row, answer in zip(work.valid, answers, strict=True):
        for said in answer.get("entities", [answer] if answer.get("answer") else []):
            assert row.text[said["start"] : said["end"]] == said.get("text", said.get("answer"))


def test_the_server_says_what_was_measured(work: Work, tmp_path: Path) -> None:
    small = Int8()(work, Random(0))
    folder = built(small, tmp_path / "a", "onnx", "int8")
    expected = Local(folder).outputs(texts(small))
    served = served_outputs(folder, small.valid)
    found = trace(folder, small.valid, expected, served.outputs)
    assert found["flips"] == 0
    assert served.answers == Local(folder).predict(texts(small))
