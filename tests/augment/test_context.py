"""Perturbed context: only near mentions, never in them, and nothing grows together."""

from random import Random

import pytest

from burnish.augment.context import Context
from burnish.core import Row, Span
from burnish.errors import UsageError
from tests.augment.spans import said, work_of

ROW = Row("data:0", "one two three four in Paris and Rome five six, not seven 8 nine", None, (Span(22, 27, "LOC"), Span(32, 36, "LOC")))  # fmt: skip  # noqa: E501


def test_only_words_in_the_window_change() -> None:
    made = Context(ratio=50, window=2, p=0.5, drop=0.5)(work_of([ROW]), Random(0)).train[1:]
    assert len(made) == 50
    for child in made:
        assert said(child) == ["Paris", "Rome"]
        assert child.text.startswith("one two three ")
        assert child.text.endswith((" six, not seven 8 nine", ", not seven 8 nine")) or ", not seven" in child.text
    assert any("three in Paris" in child.text or "three Paris" in child.text for child in made)  # dropped
    assert all(child.text.index("Paris") + 6 < child.text.index("Rome") for child in made)  # never side by side


def test_dropping_leaves_no_double_space_and_joins_nothing() -> None:
    made = Context(ratio=30, window=9, p=0.9, drop=1.0)(work_of([ROW]), Random(0)).train[1:]
    assert all("  " not in child.text and child.text == child.text.strip() for child in made)
    glued = Row("data:0", "a在Paris和London的b", None, (Span(2, 7, "LOC"), Span(8, 14, "LOC")))
    made = Context(ratio=6, p=0.9, drop=1.0, filters=())(work_of([glued]), Random(0)).train[1:]
    assert made
    for child in made:
        assert said(child) == ["Paris", "London"]
        assert "ParisLondon" not in child.text
        assert "aParis" not in child.text


def test_rows_without_mentions_stay() -> None:
    plain = Row("data:1", "nothing to see here", None, ())
    made = Context(ratio=2)(work_of([ROW, plain]), Random(0)).train[2:]
    assert {child.parent for child in made} == {"data:0"}


@pytest.mark.parametrize("wrong", [{"window": 0}, {"drop": 1.5}, {"p": 0.0}])
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Context(**wrong)  # type: ignore[arg-type]
