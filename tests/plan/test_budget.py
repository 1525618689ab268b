import pytest

from burnish.plan.budget import Budget, cost, dominates, excess, overruns
from burnish.plan.forecast import fit_into


def candidate(size=20e6, p95=5.0, drop=0.5, high=1.5, value=0.9, p50=3.0) -> dict:
    return {
        "size_bytes": size,
        "p95_ms": p95,
        "p50_ms": p50,
        "drop": {"value": drop, "high": high},
        "valid": {"value": value},
    }


@pytest.mark.parametrize(
    ("budget", "word"),
    [
        (Budget(max_size=10_000_000), "MB"),
        (Budget(max_p95_ms=4.0), "p95"),
        (Budget(max_drop=0.4), "points"),
        (Budget(strict=True), "points"),
        (Budget(min_quality=0.95), "quality"),
    ],
)
def test_each_limit_that_is_broken_is_named(budget: Budget, word: str) -> None:
    found = overruns(candidate(), budget)
    assert len(found) == 1
    assert word in found[0]
    assert excess(candidate(), budget) > 0


def test_within_the_limits_nothing_is_said() -> None:
    budget = Budget(30_000_000, 10.0, 1.0, 0.85)
    assert overruns(candidate(), budget) == []
    assert excess(candidate(), budget) == 0


def test_a_candidate_dominates_only_when_nothing_is_worse() -> None:
    assert dominates(candidate(size=10e6), candidate())
    assert not dominates(candidate(size=10e6, value=0.89), candidate())
    assert not dominates(candidate(), candidate())


def test_halving_bytes_costs_the_same_as_halving_milliseconds() -> None:
    assert cost(candidate(size=10e6)) == pytest.approx(cost(candidate(p50=1.5)))


def test_rows_are_shortened_before_epochs_fall_under_three() -> None:
    epochs, length, reasons = fit_into(60.0, 60.0, 5, 512, free_epochs=True, free_length=True)
    assert (epochs, length) == (3, 168)
    assert len(reasons) == 2
    assert fit_into(600.0, 60.0, 5, 512, free_epochs=True, free_length=True) == (5, 512, [])
    assert fit_into(60.0, 60.0, 5, 64, free_epochs=True, free_length=False)[0] == 1
    assert fit_into(1.0, 60.0, 5, 512, free_epochs=False, free_length=False) == (5, 512, [])
