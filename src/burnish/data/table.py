"""A table as it was read: columns, rows, where they came from; and what was decided of its columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.words import say

__all__ = ["Columns", "Parsed", "Table", "is_missing", "union_of_keys"]


@dataclass(frozen=True)
class Parsed:
    """What one format's reader gives back."""

    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    lines: Sequence[int] = ()  # line of the file at which each row starts, from 1; empty where there are no lines
    notes: tuple[str, ...] = ()  # sentences a person should see, such as a file read in another encoding


@dataclass(frozen=True)
class Table:
    """Rows of one source. `sha256` is over the bytes that were read, so it names the content for good."""

    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    source: str
    sha256: str
    lines: Sequence[int] = ()
    notes: tuple[str, ...] = ()

    def where(self, index: int) -> str:
        """How to find row `index` (from 0) again: its line in the file, else its number from 1."""
        if self.lines:
            return say("line {line}", line=self.lines[index])
        return say("row {row}", row=index + 1)

    def values(self, column: str) -> list[Any]:
        """One column, None where a row lacks it."""
        return [row.get(column) for row in self.rows]


@dataclass(frozen=True)
class Columns:
    """What `infer` decided. `reasons` are sentences for the user, one for each decision."""

    text: str  # or the column of tokens; where answers stand in it, the context
    pair: str | None  # where a question is answered, the question
    target: str
    kind: str  # the name of a task: see `burnish.tasks`
    reasons: tuple[str, ...] = ()
    separator: str | None = None  # what joins the labels of one multi-label value
    start: str | None = None  # where the target is an answer: the column that says at which character it stands
    impossible: str | None = None  # the column that says that there is no answer


def is_missing(value: Any) -> bool:
    """None, nan, and text of nothing but blanks; an empty list is a value (no label), not a gap."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and value != value)


def union_of_keys(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """All keys of all rows, in the order in which they first appear."""
    return tuple(dict.fromkeys(key for row in rows for key in row))
