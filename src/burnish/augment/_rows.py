"""From a technique to new training rows: exactly as many as asked, none twice, the same whatever the order of the rows.

    originals ──order by hash──► tries ──edits──► children ──Admission──► new rows
                                   ▲                              │ already there: try again with the next copy
                                   └──────────────────────────────┘

Each try draws from a generator of its own, seeded by (step, row id, copy): neither the order of the rows nor the
number of workers can change what comes out.
"""

import hashlib
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any, Protocol

from burnish.augment._edits import Edit, carried
from burnish.augment._filters import Sieve
from burnish.augment._share import share_made, warnings_of
from burnish.core import Rng, Row, Rows, Span, Work, desk
from burnish.errors import DataError, UsageError, problem
from burnish.words import say

__all__ = ["Admission", "Editing", "Wishes", "child", "grown", "originals", "tries"]

# Passes over the rows beyond those asked for, to make up for rows that a technique could not change.
EXTRA_PASSES = 4
# Below this many tries a second process costs more than it brings.
MANY = 20_000
CHUNK = 1024
# New rows that wait for the filters that read many at once.
MANY_AT_ONCE = 64
EXAMPLES = 5
# What is held against the rows of a technique that does not say.
USUAL = ("usual",)


class Wishes(Protocol):
    """The settings that every step here has."""

    @property
    def ratio(self) -> float: ...  # new rows as a share of the original ones
    @property
    def weight(self) -> float: ...  # of a new row in training
    @property
    def smoothing(self) -> float: ...  # of a new row's label

    # And `filters: tuple[str, ...]`, what may not happen to a row, see _filters.py; ("usual",) where a step has none.


class Editing(Protocol):
    """What proposes edits; it must be picklable, since rows may be shared out over processes."""

    def edits(self, row: Row, rng: Rng) -> list[Edit]:
        """Edits of `row.text`, sorted and apart; none when the row cannot be changed."""


def grown(work: Work, wishes: Wishes, editing: Editing, name: str, rng: Rng, workers: int = 1) -> Work:
    """`work` with `ratio` times as many new training rows, made by `editing`, after the old ones.

    Notes: {"rows", "asked", "new", "short": {reason: tries}, "filtered", "share", "warnings", "examples"}; "new" is
    below "asked" only when the rows give no more, and "short" then says why. Raises UsageError for settings out of
    range, DataError when no row can be changed at all.
    """
    check(wishes)
    key = f"{rng.getrandbits(64):016x}"
    rows = originals(work.train)
    asked = round(wishes.ratio * len(rows))
    admission = Admission(work, asked)
    for row, made in _made(tries(rows, wishes.ratio, key), editing, key, workers):
        admission.offer(row, made, name, wishes)
        if admission.full:
            break
    return admission.work(name)


def check(wishes: Wishes) -> None:
    """Raises UsageError for a ratio, weight or smoothing out of its range."""
    for name, value, good, expected in (
        ("ratio", wishes.ratio, 0 < wishes.ratio <= 100, say("above 0; 0.2 to 2 is usual")),
        ("weight", wishes.weight, 0 < wishes.weight <= 100, say("above 0")),
        ("smoothing", wishes.smoothing, 0 <= wishes.smoothing < 1, say("0 up to 1")),
    ):
        if not good:
            raise UsageError(problem(say("{name} {value}", name=name, value=value), expected, f"{name}=0.5"))


def originals(rows: Rows) -> list[Row]:
    """The rows that no augmentation made: only these are changed, and ratios are counted from them."""
    return [row for row in rows if not row.parent]


def tries(rows: Sequence[Row], ratio: float, key: str) -> Iterator[tuple[Row, int]]:
    """(row, copy) in the order in which they are tried: every row once, in hash order, then every row again."""
    for copy in range(math.ceil(ratio) + EXTRA_PASSES):
        ranked = sorted(rows, key=lambda row: _hash(key, row.id, copy))
        yield from ((row, copy) for row in ranked)


def own_rng(key: str, row: Row, copy: int) -> Rng:
    """The generator of one try."""
    # A number, not bytes: those would be hashed once more.
    return random.Random(int.from_bytes(_hash(key, row.id, copy)))


def _hash(key: str, row_id: str, copy: int) -> bytes:
    return hashlib.blake2b(f"{key}/{copy}/{row_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


Made = tuple[str, str | None, Any] | None  # text, pair and target of a child


def _made(pairs: Iterable[tuple[Row, int]], editing: Editing, key: str, workers: int) -> Iterator[tuple[Row, Made]]:
    if workers == 1:
        yield from ((row, _one(editing, key, row, copy)) for row, copy in pairs)
        return
    chunks = _chunks(pairs)
    with get_context("fork").Pool(workers) as pool:
        for done in pool.imap(_Chunk(editing, key), chunks):
            yield from done


@dataclass(frozen=True)
class _Chunk:
    editing: Editing
    key: str

    def __call__(self, pairs: list[tuple[Row, int]]) -> list[tuple[Row, Made]]:
        return [(row, _one(self.editing, self.key, row, copy)) for row, copy in pairs]


def _chunks(pairs: Iterable[tuple[Row, int]]) -> Iterator[list[tuple[Row, int]]]:
    chunk: list[tuple[Row, int]] = []
    for pair in pairs:
        chunk.append(pair)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _one(editing: Editing, key: str, row: Row, copy: int) -> Made:
    """Of a pair one side is changed, drawn anew for each copy; spans are those of the text, which then is the side."""
    rng = own_rng(key, row, copy)
    spans = isinstance(row.target, tuple) and any(isinstance(part, Span) for part in row.target)
    if row.pair is not None and not spans and rng.random() < 0.5:
        edits = editing.edits(replace(row, text=row.pair), rng)
        return (row.text, carried(replace(row, text=row.pair), edits)[0], row.target) if edits else None
    edits = editing.edits(row, rng)
    if not edits:
        return None
    text, target = carried(row, edits)
    return text, row.pair, target


class Admission:
    """Takes children until there are enough: none that is a row already, here or among those held out, and none that a
    filter has something against. Filters that are cheaper for many rows at once are asked about as many as are due.
    """

    def __init__(self, work: Work, asked: int):
        self._work, self.asked = work, asked
        self.new: list[Row] = []
        self.short: Counter[str] = Counter()
        self._copies: Counter[str] = Counter()
        self._ids = {row.id for row in work.train}
        self._known = {(row.text, row.pair) for row in work.train}
        self._held = {(row.text, row.pair) for row in work.valid}
        self._pending: list[tuple[Row, Row]] = []  # parent, child: nothing cheap speaks against these
        self._sieve: Sieve | None = None
        self._examples: list[list[str]] = []  # texts before and after

    @property
    def full(self) -> bool:
        if len(self.new) + len(self._pending) >= self.asked or len(self._pending) >= MANY_AT_ONCE:
            self._settle()
        return len(self.new) >= self.asked

    def offer(self, row: Row, made: Made, name: str, wishes: Wishes) -> bool:
        """Take the child of `row`, unless there is a reason not to, which is counted."""
        reason = self._against(made)
        if not reason:
            assert made is not None
            sieve = self._filters(wishes)
            new = child(row, made, name, self._copies[row.id], wishes)
            reason = sieve.cheaply(row, new)
            if not reason:
                self._take(row, new, name, wishes)
                return True
        self.short[reason] += 1
        return False

    def _filters(self, wishes: Wishes) -> Sieve:
        if self._sieve is None:
            self._sieve = Sieve(tuple(getattr(wishes, "filters", USUAL)), self._work)
        return self._sieve

    def _take(self, row: Row, new: Row, name: str, wishes: Wishes) -> None:
        copy = self._copies[row.id]
        while new.id in self._ids:  # the same technique was here before
            copy += 1
            new = replace(new, id=_id(row, name, copy))
        self._copies[row.id] = copy + 1
        self._known.add((new.text, new.pair))
        self._ids.add(new.id)
        self._pending.append((row, new))
        sieve = self._filters(wishes)
        sieve.admitted(new)
        if not sieve.dear:
            self._settle()

    def _settle(self) -> None:
        """Ask the filters that want many at once; what they refuse stays known, and is not offered twice."""
        pending, self._pending = self._pending, []
        reasons = self._sieve.dearly(pending) if self._sieve and pending else [""] * len(pending)
        for (row, new), reason in zip(pending, reasons, strict=True):
            if reason:
                self.short[reason] += 1
                continue
            self.new.append(new)
            if len(self._examples) < EXAMPLES:
                self._examples.append([row.text, new.text])
            if self.asked and len(self.new) % 500 == 0:
                desk().report(say("augmenting"), len(self.new) / self.asked, {})

    def _against(self, made: Made) -> str:
        if made is None:
            return say("nothing to change")
        if not made[0].strip() or (made[1] is not None and not made[1].strip()):
            return say("nothing left")
        if made[:2] in self._known:
            return say("already there")
        return say("a validation row") if made[:2] in self._held else ""

    def work(self, name: str) -> Work:
        """The work with the new rows. Raises DataError when there are none."""
        self._settle()
        old = self._work
        if not self.new and self.asked:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in self.short.most_common(3))
            given = say(
                "{name} could change none of {n} rows ({reasons})", name=name, n=len(old.train), reasons=reasons
            )
            raise DataError(problem(given, say("texts with words it can change"), f"burnish show {name}"))
        train = (*old.train, *self.new)
        warned = warnings_of(train)
        for sentence in warned:
            desk().report(sentence, 1.0, {})
        notes = {
            "rows": len(old.train),
            "asked": self.asked,
            "new": len(self.new),
            "short": dict(self.short) if len(self.new) < self.asked else {},
            "filtered": self._sieve.facts() if self._sieve else {},
            "share": round(share_made(train), 4),
            "warnings": warned,
            "examples": self._examples,
        }
        return replace(old, train=train, notes={**old.notes, **notes})


def child(row: Row, made: tuple[str, str | None, Any], name: str, copy: int, wishes: Wishes) -> Row:
    """A new row that remembers whose child it is."""
    text, pair, target = made
    return replace(
        row,
        id=_id(row, name, copy),
        text=text,
        pair=pair,
        target=target,
        parent=row.id,
        weight=row.weight * wishes.weight,
        smoothing=max(row.smoothing, wishes.smoothing),
    )


def _id(row: Row, name: str, copy: int) -> str:
    return f"{row.id}+{name.partition('/')[2]}.{copy}"
