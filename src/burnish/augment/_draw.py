"""Drawing words: by how often they stand in the training rows, and never the word that is there already."""

import bisect
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from burnish.augment._tags import cut, movable
from burnish.core import Rng, Rows

__all__ = ["EMPTY", "Bag", "bag", "bags_of", "some"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bag:
    """Words in the order of the alphabet, and how many there are up to and with each."""

    words: tuple[str, ...]
    sums: tuple[int, ...]

    def has_other(self, word: str) -> bool:
        return len(self.words) > 1 or (len(self.words) == 1 and self.words[0] != word)

    def other(self, word: str, rng: Rng) -> str:
        """A word other than `word`, by frequency. There must be one: see `has_other`."""
        at = bisect.bisect_left(self.words, word)
        before = self.sums[at - 1] if at else 0
        known = at < len(self.words) and self.words[at] == word
        own = self.sums[at] - before if known else 0
        drawn = rng.randrange(self.sums[-1] - own)
        return self.words[bisect.bisect_right(self.sums, drawn + own if drawn >= before else drawn)]


EMPTY = Bag((), ())


def bag(counts: Mapping[str, int]) -> Bag:
    words = tuple(sorted(counts))
    return Bag(words, tuple(accumulate(counts[word] for word in words)))


def bags_of(rows: Rows, keep: Sequence[str]) -> dict[tuple[str, str], Bag]:
    """For each tag and kind of word, those words of the rows that may be moved."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in rows:
        for word in movable(row, cut(row), keep):
            counts[word.tag, word.kind][word.text] += 1
    return {key: bag(found) for key, found in sorted(counts.items())}


def some(items: Sequence[T], p: float, rng: Rng) -> list[T]:
    """Each of the items with chance `p`, in their order; one at least, when there is one."""
    found = [item for item in items if rng.random() < p]
    return found or ([rng.choice(items)] if items else [])
