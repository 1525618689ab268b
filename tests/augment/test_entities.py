"""Mention replacement: within the type, never by itself, in its case; your own lists; answers stay."""

from pathlib import Path
from random import Random

import pytest

from burnish.augment._mentions import Pool, lists, pools
from burnish.augment.entities import Entities, cased
from burnish.core import Row, Span
from burnish.errors import DataError, UsageError
from tests.augment.spans import labels, said, work_of


def row(i: int, text: str, *mentions: tuple[str, str]) -> Row:
    spans = tuple(Span(text.index(m), text.index(m) + len(m), label) for m, label in mentions)
    return Row(f"data:{i}", text, None, spans)


ROWS = [
    row(0, "Anna lives in Paris.", ("Anna", "PER"), ("Paris", "LOC")),
    row(1, "meet bob in NEW YORK", ("bob", "PER"), ("NEW YORK", "LOC")),
    row(2, "我在北京见到张三。", ("北京", "LOC"), ("张三", "PER")),
    row(3, "ANNA works for  IBM  now", ("ANNA", "PER"), ("IBM", "ORG")),
    row(4, "nobody anywhere"),
]


def test_every_mention_keeps_type_case_and_what_stands_around_it() -> None:
    made = Entities(ratio=20, p=1.0, filters=())(work_of(ROWS), Random(0)).train[len(ROWS) :]
    seen = {parent.id: {tuple(said(child)) for child in made if child.parent == parent.id} for parent in ROWS}
    assert {a for a, _ in seen["data:0"]} == {"Bob", "张三"}
    assert {b for _, b in seen["data:0"]} == {"NEW YORK", "北京"}
    assert {a for a, _ in seen["data:1"]} == {"anna", "张三"}
    assert {b for _, b in seen["data:1"]} == {"PARIS", "北京"}
    assert {b for _, b in seen["data:3"]} == {"IBM"}  # the only one of its type
    assert {a for a, _ in seen["data:3"]} == {"BOB", "张三"}
    assert all("  IBM  now" in child.text for child in made if child.parent == "data:3")
    assert not seen["data:4"]
    assert all(labels(child) == labels(ROWS[int(child.parent[5:])]) for child in made)


def test_what_stays() -> None:
    made = Entities(ratio=5, p=1.0, keep=("paris", "Bob"))(work_of(ROWS[:2]), Random(0)).train[2:]
    assert {said(child)[1] for child in made if child.parent == "data:0"} == {"Paris"}
    assert {said(child)[0] for child in made if child.parent == "data:1"} == {"bob"}
    glued = row(0, "at #ParisAttacks in Rome", ("Paris", "LOC"), ("Rome", "LOC"))
    made = Entities(ratio=5, p=1.0)(work_of([glued]), Random(0)).train[1:]
    assert [child.text for child in made] == ["at #ParisAttacks in Paris"]


def test_lists_of_your_own(tmp_path: Path) -> None:
    file = tmp_path / "own.tsv"
    file.write_text("# places\nLOC\tUlan  Bator\n\nLOC\t上海\n", "utf-8")
    made = Entities(ratio=20, p=1.0, own=str(file), filters=())(work_of(ROWS[:1]), Random(0))
    assert {said(child)[1] for child in made.train[1:]} == {"Ulan Bator", "上海"}
    assert made.notes["mentions"] == {"LOC": 3, "PER": 1}
    table = tmp_path / "own.csv"
    table.write_text('type,mention\nLOC,"Washington, D.C."\n', "utf-8")
    assert dict(lists(str(table))) == {"LOC": {"Washington, D.C.": 1}}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", DataError, "holds no mention"),
        ("# nothing\n", DataError, "holds no mention"),
        ("LOC Berlin\n", DataError, r"own.tsv:1 is 'LOC Berlin'\n  expected: TYPE<tab>mention"),
        ("LOC\tBerlin\nLCO\tRome\n", DataError, r"own.tsv:2: there is no type 'LCO'\n.*\n.*did you mean 'LOC'"),
        (None, UsageError, "there is no file"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path: Path, text: str | None, error: type, message: str) -> None:
    file = tmp_path / "own.tsv"
    if text is not None:
        file.write_text(text, "utf-8")
    with pytest.raises(error, match=message):
        Entities(own=str(file))(work_of(ROWS), Random(0))


def test_nothing_to_choose_from() -> None:
    with pytest.raises(DataError, match="no entity type has two mentions: LOC 1, PER 1"):
        Entities()(work_of([ROWS[0], row(1, "ANNA in PARIS", ("ANNA", "PER"), ("PARIS", "LOC"))]), Random(0))
    with pytest.raises(DataError, match=r"data:7: span 2..9 X overlaps 0..4 LOC"):
        Entities()(
            work_of([*ROWS, Row("data:7", "Paris Metro", None, (Span(0, 4, "LOC"), Span(2, 9, "X")))]), Random(0)
        )


CONTEXT = (
    "Steve Jobs and Wozniak founded Apple in Cupertino. Apple sold the Macintosh; Jobs left IBM alone in Cupertino."
)


def test_answers_and_what_the_question_says_stay(tmp_path: Path) -> None:
    file = tmp_path / "own.tsv"
    names = ("Apple", "IBM", "Steve Jobs", "Jobs", "Wozniak", "Cupertino", "Berlin")
    file.write_text("".join(f"{'LOC' if n in names[5:] else 'X'}\t{n}\n" for n in names), "utf-8")
    rows = [
        Row("data:0", CONTEXT, "Who founded Apple?", (Span(0, 10),)),
        Row("data:1", CONTEXT, "Who is the mayor of Rome?", ()),
    ]
    made = Entities(ratio=6, p=1.0, own=str(file), filters=())(work_of(rows), Random(0)).train[2:]
    assert {child.parent for child in made} == {"data:0", "data:1"}
    for child in made:
        assert child.pair in ("Who founded Apple?", "Who is the mayor of Rome?")
        if child.parent == "data:0":
            assert said(child) == ["Steve Jobs"]
            assert child.text.count("Apple") >= 2  # the question asks for it
            assert "; Jobs left" in child.text  # a part of the answer
            assert child.text.count("Cupertino") == 0
            assert child.text.count("Berlin") == 2  # the same everywhere


def test_rows_of_classes_change_by_your_lists_only(tmp_path: Path) -> None:
    file = tmp_path / "own.tsv"
    file.write_text("LOC\tRom\nLOC\tParis\nLOC\t北京\n", "utf-8")
    rows = [Row("data:0", "from Rome to Paris", None, "a"), Row("data:1", "去北京吧", None, "b")]
    made = Entities(ratio=4, own=str(file), filters=())(work_of(rows), Random(0)).train[2:]
    assert {child.text for child in made} == {
        "from Rome to Rom", "from Rome to 北京", "去Rom吧", "去Paris吧",
    }  # fmt: skip
    with pytest.raises(DataError, match="own=FILE"):
        Entities()(work_of(rows), Random(0))


def test_pools() -> None:
    found = pools({"PER": {"anna": 1, "Anna": 3, "Bob": 1}})["PER"]
    assert found == Pool(("Anna", "Bob"), ("anna", "bob"))
    assert {found.other("ANNA", Random(i)) for i in range(9)} == {"Bob"}
    assert {found.other("Carl", Random(i)) for i in range(9)} == {"Anna", "Bob"}
    assert Pool(("Bob",), ("bob",)).other("bob", Random(0)) is None


def test_case() -> None:
    assert [cased("New York", like) for like in ("PARIS", "paris", "Paris", "iPhone", "北京")] == [
        "NEW YORK", "new york", "New York", "New York", "New York",
    ]  # fmt: skip
    assert cased("new york", like="Paris") == "New York"
    assert cased("new york", like="I") == "New York"
