"""The edit list: texts change where they should, spans move along, and what is protected stays."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.augment._edits import Edit, apply, carried, clear_of, marked, moved, protected
from burnish.core import Row, Span

TEXTS = st.text(alphabet="ab c去了。", min_size=1, max_size=30)


@st.composite
def edited(draw: st.DrawFn) -> tuple[str, list[Edit], Span]:
    """A text, edits in it, and a span that no edit cuts."""
    text = draw(TEXTS)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=8)))
    pieces = list(pairwise(cuts))
    chosen = draw(st.lists(st.sampled_from(pieces), unique=True)) if pieces else []
    edits = sorted(Edit(a, b, draw(st.text(alphabet="xy好", max_size=3))) for a, b in set(chosen))
    edits = [e for i, e in enumerate(edits) if not any(o.start == e.start or o.end > e.start for o in edits[:i])]
    start, end = draw(st.sampled_from(cuts)), draw(st.sampled_from(cuts))
    return text, edits, Span(min(start, end), max(start, end), "X")


@given(edited())
def test_a_span_keeps_what_no_edit_touched(case: tuple[str, list[Edit], Span]) -> None:
    text, edits, span = case
    inside = [e for e in edits if e.start >= span.start and e.end <= span.end and e.start < e.end]
    inside += [e for e in edits if span.start < e.start == e.end < span.end]
    shifted = sorted(Edit(e.start - span.start, e.end - span.start, e.text) for e in inside)
    left = apply(text[span.start : span.end], shifted)
    found = moved([span], edits)
    if not left or span.start == span.end:
        assert found == () or span.start == span.end
    else:
        assert [apply(text, edits)[s.start : s.end] for s in found] == [left]


@given(TEXTS)
def test_no_edits_change_nothing(text: str) -> None:
    assert apply(text, []) == text
    assert moved([Span(0, len(text), "X")], []) == (Span(0, len(text), "X"),)


def test_an_edit_across_a_border_is_refused() -> None:
    with pytest.raises(ValueError, match="cuts"):
        moved([Span(2, 5, "X")], [Edit(4, 7, "y")])
    with pytest.raises(ValueError, match="sorted"):
        apply("abcdef", [Edit(2, 4, ""), Edit(3, 5, "")])


def test_what_is_put_at_a_border_stays_outside() -> None:
    row = Row("r", "in Paris now", target=(Span(3, 8, "LOC"),))
    text, target = carried(row, [Edit(3, 3, "old "), Edit(8, 8, ",")])
    assert (text, target) == ("in old Paris, now", (Span(7, 12, "LOC"),))


def test_protected_stretches() -> None:
    row = Row("r", "I do not pay $1,200.50 to @bob at http://x.y/z in Paris, 不去", target=(Span(50, 55, "LOC"),))
    kept = [row.text[a:b] for a, b in protected(row, ["pay"])]
    assert kept == ["not", "pay", "$1,200.50", "@bob", "http://x.y/z", "Paris", "不"]
    ranges = protected(row)
    assert clear_of(ranges, 0, 1)
    assert not clear_of(ranges, 6, 7)
    assert clear_of(ranges, 5, 5)
    assert not clear_of(ranges, 6, 6)


def test_changes_are_shown() -> None:
    assert marked("a good film", [Edit(2, 6, "great"), Edit(11, 11, "!")]) == "a [-good-]{+great+} film{+!+}"
