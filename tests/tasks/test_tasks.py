"""Every task on disk: what it encodes, answers and flips, and that JSON gives it back."""

import json

import numpy as np
import pytest

from burnish.core import Row
from burnish.errors import UsageError
from burnish.tasks import from_json, kinds, make

TARGETS = {
    "text-classification": ["yes", "no", "yes", "maybe"],
    "multi-label-classification": [("a",), (), ("a", "b"), ("b",)],
    "regression": [0.5, -1.0, 3.25, 0.0],
}
LABELS = {"text-classification": ("maybe", "no", "yes"), "multi-label-classification": ("a", "b"), "regression": ()}
every_task = pytest.mark.parametrize("kind", sorted(TARGETS))


def rows(kind):
    return [Row(f"data:{i}", f"text {i}", target=t) for i, t in enumerate(TARGETS[kind])]


def perfect(kind, task):
    """Outputs that give every row its own target."""
    encoded = task.encode(rows(kind))
    if kind == "text-classification":
        return np.eye(task.width, dtype=np.float32)[encoded] * 8
    return encoded * 16 - 8 if kind == "multi-label-classification" else encoded


def test_the_tasks_on_disk_are_the_ones_tested_here():
    about_words = {"question-answering", "sequence-labelling"}  # tests/tasks/test_words.py
    assert set(kinds()) == {*TARGETS, *about_words}


@every_task
@pytest.mark.parametrize("pair", [False, True])
def test_json_gives_an_equal_task_back_for_every_metric(kind, pair):
    for metric in kinds()[kind].METRICS:
        if metric in ("f1", "auroc"):
            continue  # for two labels only; refused otherwise, see below
        task = make(kind, LABELS[kind], pair, metric)
        assert from_json(json.loads(json.dumps(task.to_json()))) == task


def test_metrics_of_a_positive_label_need_two_labels():
    assert make("text-classification", ("no", "yes"), metric="f1").metric == "f1"
    with pytest.raises(UsageError, match="3 labels"):
        make("text-classification", ("a", "b", "c"), metric="auroc")


@every_task
def test_right_outputs_answer_the_targets_and_score_the_best_there_is(kind):
    task = make(kind, LABELS[kind])
    outputs, targets = perfect(kind, task), task.encode(rows(kind))
    assert task.answers(outputs) == TARGETS[kind]
    assert task.score(outputs, targets) == pytest.approx(1)
    assert outputs.shape == (4, task.width)


@every_task
def test_a_worse_model_scores_lower_on_every_metric(kind):
    rng = np.random.default_rng(0)
    for metric in kinds()[kind].METRICS:
        if metric in ("f1", "auroc"):
            continue  # for two labels only; refused otherwise, see below
        task = make(kind, LABELS[kind][:2] if metric in ("f1", "auroc") else LABELS[kind], metric=metric)
        if kind == "text-classification":
            targets = rng.integers(0, task.width, 300)
            good = np.eye(task.width)[targets] * 4
        else:
            targets = rng.normal(size=(300, task.width)) if kind == "regression" else rng.random((300, 2)) < 0.4
            good = np.asarray(targets, float) * (1 if kind == "regression" else 4) - (0 if kind == "regression" else 2)
        good = good + rng.normal(size=good.shape) * 0.2
        bad = good + rng.normal(size=good.shape) * 9
        assert task.score(good, np.asarray(targets)) > task.score(bad, np.asarray(targets)), metric


@every_task
def test_decode_is_json_and_agrees_with_the_answers(kind):
    task = make(kind, LABELS[kind])
    outputs = np.random.default_rng(1).normal(size=(5, task.width)).astype(np.float32)
    said = json.loads(json.dumps(task.decode(outputs)))
    if kind == "text-classification":
        assert [s["label"] for s in said] == task.answers(outputs)
        assert all(1 / 3 <= s["score"] <= 1 for s in said)
    elif kind == "multi-label-classification":
        assert [tuple(s["labels"]) for s in said] == task.answers(outputs)
        assert all((p > 0.5) == (label in s["labels"]) for s in said for label, p in s["scores"].items())
    else:
        assert [s["value"] for s in said] == pytest.approx(task.answers(outputs), abs=1e-6)


@every_task
def test_no_rows_are_no_answers(kind):
    task = make(kind, LABELS[kind])
    empty = np.zeros((0, task.width), np.float32)
    assert task.answers(empty) == []
    assert task.decode(empty) == []
    assert task.flips(empty, empty).tolist() == []


@every_task
def test_flips_are_the_rows_whose_answer_changes_and_no_other(kind):
    task = make(kind, LABELS[kind])
    before = perfect(kind, task)
    after = before + np.float32(0.001)
    assert not task.flips(before, before).any()
    assert not task.flips(before, after).any()
    after[2] = before[2][::-1] if kind == "text-classification" else -before[2]
    assert task.flips(before, after).tolist() == [False, False, True, False]


def test_two_equal_best_outputs_answer_the_first_label_everywhere():
    task, tie = make("text-classification", ("a", "b")), np.zeros((1, 2), np.float32)
    assert (task.answers(tie), task.decode(tie)[0]["label"]) == (["a"], "a")


def test_an_unknown_task_or_metric_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="--task text-classification"):
        make("text-clasification")
    with pytest.raises(UsageError, match="--metric accuracy"):
        make("text-classification", ("a", "b"), metric="acuracy")
