"""Templates: what they say comes out, labelled right, in turn, evenly and never twice."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from burnish.augment.templates import Templates
from burnish.core import Row, Span, Work
from burnish.errors import DataError, UsageError
from tests.augment.spans import random_rows, said, work_of

INTENTS = [Row(f"data:{i}", f"row number {i}", None, ("book", "cancel")[i % 2]) for i in range(40)]
NER = [
    Row("data:0", "Anna lives in Paris", None, (Span(0, 4, "PER"), Span(14, 19, "LOC"))),
    Row("data:1", "张三在北京", None, (Span(0, 2, "PER"), Span(3, 5, "LOC"))),
]
CITIES = "city\tBerlin\ncity\tOslo\ncity\tLas Vegas\ncity\t北京\nday\tMonday\nday\tFriday\n"


def step(folder: Path, templates: str, fillers: str = CITIES, **settings: object) -> Templates:
    (folder / "t.txt").write_text(templates, "utf-8")
    (folder / "f.tsv").write_text(fillers, "utf-8")
    lists = str(folder / "f.tsv") if fillers else ""
    return Templates(str(folder / "t.txt"), lists, **settings)  # type: ignore[arg-type]


def new(made: Work) -> list[Row]:
    return [row for row in made.train if row.parent]


def test_classes(tmp_path: Path) -> None:
    text = "# intents\nfly from {a:city} to {b:city} | label=book\nnot on {day} {{please}} | label=cancel\n"
    made = step(tmp_path, text, ratio=0.2)(work_of(INTENTS), Random(0))
    rows = new(made)
    assert len(rows) == 8
    assert Counter(row.parent for row in rows) == {"template:2": 6, "template:3": 2}
    assert {row.text for row in rows if row.target == "cancel"} == {"not on Monday {please}", "not on Friday {please}"}
    flights = [row.text.removeprefix("fly from ").split(" to ") for row in rows if row.target == "book"]
    assert all(a != b for a, b in flights)
    used = Counter(city for flight in flights for city in flight)
    assert max(used.values()) - min(used.values()) <= 1
    assert made.notes["templates"] == {
        "2: fly from {a:city} to {b:city}": 6,
        "3: not on {day} {{please}}": 2,
    }
    assert len({row.id for row in made.train}) == 48


def test_templates_take_turns_and_have_a_limit(tmp_path: Path) -> None:
    text = "to {a:city} and {b:city} | label=book\noff {a:city} and {b:city} | label=cancel\n"
    even = new(step(tmp_path, text, ratio=0.25)(work_of(INTENTS), Random(1)))
    assert Counter(row.parent for row in even) == {"template:1": 5, "template:2": 5}
    made = step(tmp_path, text, ratio=1.0, each=3)(work_of(INTENTS), Random(1))
    assert Counter(row.parent for row in new(made)) == {"template:1": 3, "template:2": 3}
    assert made.notes["short"] == {"most of a template": 2}


def test_spans_and_mentions_of_the_rows(tmp_path: Path) -> None:
    text = "{who:PER} 从{LOC}飞到{to:city}了 | PER=who | LOC=LOC, to\nnothing here\n"
    made = step(tmp_path, text, ratio=5)(work_of(NER), Random(0))
    rows = new(made)
    assert len({row.text for row in rows}) == len(rows) == 10
    assert [row.target for row in rows if row.parent == "template:2"] == [()]
    for row in rows:
        if row.parent == "template:1":
            who, start, to = said(row)
            assert row.text == f"{who} 从{start}飞到{to}了"
            assert (who in ("Anna", "张三"), start in ("Paris", "北京"), to in CITIES) == (True, True, True)
            assert [span.label for span in row.target] == ["PER", "LOC", "LOC"]  # type: ignore[union-attr]
    assert made.notes["examples"][0][0].startswith("{who:PER}")


def test_answers_pairs_numbers_and_several_labels(tmp_path: Path) -> None:
    rows = [Row("data:0", "It is in Rome.", "Where?", (Span(9, 13),)), Row("data:1", "It is.", "Why?", ())]
    text = "We flew to {city} on {when:day}. | pair=Where did we fly on {when}? | answer=city\n"
    for row in new(step(tmp_path, text, ratio=2.0)(work_of(rows), Random(0))):
        assert said(row)[0] in CITIES
        assert row.pair is not None
        assert row.pair.split()[-1][:-1] in row.text
    rows = [Row("data:0", "a", None, 1.5)]
    assert new(step(tmp_path, "on {day} | label=-2.5\n", ratio=1)(work_of(rows), Random(0)))[0].target == -2.5
    rows = [Row("data:0", "a", None, ("x", "y")), Row("data:1", "b", None, ())]
    found = new(step(tmp_path, "on {day} | label=y, x\n", ratio=0.5)(work_of(rows), Random(0)))
    assert found[0].target == ("y", "x")


def test_made_rows_are_no_originals(tmp_path: Path) -> None:
    once = step(tmp_path, "to {city} | label=book\n", ratio=0.1)(work_of(INTENTS), Random(0))
    again = step(tmp_path, "off {city} | label=book\n", ratio=0.1)(once, Random(0))
    assert len(new(again)) == 8
    assert len({row.id for row in again.train}) == 48


def test_the_order_of_the_rows_changes_nothing(tmp_path: Path) -> None:
    rows = random_rows(3, 60)
    text = "{a:PER} met {b:PER} in {LOC} | PER=a, b | LOC=LOC\n{ORG} said | ORG=ORG\n"
    made = step(tmp_path, text, "")
    assert new(made(work_of(rows), Random(1))) == new(made(work_of(rows[::-1]), Random(1)))
    assert new(made(work_of(rows), Random(1))) != new(made(work_of(rows), Random(2)))


@pytest.mark.parametrize(
    ("text", "fillers", "message"),
    [
        ("", CITIES, "holds no template"),
        ("to {city} | label=book | what\n", CITIES, r"t.txt:1: 'what' is no part"),
        ("to {city | label=book\n", CITIES, r"t.txt:1: a brace stands alone"),
        ("to {town} | label=book\n", CITIES, r"slot 'town' has no fillers\n.*a list called town"),
        ("to {ctiy} | label=book\n", CITIES, r"did you mean 'city'"),
        ("to {city} | label=bok\n", CITIES, r"no row is labelled 'bok'\n.*\n.*did you mean 'book'"),
        ("to {city}\n", CITIES, r"another kind of row .*\n  expected: TEXT \| label=LABEL"),
        ("to {city} | label=book | LOC=city\n", CITIES, "another kind of row"),
        ("to {city} | label=book | pair=x\n", CITIES, "another kind of row"),
        ("to {city} | label=book | LOC=town\n", CITIES, r"the text has no slot 'town'"),
        ("{a:city} {a:day} | label=book\n", CITIES, r"slot 'a' has two lists"),
        ("{a:x} {b:x} | label=book\n", "x\tone\n", r"list 'x' has 1 fillers\n  expected: 2 at least"),
        ("row number {n} | label=book\n", "n\t1\nn\t3\n", r"gave no new row"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, fillers: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        step(tmp_path, text, fillers)(work_of(INTENTS), Random(0))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        Templates(str(tmp_path / "none"))(work_of(INTENTS), Random(0))
    with pytest.raises(DataError, match="no row is labelled 'LCO'"):
        step(tmp_path, "in {city} | LCO=city\n")(work_of(NER), Random(0))
    with pytest.raises(DataError, match="each slot that is a span once"):
        step(tmp_path, "{city} {city} | LOC=city\n")(work_of(NER), Random(0))
    with pytest.raises(UsageError, match="each 0"):
        Templates("x", each=0)
