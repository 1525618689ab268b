"""Rows that augmentation made: how files say whose children they are, and that no split parts them from their original.

    text,label,burnish_parent,burnish_technique,burnish_weight,burnish_smoothing
    a good film,pos,,,,
    a great film,pos,9f2c61d0a4b7e853,augment/synonyms,1.0,0.0

A parent is named by a hash of its texts, so that rows may be sorted, mixed and taken out. A child goes where its
original goes, but only to train: what is measured on must be what people wrote.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from burnish.core import Row
from burnish.data.kind import number_of
from burnish.data.table import Table, is_missing
from burnish.errors import DataError, problem
from burnish.words import say

__all__ = ["OWN", "PARENT", "SMOOTHING", "TECHNIQUE", "WEIGHT", "adopted", "key_of", "parted", "plain"]

OWN = PARENT, TECHNIQUE, WEIGHT, SMOOTHING = (
    "burnish_parent", "burnish_technique", "burnish_weight", "burnish_smoothing",
)  # fmt: skip
ORPHAN = "missing:"  # before the hash, where the original is not in the file


def key_of(text: str, pair: str | None) -> str:
    """What a file calls a row that others were made from."""
    whole = f"{text}\x1f{pair}" if pair is not None else text
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def plain(table: Table) -> Table:
    """The table without burnish's own columns, which are neither texts nor targets."""
    return replace(table, columns=tuple(name for name in table.columns if name not in OWN))


def adopted(table: Table, rows: Sequence[Row]) -> list[Row]:
    """The rows with parent, weight and smoothing as the table has them. Raises DataError for what is no number."""
    if not set(OWN) & set(table.columns):
        return list(rows)
    said = [str(line.get(PARENT) or "").strip() for line in table.rows]
    ids: dict[str, str] = {}
    for row, parent in zip(rows, said, strict=True):
        if not parent:
            ids.setdefault(key_of(row.text, row.pair), row.id)
    return [
        replace(
            row,
            parent=ids.get(said[i], f"{ORPHAN}{said[i]}") if said[i] else "",
            weight=_number(table, i, WEIGHT, 1.0),
            smoothing=_number(table, i, SMOOTHING, 0.0),
        )
        for i, row in enumerate(rows)
    ]


def _number(table: Table, index: int, column: str, usual: float) -> float:
    value = table.rows[index].get(column)
    if is_missing(value):
        return usual
    number = number_of(value)
    if number is None or not (0 <= number < 1 if column == SMOOTHING else number > 0):
        where = table.where(index)
        given = say(
            "{source}, {where}: {column} is '{value}'", source=table.source, where=where, column=column, value=value
        )
        expected = say("0 up to 1") if column == SMOOTHING else say("a number above 0")
        raise DataError(problem(given, expected, say("correct it, or leave it empty")))
    return number


def parted(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """(originals, rows made from others)."""
    return [row for row in rows if not row.parent], [row for row in rows if row.parent]


def children_of(train: Sequence[Row], held: Sequence[Row], made: Sequence[Row]) -> list[Row]:
    """Of the made rows those that may join `train`: their original is there or nowhere, and none is held out itself."""
    here, there = {row.id for row in train}, {row.id for row in held}
    held_keys = {f"{ORPHAN}{key_of(row.text, row.pair)}" for row in held}
    texts = {(row.text, row.pair) for row in held}

    def may(row: Row) -> bool:
        if row.parent in there or row.parent in held_keys or (row.text, row.pair) in texts:
            return False
        return row.parent in here or not row.parent.startswith("data:")

    return [row for row in made if may(row)]
