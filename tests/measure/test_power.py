"""The promised power is the power that simulated comparisons really have."""

import numpy as np
import pytest

from burnish.measure.intervals import mcnemar, paired_drop
from burnish.measure.power import connor_rows, mcnemar_power, smallest_visible_drop, smallest_visible_drop_for
from burnish.tasks import make
from tests.measure.cases import labelled, numbers


def seen(rng, rows, disagree, drop, times=2000):
    """Share of simulated comparisons whose exact McNemar p is below .05."""
    lose, win = (disagree + drop) / 2, (disagree - drop) / 2
    counts = rng.multinomial(rows, [lose, win, 1 - disagree], size=times)
    return np.mean([mcnemar(int(lost), int(won)) < 0.05 for lost, won, _ in counts])


@pytest.mark.parametrize(("rows", "disagree"), [(200, 0.1), (451, 0.05), (1821, 0.1)])
def test_a_true_drop_of_the_smallest_visible_size_is_seen_8_times_in_10(rows, disagree):
    points = smallest_visible_drop(rows, disagree)
    assert seen(np.random.default_rng(0), rows, disagree, points / 100) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    ("rows", "disagree", "drop"), [(40, 0.3, 0.2), (300, 0.1, 0.03), (300, 0.02, 0.02), (900, 0.2, 0.0)]
)
def test_the_exact_power_is_the_simulated_one(rows, disagree, drop):
    simulated = seen(np.random.default_rng(1), rows, disagree, drop)
    assert mcnemar_power(rows, disagree, drop) == pytest.approx(simulated, abs=0.035)


@pytest.mark.parametrize("disagree", [0.05, 0.1, 0.3])
def test_on_many_rows_connors_formula_asks_for_about_as_many(disagree):
    points = smallest_visible_drop(5000, disagree)
    assert connor_rows(disagree, points / 100) == pytest.approx(5000, rel=0.05)


def test_connors_formula_is_the_published_shape():
    # By hand: (1.959964 sqrt(.2) + 0.841621 sqrt(.2 - .01))^2 / .01
    assert connor_rows(0.2, 0.1) == pytest.approx(154.5, abs=0.5)


def test_more_rows_and_more_agreement_show_smaller_drops():
    by_rows = [smallest_visible_drop(n) for n in (50, 200, 800, 3200)]
    by_disagree = [smallest_visible_drop(800, d) for d in (0.02, 0.05, 0.1, 0.3)]
    assert by_rows == sorted(by_rows, reverse=True)
    assert by_disagree == sorted(by_disagree)


def test_five_rows_show_nothing_and_a_drop_cannot_pass_the_disagreement():
    assert smallest_visible_drop(5, 0.1) == 100
    assert smallest_visible_drop(300, 0.001) > 0.1  # one row in a thousand: even if all were lost it would not show
    assert mcnemar_power(300, 0.001, 0.001) < 0.1


def test_for_accuracy_the_disagreement_is_the_one_seen():
    rng = np.random.default_rng(2)
    outputs, targets = labelled(rng, 600)
    twin = (outputs + rng.normal(size=outputs.shape) * 0.3).astype(np.float32)
    task = make("text-classification", tuple("abc"))
    disagree = np.mean((outputs.argmax(1) == targets) != (twin.argmax(1) == targets))
    assert smallest_visible_drop_for(task, outputs, twin, targets) == smallest_visible_drop(600, disagree)
    assert smallest_visible_drop_for(task, outputs, None, targets) == smallest_visible_drop(600)


def test_for_pearson_a_drop_of_that_size_is_seen_8_times_in_10():
    rng, task = np.random.default_rng(3), make("regression")

    def draw(rows):
        outputs, targets = numbers(rng, rows, 0.5)
        return outputs, (outputs + rng.normal(size=outputs.shape) * 0.3).astype(np.float32), targets

    good, bad, targets = draw(200_000)
    drop = 100 * (task.score(good, targets) - task.score(bad, targets))
    # Rows at which this very drop is the smallest visible one, found from one set of 400.
    visible = smallest_visible_drop_for(task, *draw(400))
    rows = int(400 * (visible / drop) ** 2)
    found = [paired_drop(task, *draw(rows), resamples=300).p < 0.05 for _ in range(200)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.12)
