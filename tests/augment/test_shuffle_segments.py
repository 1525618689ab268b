"""Shuffle within segments: no word leaves its segment, marks and what is protected stay in place."""

from random import Random

from burnish.augment._tags import cut, segments
from burnish.augment.shuffle_segments import ShuffleSegments
from burnish.core import Row, Span
from tests.augment.spans import said, work_of

ROW = Row(
    "data:0",
    "we all saw the New York Times, at 5 pm, never in Bar Harbor 去了iPhone发布会",
    None,
    (Span(15, 29, "ORG"), Span(49, 59, "LOC")),
)


def test_words_stay_in_their_segment() -> None:
    made = ShuffleSegments(ratio=40, p=0.7)(work_of([ROW]), Random(0)).train[1:]
    assert len({child.text for child in made}) == 40
    for child in made:
        before, after = ([sorted(w.text for w in s) for s in segments(cut(row))] for row in (ROW, child))
        assert after == before
        assert ", at 5 " in child.text or ", pm 5 " in child.text or ", in 5 " in child.text
        assert ", never " in child.text
    assert {said(child)[1] for child in made} == {"Bar Harbor", "Harbor Bar"}


def test_mentions_may_be_left_whole() -> None:
    made = ShuffleSegments(ratio=20, p=1.0, mentions=False, keep=("saw",))(work_of([ROW]), Random(0)).train[1:]
    assert {tuple(said(child)) for child in made} == {("New York Times", "Bar Harbor")}
    assert {child.text.split()[2] for child in made} == {"saw"}


def test_rows_of_one_word_a_segment_give_nothing() -> None:
    short = Row("data:1", "in Paris , now", None, (Span(3, 8, "LOC"),))
    made = ShuffleSegments(ratio=1)(work_of([ROW, short]), Random(0))
    assert {row.parent for row in made.train[2:]} == {"data:0"}
