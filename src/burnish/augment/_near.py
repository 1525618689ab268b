"""The filter for rows that nearly are another row: one held out (then the measure would lie) or one of training.

Papers: Broder, "On the resemblance and containment of documents", SEQUENCES 1997 (shingles); Bayardo, Ma, Srikant,
"Scaling up all pairs similarity search", WWW 2007, section 3 (two texts that are alike share one of their few rarest
parts). Differs from them: rows come one at a time, and are kept when they pass; the order is that of a hash, not of
frequency, so that it is known before the rows are.
"""

import math
import zlib
from collections import defaultdict
from dataclasses import dataclass, field

from burnish.augment._change import Change
from burnish.core import Row, Work
from burnish.data.text import normalise, script_of
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Near"]

SHINGLE = 3  # words; characters where words are not set apart
HELD = "\x00held"  # the family of all rows held out


@dataclass(frozen=True)
class Near:
    threshold: float = 0.9  # Jaccard similarity of the runs of three words from which on two rows are one, above 0.5

    def __post_init__(self) -> None:
        if not 0.5 < self.threshold <= 1:
            raise UsageError(problem(say("threshold {x}", x=self.threshold), say("above 0.5 up to 1"), "near"))

    def fitted(self, work: Work) -> "_Index":
        index = _Index(self.threshold)
        for row in work.valid:
            index.add(row, HELD)
        for row in work.train:
            index.add(row, row.parent or row.id)
        return index


@dataclass
class _Index:
    """All rows so far by their rarest shingles. Rows of one family are alike by intent and are not compared."""

    threshold: float
    texts: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))  # shingle -> rows
    rows: list[tuple[frozenset[int], str]] = field(default_factory=list)
    last: tuple[str, str | None, list[int]] = ("", None, [])

    def why(self, change: Change) -> str:
        child = change.child
        found = self._nearest(self._shingles(child), change.parent.parent or change.parent.id)
        if found is None:
            return ""
        return say("nearly a row held out") if found == HELD else say("nearly another row")

    def add(self, row: Row, family: str) -> None:
        shingles = self._shingles(row)
        for shingle in self._prefix(shingles):
            self.texts[shingle].append(len(self.rows))
        self.rows.append((frozenset(shingles), family))

    def _nearest(self, shingles: list[int], family: str) -> str | None:
        whole, found, seen = frozenset(shingles), None, set()
        for shingle in self._prefix(shingles):
            for i in self.texts.get(shingle, ()):
                if i in seen:
                    continue
                seen.add(i)
                other, theirs = self.rows[i]
                if theirs == family or min(len(whole), len(other)) < self.threshold * max(len(whole), len(other)):
                    continue
                shared = len(whole & other)
                if shared >= self.threshold * (len(whole) + len(other) - shared):
                    if theirs == HELD:
                        return HELD
                    found = theirs
        return found

    def _prefix(self, shingles: list[int]) -> list[int]:
        """As many as two texts this much alike cannot all differ in."""
        return shingles[: len(shingles) - math.ceil(self.threshold * len(shingles)) + 1]

    def _shingles(self, row: Row) -> list[int]:
        """Hashes in ascending order, each once. The last row's are kept: who is looked at is added next."""
        if self.last[:2] != (row.text, row.pair):
            parts = [_runs(normalise(side)) for side in (row.text, row.pair) if side is not None]
            marked = [
                zlib.crc32(f"{i}{run}".encode("utf-8", "surrogatepass")) for i, p in enumerate(parts) for run in p
            ]
            self.last = (row.text, row.pair, sorted(set(marked)))
        return self.last[2]


def _runs(plain: str) -> list[str]:
    unspaced = not plain.isascii() and script_of(plain) in ("Han", "Japanese", "Thai")
    words = list(plain.replace(" ", "")) if unspaced else plain.split()
    if len(words) < SHINGLE:
        return [plain]
    return [" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)]
