"""Reading: every format gives the same table, and every kind of bad input says what, where and what to try."""

import io
import json
import sys
import types
from pathlib import Path

import pytest

from burnish.data.read import read
from burnish.errors import DataError, Missing

ROWS = [
    {"text": "good, really", "label": "pos"},
    {"text": 'a "bad" one', "label": "neg"},
    {"text": "two\nlines", "label": "pos"},
]
CSV = 'text,label\n"good, really",pos\n"a ""bad"" one",neg\n"two\nlines",pos\n'


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def parquet(folder: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(ROWS), folder / "rows.parquet")
    return str(folder / "rows.parquet")


def complaint(error: pytest.ExceptionInfo[Exception], *parts: str) -> None:
    """Every message has its three parts, and says what the test expects it to."""
    message = str(error.value)
    assert "expected:" in message
    assert "try:" in message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", CSV),
        ("rows.csv", "\ufeff" + CSV),
        ("rows.csv", CSV.replace("\n", "\r\n").replace("two\r\nlines", "two\nlines")),
        ("rows.csv", CSV.replace("neg\n", "neg\n\n\n") + "\n"),
        ("semicolons.csv", CSV.replace(",pos", ";pos").replace(",neg", ";neg").replace("text,", "text;")),
        ("rows.tsv", CSV.replace(",pos", "\tpos").replace(",neg", "\tneg").replace("text,", "text\t")),
        ("no-suffix", CSV),
        ("rows.json", json.dumps(ROWS)),
        ("rows.json", json.dumps({"data": ROWS})),
        ("rows.json", json.dumps({key: [row[key] for row in ROWS] for key in ROWS[0]})),
        ("rows.json", "\n".join(map(json.dumps, ROWS))),
        ("rows.jsonl", "\n\n".join(map(json.dumps, ROWS)) + "\n"),
        ("no-suffix", json.dumps(ROWS)),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, content: str) -> None:
    table = read(write(tmp_path, name, content))
    assert table.columns == ("text", "label")
    assert table.rows == ROWS


def test_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    assert read(parquet(tmp_path)).rows == ROWS


def test_standard_input_is_sniffed(monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (CSV, json.dumps(ROWS), "\n".join(map(json.dumps, ROWS))):
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(content.encode())))
        assert read("-").rows == ROWS


def test_hash_names_the_content_not_the_file(tmp_path: Path) -> None:
    a, b = read(write(tmp_path, "a.csv", CSV)), read(write(tmp_path, "b.csv", CSV))
    assert a.sha256 == b.sha256
    assert read(write(tmp_path, "c.csv", CSV + "more,pos\n")).sha256 != a.sha256


def test_lines_lead_back_to_the_file(tmp_path: Path) -> None:
    table = read(write(tmp_path, "a.csv", CSV + "after,pos\n"))
    assert list(table.lines) == [2, 3, 4, 6]  # the third row takes two lines
    assert table.where(3) == "line 6"


def test_tabs_without_quoting_keep_their_quotes(tmp_path: Path) -> None:
    table = read(write(tmp_path, "glue.tsv", 'text\tlabel\n"I am," he said\t1\nsize 5" disk\t0\n"open\t1\n'))
    assert [row["text"] for row in table.rows] == ['"I am," he said', 'size 5" disk', '"open']


def test_a_long_field_is_read_and_the_limit_put_back(tmp_path: Path) -> None:
    import csv

    before = csv.field_size_limit()
    table = read(write(tmp_path, "long.csv", f"text,label\n{'word ' * 50_000},pos\n"))
    assert len(table.rows[0]["text"]) == 250_000
    assert csv.field_size_limit() == before


def test_folder_of_texts_takes_labels_from_folders(tmp_path: Path) -> None:
    for name, content in (("pos/b.txt", "good"), ("pos/a.txt", "fine"), ("neg/1", "bad"), (".git/x.txt", "no")):
        write(tmp_path, name, content)
    rows = read(str(tmp_path)).rows
    assert rows == [
        {"text": "bad", "label": "neg"},
        {"text": "fine", "label": "pos"},
        {"text": "good", "label": "pos"},
    ]


def test_folder_reads_one_odd_encoding_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, "pos/a.txt", "good")
    write(tmp_path, "neg/b.txt", "costs £5".encode("cp1252"))
    table = read(str(tmp_path))
    assert table.rows[0]["text"] == "costs £5"
    assert "neg/b.txt" in table.notes[0]


def test_folder_with_many_odd_encodings_is_refused(tmp_path: Path) -> None:
    for i in range(5):
        write(tmp_path, f"pos/{i}.txt", "£".encode("cp1252"))
    with pytest.raises(DataError) as error:
        read(str(tmp_path))
    complaint(error, "not UTF-8", "iconv")


def test_missing_file_offers_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "reviews.csv", CSV)
    with pytest.raises(DataError) as error:
        read(str(tmp_path / "review.csv"))
    complaint(error, "review.csv is not there", "did you mean", "reviews.csv")
    assert error.value.exit_code == 5


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(str(tmp_path / "nowhere" / "a.csv"), role="test")
    complaint(error, "the test file", "no folder", "nowhere")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.jsonl", "a", "a.parquet"])
def test_empty_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as error:
        read(write(tmp_path, name, ""))
    complaint(error, name)


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", "text,label\n"), ("a.json", "[]"), ("a.json", "{}"), ("a.json", '{"text": []}')]
)
def test_header_only(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(DataError) as error:
        read(write(tmp_path, name, content))
    complaint(error, "no rows")


def test_broken_utf8_names_byte_and_line(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(write(tmp_path, "a.csv", b"text,label\ngood,pos\nna\xefve,neg\n"))
    complaint(error, "byte 22", "line 3", "0xef", "iconv -f WINDOWS-1252")


def test_utf16_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(write(tmp_path, "a.csv", CSV.encode("utf-16")))
    complaint(error, "iconv -f UTF-16")


def test_ragged_rows_are_named_with_their_widths(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(write(tmp_path, "a.csv", "text,label\none, two,pos\nfine,pos\nthree\n" + "a,b,c\n" * 9))
    complaint(error, "line 2 has 3", "line 4 has 1", "2 fields in every row", "and 6 more", "quotes")


def test_unclosed_quote_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(write(tmp_path, "a.csv", 'text,label\nfine,pos\n"open,neg\nmore,pos\n'))
    complaint(error, "line 3")


def test_same_column_twice(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(write(tmp_path, "a.csv", "text,text\na,b\n"))
    complaint(error, "two columns called 'text'")


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.json", '[{"text": "a"},\n {"text": }]', ("line 2", "column 11")),
        ("a.jsonl", '{"text": "a"}\n{"text": "b"\n', ("line 2",)),
        ("a.jsonl", '{"text": "a"}\n["b"]\n', ("line 2", "list")),
        ("a.json", '[{"text": "a"}, 3]', ("items 1",)),
        ("a.json", '"just text"', ("str",)),
        ("a.json", '{"text": ["a", "b"], "label": ["x"]}', ("text: 2", "label: 1")),
        ("a.json", "[" * 100_000, ("nested too deeply",)),
        ("a.parquet", "PAR1 and no more", ("Parquet",)),
    ],
)
def test_broken_files_say_where(tmp_path: Path, name: str, content: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as error:
        read(write(tmp_path, name, content))
    complaint(error, *parts)


def test_rows_with_other_keys_get_gaps_not_dropped(tmp_path: Path) -> None:
    table = read(write(tmp_path, "a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "extra": 1}\n'))
    assert table.columns == ("text", "label", "extra")
    assert table.values("label") == ["x", None]


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (sys.exit, ("unpickled",))


@pytest.mark.parametrize("name", ["a.pkl", "a.csv", "a"])
def test_pickles_are_refused_unread(tmp_path: Path, name: str) -> None:
    import pickle

    with pytest.raises(DataError) as error:
        read(write(tmp_path, name, pickle.dumps(Bomb())))
    complaint(error, "pickle", "to_parquet")


def test_packed_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(write(tmp_path, "a.xlsx", b"PK\x03\x04..."))
    complaint(error, "packed", "CSV")


def test_folder_of_tables_says_which_to_give(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", CSV)
    write(tmp_path, "test.csv", CSV)
    with pytest.raises(DataError) as error:
        read(str(tmp_path))
    complaint(error, "train.csv --test", "test.csv")


def test_folder_one_too_high_says_which_to_give(tmp_path: Path) -> None:
    write(tmp_path, "train/pos/a.txt", "good")
    with pytest.raises(DataError) as error:
        read(str(tmp_path))
    complaint(error, str(tmp_path / "train"))


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "cats/1.jpg", b"\xff\xd8")
    with pytest.raises(DataError) as error:
        read(str(tmp_path))
    complaint(error, "cats/1.jpg", "not text")


def test_hub_id_without_the_package_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(Missing) as error:
        read("owner/reviews")
    complaint(error, "pip install 'burnish[hub]'")
    assert error.value.exit_code == 4


def fake_datasets(failure: str) -> types.SimpleNamespace:
    """A hub that answers each request with one kind of failure."""

    class NotFound(FileNotFoundError):
        pass

    def load_dataset(name: str) -> None:
        raise NotFound(name) if failure == "unknown" else ConnectionError("no route to host")

    return types.SimpleNamespace(
        load_dataset=load_dataset, exceptions=types.SimpleNamespace(DatasetNotFoundError=NotFound)
    )


def test_unknown_hub_id_is_bad_data_and_a_silent_hub_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", fake_datasets("unknown"))
    with pytest.raises(DataError) as unknown:
        read("owner/reviews")
    complaint(unknown, "neither a file")
    monkeypatch.setitem(sys.modules, "datasets", fake_datasets("offline"))
    with pytest.raises(Missing) as silent:
        read("owner/reviews")
    complaint(silent, "no route to host")


def test_a_path_is_never_asked_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)  # any use of it would raise Missing
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("reviews", "reviews.csv", "data/reviews", "data/reviews.csv", "new/reviews.csv", "./a/b"):
        with pytest.raises(DataError):
            read(name)


def test_saved_dataset_gives_label_names_and_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    train = datasets.Dataset.from_dict({"text": ["good", "bad"], "label": [1, 0]}, features=features)
    test = datasets.Dataset.from_dict({"text": ["fine"], "label": [-1]}, features=features)
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(str(tmp_path / "both"))
    train.save_to_disk(str(tmp_path / "one"))
    expected = [{"text": "good", "label": "pos"}, {"text": "bad", "label": "neg"}]
    assert read(str(tmp_path / "one")).rows == expected
    assert read(str(tmp_path / "both")).rows == expected
    assert read(str(tmp_path / "both") + ":test").rows == [{"text": "fine", "label": None}]
    with pytest.raises(DataError) as error:
        read(str(tmp_path / "both") + ":dev")
    complaint(error, "no split 'dev'", "train, test")
