"""Label-wise token replacement: words of the same tag, by frequency, one for one."""

from collections import Counter
from random import Random

from burnish.augment._draw import Bag, bag
from burnish.augment._tags import cut
from burnish.augment.label_words import LabelWords
from burnish.core import Row, Span
from tests.augment.spans import random_rows, said, work_of

ROWS = [
    Row("data:0", "Anna Smith went to Paris, not 42 times.", None, (Span(0, 10, "PER"), Span(19, 24, "LOC"))),
    Row("data:1", "Bob Jones saw Rome!", None, (Span(0, 9, "PER"), Span(14, 18, "LOC"))),
]


def test_words_come_from_the_same_tag() -> None:
    made = LabelWords(ratio=30, p=0.9)(work_of(ROWS), Random(0)).train[2:]
    assert {said(child)[0] for child in made} == {f"{a} {b}" for a in ("Anna", "Bob") for b in ("Smith", "Jones")}
    assert {said(child)[1] for child in made} == {"Paris", "Rome"}
    for child in made:
        if child.parent == "data:0":
            assert " not 42 " in child.text
        outside = {w.text for w in cut(child) if w.tag == "O"}
        assert outside <= {"went", "to", "not", "42", "times", "saw", ",", ".", "!"}
        assert [w.kind for w in cut(child)] == [w.kind for w in cut(ROWS[int(child.parent[5:])])]


def test_what_is_kept_stays_and_is_not_put_in() -> None:
    made = LabelWords(ratio=20, p=0.9, keep=("Paris", "saw"))(work_of(ROWS), Random(0)).train[2:]
    assert {said(child)[1] for child in made if child.parent == "data:0"} == {"Paris"}
    assert {said(child)[1] for child in made if child.parent == "data:1"} == {"Rome"}
    assert all(("saw" in child.text) == (child.parent == "data:1") for child in made)


def test_words_are_drawn_by_frequency_and_never_the_same() -> None:
    found = bag({"a": 6, "b": 3, "c": 1})
    drawn = Counter(found.other("b", Random(i)) for i in range(3000))
    assert set(drawn) == {"a", "c"}
    assert 5 < drawn["a"] / drawn["c"] < 7.2  # 6 to 1
    drawn = Counter(found.other("x", Random(i)) for i in range(3000))
    assert 1.7 < drawn["a"] / drawn["b"] < 2.3
    assert not Bag(("a",), (3,)).has_other("a")
    assert Bag(("a",), (3,)).other("b", Random(0)) == "a"


def test_the_note_counts_words() -> None:
    made = LabelWords()(work_of(random_rows(0, 40)), Random(0))
    assert made.notes["words"]["O"] > 40
    assert set(made.notes["words"]) <= {"O", *(f"{m}-{label}" for m in "BI" for label in ("PER", "LOC", "ORG"))}
