"""The whole way where labels are on words: entities from a CoNLL file, answers from SQuAD's JSON."""

import json
from pathlib import Path

import pytest
import torch

from burnish import api, models, runs
from burnish.core import Row
from burnish.plan.request import Request
from burnish.plan.trials import _floor
from burnish.report.verify import verify
from burnish.tasks.tags import tag_ids, tags_of
from burnish.units import units
from tests.tiny import tiny_model, tiny_tokenizer
from tests.tiny_words import NAMES, answer_rows, answers_work, words_rows, words_work

TAGS = tags_of(sorted(NAMES))
SETTINGS = {"epochs": "4", "lr": "3e-3", "precision": "fp32", "doctor": "off"}


def conll(folder: Path) -> Path:
    path = folder / "names.conll"
    path.write_text("\n".join(sentence(row) for row in words_rows(200)))
    return path


def sentence(row: Row) -> str:
    where = units(row.text)
    ids = tag_ids(where, row.target, TAGS)  # type: ignore[arg-type]
    return "".join(f"{row.text[a:b]}\t{TAGS[i]}\n" for (a, b), i in zip(where, ids, strict=True))


def squad(folder: Path) -> Path:
    parts = [
        {
            "context": row.text,
            "qas": [
                {
                    "id": row.id,
                    "question": row.pair,
                    "is_impossible": not row.target,
                    "answers": [{"text": row.text[s.start : s.end], "answer_start": s.start} for s in row.target],
                }
            ],
        }
        for row in answer_rows(200)
    ]
    path = folder / "questions.json"
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "t", "paragraphs": parts}]}))
    return path


@pytest.fixture(scope="module", params=["sequence-labelling", "question-answering"])
def run(request: pytest.FixtureRequest, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> api.Run:
    folder = tmp_path_factory.mktemp("words")
    data = conll(folder) if request.param == "sequence-labelling" else squad(folder)
    return api.fit(
        str(data), model=str(tiny_folder), out=folder / "run", recipe="int8", max_drop=100, time=120, settings=SETTINGS
    )


def test_a_fit_answers_and_every_number_can_be_counted_again(run: api.Run) -> None:
    result = run.result
    assert result["task"] in ("sequence-labelling", "question-answering")
    assert result["metric"] == "f1"
    assert result["parity"] == {**result["parity"], "flips": 0, "rows": result["rows"]["valid"]}
    assert {c["engine"] for c in result["candidates"]} >= {"torch", "onnx"}
    assert verify(run.folder) == []


def test_the_report_says_what_kind_of_errors_there_are(run: api.Run) -> None:
    page = run.report().read_text("utf-8")
    assert "made up" in page or "given where there is none" in page


def test_the_artifact_answers_with_places_in_the_text(run: api.Run) -> None:
    rows = runs.read_rows(run.folder / "rows" / "test.jsonl")[:8]
    texts = [row.text if row.pair is None else (row.pair, row.text) for row in rows]
    for row, said in zip(rows, api.load(run.folder).predict(texts), strict=True):
        for one in said.get("entities", [said] if said.get("answer") else []):
            assert row.text[one["start"] : one["end"]] == one.get("text", one.get("answer"))


def test_a_rate_is_found_for_words(tiny_folder: Path, tmp_path: Path) -> None:
    asked = Request(data=str(conll(tmp_path)), model=str(tiny_folder), settings={"epochs": "1", "precision": "fp32"})
    assert api.lr(asked, tmp_path / "run")["suggested"] > 0


def test_a_trial_that_failed_scores_as_one_that_says_nothing() -> None:
    for work in (words_work(4, 8), answers_work(4, 8)):
        assert _floor(work) == 0.0


def test_a_head_for_another_kind_of_task_is_not_taken_over(tmp_path: Path) -> None:
    """A classifier of five classes has a head of the size that five tags need; its weights mean something else."""
    model = tiny_model(labels=5)
    model.config.architectures = ["BertForSequenceClassification"]
    models.save(model, tiny_tokenizer(), tmp_path)
    task = words_work(2, 2).task
    assert task.width == 5
    made, _ = models.load(str(tmp_path), task, seed=0)
    assert not torch.equal(made.classifier.weight, model.classifier.weight)
    assert torch.equal(made.bert.embeddings.word_embeddings.weight, model.bert.embeddings.word_embeddings.weight)
    again, _ = models.load(str(tmp_path), task, seed=0)
    assert torch.equal(made.classifier.weight, again.classifier.weight)
