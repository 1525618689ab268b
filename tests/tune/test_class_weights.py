import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.errors import UsageError
from burnish.tasks import make
from burnish.tune.class_weights import ClassWeights, rows_alike
from tests.tune.works import changes_training, same_under_accumulation, tuned, work_for

TWO = make("text-classification", labels=("a", "b"))
# Four rows of a, one of b.
TARGETS = np.array([0, 0, 1, 0, 0])


@pytest.mark.parametrize(
    ("part", "a", "b"),
    [
        (ClassWeights("inverse"), 1 / 4, 1.0),
        (ClassWeights("inverse_sqrt"), 1 / 2, 1.0),
        # E_4 = 1 + 1/2 + 1/4 + 1/8 = 15/8, E_1 = 1
        (ClassWeights("effective", beta=0.5), 8 / 15, 1.0),
        (ClassWeights("effective", beta=0.0), 1.0, 1.0),
    ],
)
def test_a_case_worked_out_by_hand(part: ClassWeights, a: float, b: float) -> None:
    mean = (4 * a + b) / 5
    found = part.weights(TWO, TARGETS)
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx([a / mean, a / mean, b / mean, a / mean, a / mean])


def test_inverse_gives_every_label_the_same_say() -> None:
    found = ClassWeights("inverse").weights(TWO, TARGETS)
    assert found[TARGETS == 0].sum() == pytest.approx(found[TARGETS == 1].sum())


def test_effective_is_inverse_for_rare_labels_and_flat_for_frequent_ones() -> None:
    rare = np.repeat([0, 1], [2, 6])
    close = ClassWeights("effective", beta=0.9999).weights(TWO, rare)
    assert np.allclose(close, ClassWeights("inverse").weights(TWO, rare), rtol=1e-3)
    assert np.allclose(ClassWeights("effective", beta=0.9).weights(TWO, np.repeat([0, 1], [200, 2000])), 1.0)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=80), st.sampled_from(["inverse_sqrt", "effective", "inverse"]))
def test_the_mean_over_rows_is_1_and_rarer_never_counts_less(labels: list[int], of: str) -> None:
    targets = np.array(labels)
    found = ClassWeights(of).weights(make("text-classification", labels=tuple("abcdef")), targets)  # type: ignore[arg-type]
    assert found.mean() == pytest.approx(1, rel=1e-5)
    assert (found > 0).all()
    order = np.argsort(np.bincount(targets)[targets], kind="stable")
    assert (np.diff(found[order]) <= 1e-6).all()


def test_in_multi_label_the_rarest_label_decides_and_no_label_is_one_of_its_own() -> None:
    """Label 0 in three rows, label 1 in one; two rows with none."""
    targets = np.array([[1, 0], [1, 1], [0, 0], [1, 0], [0, 0]], dtype=np.float32)
    assert rows_alike(targets).tolist() == [3, 1, 2, 3, 2]
    found = ClassWeights("inverse").weights(make("multi-label-classification", labels=("a", "b")), targets)
    assert found.tolist() == pytest.approx((np.array([1 / 3, 1, 1 / 2, 1 / 3, 1 / 2]) / (8 / 15)).tolist())


@pytest.mark.parametrize("of", ["inverse_sqrt", "effective", "inverse"])
def test_it_does_something_and_accumulation_does_nothing(of: str) -> None:
    part = ClassWeights(of, beta=0.9)  # type: ignore[arg-type]
    assert changes_training("cross_entropy", weighting=part)
    assert same_under_accumulation("cross_entropy", weighting=part)


def test_it_does_something_in_multi_label() -> None:
    assert changes_training("binary_cross_entropy", weighting=ClassWeights())
    assert same_under_accumulation("binary_cross_entropy", weighting=ClassWeights())


@pytest.mark.parametrize("wrong", [-0.1, 1.0, math.nan])
def test_a_bad_setting_says_what_would_be_good(wrong: float) -> None:
    with pytest.raises(UsageError, match="below 1"):
        ClassWeights(beta=wrong)
    with pytest.raises(UsageError, match="inverse_sqrt"):
        ClassWeights("square")  # type: ignore[arg-type]


def test_a_task_of_numbers_refuses_it() -> None:
    with pytest.raises(UsageError, match="tune/class_weights for regression"):
        tuned(work_for("mean_squared_error"), weighting=ClassWeights())
