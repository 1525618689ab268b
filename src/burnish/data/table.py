"""A table as it was read: columns, rows and where they came from. Nothing is interpreted yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.words import say

__all__ = ["Parsed", "Table", "is_missing", "union_of_keys"]


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


def is_missing(value: Any) -> bool:
    """None, nan, and text of nothing but blanks; an empty list is a value (no label), not a gap."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and value != value)


def union_of_keys(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """All keys of all rows, in the order in which they first appear."""
    return tuple(dict.fromkeys(key for row in rows for key in row))
