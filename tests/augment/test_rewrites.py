"""Marks carry spans through a rewriting; batches give what single rows give; what is left out is counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.augment._rewrites import Hidden, Offer, Try, grown_in_batches, hide, offers_of_texts, shown
from burnish.core import Row, Span
from tests.augment.test_rows import ROWS, Wish, work


@st.composite
def spanned(draw: st.DrawFn) -> tuple[Row, list[str]]:
    """A text of words, some of them labelled, spans now and then one in the other; and what each covers."""
    words = draw(st.lists(st.sampled_from(["Ann", "Rome", "in", "saw", "3", "去", "__X0__", "né"]), min_size=1))
    text = " ".join(words)
    starts = [0]
    for word in words[:-1]:
        starts.append(starts[-1] + len(word) + 1)
    picks = draw(st.lists(st.tuples(st.integers(0, len(words) - 1), st.integers(0, 2)), max_size=4))
    spans = []
    for first, more in picks:
        last = min(first + more, len(words) - 1)
        spans.append(Span(starts[first], starts[last] + len(words[last]), draw(st.sampled_from(["PER", "B-loc", "1"]))))
    spans = sorted(dict.fromkeys(spans), key=lambda s: (s.start, s.end))
    return Row("r", text, target=tuple(spans)), [text[s.start : s.end] for s in spans]


@given(spanned(), st.booleans())
def test_hidden_and_shown_is_the_same(case: tuple[Row, list[str]], fixed: bool) -> None:
    row, _ = case
    text, target = shown(hide(row, fixed).text, hide(row, fixed)) or ("", ())
    assert text == row.text
    assert [(s.start, s.end) for s in target] == [(s.start, s.end) for s in row.target]
    assert sorted(s.label for s in target) == sorted(s.label for s in row.target)


@given(spanned(), st.randoms(use_true_random=False))
def test_spans_follow_when_words_change_places(case: tuple[Row, list[str]], rng: Random) -> None:
    row, covered = case
    hidden = hide(row, fixed=True)
    words = hidden.text.lower().replace("in", "within").split()
    rng.shuffle(words)
    found = shown("oh, " + " ".join(words), hidden)
    assert found is not None
    text, target = found
    assert sorted(text[s.start : s.end] for s in target) == sorted(covered)


def test_a_lost_or_doubled_mark_says_no() -> None:
    hidden = hide(Row("r", "Ann saw Rome", target=(Span(0, 3, "PER"), Span(8, 12, "LOC"))), fixed=False)
    assert hidden.text == "__PER0__ saw __LOC1__"
    assert shown("__PER0__ was seen", hidden) is None
    assert shown("__PER0__ __LOC1__ __LOC1__", hidden) is None
    assert shown("in __ loc1 __ was __per0__", hidden) == (
        "in Rome was Ann",
        (Span(3, 7, "LOC"), Span(12, 15, "PER")),
    )


def test_numbers_and_links_are_hidden_when_asked() -> None:
    row = Row("r", "pay $3.50 at http://x.y now", target="a")
    assert hide(row, fixed=True).text == "pay __X0__ at __X1__ now"
    assert hide(row, fixed=False) == Hidden(row.text, (), "a")


@dataclass(frozen=True)
class Plain(Wish):
    filters: tuple[str, ...] = ()


@dataclass
class Reversing:
    """Turns words around, and does not do texts with a 'c'; keeps what it was asked."""

    asked: list[str]

    def __call__(self, texts: Sequence[str], batch: Sequence[Try]) -> list[str | None]:
        self.asked += texts
        return [None if " c " in t else t.upper() + "." if " d " in t else " ".join(t.split()[::-1]) for t in texts]


def make(rewriter: Reversing):
    return lambda batch: offers_of_texts(batch, rewriter, fixed=True)


def test_what_is_left_out_is_counted() -> None:
    rewriter = Reversing([])
    made = grown_in_batches(work(), Wish(), make(rewriter), "augment/turned", Random(0), again=False)
    assert made.notes["new"] == 8
    assert made.notes["left_out"] == {"not rewritten": 1, "unchanged": 1, "a row gives one new row only": 2}
    assert made.notes["short"] == made.notes["left_out"]
    assert len(rewriter.asked) == 10
    assert (made.train[-1].weight, made.train[-1].smoothing) == (0.5, 0.1)


def test_enough_is_enough() -> None:
    rewriter = Reversing([])
    made = grown_in_batches(work(), Wish(ratio=0.2), make(rewriter), "augment/turned", Random(0))
    assert made.notes["new"] == 2
    assert len(rewriter.asked) <= 16


WORDS = ["then", "today", "again", "somehow", "perhaps", "really", "maybe", "often", "surely", "once", "soon", "later"]


def test_the_order_of_rows_changes_nothing() -> None:
    def drawing(batch: Sequence[Try]) -> list[Offer]:
        return [Offer(one.made(f"{one.row.text} {one.rng.choice(WORDS)}", one.row.target)) for one in batch]

    one = grown_in_batches(work(), Plain(ratio=2.5), drawing, "augment/drawn", Random(0))
    two = grown_in_batches(work(ROWS[::-1]), Plain(ratio=2.5), drawing, "augment/drawn", Random(0))
    assert set(one.train) == set(two.train)
    assert len(one.train) == 35


def test_a_pair_is_rewritten_on_one_side() -> None:
    rows = tuple(Row(f"p:{i}", f"the first {w} text", f"the second {w} text", "a") for i, w in enumerate("efghijkl"))
    made = grown_in_batches(work(rows), Wish(), make(Reversing([])), "augment/turned", Random(0))
    sides = {(row.text.startswith("the"), str(row.pair).startswith("the")) for row in made.train[8:]}
    assert sides == {(True, False), (False, True)}


def test_reasons_reach_the_error() -> None:
    with pytest.raises(Exception, match="not rewritten"):
        grown_in_batches(work((Row("r", "a c b"),)), Wish(), make(Reversing([])), "augment/turned", Random(0))
