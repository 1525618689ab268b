"""What is read off outputs: metrics, confusion, mistakes, agreement, calibration, and the recount of all that."""

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix

from burnish.core import Row
from burnish.errors import DataError
from burnish.measure.agreement import agreement
from burnish.measure.calibration import confidences, reliability, temperature, temperature_report
from burnish.measure.quality import confusion, quality, row_loss, worst_mistakes
from burnish.measure.recompute import recompute, recompute_drop
from burnish.runs import Predictions, read_predictions, write_predictions
from burnish.tasks import make
from tests.measure.cases import LABELS, every_metric, labelled, numbers, tagged

METRICS = list(every_metric())
each_metric = pytest.mark.parametrize(("task", "draw"), [m[1:] for m in METRICS], ids=[m[0] for m in METRICS])
CLASSIFY, MANY, NUMBER = (
    make("text-classification", LABELS[:3]),
    make("multi-label-classification", LABELS[:4]),
    make("regression"),
)


def rng(seed=0):
    return np.random.default_rng(seed)


# --- quality and confusion


def test_a_metric_that_is_undefined_is_null_and_not_nan():
    task = make("text-classification", LABELS[:2], metric="auroc")
    found = json.loads(json.dumps(quality(np.eye(2)[[0, 1]], np.array([1, 1]), task), allow_nan=False))
    assert (found["score"], found["metrics"]["auroc"], found["metrics"]["accuracy"]) == (None, None, 0.5)


def test_outputs_that_are_not_numbers_have_no_quality():
    assert quality(np.full((2, 3), np.nan), np.array([0, 0]), CLASSIFY) == {"metrics": {}, "score": None}


def test_confusion_counts_truth_down_and_answers_across():
    outputs, targets = labelled(rng(), 200)
    found = confusion(CLASSIFY, outputs, targets)
    assert found["labels"] == ["a", "b", "c"]
    assert found["counts"] == confusion_matrix(targets, outputs.argmax(1)).tolist()
    outputs, targets = tagged(rng(), 100)
    lines = np.array(confusion(MANY, outputs, targets)["counts"]).T
    (right_no, wrong_yes), (missed, right_yes) = multilabel_confusion_matrix(targets, outputs > 0).transpose(1, 2, 0)
    assert (lines == [right_yes, wrong_yes, missed, right_no]).all()
    assert confusion(NUMBER, *numbers(rng(), 5)) is None


# --- mistakes


def test_the_worst_mistakes_are_wrong_rows_by_falling_loss_with_their_own_texts():
    outputs, targets = labelled(rng(1), 80, edge=1.0)
    ids = [f"test:{i}" for i in range(80)]
    rows = [Row(i, f"text of {i}", target=LABELS[t]) for i, t in zip(ids, targets, strict=True)][::-1]
    found = worst_mistakes(CLASSIFY, ids, outputs, targets, rows, k=5)
    losses = [m["loss"] for m in found]
    assert len(found) == 5
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(row_loss(CLASSIFY, outputs, targets).max())
    assert all(m["said"]["label"] != m["target"] and m["text"] == f"text of {m['id']}" for m in found)
    json.dumps(found)


def test_a_model_without_mistakes_has_none_and_numbers_are_ranked_by_distance():
    targets = np.array([0, 1, 2])
    assert worst_mistakes(CLASSIFY, list("xyz"), np.eye(3)[targets] * 5, targets, [], 3) == []
    said, truth = np.array([[1.0], [5.0], [2.0]]), np.array([[1.5], [1.0], [2.0]])
    found = worst_mistakes(NUMBER, list("xyz"), said, truth, [Row("y", "far off", target=1.0)], 2)
    assert [(m["id"], m["loss"], m["text"]) for m in found] == [("y", 4.0, "far off"), ("x", 0.5, "")]


def test_a_row_of_many_labels_is_a_mistake_when_one_label_is_wrong():
    outputs, truth = np.array([[3.0, -3], [3, 3]]), np.array([[1.0, 0], [1, 0]])
    rows = [Row("x", "x", target=("a",)), Row("y", "y", target=("a",))]
    task = make("multi-label-classification", ("a", "b"))
    found = worst_mistakes(task, ["x", "y"], outputs, truth, rows, 5)
    assert [(m["id"], m["target"], m["said"]["labels"]) for m in found] == [("y", ["a"], ["a", "b"])]


# --- agreement


@each_metric
def test_a_model_agrees_with_itself_and_small_noise_flips_little(task, draw):
    outputs, _ = draw(rng(2), 100)
    assert agreement(task, outputs, outputs) == {"max_abs": 0, "mean_abs": 0, "flips": 0, "rows": 100}
    other = outputs + np.float32(0.5) * rng(3).normal(size=outputs.shape).astype(np.float32)
    found = agreement(task, outputs, other)
    assert found["max_abs"] == pytest.approx(np.abs(outputs - other).max())
    assert found["flips"] == task.flips(outputs, other).sum() > 0


@pytest.mark.parametrize("task", [CLASSIFY, NUMBER], ids=["labels", "numbers"])
def test_an_output_that_is_no_number_is_a_flip(task):
    good = np.zeros((3, task.width), np.float32)
    bad = good.copy()
    bad[1, 0] = np.nan
    found = agreement(task, good, bad)
    assert (found["flips"], found["max_abs"]) == (1, None)
    json.dumps(found, allow_nan=False)


def test_no_rows_agree_and_different_shapes_are_refused():
    assert agreement(CLASSIFY, np.zeros((0, 3)), np.zeros((0, 3)))["flips"] == 0
    with pytest.raises(ValueError, match="one shape"):
        agreement(CLASSIFY, np.zeros((2, 3)), np.zeros((3, 3)))


# --- calibration


@pytest.mark.parametrize(("task", "draw"), [(CLASSIFY, labelled), (MANY, tagged)], ids=["one label", "many"])
def test_a_reliability_table_counts_every_answer_and_adds_up_to_the_error(task, draw):
    outputs, targets = draw(rng(4), 300)
    confidence, right = confidences(task, outputs, targets)
    lines = reliability(confidence, right)
    assert sum(line["count"] for line in lines) == right.size
    assert sum(line["count"] * line["accuracy"] for line in lines) == pytest.approx(right.sum())
    assert all(line["low"] <= line["confidence"] <= line["high"] for line in lines)
    if task is CLASSIFY:
        gap = sum(line["count"] * abs(line["confidence"] - line["accuracy"]) for line in lines) / 300
        assert gap == pytest.approx(task.metrics(outputs, targets)["calibration_error"], abs=1e-9)


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_finds_the_factor_by_which_logits_were_inflated(factor):
    logits = rng(5).normal(size=(20_000, 3)) * 2
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = (p.cumsum(1) > rng(6).random((20_000, 1))).argmax(1)
    assert temperature(logits * factor, targets) == pytest.approx(factor, rel=0.05)


def test_scaling_helps_an_overconfident_model_and_is_only_reported():
    outputs, targets = labelled(rng(7), 500)
    before = outputs.copy()
    found = temperature_report(CLASSIFY, outputs * 5, targets)
    assert found["temperature"] > 2
    assert found["log_loss"][1] < found["log_loss"][0]
    assert found["calibration_error"][1] < found["calibration_error"][0]
    assert (outputs == before).all()
    assert temperature_report(MANY, *tagged(rng(8), 200))["temperature"] > 0
    assert temperature_report(NUMBER, *numbers(rng(8), 20)) is None
    assert confidences(NUMBER, *numbers(rng(8), 20)) is None


# --- the recount


@each_metric
def test_the_recount_from_disk_gives_the_same_bits(task, draw, tmp_path):
    outputs, targets = draw(rng(9), 120)
    kept = Predictions([f"test:{i}" for i in range(120)], outputs, targets)
    write_predictions(tmp_path / "p.jsonl", kept)
    read = read_predictions(tmp_path / "p.jsonl")
    assert recompute(task, read) == recompute(task, kept)
    assert recompute(task, read)["interval"]["value"] == recompute(task, read)["score"]
    other = Predictions(kept.ids, outputs + np.float32(0.3), targets)
    assert recompute_drop(task, read, other) == recompute_drop(task, kept, other)


def test_predictions_about_other_rows_are_not_compared():
    outputs, targets = labelled(rng(10), 4)
    mine = Predictions(list("abcd"), outputs, targets)
    for ids, truth in ((list("abcx"), targets), (list("abcd"), 2 - targets)):
        with pytest.raises(DataError, match="different rows"):
            recompute_drop(CLASSIFY, mine, Predictions(ids, outputs, truth))
