"""CoNLL files: every usual dress of the format gives the same rows, and what is none says which line."""

import re
from collections import Counter
from pathlib import Path

import pytest

from burnish.core import Span
from burnish.data.infer import infer
from burnish.data.kind import SEQUENCE
from burnish.data.read import read
from burnish.data.rows import rows_and_mended, rows_of
from burnish.data.table import Table
from burnish.errors import DataError
from tests.data.test_read import complaint, write

ROWS = [
    {"tokens": ["Ada", "Lovelace", "wrote"], "tags": ["B-person", "I-person", "O"]},
    {"tokens": ["#", "London"], "tags": ["O", "B-place"]},
]
TABS = "Ada\tB-person\nLovelace\tI-person\nwrote\tO\n\n#\tO\nLondon\tB-place\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.conll", TABS),
        ("a.bio", TABS.replace("\t", " ")),
        ("a.iob2", TABS.replace("\t", "   ")),
        ("a.iob", TABS.replace("\t", " NNP B-NP ")),
        ("a.bioes", TABS.replace("\n", "\r\n")),
        ("a.conll", "\ufeff" + TABS),
        ("a.conll", TABS.replace("\n\n", "\n\t\n\n \n")),
        ("a.conll", TABS.rstrip("\n")),
        ("a.conll", "-DOCSTART- -X- O O\n\n" + TABS.replace("\n\n", "\n-DOCSTART-\n")),
        ("a.conll", "# id 12\n# text = Ada, a B-person\n" + TABS),
        ("a.conll", "# sent_id = O\n" + TABS),
        ("a.txt", TABS),
        ("a.tsv", TABS),
        ("no-suffix", TABS.replace("\t", " ")),
    ],
)
def test_every_dress_gives_the_same_rows(tmp_path: Path, name: str, content: str) -> None:
    assert read(write(tmp_path, name, content)).rows == ROWS


def test_rows_know_their_lines(tmp_path: Path) -> None:
    table = read(write(tmp_path, "a.conll", "# one\n" + TABS))
    assert [table.where(i) for i in range(2)] == ["line 2", "line 6"]


def test_tokens_may_hold_blanks_and_strange_line_ends(tmp_path: Path) -> None:
    table = read(write(tmp_path, "a.conll", "New York\tB-place\na\u2028b\x85c\tO\n\tO\n"))
    assert table.rows == [{"tokens": ["New York", "a\u2028b\x85c", ""], "tags": ["B-place", "O", "O"]}]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (TABS + "Paris\tPER\n", ("line 7: 'PER'", "B-TYPE")),
        (TABS + "Paris\n", ("line 7: 'Paris'",)),
        (TABS.replace("B-place", "B-"), ("line 6: 'B-'",)),
        (TABS + "a\tx\n" * 7, ("line 11", "and 2 more")),
        ("#tag without one\n" + TABS, ("line 1",)),
    ],
)
def test_lines_without_a_tag_are_named(tmp_path: Path, content: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as error:
        read(write(tmp_path, "a.conll", content))
    complaint(error, *parts)


@pytest.mark.parametrize("content", ["", "\n\n\t\n", "# only a comment\n"])
def test_a_file_without_sentences_has_no_rows(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match="no rows"):
        read(write(tmp_path, "a.conll", content))


def test_conllu_is_another_format(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(write(tmp_path, "a.conllu", "1\tAda\tAda\tPROPN\t_\t_\t0\troot\t_\t_\n"))
    complaint(error, "CoNLL-U", "token, tag")


@pytest.mark.parametrize(
    "content",
    ["text\tlabel\ngood\tB\nbad\tO\n", "good\tB\nbad\tO\n", "a good film\tpos\na bad film\tneg\n", "text label\nx O\n"],
)
def test_a_table_is_not_taken_for_one(tmp_path: Path, content: str) -> None:
    assert read(write(tmp_path, "a.tsv", content)).columns != ("tokens", "tags")


def test_the_tags_of_a_table_become_spans() -> None:
    table = Table(("tokens", "tags"), ROWS * 6, "a.conll", "")
    columns = infer(table)
    assert (columns.text, columns.target, columns.kind) == ("tokens", "tags", SEQUENCE)
    assert "(BIO)" in columns.reasons[-1]
    rows = rows_of(table, columns)
    assert (rows[0].text, rows[0].target) == ("Ada Lovelace wrote", (Span(0, 12, "person"),))
    assert (rows[1].text, rows[1].target) == ("# London", (Span(2, 8, "place"),))


def test_broken_tags_are_counted_and_shown(tmp_path: Path) -> None:
    path = write(tmp_path, "a.conll", TABS * 5 + "\nin\tO\nParis\tI-place\n\nit\tO\n" + TABS * 5)
    table = read(path)
    rows, mended = rows_and_mended(table, infer(table))
    assert mended == {"tag breaks": {"count": 1, "places": ["line 32: I-place at 'Paris'"]}}
    assert [row.target for row in rows if row.text == "in Paris"] == [(Span(3, 8, "place"),)]


def counted(path: Path) -> tuple[int, Counter[str]]:
    """Sentences and entities of a file, counted line by line without burnish."""
    blocks = re.split(r"\n\s*\n", path.read_text("utf-8").strip())
    begins = re.findall(r"\tB-(\S+)$", path.read_text("utf-8"), flags=re.M)
    return sum(bool(block.strip()) for block in blocks), Counter(begins)


@pytest.mark.real
@pytest.mark.parametrize("name", ["wnut17", "zh_news_ner"])
@pytest.mark.parametrize("side", ["train", "dev"])
def test_real_files_lose_nothing(shared: Path, name: str, side: str) -> None:
    path = shared / "data" / name / f"{side}.conll"
    sentences, types = counted(path)
    table = read(str(path))
    rows, mended = rows_and_mended(table, infer(table))
    assert len(rows) == sentences
    assert Counter(span.label for row in rows for span in row.target) == types  # type: ignore[union-attr]
    assert mended == {}
    tokens = [line.split("\t")[0] for line in path.read_text("utf-8").split("\n") if line.strip()]
    assert "".join("".join(row.text.split()) for row in rows) == "".join("".join(token.split()) for token in tokens)
    if name == "zh_news_ner":
        assert sum(" " in row.text for row in rows) < 0.02 * len(rows)
