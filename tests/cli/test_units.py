"""Sizes and times as people write them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.cli.units import parse_bytes, parse_milliseconds, parse_seconds
from burnish.errors import UsageError


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_bytes, "30MB", 30_000_000),
        (parse_bytes, "30 mb", 30_000_000),
        (parse_bytes, "30MiB", 31_457_280),
        (parse_bytes, "1.5GB", 1_500_000_000),
        (parse_bytes, "512B", 512),
        (parse_seconds, "20m", 1200),
        (parse_seconds, "90s", 90),
        (parse_seconds, "1h", 3600),
        (parse_seconds, "1h30m", 5400),
        (parse_seconds, "500ms", 0.5),
        (parse_milliseconds, "10ms", 10),
        (parse_milliseconds, "0.2s", 200),
        (parse_milliseconds, "500us", 0.5),
    ],
)
def test_amounts_are_read(parse, text, value):
    assert parse(text) == pytest.approx(value)


@pytest.mark.parametrize("parse", [parse_bytes, parse_seconds, parse_milliseconds])
@pytest.mark.parametrize("text", ["", "fast", "-3m", "3 parsecs", "0s", "0MB", "1e3s", "nan", "1..5s", "m20"])
def test_anything_else_is_refused_with_a_way_out(parse, text):
    with pytest.raises(UsageError, match=r"(?s)expected: .*try: "):
        parse(text)


@pytest.mark.parametrize(
    ("parse", "likely"), [(parse_bytes, "30MB"), (parse_seconds, "30m"), (parse_milliseconds, "30ms")]
)
def test_a_number_without_a_unit_is_refused_and_the_likely_one_offered(parse, likely):
    with pytest.raises(UsageError, match=f"no unit(.|\n)*{likely}"):
        parse("30")


@given(st.text(max_size=12))
def test_no_text_gets_through_as_anything_but_a_positive_number(text):
    for parse in (parse_bytes, parse_seconds, parse_milliseconds):
        with contextlib.suppress(UsageError):
            assert parse(text) > 0
