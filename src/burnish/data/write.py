"""Rows back into a table file: the columns they came in, with what augmentation made put in their places."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.core import Row, Rows, Span
from burnish.data.family import OWN, PARENT, SMOOTHING, TECHNIQUE, WEIGHT, key_of
from burnish.data.kind import ANSWERS, SEQUENCE
from burnish.data.table import Columns, Table
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["SUFFIXES", "checked_suffix", "table_text"]

SUFFIXES = (".csv", ".tsv", ".jsonl")


def checked_suffix(path: Path, kind: str) -> str:
    """The suffix of a file that rows of this kind of task can be written to. Raises UsageError for another."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        given = say("'{path}' ends in none of the forms that can be written", path=path)
        raise UsageError(problem(given, ", ".join(SUFFIXES), f"--out {path.with_suffix('.csv')}"))
    if kind in (SEQUENCE, ANSWERS) and suffix != ".jsonl":
        given = say("rows with spans in '{path}'", path=path)
        raise UsageError(problem(given, say("a form that holds lists: .jsonl"), f"--out {path.with_suffix('.jsonl')}"))
    return suffix


def table_text(rows: Rows, techniques: Mapping[str, str], table: Table, columns: Columns, suffix: str) -> str:
    """The file as text. `techniques` names what made a row, by its id; rows not in it stand in `table` as they are.

    Labels on words are written as spans of the text, also where they came as tags of tokens.
    """
    parents = {row.id: row for row in rows if not row.parent}
    lines = [_line(row, techniques.get(row.id), parents.get(row.parent), table, columns) for row in rows]
    names = list(dict.fromkeys([*_columns(table, columns), *OWN]))
    if suffix == ".jsonl":
        filled = [{k: v for k, v in line.items() if v is not None} for line in lines]
        return "".join(json.dumps(line, ensure_ascii=False, default=str) + "\n" for line in filled)
    return _delimited(names, lines, "\t" if suffix == ".tsv" else ",", columns.separator or "|")


def _columns(table: Table, columns: Columns) -> list[str]:
    dropped = {columns.start, columns.impossible} if columns.kind == ANSWERS else set()
    return [name for name in table.columns if name not in dropped]


def _line(row: Row, technique: str | None, parent: Row | None, table: Table, columns: Columns) -> dict[str, Any]:
    source = row if technique is None else parent
    line = {k: v for k, v in (_source(source, table) if source else {}).items() if k in _columns(table, columns)}
    spans = columns.kind in (SEQUENCE, ANSWERS)
    if technique is not None or spans:
        line[columns.text] = row.text
        if columns.pair is not None:
            line[columns.pair] = row.pair
        line[columns.target] = _target(row, columns) if spans or parent is None else line.get(columns.target)
    if technique is not None:
        line[PARENT] = key_of(parent.text, parent.pair) if parent else row.parent
        line |= {TECHNIQUE: technique, WEIGHT: row.weight, SMOOTHING: row.smoothing}
    return line


def _source(row: Row, table: Table) -> dict[str, Any]:
    """The line of the table that an original came from; its id ends in the number."""
    return table.rows[int(row.id.rpartition(":")[2])]


def _target(row: Row, columns: Columns) -> Any:
    spans = [part for part in row.target if isinstance(part, Span)] if isinstance(row.target, tuple) else []
    if columns.kind == SEQUENCE:
        return [{"start": span.start, "end": span.end, "label": span.label} for span in spans]
    if columns.kind == ANSWERS:
        texts = [row.text[span.start : span.end] for span in spans]
        return {"text": texts, "answer_start": [span.start for span in spans]}
    return list(row.target) if isinstance(row.target, tuple) else row.target


def _delimited(names: Sequence[str], lines: Sequence[Mapping[str, Any]], delimiter: str, separator: str) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(line.get(name), separator) for name in names] for line in lines)
    return out.getvalue()


def _cell(value: Any, separator: str) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return separator.join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
