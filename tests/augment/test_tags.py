"""The BIO view: spans to tags and back, and what is refused."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.augment._tags import Word, cut, joined, movable, segments, spans_of, tagged_rows
from burnish.core import Row, Span
from burnish.errors import DataError
from tests.augment.spans import random_row, said


def trimmed(row: Row) -> tuple[Span, ...]:
    found = []
    for span in spans_of(row):
        covered = row.text[span.start : span.end]
        start = span.start + len(covered) - len(covered.lstrip())
        found.append(Span(start, start + len(covered.strip()), span.label))
    return tuple(found)


def well_formed(tags: list[str]) -> bool:
    return all(
        tag == "O" or tag[0] == "B" or before in (f"B{tag[1:]}", tag)
        for before, tag in zip(["O", *tags], tags, strict=False)
    )


@given(st.integers())
def test_spans_to_tags_and_back(seed: int) -> None:
    row = random_row(Random(seed), "data:0")
    words = cut(row)
    assert joined(words, row.id) == trimmed(row)
    assert well_formed([word.tag for word in words])
    assert [row.text[w.start : w.end] for w in words] == [w.text for w in words]
    assert "".join(w.text for w in words) == "".join(row.text.split())
    assert [w for segment in segments(words) for w in segment] == words


@given(st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]), max_size=8))
def test_tags_to_spans_and_back(tags: list[str]) -> None:
    text = " ".join("abcdefgh"[: len(tags)])
    words = [word._replace(tag=tag) for word, tag in zip(cut(Row("r", text)), tags, strict=True)]
    if not well_formed(tags):
        with pytest.raises(DataError, match=r"r: '.' is tagged I-"):
            joined(words, "r")
        return
    assert cut(Row("r", text, None, joined(words, "r"))) == words


def test_words() -> None:
    row = Row("r", "Anna's e-mail to #ParisAttacks（在New York）。", None, (Span(18, 23, "LOC"), Span(32, 40, "LOC")))
    assert said(row) == ["Paris", "New York"]
    assert [(w.text, w.tag) for w in cut(row)] == [
        ("Anna's", "O"), ("e-mail", "O"), ("to", "O"), ("#", "O"), ("Paris", "B-LOC"), ("Attacks", "O"), ("（", "O"),
        ("在", "O"), ("New", "B-LOC"), ("York", "I-LOC"), ("）", "O"), ("。", "O"),
    ]  # fmt: skip
    assert [w.text for w in movable(row, cut(row), ["york"])][:3] == ["Anna's", "e-mail", "to"]
    assert not {"Paris", "Attacks", "York"} & {w.text for w in movable(row, cut(row), ["york"])}
    row = Row("r", "Anna 's own Anna's", None, (Span(12, 16, "PER"),))
    assert [w.kind for w in cut(row)] == ["word", "clitic", "word", "word", "clitic"]


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ((Span(0, 3, "A"), Span(2, 4, "B")), r"data:7: span 2..4 B overlaps 0..3 A"),
        ((Span(0, 3, "A"), Span(0, 3, "B")), r"overlaps"),
        ((Span(4, 12, "A"),), r"data:7: span 4..12 A lies outside the text\n  expected: .*<= 8"),
        ((Span(-1, 2, "A"),), r"outside"),
        ((Span(3, 3, "A"),), r"outside"),
        ((Span(3, 4, "A"),), r"nothing but spaces"),
        ((Span(0, 3, ""),), r"no label"),
    ],
)
def test_wrong_spans_name_the_row(spans: tuple[Span, ...], message: str) -> None:
    row = Row("data:7", "one word", None, spans)
    for look in (spans_of, cut, lambda r: tagged_rows([r], "augment/x")):
        with pytest.raises(DataError, match=message):
            look(row)


def test_tags_that_are_no_bio() -> None:
    with pytest.raises(DataError, match=r"row x: 'a' is tagged I-PER after O\n  expected: B-PER or I-PER before I-PER"):
        joined([Word(0, 1, "a", "word", "I-PER")], "x")
    with pytest.raises(DataError, match="after B-LOC"):
        joined([Word(0, 1, "a", "word", "B-LOC"), Word(2, 3, "b", "word", "I-PER")], "x")
    for tag in ("E-PER", "B-", "PER"):
        with pytest.raises(DataError, match="expected: O, B-TYPE or I-TYPE"):
            joined([Word(0, 1, "a", "word", tag)], "x")


def test_rows_without_spans_are_refused() -> None:
    with pytest.raises(DataError, match="augment/x was given 2 rows without labelled spans"):
        tagged_rows([Row("a", "b", None, "label"), Row("c", "d", None, ())], "augment/x")


def test_children_are_not_learned_from() -> None:
    row = Row("data:0", "in Paris", None, (Span(3, 8, "LOC"),))
    hidden = replace(row, id="data:1", parent="data:1")
    assert tagged_rows([row, replace(row, id="x", parent="data:0"), hidden], "augment/x") == [row, hidden]
