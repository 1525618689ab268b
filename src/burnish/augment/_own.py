"""The user's own list of interchangeable words: a text file, one group a line, commas between.

    phone, mobile, handset
    New York, NYC
    手机，电话

Lines that begin with # are comments. Words are found whole and in any case, the longest first; Chinese ones anywhere,
since nothing sets words apart there.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from burnish.augment._edits import clear_of, protected
from burnish.augment._words import Word, is_han, like, words
from burnish.core import Rng, Row
from burnish.errors import DataError, problem
from burnish.words import say

__all__ = ["Own", "own"]


class Own:
    """Words to the others of their groups, by the word in lower case."""

    def __init__(self, groups: Sequence[Sequence[str]]):
        others: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for group in groups:
            for word in group:
                others[word.lower()] |= dict.fromkeys(w for w in group if w.lower() != word.lower())
        self._others = {word: tuple(found) for word, found in others.items() if found}
        self._longest = max(map(len, self._others), default=0)

    def __len__(self) -> int:
        return len(self._others)

    def places(self, row: Row, keep: tuple[str, ...] = ()) -> list[Word]:
        """Where words of the list stand in the row's text, apart from one another and from what is protected."""
        ranges = protected(row, keep)
        borders = words(row.text, whole=False)
        ends = [word.end for word in borders]
        found: list[Word] = []
        for i, word in enumerate(borders):
            if not found or word.start >= found[-1].end:
                end = self._end(row.text, word.start, ends[i:])
                if end and clear_of(ranges, word.start, end):
                    found.append(Word(word.start, end, row.text[word.start : end]))
        return found

    def _end(self, text: str, start: int, ends: Sequence[int]) -> int:
        """Where the longest word of the list that begins at `start` ends; 0 for none."""
        near = [end for end in ends[: self._longest] if end - start <= self._longest]
        return next((end for end in reversed(near) if text[start:end].lower() in self._others), 0)

    def others(self, word: str) -> tuple[str, ...]:
        """All other words of its groups, in the order of the list and in its case."""
        return tuple(like(other, word) for other in self._others.get(word.lower(), ()))

    def other(self, word: str, rng: Rng) -> str:
        """Another word of its groups, in its case unless the list itself has capitals."""
        found = rng.choice(self._others[word.lower()])
        return like(found, word) if found.islower() and not is_han(found[0]) else found


@lru_cache(maxsize=8)
def own(path: str) -> Own:
    """The list in a file. Raises DataError when there is no such file, or no group of two words in it."""
    expected = say("a text file, one group of interchangeable words a line, commas between")
    if not Path(path).expanduser().is_file():
        raise DataError(problem(say("no file {path}", path=path), expected, "own=words.txt"))
    lines = Path(path).expanduser().read_text("utf-8-sig").splitlines()
    groups = [[w.strip() for w in re.split("[,，]", line) if w.strip()] for line in lines if not line.startswith("#")]
    found = Own(groups)
    if not len(found):
        raise DataError(problem(say("no group of two words in {path}", path=path), expected, "phone, mobile, handset"))
    return found
