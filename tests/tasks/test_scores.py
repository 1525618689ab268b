"""The scores in numpy agree with scikit-learn and scipy, on random rows and on the odd ones."""

import itertools
import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit
from scipy.special import softmax as scipy_softmax
from sklearn import metrics as sk

from burnish.tasks import make, scores

LABELS = tuple("abcdef")


def case(seed: int, rows: int = 200, labels: int = 4):
    rng = np.random.default_rng(seed)
    target_N = rng.integers(0, labels, rows)
    outputs_NC = rng.normal(size=(rows, labels)).astype(np.float32)
    outputs_NC[np.arange(rows), target_N] += 1
    return outputs_NC, target_N


@pytest.mark.parametrize("labels", [2, 3, 6])
@pytest.mark.parametrize("seed", range(3))
def test_classification_metrics_equal_scikit_learn(labels, seed):
    outputs, target = case(seed, labels=labels)
    found = make("text-classification", LABELS[:labels]).metrics(outputs, target)
    p, said = scipy_softmax(outputs.astype(np.float64), axis=1), outputs.argmax(1)
    expected = {
        "accuracy": sk.accuracy_score(target, said),
        "macro_f1": sk.f1_score(target, said, average="macro"),
        "mcc": sk.matthews_corrcoef(target, said),
        "log_loss": sk.log_loss(target, p, labels=range(labels)),
    }
    if labels == 2:
        expected |= {"f1": sk.f1_score(target, said), "auroc": sk.roc_auc_score(target, p[:, 1])}
    assert {k: found[k] for k in expected} == pytest.approx(expected, abs=1e-9)


def test_macro_f1_ignores_labels_that_nobody_has_or_names():
    outputs, target = case(0, labels=3)
    outputs = np.concatenate([outputs, np.full((len(outputs), 2), -9, np.float32)], axis=1)
    found = make("text-classification", LABELS[:5]).metrics(outputs, target)
    assert found["macro_f1"] == pytest.approx(sk.f1_score(target, outputs.argmax(1), average="macro"), abs=1e-9)


def test_macro_f1_counts_a_label_that_is_answered_but_never_true():
    target, outputs = np.array([0, 0, 1, 1]), np.eye(3, dtype=np.float32)[[0, 2, 1, 1]]
    expected = sk.f1_score(target, outputs.argmax(1), average="macro", zero_division=0.0)
    assert make("text-classification", LABELS[:3]).metrics(outputs, target)["macro_f1"] == pytest.approx(expected)


@pytest.mark.parametrize("answers", [[0, 0, 0, 0], [0, 1, 1, 0]])
@pytest.mark.parametrize("targets", [[0, 0, 0, 0], [0, 1, 0, 1]])
def test_constant_answers_and_constant_truth_give_the_number_scikit_learn_gives(answers, targets):
    target, outputs = np.array(targets), np.eye(2, dtype=np.float32)[answers] * 3
    found = make("text-classification", LABELS[:2]).metrics(outputs, target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(target, np.array(answers)), abs=1e-12)
        assert found["f1"] == pytest.approx(sk.f1_score(target, answers, zero_division=0.0), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_auroc_counts_ties_half(seed):
    rng = np.random.default_rng(seed)
    score, positive = rng.integers(0, 4, 100) / 4, rng.random(100) < 0.3
    assert scores.auroc(score, positive) == pytest.approx(sk.roc_auc_score(positive, score), abs=1e-12)


def test_auroc_of_one_class_is_not_a_number():
    assert np.isnan(scores.auroc(np.array([0.1, 0.9]), np.array([True, True])))


@pytest.mark.parametrize("seed", range(3))
def test_calibration_error_equals_the_definition(seed):
    rng = np.random.default_rng(seed)
    confidence, right = rng.uniform(0.3, 1, 500), rng.random(500) < 0.7
    edges, gap = np.linspace(0, 1, 16), 0.0
    for low, high in itertools.pairwise(edges):
        here = (confidence >= low) & ((confidence < high) | (high == 1))
        if here.any():
            gap += here.mean() * abs(confidence[here].mean() - right[here].mean())
    assert scores.calibration_error(confidence, right) == pytest.approx(gap, abs=1e-12)


def test_a_confidence_of_exactly_one_falls_in_the_last_bin():
    assert scores.calibration_error(np.ones(4), np.array([True, True, True, False])) == pytest.approx(0.25)


@pytest.mark.parametrize("seed", range(3))
def test_multilabel_metrics_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    outputs, target = rng.normal(size=(150, 4)).astype(np.float32), (rng.random((150, 4)) < 0.3).astype(np.float32)
    found = make("multi-label-classification", LABELS[:4]).metrics(outputs, target)
    said, p = (outputs > 0).astype(int), expit(outputs.astype(np.float64))
    assert found == pytest.approx(
        {
            "micro_f1": sk.f1_score(target, said, average="micro"),
            "macro_f1": sk.f1_score(target, said, average="macro"),
            "exact_match": sk.accuracy_score(target, said),
            "hamming_accuracy": 1 - sk.hamming_loss(target, said),
            "log_loss": np.mean([sk.log_loss(target[:, c], p[:, c], labels=[0, 1]) for c in range(4)]),
        },
        abs=1e-9,
    )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_regression_metrics_equal_scipy(seed, ties):
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(120, 1))
    said = target + rng.normal(size=(120, 1))
    target, said = (np.round(x) if ties else x for x in (target.astype(np.float32), said.astype(np.float32)))
    a, b = target[:, 0].astype(np.float64), said[:, 0].astype(np.float64)
    assert make("regression").metrics(said, target) == pytest.approx(
        {
            "pearson": stats.pearsonr(a, b).statistic,
            "spearman": stats.spearmanr(a, b).statistic,
            "r2": sk.r2_score(a, b),
            "mae": sk.mean_absolute_error(a, b),
            "rmse": sk.mean_squared_error(a, b) ** 0.5,
        },
        abs=1e-9,
    )


@pytest.mark.parametrize("constant", ["answers", "truth"])
def test_a_constant_side_orders_nothing(constant):
    moving, still = np.arange(9, dtype=np.float32)[:, None], np.full((9, 1), 0.1, np.float32)
    outputs, target = (still, moving) if constant == "answers" else (moving, still)
    found = make("regression").metrics(outputs, target)
    assert (found["pearson"], found["spearman"]) == (0, 0)
    assert np.isfinite(list(found.values())).all()


def test_softmax_and_sigmoid_do_not_overflow():
    wild = np.array([[1e4, -1e4, 0.0]], dtype=np.float32)
    assert scores.softmax(wild).tolist() == [[1, 0, 0]]
    assert scores.sigmoid(wild).tolist() == [[1, 0, 0.5]]
