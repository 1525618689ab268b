"""Spans in every form they are kept in, and each way in which one can be wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.core import Row, Span
from burnish.data.infer import infer
from burnish.data.kind import SEQUENCE, labels_of
from burnish.data.read import read
from burnish.data.rows import all_mended, notes_of, rows_and_mended, rows_of
from burnish.data.spans import placed
from burnish.data.split import content_hash, split, with_test
from burnish.data.table import Columns, Table
from burnish.errors import DataError
from tests.data.test_read import complaint, write

TEXT = "Ada Lovelace lived in London 😀 and Paris."
SPANS = (Span(0, 12, "person"), Span(22, 28, "place"), Span(35, 40, "place"))
PLAIN = [{"start": s.start, "end": s.end, "label": s.label} for s in SPANS]
COLUMNS = Columns("text", None, "spans", SEQUENCE)


def table(rows: list[dict[str, Any]], source: str = "a.jsonl") -> Table:
    return Table(tuple(dict.fromkeys(k for row in rows for k in row)), rows, source, "", range(1, len(rows) + 1))


def only(spans: Any, text: str = TEXT) -> tuple[Row, Any]:
    rows, mended = rows_and_mended(table([{"text": text, "spans": spans}]), COLUMNS)
    return rows[0], mended


@pytest.mark.parametrize(
    "spans",
    [
        PLAIN,
        PLAIN[::-1],
        [[s.start, s.end, s.label] for s in SPANS],
        [{"start_offset": s.start, "end_offset": s.end, "type": s.label} for s in SPANS],
        [{"start": s.start, "end": s.end, "entity": s.label, "score": 0.9} for s in SPANS],
        [{"start": s.start, "end": s.end, "text": TEXT[s.start : s.end], "labels": [s.label]} for s in SPANS],
        [{"start": float(s.start), "end": str(s.end), "tag": s.label} for s in SPANS],
        {"entities": [[s.start, s.end, s.label] for s in SPANS]},
        json.dumps(PLAIN),
    ],
)
def test_every_form_gives_the_same_spans(spans: Any) -> None:
    row, mended = only(spans)
    assert row.target == SPANS
    assert mended == {}


def test_an_empty_list_is_a_value_and_a_gap_is_none() -> None:
    assert only([])[0].target == ()
    rows = [{"text": "a", "spans": []}, {"text": "b"}, {"text": "c", "spans": None}]
    with pytest.raises(DataError, match="line 2, line 3") as error:
        rows_of(table(rows), COLUMNS)
    complaint(error, "lacks 'spans'", "[]")


@pytest.mark.parametrize(
    ("spans", "parts"),
    [
        ([[0, 12, "person"], [4, 12, "name"]], ("line 1", "0..12 person 'Ada Lovelace' overlaps 4..12 name")),
        ([[0, 12, "person"], [0, 12, "place"]], ("overlaps",)),
        ([[35, 99, "place"]], ("35..99 place leaves the text", "characters", "UTF-16")),
        ([[-1, 3, "x"]], ("-1..3",)),
        ([[5, 3, "x"]], ("5..3",)),
        ([[3, 3, "x"]], ("3..3 x covers nothing",)),
        ([[3, 4, "x"]], ("covers nothing",)),
        ([[0, 3, ""]], ("label",)),
        ([{"start": 0, "end": 2.5, "label": "x"}], ("whole number",)),
        ([{"start": 0, "end": 3}], ("label",)),
        (["Ada"], ("is no span", '"start": 0')),
        ("Ada", ("no list of spans",)),
        ([{"start": 22, "end": 27, "label": "x", "text": "Berlin"}], ("'Berlin' does not stand at 22..27",)),
    ],
)
def test_what_cannot_be_used_names_row_and_span(spans: Any, parts: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as error:
        only(spans)
    complaint(error, "a.jsonl, line 1", *parts)


def test_many_faults_are_told_at_once() -> None:
    with pytest.raises(DataError) as error:
        rows_of(table([{"text": "ab", "spans": [[1, 9, "x"]]}] * 8), COLUMNS)
    complaint(error, "line 1", "line 5", "and 3 more")


@pytest.mark.parametrize(
    ("spans", "target", "kind"),
    [
        ([[0, 13, "person"]], (Span(0, 12, "person"),), "trimmed"),
        ([[3, 12, "name"]], (Span(4, 12, "name"),), "trimmed"),
        ([[0, 3, "x"], [0, 3, "x"]], (Span(0, 3, "x"),), "repeated"),
        ([{"start": 36, "end": 41, "label": "place", "text": "Paris"}], (Span(35, 40, "place"),), "moved"),
        ([{"start": 22, "end": 27, "label": "place", "text": "London"}], (Span(22, 28, "place"),), "moved"),
    ],
)
def test_harmless_faults_are_mended_and_counted(spans: Any, target: tuple[Span, ...], kind: str) -> None:
    row, mended = only(spans)
    assert row.target == target
    assert mended[kind]["count"] == 1
    assert "line 1" in notes_of(mended)[0]


def test_counts_of_two_files_add_up() -> None:
    one = {"trimmed": {"count": 6, "places": list("abcde")}}
    both = all_mended([one, {"moved": {"count": 1, "places": ["x"]}}, one])
    assert both == {"trimmed": {"count": 12, "places": list("abcde")}, "moved": {"count": 1, "places": ["x"]}}


@given(st.text(st.sampled_from("ab 😀é京"), max_size=30), st.data())
def test_places_counted_in_utf16_are_found(before: str, data: st.DataObject) -> None:
    mention = "Zoë 😀"
    text = before + mention + data.draw(st.text(st.sampled_from("ab😀"), max_size=5))
    units = len(before.encode("utf-16-le")) // 2
    assert placed(text, mention, units) == len(before)
    assert placed(text, mention, len(before)) == len(before)
    assert placed(text, "Zoe", len(before)) is None


def test_many_emoji_before_it_move_a_place_farther_than_near() -> None:
    text = "😀" * 40 + " here and here"
    assert placed(text, "here", 2 * 40 + 1) == 41
    assert placed(text, "here", 2 * 40 + 10) == 50


TOKENS = ["Ada", "Lovelace", "wrote"]


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"tokens": TOKENS, "ner_tags": ["B-x", "O"]}, ("line 11: 3 tokens and 2 tags",)),
        ({"tokens": TOKENS, "ner_tags": ["B-x", "O", "what"]}, ("line 11: 'what' is no tag", "B-")),
        ({"tokens": ["", "a"], "ner_tags": ["B-x", "O"]}, ("line 11", "covers nothing")),
        ({"tokens": TOKENS, "ner_tags": None}, ("lacks 'ner_tags' on line 11",)),
    ],
)
def test_tags_that_fit_no_tokens_name_the_line(row: dict[str, Any], parts: tuple[str, ...]) -> None:
    good = {"tokens": TOKENS, "ner_tags": ["B-x", "I-x", "O"]}
    data = table([*[good] * 10, row])
    with pytest.raises(DataError) as error:
        rows_of(data, infer(data))
    complaint(error, *parts)


def test_numbers_for_tags_say_what_to_do() -> None:
    data = table([{"tokens": TOKENS, "ner_tags": [1, 2, 0]}] * 10)
    with pytest.raises(DataError) as error:
        rows_of(data, infer(data))
    complaint(error, "'1' is no tag", "names", "save_to_disk")


def test_class_names_of_a_saved_set_are_used(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["O", "B-x", "I-x"])
    features = datasets.Features(
        {"tokens": datasets.Sequence(datasets.Value("string")), "ner_tags": datasets.Sequence(names)}
    )
    rows = {"tokens": [TOKENS] * 10, "ner_tags": [[1, 2, 0]] * 10}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "set"))
    data = read(str(tmp_path / "set"))
    assert rows_of(data, infer(data))[0].target == (Span(0, 12, "x"),)


def test_files_of_doccano_and_spacy_are_read(tmp_path: Path) -> None:
    doccano = "\n".join(json.dumps({"id": i, "text": TEXT, "label": [[0, 12, "person"]]}) for i in range(10))
    spacy = json.dumps([[TEXT, {"entities": [[0, 12, "person"]]}]] * 10)
    lines = "\n".join(json.dumps([TEXT, {"entities": [[0, 12, "person"]]}]) for _ in range(10))
    for name, content in (("a.jsonl", doccano), ("b.json", spacy), ("c.jsonl", lines)):
        data = read(write(tmp_path, name, content))
        columns = infer(data)
        assert (columns.kind, columns.text) == (SEQUENCE, "text")
        assert [row.target for row in rows_of(data, columns)] == [(Span(0, 12, "person"),)] * 10


def test_parquet_holds_spans(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"text": TEXT, "spans": PLAIN}, {"text": "nobody", "spans": []}] * 5
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    data = read(str(tmp_path / "a.parquet"))
    assert [row.target for row in rows_of(data, infer(data))][:2] == [SPANS, ()]


# Splitting


def sentence(i: int, *labels: str) -> Row:
    text = f"sentence {i} names Ada and London"
    spans = {"person": Span(text.index("Ada"), text.index("Ada") + 3, "person")}
    spans["place"] = Span(text.index("London"), len(text), "place")
    return Row(f"data:{i}", text, None, tuple(spans[label] for label in labels))


def test_each_side_has_its_share_of_every_type() -> None:
    kinds = [("person",)] * 100 + [("person", "place")] * 40 + [()] * 60
    found = split([sentence(i, *labels) for i, labels in enumerate(kinds)], valid=0.2, test=0.2)
    for side in (found.valid, found.test):
        types = [tuple(span.label for span in row.target) for row in side]  # type: ignore[union-attr]
        assert sorted(types) == sorted([("person",)] * 20 + [("person", "place")] * 8 + [()] * 12)


def test_types_are_labels_and_unknown_ones_of_a_test_are_refused() -> None:
    train = [sentence(i, "person") for i in range(50)]
    assert labels_of([row.target for row in [*train, sentence(1, "place", "person")]]) == ("person", "place")
    with pytest.raises(DataError, match="'place'"):
        with_test(train, [sentence(99, "place")])
    assert content_hash(train) == content_hash(train[::-1])
    assert content_hash(train) != content_hash([sentence(i, "place") for i in range(50)])
