"""Checking entities: each defect that is planted is found and counted."""

import json
from typing import Any

import numpy as np
import pytest

from burnish.core import Row, Span
from burnish.data.check import check, lines
from burnish.data.infer import infer
from burnish.data.kind import SEQUENCE, labels_of
from burnish.data.read import read
from burnish.data.rows import rows_of
from burnish.data.split import Splits, split
from burnish.tasks import make
from burnish.tasks.tags import tags_of
from burnish.units import units
from tests.data.test_check import warned


def labelled(text: str, name: str = "planted:0", *, at: tuple[int, int] | None = None, **entities: str) -> Row:
    """A row whose keywords are label="what it covers"."""
    spans = [Span(text.index(part), text.index(part) + len(part), label) for label, part in entities.items()]
    return Row(name, text, None, tuple([Span(*at, "person")] if at else spans))


def clean(n: int = 400) -> list[Row]:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"word{i}" for i in rng.integers(0, 5000, 12)) for _ in range(n)]
    kinds = ("person", "place", "group")
    return [labelled(f"{t} Name{i} came", f"data:{i}", **{kinds[i % 3]: f"Name{i}"}) for i, t in enumerate(texts)]


def found_in(*planted: Row, rows: int = 400, mended: dict[str, Any] | None = None) -> dict[str, Any]:
    base = split(clean(rows))
    sides = Splits((*base.train, *planted), base.valid, base.test)
    types = labels_of([row.target for side in (sides.train, sides.valid, sides.test) for row in side])
    found = check(sides, make(SEQUENCE, tags_of(types)), words=units, mended=mended)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def test_clean_rows_draw_no_warning() -> None:
    found = found_in(rows=2000)
    assert [f for f in found["findings"] if f["level"] != "info"] == []
    assert sum(found["entities"]["entities"].values()) == 2000
    assert [(c["label"], c["train"] + c["valid"] + c["test"], c["rows"]) for c in found["labels"]] == [
        ("group", 666, 666),
        ("person", 667, 667),
        ("place", 667, 667),
    ]
    assert "2,000 entities; 0 of 2,000 rows have none" in "\n".join(lines(found))


def test_entities_and_rows_are_counted_apart() -> None:
    found = found_in(labelled("Ada met Eve", person="Ada", place="Eve"), labelled("nobody came"))
    assert sum(found["entities"]["entities"].values()) == 402
    assert sum(found["entities"]["rows_without"].values()) == 1


def test_labels_that_cut_words_are_shown_with_their_surroundings() -> None:
    found = found_in(labelled("here is Adalbert again", at=(8, 11)))
    finding = warned(found, "inside a word")
    assert "1 spans" in finding["what"]
    assert "here is [Ada]lbert again" in finding["examples"][0]["text"]


def test_a_mention_that_is_overlooked_elsewhere_is_found() -> None:
    planted = [labelled(f"Ada Lovelace spoke {i}", f"p:{i}", person="Ada Lovelace") for i in range(3)]
    planted += [
        labelled("they met Ada Lovelace there", "p:8"),
        labelled("we saw Ada Lovelace Street", place="Ada Lovelace Street"),
    ]
    planted += [labelled("a ship, Ada Lovelace by name", group="Ada Lovelace")]
    found = found_in(*planted)
    example = {"mention": "Ada Lovelace", "labels": {"person": 3, "group": 1}, "unlabelled": 1}
    assert found["entities"]["mentions"]["examples"] == [example]
    assert warned(found, "labelled otherwise")["level"] == "info"
    assert found["entities"]["mentions"]["against"] == 2
    assert "'Ada Lovelace': person 3, group 1, no label 1" in "\n".join(lines(found))


def test_chinese_mentions_are_shown_without_blanks() -> None:
    found = found_in(labelled("他在北京", place="北京"), labelled("北京很大", "p:1"))
    assert warned(found, "labelled otherwise")["examples"] == ["'北京': place 1, no label 1"]


def test_rare_and_uneven_types() -> None:
    found = found_in(labelled("the ship Argo", ship="Argo"))
    assert "'ship'" in warned(found, "fewer than 10 training entities")["what"]
    assert "'ship'" in warned(found, "times as common")["what"]
    assert warned(found, "times as common")["try"] == "--metric macro_f1"


def test_the_same_text_labelled_in_two_ways_conflicts_and_moved_blanks_do_not() -> None:
    same = [labelled("Ada met Eve", "a", person="Ada"), labelled("Ada  met Eve!", "b", person="Ada")]
    assert found_in(*same)["conflicts"]["texts"] == 0
    other = labelled("Ada met Eve", "c", person="Eve")
    found = found_in(*same, other)
    assert (found["conflicts"]["texts"], found["conflicts"]["lost"]) == (1, 1)
    assert ["person: Ada"] in [row["target"] for pair in warned(found, "different targets")["examples"] for row in pair]


def test_what_was_mended_is_a_finding() -> None:
    found = found_in(mended={"tag breaks": {"count": 7, "places": ["line 3: I-x at 'a'"]}})
    assert warned(found, "7 tags break their scheme (line 3")["level"] == "warn"


def test_without_words_the_rest_is_still_said() -> None:
    found = check(split(clean()), make(SEQUENCE, tags_of(("group", "person", "place"))))
    assert found["entities"]["inside_words"] is None
    assert found["entities"]["mentions"] is None
    assert sum(found["entities"]["entities"].values()) == 400


@pytest.mark.real
def test_real_tweets_hold_what_people_overlooked(shared) -> None:  # type: ignore[no-untyped-def]
    table = read(str(shared / "data/wnut17/train.conll"))
    sides = split(rows_of(table, infer(table)))
    types = labels_of([row.target for row in sides.train])
    assert types == ("corporation", "creative-work", "group", "location", "person", "product")
    found = check(sides, make(SEQUENCE, tags_of(types)), words=units)
    assert found["entities"]["inside_words"]["spans"] == 0
    assert found["entities"]["mentions"]["conflicting"] > 50
    counts = {c["label"]: c["train"] + c["valid"] + c["test"] for c in found["labels"]}
    assert counts == {
        "corporation": 221,
        "creative-work": 140,
        "group": 264,
        "location": 548,
        "person": 660,
        "product": 142,
    }
