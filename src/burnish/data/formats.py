"""Bytes of one file -> rows: CSV and its kin, JSON, JSONL, Parquet. One function a format.

Every reader refuses rather than repairs: a row is never dropped, padded or cut without a word.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from burnish.data.answers import flattened, is_nested
from burnish.data.table import Parsed, union_of_keys
from burnish.errors import DataError, Missing, problem
from burnish.words import say

__all__ = ["decode", "parse_delimited", "parse_json", "parse_jsonl", "parse_parquet"]

DELIMITERS = (",", "\t", ";", "|")
SHOWN = 5  # how many bad lines an error names
SNIFFED = 50  # rows that are looked at to find the delimiter
LONGEST_FIELD = 1 << 30  # csv stops at 131,072 characters by itself, which a long article passes


def decode(content: bytes, source: str) -> str:
    """UTF-8, with or without a byte order mark. Raises DataError with the byte and the line that is not."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        other = "UTF-16" if wide else "WINDOWS-1252"
        given = say(
            "{source} is not UTF-8: byte {at} on line {line} is 0x{byte}",
            source=source,
            at=error.start,
            line=line,
            byte=content[error.start : error.start + 1].hex(),
        )
        hint = say("iconv -f {other} -t UTF-8 '{source}' > utf8-copy", other=other, source=source)
        raise DataError(problem(given, say("text in UTF-8"), hint)) from error


def parse_delimited(text: str, source: str, delimiter: str | None = None) -> Parsed:
    """CSV, TSV and other one-character delimiters; the first line names the columns.

    Quotes follow RFC 4180. Tab-separated files are often written without any quoting, so there a quote is an
    ordinary character whenever that reading gives every line the same number of fields.
    Raises DataError for an empty file, ragged rows, an unclosed quote, and a column name that is there twice.
    """
    records = list(_records(text, source, delimiter or _delimiter(text)))
    if not records:
        raise DataError(
            problem(
                say("{source} is empty", source=source),
                say("a line of column names, then rows"),
                _look(source),
            )
        )
    columns = _header(records[0][1], source)
    ragged = [(line, len(fields)) for line, fields in records[1:] if len(fields) != len(columns)]
    if ragged:
        raise _ragged(ragged, columns, source)
    rows = [dict(zip(columns, fields, strict=True)) for _, fields in records[1:]]
    return Parsed(columns, rows, [line for line, _ in records[1:]])


def _records(text: str, source: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each record that is not blank."""
    if delimiter == "\t":
        plain = [(i, line.split("\t")) for i, line in enumerate(text.split("\n"), 1) if line.strip("\r\n")]
        if len({len(fields) for _, fields in plain}) == 1 and not _same_count_quoted(text, len(plain)):
            yield from ((i, [field.rstrip("\r") for field in fields]) for i, fields in plain)
            return
    with _long_fields():
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        start = 1
        try:
            for fields in reader:
                if fields:
                    yield start, fields
                start = reader.line_num + 1
        except csv.Error as error:
            given = say("{source}, line {line}: {error}", source=source, line=start, error=error)
            expected = say('a field with quotes in it written as "like ""this"" one"')
            raise DataError(problem(given, expected, say('look for a stray " on that line'))) from error


def _same_count_quoted(text: str, count: int) -> bool:
    """Whether reading the tabs with quotes gives as many records: then the quotes are a spreadsheet's."""
    try:
        with _long_fields():
            reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True)
            return sum(1 for fields in reader if fields) == count
    except csv.Error:
        return False


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _delimiter(text: str) -> str:
    """The delimiter that gives the first line more than one field and most lines as many; else a comma."""
    best, most = ",", 0.0
    for delimiter in DELIMITERS:
        counts = _field_counts(text, delimiter)
        if counts and counts[0] > 1:
            share = sum(count == counts[0] for count in counts) / len(counts)
            if share > most:
                best, most = delimiter, share
    return best


def _field_counts(text: str, delimiter: str) -> list[int]:
    counts: list[int] = []
    with _long_fields():
        for fields in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if fields:
                counts.append(len(fields))
            if len(counts) == SNIFFED:
                break
    return counts


def _header(fields: list[str], source: str) -> tuple[str, ...]:
    """Column names, stripped; an unnamed one (an index that pandas wrote) is called #1, #2, ..."""
    columns = tuple(field.strip() or f"#{i}" for i, field in enumerate(fields, 1))
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        given = say("{source} has two columns called '{name}'", source=source, name=twice[0])
        raise DataError(problem(given, say("each column name once"), say("rename one in the first line")))
    return columns


def _ragged(ragged: list[tuple[int, int]], columns: tuple[str, ...], source: str) -> DataError:
    shown = ", ".join(say("line {line} has {found}", line=line, found=found) for line, found in ragged[:SHOWN])
    more = say(" and {count} more", count=len(ragged) - SHOWN) if len(ragged) > SHOWN else ""
    given = say("{source} has rows of different widths: {shown}{more}", source=source, shown=shown, more=more)
    expected = say(
        "{count} fields in every row, as in the first line: {columns}",
        count=len(columns),
        columns=", ".join(columns),
    )
    hint = say('put texts that hold the delimiter in quotes: "like, this"')
    return DataError(problem(given, expected, hint))


def parse_json(text: str, source: str) -> Parsed:
    """A list of objects, {"data": [objects]}, or an object of columns; JSON lines are taken as such."""
    if not text.strip():
        raise DataError(problem(say("{source} is empty", source=source), say("a JSON list of objects"), _look(source)))
    try:
        found = json.loads(text)
    except ValueError as error:
        if _is_jsonl(text):
            return parse_jsonl(text, source)
        raise _broken_json(error, source) from error
    except RecursionError as error:
        given = say("{source} is nested too deeply to read", source=source)
        raise DataError(problem(given, say("a JSON list of objects"), _look(source))) from error
    if isinstance(found, dict):
        found = _inside(found, source)
    if not isinstance(found, list):
        given = say("{source} holds one {kind}", source=source, kind=type(found).__name__)
        raise DataError(problem(given, say("a JSON list of objects"), say('[{"text": "...", "label": "..."}, ...]')))
    found = [_as_object(row) for row in found]
    odd = [str(i) for i, row in enumerate(found) if not isinstance(row, dict)]
    if odd:
        given = say("{source}: items {odd} of the list are not objects", source=source, odd=", ".join(odd[:SHOWN]))
        raise DataError(problem(given, say("every item an object with the same keys"), _look(source)))
    if any(is_nested(row) for row in found):
        found = flattened(found, source)
    return Parsed(union_of_keys(found), found)


def _as_object(row: Any) -> Any:
    """["a text", {"entities": [...]}], as spaCy's training examples were written, as an object."""
    if isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], dict):
        return {"text": row[0], **row[1]}
    return row


def _inside(found: dict[str, Any], source: str) -> Any:
    """The rows of an object: its "data", or its columns turned into rows."""
    if isinstance(found.get("data"), list):
        return found["data"]
    if not all(isinstance(column, list) for column in found.values()):
        return [found]  # one row
    lengths = {name: len(column) for name, column in found.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        given = say("{source} has columns of different lengths ({shown})", source=source, shown=shown)
        raise DataError(problem(given, say("as many values in every column"), _look(source)))
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]


def _is_jsonl(text: str) -> bool:
    """Whether the first line that is not blank is an object of its own."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def parse_jsonl(text: str, source: str) -> Parsed:
    """One object a line; blank lines are skipped. Raises DataError that names the broken line."""
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: U+2028 may stand inside a JSON string
        if not line.strip():
            continue
        try:
            row = _as_object(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise _broken_json(error, source, line=number) from error
        if not isinstance(row, dict):
            given = say("{source}, line {line} is a {kind}", source=source, line=number, kind=type(row).__name__)
            raise DataError(problem(given, say("one JSON object a line"), _look(source)))
        rows.append(row)
        lines.append(number)
    return Parsed(union_of_keys(rows), rows, lines)


def _broken_json(error: Exception, source: str, line: int | None = None) -> DataError:
    at = line or getattr(error, "lineno", 1)
    given = say("{source} is not JSON: {error} (line {line})", source=source, error=error, line=at)
    if isinstance(error, json.JSONDecodeError):
        given = say(
            "{source} is not JSON: {error} at line {line}, column {column}",
            source=source,
            error=error.msg,
            line=at,
            column=error.colno,
        )
    return DataError(problem(given, say("JSON, or one JSON object a line"), _look(source)))


def parse_parquet(content: bytes, source: str) -> Parsed:
    """A Parquet file. Raises DataError when it is damaged, Missing without pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        given = say("{source} needs pyarrow", source=source)
        raise Missing(problem(given, say("the package pyarrow"), "pip install pyarrow")) from error
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
        return Parsed(tuple(table.column_names), table.to_pylist())
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        given = say("{source} is not a whole Parquet file: {error}", source=source, error=str(error).split("\n")[0])
        raise DataError(problem(given, say("a Parquet file"), say("write or copy it again"))) from error


def _look(source: str) -> str:
    return say("head '{source}'", source=source)
