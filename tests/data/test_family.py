"""Made rows in files and splits: what is written is read back, and no child is ever measured on or parted from."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.core import Row, Span
from burnish.data.family import OWN, adopted, key_of, parted
from burnish.data.infer import infer
from burnish.data.read import read
from burnish.data.rows import rows_of
from burnish.data.split import Splits, split, with_test
from burnish.data.table import Columns, Table
from burnish.data.write import checked_suffix, table_text
from burnish.errors import DataError, UsageError

TEXTS = [
    'He said "never", twice', "two\nlines", "tab\there", "comma, and ; and |", "房间很干净", "  spaces  ", "'", "-",
    "é ñ", "plain text of some words",
]  # fmt: skip
COLUMNS = Columns("text", None, "label", "text-classification")


def table(**more: list[str]) -> Table:
    rows = [{"text": text, "label": "ab"[i % 2], "source": f"s{i}"} for i, text in enumerate(TEXTS)]
    for name, values in more.items():
        rows = [{**row, name: value} for row, value in zip(rows, values, strict=True)]
    return Table(tuple(rows[0]), rows, "data", "")


def children(rows: list[Row], count: int) -> tuple[list[Row], dict[str, str]]:
    made = [
        replace(row, id=f"{row.id}+x.{n}", text=f"{row.text} again {n}", parent=row.id, weight=0.5, smoothing=0.1)
        for row in rows
        for n in range(count)
    ]
    return made, {row.id: "augment/x" for row in made}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_what_is_written_is_read_back(suffix: str, tmp_path) -> None:
    source = table()
    rows = rows_of(source, COLUMNS)
    made, techniques = children(rows, 2)
    mixed = Random(0).sample([*rows, *made], len(rows) + len(made))  # whoever sorts the file does no harm
    path = tmp_path / f"more{suffix}"
    path.write_text(table_text(mixed, techniques, source, COLUMNS, suffix), "utf-8", newline="")
    back = read(str(path))
    assert back.columns == ("text", "label", "source", *OWN)
    found = infer(back)
    assert (found.text, found.target) == ("text", "label")
    again = rows_of(back, found)
    assert [(row.text, row.target, row.weight, row.smoothing) for row in again] == [
        (row.text, row.target, row.weight, row.smoothing) for row in mixed
    ]
    texts = {row.id: row.text for row in again}
    for row, was in zip(again, mixed, strict=True):
        assert bool(row.parent) == bool(was.parent)
        if row.parent:
            assert row.text.startswith(texts[row.parent])
    assert back.rows[mixed.index(made[3])]["source"] == "s1"  # other columns are the parent's


def test_spans_are_written_as_lists(tmp_path) -> None:
    columns = Columns("tokens", None, "tags", "sequence-labelling")
    lines = [{"tokens": ["Anna", "left", f"Rome{i}"], "tags": ["B-PER", "O", "B-LOC"]} for i in range(12)]
    source = Table(("tokens", "tags"), lines, "data", "")
    rows = rows_of(source, columns)
    made = replace(rows[0], id="x", text=f"so {rows[0].text}", parent=rows[0].id, target=(Span(3, 7, "PER"),))
    path = tmp_path / "more.jsonl"
    path.write_text(table_text([*rows, made], {"x": "augment/x"}, source, columns, ".jsonl"), "utf-8")
    back = read(str(path))
    again = rows_of(back, infer(back, task="sequence-labelling"))
    assert [row.target for row in again] == [*(row.target for row in rows), made.target]
    assert again[-1].text[3:7] == "Anna"
    assert again[-1].parent == again[0].id


def test_a_form_that_cannot_hold_the_rows_is_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match="jsonl"):
        checked_suffix(tmp_path / "more.csv", "sequence-labelling")
    with pytest.raises(UsageError, match="none of the forms"):
        checked_suffix(tmp_path / "more.xlsx", "text-classification")


@pytest.mark.parametrize(("column", "value"), [(OWN[2], "heavy"), (OWN[2], "0"), (OWN[3], "1")])
def test_a_weight_that_is_none_names_its_place(column: str, value: str) -> None:
    source = table(**{column: ["", "", value, *[""] * 7]})
    with pytest.raises(DataError, match=f"row 3: {column} is '{value}'"):
        rows_of(source, COLUMNS)


# -- splits --------------------------------------------------------------------------------------------


def family_rows(count: int, each: int) -> tuple[list[Row], list[Row]]:
    rows = [Row(f"data:{i}", f"text {i} of a set", None, "ab"[i % 2]) for i in range(count)]
    return rows, children(rows, each)[0]


def assert_whole(found: Splits, rows: list[Row]) -> None:
    assert not any(row.parent for row in (*found.valid, *found.test))
    here = {row.id for row in found.train}
    for row in rows:
        if row.parent:
            assert (row.id in here) == (row.parent in here)


@given(st.integers(20, 60), st.integers(1, 3), st.integers(0, 5))
def test_no_split_parts_a_family(count: int, each: int, seed: int) -> None:
    rows, made = family_rows(count, each)
    mixed = Random(seed).sample([*rows, *made], len(rows) + len(made))
    found, plain = split(mixed, seed=seed), split(rows, seed=seed)
    assert_whole(found, mixed)
    assert (found.valid, found.test) == (plain.valid, plain.test)  # children do not move their originals
    assert found.train[: len(plain.train)] == plain.train
    assert "made by augmentation" in found.notes[-1]


def test_with_a_test_file_what_was_made_of_its_rows_goes() -> None:
    rows, made = family_rows(30, 2)
    test = [replace(row, id=f"test:{i}") for i, row in enumerate([*rows[:3], *made[:1]])]
    found = with_test([*rows, *made], test)
    assert [row.id for row in found.test] == ["test:0", "test:1", "test:2"]
    assert_whole(found, [*rows[3:], *made[6:]])
    assert not {row.id for row in made[:6]} & {row.id for row in found.train}


def test_orphans_stay_in_train_unless_their_original_is_held_out() -> None:
    rows, made = family_rows(30, 1)
    keys = [key_of(row.text, row.pair) for row in rows]
    lines = [{"text": row.text, "label": row.target, OWN[0]: ""} for row in rows[1:]]
    lines += [{"text": row.text, "label": row.target, OWN[0]: key} for row, key in zip(made, keys, strict=True)]
    source = Table(("text", "label", OWN[0]), lines, "data", "")
    found = rows_of(source, COLUMNS)
    orphan = found[len(rows) - 1]
    assert orphan.parent == f"missing:{keys[0]}"
    assert orphan in split(found, seed=0).train
    assert orphan not in with_test(found, [replace(rows[0], id="test:0")]).train
    assert parted(found)[0] == [row for row in found if row.id < "data:" or not row.parent]


def test_tables_of_others_stay_as_they_are() -> None:
    rows = rows_of(table(), COLUMNS)
    assert adopted(table(), rows) == rows
    assert not any(row.parent for row in rows)
