"""A gain over seeds: the luck of rows and of seeds are both in its interval, and the verdict follows from it."""

import numpy as np
import pytest

from burnish.measure.effects import Gain, gain, verdict_of_gain
from burnish.tasks import make

TASK = make("text-classification", labels=("no", "yes"))


def said(right: np.ndarray) -> np.ndarray:
    """Outputs of a model that is right where `right` says so; the truth is always 1."""
    return np.stack([1.0 - right, right], 1).astype(np.float32)


def pairs(rng, rows, seeds, lift, luck=0.0):
    truth = np.ones(rows, np.int64)
    hard = rng.random(rows)
    shifts = [(rng.normal(0, luck), rng.normal(0, luck)) for _ in range(seeds)]
    without = [said((hard + rng.normal(0, 0.1, rows) < 0.7 + a).astype(float)) for a, _ in shifts]
    with_ = [said((hard + rng.normal(0, 0.1, rows) < 0.7 + lift + b).astype(float)) for _, b in shifts]
    return truth, without, with_


def test_a_clear_gain_helps_a_clear_loss_hurts_and_nothing_is_not_told() -> None:
    rng = np.random.default_rng(0)
    for lift, verdict in ((0.15, "helps"), (-0.15, "hurts"), (0.0, "cannot tell")):
        truth, without, with_ = pairs(rng, 1000, 3, lift, luck=0.005)
        found = gain(TASK, truth, without, with_)
        assert verdict_of_gain(found)[0] == verdict
        assert found.low <= found.value <= found.high
        assert found.value == pytest.approx(np.mean(found.by_seed))


def test_seeds_that_disagree_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    calm = gain(TASK, *pairs(rng, 500, 3, 0.05))
    wild = gain(TASK, *pairs(rng, 500, 3, 0.05, luck=0.08))
    assert wild.high - wild.low > 2 * (calm.high - calm.low)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """With seeds' luck of 2 points and a true gain of none; an interval of rows alone holds it 45 times in 60."""
    held = 0
    for trial in range(60):
        found = gain(TASK, *pairs(np.random.default_rng(trial), 300, 3, 0.0, luck=0.02))
        held += found.low <= 0 <= found.high
    assert held >= 54


def test_one_seed_is_told_to_be_one() -> None:
    found = gain(TASK, *pairs(np.random.default_rng(2), 400, 1, 0.2))
    assert found.seeds == 1
    assert "one seed" in verdict_of_gain(found)[1]


def test_equal_answers_are_no_gain_and_cannot_be_told() -> None:
    truth, without, _ = pairs(np.random.default_rng(3), 50, 3, 0.0)
    found = gain(TASK, truth, without, without)
    assert (found.value, found.p) == (0.0, 1.0)
    assert verdict_of_gain(found)[0] == "cannot tell"


def test_every_metric_can_be_paired() -> None:
    rng = np.random.default_rng(4)
    targets = rng.normal(size=(80, 1)).astype(np.float32)
    task = make("regression")
    worse, better = ([targets + rng.normal(0, s, (80, 1)).astype(np.float32) for _ in range(3)] for s in (2.0, 0.2))
    assert gain(task, targets, worse, better).low > 0
    assert isinstance(gain(task, targets, worse, better), Gain)


def test_no_changed_row_proves_no_more_than_so_many_rows_can() -> None:
    """The answers differ, and are right on the same rows."""
    truth, without, _ = pairs(np.random.default_rng(3), 50, 3, 0.0)
    found = gain(TASK, truth, without, [2 * outputs for outputs in without])
    assert found.value == 0
    assert found.low < -2 < 2 < found.high
