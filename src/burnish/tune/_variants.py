"""Texts and changed versions of each, as token ids: made before a run, drawn from during it.

It knows no technique: whatever proposes edits of a text will do.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from burnish.core import Rng, Row, Rows, desk, name_of
from burnish.errors import DataError, problem
from burnish.train.batches import Encoded
from burnish.train.texts import Texts
from burnish.tune._require import require
from burnish.words import say

__all__ = ["Editing", "Variants", "changed", "must_edit", "variants", "version"]

CHUNK = 1000


class Change(Protocol):
    """Put `text` in place of characters `start`..`end` (excluded) of a text."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def text(self) -> str: ...


class Editing(Protocol):
    """What proposes edits of a text, such as the techniques of augment/: none where it cannot be changed."""

    def edits(self, row: Row, rng: Rng) -> Sequence[Change]: ...


@dataclass(frozen=True)
class Variants:
    """`changed[i]` are versions of text `i`, all of them other texts than it; none where there is no way."""

    plain: Encoded
    changed: Sequence[Encoded]

    @property
    def usable(self) -> list[int]:
        return [i for i, found in enumerate(self.changed) if found]


def variants(texts: Texts, rows: Rows, editing: Editing, copies: int, seed: int, name: str) -> Variants:
    """Up to `copies` versions of each row, each from a generator of its own. Raises DataError when no row changes."""
    made: list[list[Row]] = []
    for i, row in enumerate(rows):
        made.append(_versions(row, editing, copies, seed))
        if i % CHUNK == CHUNK - 1:
            desk().report(say("changing texts"), (i + 1) / len(rows), {})
    if not any(made):
        given = say("{name} can change none of {n} texts", name=name, n=len(rows))
        raise DataError(problem(given, say("texts with words it can change"), say("another technique as by=...")))
    encoded = iter(texts.encode([row for versions in made for row in versions]))
    return Variants(texts.encode(rows), [[next(encoded) for _ in versions] for versions in made])


def _versions(row: Row, editing: Editing, copies: int, seed: int) -> list[Row]:
    found: dict[tuple[str, str | None], Row] = {}
    for copy in range(copies):
        new = version(row, editing, random.Random(f"{seed}/{copy}/{row.id}"))
        found.setdefault((new.text, new.pair), new)
    found.pop((row.text, row.pair), None)
    return list(found.values())


def must_edit(by: Editing | None) -> None:
    """Raises UsageError for a technique that cannot change a single text."""
    given = say("by={name}", name="" if by is None else name_of(by))
    able = by is None or callable(getattr(by, "edits", None))
    require(able, given, say("a technique that edits one text at a time"), "by=augment/aeda")


def version(row: Row, editing: Editing, rng: Rng) -> Row:
    """Of a pair one side is changed; the row itself where there is nothing to change."""
    if row.pair is not None and rng.random() < 0.5:
        other = replace(row, text=row.pair, pair=None)
        return replace(row, pair=changed(other.text, editing.edits(other, rng)))
    return replace(row, text=changed(row.text, editing.edits(row, rng)))


def changed(text: str, edits: Sequence[Change]) -> str:
    """`text` with the edits made; they are sorted and apart."""
    parts, at = [], 0
    for edit in edits:
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*parts, text[at:]])
