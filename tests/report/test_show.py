"""Numbers as people read them."""

import pytest

from burnish.report import show


def plain(text: str) -> str:
    return text.replace(show.TIE, " ")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (23_100_000, "23.1 MB"), (2_340_000_000, "2.3 GB"), (None, "–")],
)
def test_sizes_are_decimal_as_max_size_takes_them(value: int | None, text: str) -> None:
    assert plain(show.size(value)) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.123, "0.12 ms"), (2.54, "2.5 ms"), (13.9, "13.9 ms"), (1234.0, "1,234 ms"), (None, "–")]
)
def test_latencies_keep_the_digits_that_matter(value: float | None, text: str) -> None:
    assert plain(show.ms(value)) == text


@pytest.mark.parametrize(
    ("value", "text"), [(3.21, "3.2 s"), (41.6, "42 s"), (412.0, "6.9 min"), (9000.0, "2.5 h"), (None, "–")]
)
def test_durations_change_their_unit(value: float | None, text: str) -> None:
    assert plain(show.duration(value)) == text


def test_minus_is_a_minus_and_never_stands_before_zero() -> None:
    assert show.points(-0.94) == "−0.9"
    assert show.points(-0.04) == "0.0"


def test_error_metrics_are_shown_without_the_minus_that_budgets_need() -> None:
    found = {"value": -0.45, "low": -0.51, "high": -0.40}
    assert plain(show.estimate(found, "rmse")) == "0.450 (0.400 to 0.510)"
    assert plain(show.estimate({"value": 0.914, "low": 0.88, "high": 0.93}, "accuracy")) == "91.4 % (88.0 to 93.0 %)"
    assert show.estimate({"value": -0.1, "low": -0.2, "high": 0.1}, "pearson") == "−0.100 (−0.200 to 0.100)"


def test_control_characters_become_signs_that_do_nothing() -> None:
    told = show.printable("a\x1b[31m\x00\x7f\x9b\ud83d\n\tb")
    assert told == "a␛[31m␀␡\ufffd?\n\tb"


def test_a_moment_is_told_to_the_minute_and_anything_else_is_left() -> None:
    assert show.when("2026-11-22T21:04:31+00:00") == "2026-11-22 21:04 UTC"
    assert show.when("last week") == "last week"
