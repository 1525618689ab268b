"""Class balancing: every class reaches its share, by rows of its own, and what was added is said."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from burnish.augment.balance import Balance, classes
from burnish.core import Row, Span, Work
from burnish.errors import DataError, UsageError
from tests.augment.spans import random_rows, real_rows, work_of

WORDS = "this was quite some film about the sea and its people".split()  # noqa: SIM905
SIZES = {"a": 30, "b": 12, "c": 4}
ROWS = [
    Row(f"data:{label}{i}", " ".join([label, *Random(f"{label}{i}").sample(WORDS, 8)]), None, label)
    for label, n in SIZES.items()
    for i in range(n)
]


def counts(work: Work) -> Counter[str]:
    return sum((classes(row) for row in work.train), Counter())


def new(work: Work) -> list[Row]:
    return [row for row in work.train if row.parent]


@pytest.mark.parametrize("by", ["augment/aeda", "aeda:alpha=0.1", "copy"])
def test_every_class_reaches_its_share(by: str) -> None:
    made = Balance(share=0.8, by=by, weight=0.5, smoothing=0.1)(work_of(ROWS), Random(0))
    assert counts(made) == {"a": 30, "b": 24, "c": 24}
    assert made.notes["goal"] == 24
    assert made.notes["classes"] == {
        "c": {"before": 4, "rows": 20, "short": {}, "after": 24},
        "b": {"before": 12, "rows": 12, "short": {}, "after": 24},
        "a": {"before": 30, "rows": 0, "short": {}, "after": 30},
    }
    parents = {row.id: row for row in ROWS}
    for row in new(made):
        assert (row.target, row.weight, row.smoothing) == (parents[row.parent].target, 0.5, 0.1)
        assert (row.text == parents[row.parent].text) == (by == "copy")
    assert len({row.id for row in made.train}) == len(made.train)
    if by != "copy":
        assert len({row.text for row in made.train}) == len(made.train)
    used = Counter(row.parent for row in new(made) if row.target == "c")
    assert max(used.values()) - min(used.values()) <= 2  # a mark may have been put there before


def test_no_row_is_used_too_often_and_what_is_missing_is_said() -> None:
    made = Balance(copies=2)(work_of(ROWS), Random(0))
    assert counts(made) == {"a": 30, "b": 30, "c": 12}
    assert made.notes["classes"]["c"]["short"] == {"missing": 18}
    assert max(Counter(row.parent for row in new(made)).values()) == 2


def test_what_is_balanced_stays() -> None:
    rows = [row for row in ROWS if row.target == "c"] + ROWS[:4]
    made = Balance()(work_of(rows), Random(0))
    assert made.train == tuple(rows)
    assert made.notes["new"] == 0


def test_several_labels() -> None:
    rows = [
        Row(f"data:{i}", " ".join(Random(i).sample(WORDS, 9)), None, labels)
        for i, labels in enumerate([("x",)] * 20 + [("x", "y")] * 5 + [("y",)] * 3 + [("z", "x")] * 2 + [()] * 4)
    ]
    made = Balance(share=0.6)(work_of(rows), Random(0))
    found = counts(made)
    assert min(found.values()) >= made.notes["goal"] == 17  # 27 times x
    by_label = {label: [row for row in new(made) if label in row.target] for label in "xyz"}  # type: ignore[operator]
    assert {row.target for row in by_label["y"]} == {("y",)}  # these bring up no x, which is large already
    assert {row.target for row in by_label["z"]} == {("z", "x")}


@pytest.mark.parametrize("by", ["augment/entities", "augment/label_words", "augment/context"])
def test_entity_types_by_mention(by: str) -> None:
    rows = [row for row in random_rows(1, 150) if row.target]
    few = [row for row in rows if classes(row)["ORG"]][:6]
    rows = [row for row in rows if not classes(row)["ORG"]] + few
    made = Balance(by=by, copies=20)(work_of(rows), Random(0))
    assert counts(made)["ORG"] >= made.notes["goal"] == max(counts(work_of(rows)).values())
    assert {row.parent for row in new(made) if classes(row)["ORG"]} <= {row.id for row in few}
    again = Balance(by=by, copies=20)(work_of(rows[::-1]), Random(0))
    assert set(again.train) == set(made.train)


def test_mentions_are_learned_from_all_rows() -> None:
    """The rows of the small class hold one LOC only; the others come from rows that are not changed."""
    few = Row("data:9", "Anna of IBM in Oslo", None, (Span(0, 4, "PER"), Span(8, 11, "ORG"), Span(15, 19, "LOC")))
    rows = [few] + [Row(f"data:{i}", f"in City{i} we are", None, (Span(3, 8, "LOC"),)) for i in range(6)]
    made = Balance(by="augment/entities")(work_of(rows), Random(0))
    assert {row.parent for row in new(made)} == {"data:9"}
    assert {row.text[15:20] for row in new(made)} <= {f"City{i}" for i in range(6)}
    assert all(not row.parent or row.parent == "data:9" for row in made.train)


@pytest.mark.real
def test_wnut17(shared: Path) -> None:
    rows = real_rows(shared, "wnut17")[:1200]
    before = counts(work_of(rows))
    made = Balance(by="augment/entities", share=0.5)(work_of(rows), Random(0))
    assert min(counts(made).values()) >= 0.5 * max(before.values()) - 1
    assert max(counts(made).values()) < 1.3 * max(before.values())


def test_what_cannot_be_balanced() -> None:
    with pytest.raises(DataError, match="1 classes"):
        Balance()(work_of(ROWS[:5]), Random(0))
    with pytest.raises(DataError, match=r"row n has no class: its target is 1.5"):
        Balance()(work_of([*ROWS, Row("n", "x", None, 1.5)]), Random(0))
    with pytest.raises(DataError, match="no class"):
        Balance()(work_of([Row("n", "in Rome", "where?", (Span(3, 7),))]), Random(0))
    with pytest.raises(DataError, match="without labelled spans"):
        Balance(by="augment/entities")(work_of(ROWS), Random(0))
    with pytest.raises(UsageError, match="balance by 'tune/finetune'"):
        Balance(by="tune/finetune")
    with pytest.raises(UsageError, match="aeda has no setting 'alpa'"):
        Balance(by="augment/aeda:alpa=1")
    with pytest.raises(UsageError, match="share 0"):
        Balance(share=0)
