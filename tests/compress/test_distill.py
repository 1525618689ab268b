"""Losses by hand, a teacher that is its own student, text without labels, and a cut that changes nothing."""

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from burnish import models
from burnish.compress import _teacher
from burnish.compress._inside import PROJECTION, Inside, plan_for
from burnish.compress._lesson import Distill as Outputs
from burnish.compress._match import (
    attention_loss,
    hidden_loss,
    layer_map,
    relation_heads_for,
    relation_loss,
    scores,
)
from burnish.compress._teacher import Teacher, listening
from burnish.compress.distill import Distill, read_texts
from burnish.core import Desk, Work, lend
from burnish.errors import DataError, UsageError
from burnish.tasks import make
from burnish.train.batches import collate, encode
from burnish.train.evaluate import outputs_of_rows
from burnish.tune.checkpointing import Checkpointing
from burnish.tune.finetune import FineTune
from burnish.tune.rdrop import RDrop
from tests.families import KINDS, family_work
from tests.tiny import tiny_model, tiny_rows, tiny_work
from tests.tune.short_runs import cut_equals_straight
from tests.tune.works import work_for

QUICK = {"epochs": 1, "lr": 3e-3, "precision": "fp32", "doctor": "off"}
BOTH = {"hidden": 1.0, "attention": 1.0, "relations": 1.0}
AT_ONCE = {**QUICK, "first_epochs": 0}


@cache
def tuned() -> Work:
    return FineTune(epochs=8, lr=3e-3, precision="fp32")(tiny_work(train=200, valid=64, layers=4), Random(0))


def score(work: Work) -> float:
    said = outputs_of_rows(work.model, work.tokenizer, work.valid, 64)
    return work.task.score(said, work.task.encode(work.valid))


# -- the maths -----------------------------------------------------------------------------------------


def test_the_outputs_loss_worked_out_by_hand() -> None:
    """Teacher 3/4 : 1/4 at temperature 1 (logits 2 ln 3 at 2), student 1/2 : 1/2; labels say ln 2 a row."""
    said = torch.tensor([[2 * math.log(3), 0.0], [2 * math.log(3), 0.0]])
    lesson = Outputs(said, "cross_entropy", 0.3, 2.0, torch.tensor([1.0, 0.0]))
    batch = {"rows": torch.arange(2), "weights": torch.ones(2), "input_ids": torch.zeros(2, 2)}

    class Even(torch.nn.Module):
        def forward(self, input_ids):
            return type("Answer", (), {"logits": input_ids})

    def labels(model, batch):
        model(input_ids=batch["input_ids"])
        return (batch["weights"] * math.log(2)).sum()

    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    expected = 0.3 * math.log(2) + 0.7 * 2 * 2.0**2 * divergence  # one labelled row, two rows, T squared
    assert float(lesson.loss(Even(), batch, labels)) == pytest.approx(expected, rel=1e-5)


def test_the_layers_losses_worked_out_by_hand() -> None:
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    student = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 2.0], [9.0, 9.0]]])
    teacher = torch.zeros(2, 2, 2)
    # Row 0: means 1/2 and 0 over two tokens; row 1: 2 for its one token. The second projection doubles the student.
    assert float(hidden_loss(student, teacher, torch.eye(2), mask)) == pytest.approx(0.25 + 2)
    assert float(hidden_loss(student, teacher, 2 * torch.eye(2), mask)) == pytest.approx(1 + 8)
    a, b = torch.zeros(2, 1, 2, 2), torch.tensor([[[[1.0, 2], [3, 4]]], [[[5.0, 6], [7, 8]]]])
    assert float(attention_loss(a, b, mask)) == pytest.approx((1 + 4 + 9 + 16) / 4 + 25)


def test_relations_worked_out_by_hand() -> None:
    """Two tokens: the student's rows are 1/2 : 1/2, the teacher's first one 3/4 : 1/4; the third token is padding."""
    root = math.sqrt(math.log(3))
    teacher = torch.tensor([[[root], [0.0], [7.0]]])
    student = torch.zeros(1, 3, 1)
    mask = torch.tensor([[1.0, 1.0, 0.0]])
    expected = (0.75 * math.log(1.5) + 0.25 * math.log(0.5)) / 2
    assert float(relation_loss(student, teacher, 1, mask)) == pytest.approx(expected, rel=1e-5)


def test_scores_are_those_of_attention_before_its_softmax() -> None:
    q, k, v = torch.randn(3, 2, 5, 8).unbind()
    by_head = [x.unflatten(-1, (4, 2)).transpose(1, 2) for x in (q, k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(*by_head)
    assert torch.allclose(scores(q, k, 4).softmax(-1) @ by_head[2], expected, atol=1e-5)


def test_the_map_is_uniform_and_ends_at_the_top() -> None:
    assert layer_map(4, 12) == [3, 6, 9, 12]
    assert layer_map(2, 3) == [2, 3]
    assert (relation_heads_for(768, 768), relation_heads_for(384, 768), relation_heads_for(32, 32)) == (48, 48, 2)


# -- what is heard -------------------------------------------------------------------------------------


def inside(work: Work, student, folder: Path, **weights: float) -> tuple[Inside, dict]:
    """The tweak ready to run, and a batch of four rows of unequal length."""
    encoded = encode(work.tokenizer, work.train, 64)
    given = tuple({**BOTH, **weights}.values())
    plan = plan_for(student, work.model, given, None, None, encoded[0])
    lesson = Inside(Teacher(work.model, encoded, 0, plan.states(1), folder), plan, alone=True)
    lesson.prepare(student)
    rows = np.array([5, 1, 9, 3])
    batch = collate([encoded[i] for i in rows], 0) | {"rows": torch.from_numpy(rows)}
    return lesson, batch


def ask(model, batch):
    return model(**{k: v for k, v in batch.items() if k != "rows"}).logits.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_with_its_teachers_weights_has_nothing_to_learn(kind: str, tmp_path: Path) -> None:
    work = family_work(kind)
    lesson, batch = inside(work, models.as_float(work.model), tmp_path)
    assert abs(lesson.loss(lesson.student, batch, ask).item()) < 1e-6
    other = family_work(kind)
    for parameter in other.model.parameters():
        parameter.data.mul_(1.1)
    for only in BOTH:
        lesson, batch = inside(work, models.as_float(other.model), tmp_path, **{n: float(n == only) for n in BOTH})
        loss = lesson.loss(lesson.student, batch, ask)
        assert loss.item() > 1e-5
        loss.backward()


def test_padding_changes_nothing(tmp_path: Path) -> None:
    work = tiny_work(layers=4)
    lesson, batch = inside(work, tiny_model(layers=2, seed=1), tmp_path)
    wider = {k: v if k == "rows" else torch.nn.functional.pad(v, (0, 7)) for k, v in batch.items()}
    short, long = (lesson.loss(lesson.student, b, ask).item() for b in (batch, wider))
    assert short == pytest.approx(long, rel=1e-5)
    parts = [{k: v[i : i + 1] for k, v in batch.items()} for i in range(4)]
    assert sum(lesson.loss(lesson.student, part, ask).item() for part in parts) == pytest.approx(short, rel=1e-5)


def test_a_layer_that_stands_twice_is_heard_twice() -> None:
    model = tiny_model(layers=2)
    layers = model.bert.encoder.layer
    layers[1] = layers[0]
    with listening(model, ("hidden.2",)) as heard:
        model(input_ids=torch.tensor([[2, 6, 7, 3]]))
        first = {name: value.clone() for name, value in heard.items()}
    assert not torch.equal(first["hidden.1"], first["hidden.2"])
    assert not torch.equal(first["query.1"], first["query.2"])


def test_a_teacher_is_asked_in_parts_and_says_the_same_again(tmp_path: Path, monkeypatch) -> None:
    work = tiny_work()
    encoded = encode(work.tokenizer, work.train, 64)
    names = ("hidden.1", "key.2")
    monkeypatch.setattr(_teacher, "CHUNK_TOKENS", 100)
    teacher = Teacher(work.model, encoded, 0, names, tmp_path)
    said, rows = teacher.outputs(), np.array([60, 2, 33])
    assert len(list(tmp_path.glob("*/*.safetensors"))) > 3
    assert np.allclose(said.numpy(), outputs_of_rows(work.model, work.tokenizer, work.train, 64), atol=1e-6)
    monkeypatch.setattr(_teacher, "MOST_BYTES", 0)
    direct = Teacher(work.model, encoded, 0, names, tmp_path / "direct")
    for name, value in teacher.states(rows, 20).items():
        assert value.shape == (3, 20, 32)
        assert torch.allclose(value, direct.states(rows, 20)[name], atol=1e-6)
        assert not value[1, len(encoded[2]) and len(encoded[2]["input_ids"]) :].any()
    monkeypatch.setattr(work.model, "forward", None)  # nobody is asked a second time
    assert torch.equal(Teacher(work.model, encoded, 0, names, tmp_path).outputs(), said)


# -- the step ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A student of two layers that knows nothing."""
    folder = tmp_path_factory.mktemp("fresh")
    models.save(tiny_model(layers=2, seed=3), tuned().tokenizer, folder)
    return str(folder)


def test_taught_layers_beat_labels_alone_at_equal_size(fresh: str) -> None:
    few = replace(tuned(), train=tuned().train[:96])
    settings = {**QUICK, "epochs": 4, "batch_size": 8, "student": fresh}
    plain = Distill(**settings, alpha=1.0, hidden=0.0)(few, Random(0))
    taught = Distill(**settings, first_epochs=0)(few, Random(0))
    assert len(taught.model.bert.encoder.layer) == len(plain.model.bert.encoder.layer) == 2
    assert score(tuned()) > 0.9
    assert score(taught) > score(plain) + 0.1
    assert taught.notes["layer_map"] == [[1, 2], [2, 4]]
    assert not hasattr(taught.model, PROJECTION)


def test_two_stages_teach_layers_first_and_end_in_a_plain_model(tmp_path: Path) -> None:
    made = Distill(**QUICK, first_epochs=1, first_lr=1e-3, **BOTH)(tuned(), Random(0))
    assert len(made.notes["first_curve"]) == len(made.notes["curve"])
    models.save(made.model, made.tokenizer, tmp_path)
    again, _ = models.load_saved(tmp_path)
    assert made.model.state_dict().keys() == again.state_dict().keys()


@pytest.mark.parametrize(("at", "first"), [(4, 0), (6, 1)])
def test_a_cut_ends_in_the_same_bits(at: int, first: int, tmp_path: Path, monkeypatch) -> None:
    """Cut in the only stage, and in the second of two: the first has five steps."""
    work = tiny_work(train=60, layers=3)
    step = Distill(**{**QUICK, **BOTH, "epochs": 2, "batch_size": 12, "patience": 0, "first_epochs": first})
    assert cut_equals_straight(at, tmp_path, monkeypatch, lambda: step(work, Random(0)))


def test_text_without_labels_teaches_what_no_row_shows(fresh: str, tmp_path: Path) -> None:
    """Eight rows with labels, 120 lines without: the student ends near its teacher, by the lines alone."""
    teacher = tuned()
    texts = tmp_path / "more.txt"
    texts.write_text("\n".join(row.text for row in tiny_rows(120, "text")) + "\n\n")
    few = replace(teacher, train=teacher.train[:8])
    settings = {**QUICK, "epochs": 6, "batch_size": 8, "student": fresh}
    alone, more = (Distill(**settings, text=t)(few, Random(0)) for t in (None, str(texts)))
    assert more.notes["unlabelled_rows"] == 120
    assert more.train is few.train
    assert score(more) > score(alone) + 0.1


def test_lines_and_json_are_read_and_others_refused(tmp_path: Path) -> None:
    task, pairs = make("text-classification", labels=("a", "b")), make("text-classification", ("a", "b"), pair=True)
    path = tmp_path / "more.jsonl"
    path.write_text("plain line\n" + json.dumps({"text": "x", "pair": "y"}) + "\n")
    assert [(r.text, r.pair, r.target) for r in read_texts(str(path), task)] == [
        ("plain line", None, None),
        ("x", None, None),
    ]
    with pytest.raises(DataError, match=r"more.jsonl:1"):
        read_texts(str(path), pairs)
    with pytest.raises(UsageError, match="no file"):
        read_texts(str(tmp_path / "none"), task)


def test_several_teachers_are_averaged_and_their_labels_are_put_in_order(tmp_path: Path, monkeypatch) -> None:
    work = tiny_work()
    other = tiny_model(seed=5)
    other.config.id2label, other.config.label2id = {0: "pos", 1: "neg"}, {"pos": 0, "neg": 1}
    models.save(other, work.tokenizer, tmp_path / "other")
    step = Distill(**QUICK, teachers=(str(tmp_path / "other"),))
    seen = {}
    monkeypatch.setattr(
        "burnish.compress.distill.Outputs", lambda said, *rest: seen.update(said=said) or Outputs(said, *rest)
    )
    step(work, Random(0))
    mean = (
        outputs_of_rows(work.model, work.tokenizer, work.train, 64)
        + outputs_of_rows(other, work.tokenizer, work.train, 64)[:, ::-1]
    ) / 2
    assert np.allclose(seen["said"].numpy(), mean, atol=1e-5)
    other.config.id2label = {0: "x", 1: "y"}
    models.save(other, work.tokenizer, tmp_path / "other")
    with pytest.raises(UsageError, match="labels"):
        step(work, Random(0))


def test_any_model_can_be_the_student(tmp_path: Path) -> None:
    """Narrower, with other heads: hidden states through a projection, relations by common heads."""
    teacher = tuned()
    models.save(family_work("distilbert").model, teacher.tokenizer, tmp_path)
    made = Distill(**QUICK, student=str(tmp_path), relations=1.0)(teacher, Random(0))
    assert made.model.config.model_type == "distilbert"
    with pytest.raises(UsageError, match="heads"):
        Distill(**QUICK, student=str(tmp_path), attention=1.0)(teacher, Random(0))


@pytest.mark.parametrize("objective", ["binary_cross_entropy", "mean_squared_error"])
def test_every_kind_of_task(objective: str) -> None:
    made = Distill(**QUICK, compare="mse")(work_for(objective), Random(0))
    assert np.isfinite(outputs_of_rows(made.model, made.tokenizer, made.valid, 64)).all()


def test_the_teachers_words_lie_beside_the_checkpoints(tmp_path: Path) -> None:
    with lend(Desk(folder=tmp_path)):
        Distill(**QUICK)(tiny_work(), Random(0))
    assert list((tmp_path / "teacher").glob("*/00000.safetensors"))


def test_a_tweak_that_sends_rows_twice_is_fine() -> None:
    assert Distill(**AT_ONCE, tweaks=(RDrop(),), relations=1.0)(tiny_work(), Random(0)).notes["rdrop_divergence"] > 0


@pytest.mark.parametrize(
    "wrong", [{"alpha": 1.1}, {"temperature": 0.0}, {"hidden": -1.0}, {"tweaks": (Checkpointing(),)},
              {"first_epochs": -1}]
)  # fmt: skip
def test_a_setting_that_cannot_be_meant_is_refused(wrong: dict) -> None:
    with pytest.raises(UsageError, match="try:"):
        Distill(**wrong)
