"""Questions and answers: every form gives the same rows, answers stand where they should, contexts stay together."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cloze
from burnish.core import Row, Span
from burnish.data.check import check
from burnish.data.infer import infer
from burnish.data.kind import ANSWERS, labels_of
from burnish.data.read import read
from burnish.data.rows import rows_and_mended, rows_of
from burnish.data.split import Splits, content_hash, split, with_test
from burnish.data.table import Columns, Table
from burnish.errors import DataError
from burnish.tasks import make
from burnish.units import units
from tests.data.test_read import complaint, write

CONTEXT = "Ada Lovelace 😀 wrote notes in London. London was loud."
ADA, LONDON = Span(0, 12), Span(30, 36)
COLUMNS = Columns("context", "question", "answers", ANSWERS, start="answer_start", impossible="is_impossible")
WHO = {"context": CONTEXT, "question": "Who wrote notes?"}


def table(*rows: dict[str, Any]) -> Table:
    return Table(tuple(dict.fromkeys(k for row in rows for k in row)), list(rows), "qa.jsonl", "", range(1, 99))


def only(row: dict[str, Any]) -> tuple[Row, Any]:
    rows, mended = rows_and_mended(table({**WHO, **row}), COLUMNS)
    return rows[0], mended


@pytest.mark.parametrize(
    "row",
    [
        {"answers": {"text": ["Ada Lovelace"], "answer_start": [0]}},
        {"answers": {"text": "Ada Lovelace", "answer_start": 0}},
        {"answers": [{"text": "Ada Lovelace", "answer_start": 0}]},
        {"answers": ["Ada Lovelace"]},
        {"answers": "Ada Lovelace"},
        {"answers": "Ada Lovelace", "answer_start": "0"},
        {"answers": ["Ada Lovelace"], "answer_start": [0]},
        {"answers": json.dumps({"text": ["Ada Lovelace"], "answer_start": [0]})},
        {"answers": [{"text": "Ada Lovelace", "answer_start": 0}] * 3},
    ],
)
def test_every_form_gives_the_same_answer(row: dict[str, Any]) -> None:
    found, mended = only(row)
    assert (found.text, found.pair, found.target) == (CONTEXT, "Who wrote notes?", (ADA,))
    assert mended == {}


def test_several_answers_come_with_the_commonest_first() -> None:
    texts, starts = ["Ada", "Ada Lovelace", "Ada Lovelace"], [0, 0, 0]
    assert only({"answers": {"text": texts, "answer_start": starts}})[0].target == (ADA, Span(0, 3))


@pytest.mark.parametrize(
    "row",
    [
        {"answers": []},
        {"answers": {"text": [], "answer_start": []}},
        {"answers": [{"text": "", "answer_start": -1}]},
        {"answers": [], "is_impossible": True},
        {"answers": None, "is_impossible": True},
        {"answers": "", "is_impossible": "true"},
    ],
)
def test_no_answer_is_a_value(row: dict[str, Any]) -> None:
    assert only(row)[0].target == ()


def test_a_missing_answer_is_none() -> None:
    for row in ({"answers": None}, {"answers": ""}, {"answers": None, "is_impossible": False}):
        with pytest.raises(DataError, match="lacks 'answers' on line 1") as error:
            only(row)
        complaint(error, "is_impossible")


@pytest.mark.parametrize("start", [29, 30, 31, 35])
def test_a_start_that_slipped_is_mended(start: int) -> None:
    """One more is what JavaScript counts, for which an emoji is two."""
    found, mended = only({"answers": {"text": ["London"], "answer_start": [start]}})
    assert found.target in ((LONDON,), (Span(38, 44),))
    assert mended.get("moved", {}).get("count", 0) == (start != 30)
    if start <= 31:
        assert found.target == (LONDON,)


def test_blanks_around_an_answer_are_no_part_of_it() -> None:
    assert only({"answers": {"text": [" London "], "answer_start": [29]}})[0].target == (LONDON,)


def test_an_answer_without_a_place_counts_wherever_it_stands() -> None:
    found, mended = only({"answers": "London"})
    assert found.target == (LONDON, Span(38, 44))
    assert mended["several places"]["count"] == 1
    assert only({"answers": "no", "context": "she knows no notes"})[0].target == (Span(10, 12),)
    assert only({"answers": "京", "context": "他在北京"})[0].target == (Span(3, 4),)
    assert only({"answers": "was"})[0].target == (Span(45, 48),)


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"answers": {"text": ["Paris"], "answer_start": [3]}}, ("'Paris' does not stand at 3, where ' Love' is",)),
        ({"answers": {"text": ["Ada"], "answer_start": [40]}}, ("'Ada' does not stand at 40", "code points")),
        ({"answers": {"text": ["Ada"], "answer_start": [999]}}, ("at 999",)),
        ({"answers": {"text": ["Ada"], "answer_start": [-1]}}, ("at -1",)),
        ({"answers": "Charles"}, ("'Charles' does not stand in its context", "letter by letter")),
        ({"answers": {"text": ["Ada", "x"], "answer_start": [0]}}, ("another form", "answer_start")),
        ({"answers": [3]}, ("another form",)),
        ({"answers": 3}, ("another form",)),
        ({"answers": "Charles", "id": "q7"}, ("line 1, 'Who wrote notes?' (id q7)",)),
    ],
)
def test_a_wrong_answer_names_its_question(row: dict[str, Any], parts: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as error:
        only(row)
    complaint(error, "qa.jsonl, line 1, 'Who wrote notes?'", *parts)


def test_answers_that_are_marked_impossible_are_counted() -> None:
    found, mended = only({"answers": "London", "is_impossible": True})
    assert found.target == ()
    assert mended["impossible"]["count"] == 1


# Files


def squad(tmp_path: Path, questions: int = 12) -> str:
    asked = [
        {
            "id": f"q{i}",
            "question": f"Who? {i}",
            "answers": [{"text": "Ada", "answer_start": 0}],
            "is_impossible": False,
        }
        for i in range(questions)
    ]
    none = {"id": "none", "question": "Why?", "answers": [], "is_impossible": True,
            "plausible_answers": [{"text": "notes", "answer_start": 21}]}  # fmt: skip
    paragraphs = [{"context": CONTEXT, "qas": [*asked, none]}, {"context": "nothing asked", "qas": []}]
    return write(
        tmp_path, "squad.json", json.dumps({"version": "v2.0", "data": [{"title": "t", "paragraphs": paragraphs}]})
    )


def test_squad_is_read_one_row_a_question(tmp_path: Path) -> None:
    data = read(squad(tmp_path))
    columns = infer(data)
    assert (columns.text, columns.pair, columns.target, columns.kind) == ("context", "question", "answers", ANSWERS)
    rows = rows_of(data, columns)
    assert [row.target for row in rows] == [(Span(0, 3),)] * 12 + [()]
    assert {row.text for row in rows} == {CONTEXT}
    assert labels_of([row.target for row in rows]) == ()


def test_a_broken_paragraph_is_named(tmp_path: Path) -> None:
    content = json.dumps({"data": [{"title": "t", "paragraphs": [{"context": "a", "qas": []}, {"context": "b"}]}]})
    with pytest.raises(DataError) as error:
        read(write(tmp_path, "squad.json", content))
    complaint(error, "paragraph 2 of article 1")


def test_flat_files_of_every_format_give_the_same_rows(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    nested = [{**WHO, "answers": {"text": ["London"], "answer_start": [30]}}] * 12
    pq.write_table(pa.Table.from_pylist(nested), tmp_path / "a.parquet")
    flat = f'context,question,answer,answer_start\n"{CONTEXT}",Who wrote notes?,London,30\n'
    paths = [
        str(tmp_path / "a.parquet"),
        write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, nested))),
        write(tmp_path, "a.csv", flat + flat.split("\n", 1)[1] * 11),
    ]
    for path in paths:
        data = read(path)
        rows = rows_of(data, infer(data))
        assert [(r.text, r.pair, r.target) for r in rows] == [(CONTEXT, "Who wrote notes?", (LONDON,))] * 12


# Splitting


def asked(contexts: int, each: int, none: int = 0) -> list[Row]:
    """`each` questions about each context, the first `none` of them without an answer."""
    return [
        Row(f"data:{c * each + q}", f"context number {c}", f"question {q}", () if q < none else (Span(0, 7),))
        for c in range(contexts)
        for q in range(each)
    ]


@pytest.mark.parametrize("none", [0, 1])
def test_questions_about_one_context_stay_together(none: int) -> None:
    rows = asked(60, 4, none)
    found = split(rows)
    sides = [{row.text for row in side} for side in (found.train, found.valid, found.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 60
    assert len(found.test) == 48
    assert content_hash(rows) == content_hash(rows[::-1])


def test_each_side_has_its_share_of_questions_without_an_answer() -> None:
    rows = [*asked(50, 2), *(Row(f"more:{i}", f"other {i}", "q", ()) for i in range(50))]
    found = split(rows, valid=0.2, test=0.2)
    for side in (found.valid, found.test):
        assert sum(not row.target for row in side) == 10
        assert len(side) == 30


def test_contexts_of_a_test_file_leave_train() -> None:
    test = [Row("test:0", "Context NUMBER 3!", "something else", ())]
    found = with_test(asked(20, 3), test)
    assert len(found.train) + len(found.valid) == 57
    assert "3 training rows" in found.notes[0]


# Checking


def facts(*rows: Row, train: int = 1) -> dict[str, Any]:
    found = check(Splits(rows[:train], (), rows[train:]), make(ANSWERS, (), True), words=units)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def test_answers_are_counted() -> None:
    rows = [
        Row("a", "Ada met Ada in London", "who?", (Span(0, 3),)),
        Row("b", "Ada met Ada in London", "where?", (Span(15, 21), Span(12, 21))),
        Row("c", "Ada met nobody", "why?", ()),
        Row("d", "London was loud", "what?", (Span(0, 4),)),
    ]
    found = facts(*rows, train=3)
    answers = found["answers"]
    assert (answers["contexts"], answers["unanswerable"], answers["several"]) == (
        3,
        {"train": 1, "valid": 0, "test": 0},
        1,
    )
    assert answers["repeated"]["rows"] == 1
    assert answers["inside_words"]["spans"] == 1
    assert found["labels"] == []
    assert found["duplicates"]["exact"]["inside"]["train"] == 0
    assert any("25.0 % of the questions have no answer" in f["what"] for f in found["findings"])


def test_a_context_on_two_sides_is_a_leak_and_one_question_twice_a_duplicate() -> None:
    row = Row("a", "Ada met Ada in London", "who?", (Span(0, 3),))
    twice = Row("b", row.text, "WHO?", (Span(8, 11),))
    found = facts(row, twice, Row("c", row.text, "where?", (Span(15, 21),)), train=2)
    assert found["duplicates"]["exact"]["inside"]["train"] == 1
    assert found["duplicates"]["exact"]["across"]["train-test"] == 1
    assert found["conflicts"]["texts"] == 0  # another place, the same words


def test_questions_without_an_answer_that_train_lacks_are_an_error() -> None:
    found = facts(Row("a", "Ada", "who?", (Span(0, 3),)), Row("b", "Bob", "why?", ()))
    assert [f["level"] for f in found["findings"] if "none in train" in f["what"]] == ["error"]


# The cloze set


@pytest.mark.real
def test_cloze_questions_are_what_they_say(bbc: Path, tmp_path: Path) -> None:
    texts = cloze.articles(bbc)[:400]
    found = cloze.questions(texts, rows=300)
    assert found == cloze.questions(texts, rows=300)
    assert found != cloze.questions(texts, rows=300, seed=1)
    assert sum(not row["answers"]["text"] for row in found) == 60
    assert len({row["context"] for row in found}) < 300
    data = read(write(tmp_path, "cloze.json", json.dumps(cloze.squad(found))))
    rows, mended = rows_and_mended(data, infer(data))
    assert mended == {}
    for row in rows:
        assert cloze.BLANK in str(row.pair)
        if row.target:
            (span,) = row.target
            name = row.text[span.start : span.end]  # type: ignore[union-attr]
            assert row.text.count(name) == 1
            assert str(row.pair).replace(cloze.BLANK, name) in row.text


def test_cloze_without_enough_text_says_so() -> None:
    with pytest.raises(ValueError, match="give 0 questions"):
        cloze.questions(["too short"], rows=1)
