"""Read any labelled source into a Table: file, folder of texts, saved or hosted data set, standard input.

The suffix decides the format, else the first bytes do. Pickles are refused: reading one runs what is in it.
"""

import difflib
import hashlib
import json
import re
import sys
from pathlib import Path

from burnish.data import conll, folders, formats
from burnish.data.table import Parsed, Table
from burnish.errors import DataError, problem
from burnish.words import say

__all__ = ["Table", "read"]

JSON_SUFFIXES = (".json",)
JSONL_SUFFIXES = (".jsonl", ".ndjson")
DELIMITED = {".csv": None, ".tsv": "\t", ".tab": "\t"}
PARQUET_SUFFIXES = (".parquet", ".pq")
PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".npy")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
TABLE_SUFFIXES = (*DELIMITED, *JSON_SUFFIXES, *JSONL_SUFFIXES, *PARQUET_SUFFIXES, *conll.SUFFIXES)
MAYBE_CONLL = (".txt", ".tsv", ".tab", "")


def read(source: str, *, role: str = "data") -> Table:
    """Read `source`: a path, `-` for standard input, or a hub id, with `:split` where it has several.

    `role` says what the source is for ('data', 'test') and appears in messages. No row is dropped on the way.
    Raises DataError (missing, empty, not UTF-8, ragged, broken, pickled) and Missing (a package, the hub).
    """
    if source == "-":
        content = sys.stdin.buffer.read()
        return _table(_parse_bytes(content, say("standard input"), suffix=""), source, role, _digest(content))
    name, split = _name_and_split(source)
    path = Path(name)
    if path.is_dir():
        return _read_folder(path, split, source, role)
    if path.is_file():
        content = _bytes(path)
        return _table(_parse_bytes(content, str(path), path.suffix.lower()), source, role, _digest(content))
    if not _looks_like_hub_id(name):
        raise _not_there(path, role)
    parsed = folders.parse_hub(name, split)
    return _table(parsed, source, role, _digest(json.dumps(parsed.rows, sort_keys=True, default=str).encode()))


def _name_and_split(source: str) -> tuple[str, str | None]:
    """'reviews.csv' as it is; 'saved-set:test' and 'owner/name:test' as (name, split)."""
    if Path(source).exists() or ":" not in source:
        return source, None
    name, split = source.rsplit(":", 1)
    return name, split


def _parse_bytes(content: bytes, source: str, suffix: str) -> Parsed:
    if suffix in PICKLES or content[:1] == b"\x80":
        given = say("{source} is a pickle or another file of Python objects", source=source)
        expected = say("a table: CSV, TSV, JSON, JSONL or Parquet (reading a pickle runs what is in it)")
        hint = say("where you trust it: pandas.read_pickle('{source}').to_parquet('data.parquet')", source=source)
        raise DataError(problem(given, expected, hint))
    if content[:4] == b"PAR1" or suffix in PARQUET_SUFFIXES:
        return formats.parse_parquet(content, source)
    if content[:2] in (b"PK", b"\x1f\x8b"):
        given = say("{source} is packed: a spreadsheet, a zip or a gzip file", source=source)
        hint = say("save the sheet as CSV, or unpack the file first")
        raise DataError(problem(given, say("a table: CSV, TSV, JSON, JSONL or Parquet"), hint))
    if suffix == ".conllu":
        given = say("{source} is CoNLL-U: words with their grammar, and no labelled spans", source=source)
        hint = say("write the two columns that matter to a file.conll: token, tag")
        raise DataError(problem(given, say("CoNLL with a tag such as B-person in the last column"), hint))
    text = formats.decode(content, source)
    if suffix in conll.SUFFIXES or (suffix in MAYBE_CONLL and conll.is_conll(text)):
        return conll.parse_conll(text, source)
    if suffix in JSONL_SUFFIXES:
        return formats.parse_jsonl(text, source)
    if suffix in JSON_SUFFIXES or (suffix not in DELIMITED and text.lstrip()[:1] in ("[", "{")):
        return formats.parse_json(text, source)
    return formats.parse_delimited(text, source, DELIMITED.get(suffix))


def _read_folder(folder: Path, split: str | None, source: str, role: str) -> Table:
    if folders.is_saved_dataset(folder):
        contents = {p: _bytes(p) for p in sorted(folder.rglob("*")) if p.is_file()}
        return _table(folders.parse_saved_dataset(folder, split), source, role, _tree_digest(folder, contents))
    contents = {path: _bytes(path) for path in folders.text_files(folder)}
    if not contents:
        raise _no_texts(folder)
    return _table(folders.parse_text_folder(folder, contents), source, role, _tree_digest(folder, contents))


def _no_texts(folder: Path) -> DataError:
    """A folder is there but not of the kind we read; say which of the usual mix-ups it is."""
    tables = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in TABLE_SUFFIXES)
    deeper = sorted(p.parent.parent.name for p in folder.glob("*/*/*.txt"))
    expected = say("one folder a class, with .txt files in it")
    hint = say("give a file, or a folder that holds folders of texts")
    if tables:
        train = next((name for name in tables if "train" in name.lower()), tables[0])
        test = next((name for name in tables if "test" in name.lower() and name != train), None)
        expected = say("one file: {known}", known=", ".join(tables))
        hint = f"{folder / train}" + (f" --test {folder / test}" if test else "")
    elif deeper:
        hint = str(folder / deeper[0])
    return DataError(problem(say("{folder} holds no texts", folder=folder), expected, hint))


def _looks_like_hub_id(name: str) -> bool:
    """`owner/name`, unless the folder is here: then a path was meant. A bare name is always a path."""
    path = Path(name)
    is_file_name = path.suffix.lower() in (*TABLE_SUFFIXES, *PICKLES, ".txt")
    return HUB_ID.fullmatch(name) is not None and not is_file_name and not path.parent.exists()


def _like(path: Path) -> str | None:
    """The name in the same folder that is most like this one: another table, or a folder."""
    if not path.parent.is_dir():
        return None
    names = [p.name for p in path.parent.iterdir() if p.is_dir() or p.suffix.lower() in TABLE_SUFFIXES]
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return close[0] if close else None


def _not_there(path: Path, role: str) -> DataError:
    given = say("the {role} file {path} is not there", role=role, path=path)
    close = _like(path)
    hint = say("did you mean {close}?", close=path.parent / close) if close else say("check the path")
    if not path.parent.is_dir():
        hint = say("there is no folder {folder} either", folder=path.parent)
    return DataError(problem(given, say("a file, a folder of texts, or the id of a data set (owner/name)"), hint))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        given = say("{path} could not be read: {error}", path=path, error=error.strerror)
        raise DataError(problem(given, say("a file you may read"), say("ls -l '{path}'", path=path))) from error


def _table(parsed: Parsed, source: str, role: str, digest: str) -> Table:
    if not parsed.rows:
        given = say("the {role} source {source} has no rows", role=role, source=source)
        if parsed.columns:
            columns = ", ".join(parsed.columns)
            given = say(
                "the {role} source {source} has a header ({columns}) and no rows",
                role=role,
                source=source,
                columns=columns,
            )
        raise DataError(problem(given, say("labelled rows"), say("check that the whole file was written")))
    return Table(parsed.columns, parsed.rows, source, digest, parsed.lines, parsed.notes)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tree_digest(folder: Path, contents: dict[Path, bytes]) -> str:
    """One hash over names and contents, so that a renamed class folder counts as other data."""
    parts = (f"{path.relative_to(folder).as_posix()} {_digest(content)}\n" for path, content in contents.items())
    return _digest("".join(parts).encode("utf-8", "surrogateescape"))
