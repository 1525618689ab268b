"""Filters that look at a text's outside: how long it is, how much of it changed, what it is written in."""

from collections import Counter
from dataclasses import dataclass

from burnish.augment._change import Change, words_of
from burnish.core import Work
from burnish.data.stopwords import STOP_WORDS
from burnish.data.text import language_of, script_of
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Changed", "Length", "Script"]

# Below so many words nobody can tell a language by its commonest words.
TELLING = 6


@dataclass(frozen=True)
class Length:
    low: float = 0.5  # shortest a new text may be, as a share of the old one, 0 to 1
    high: float = 2.0  # longest, 1 and more

    def __post_init__(self) -> None:
        if not 0 <= self.low <= 1 <= self.high:
            raise UsageError(
                problem(say("length from {a} to {b}", a=self.low, b=self.high), "0 to 1, 1 and more", "length")
            )

    def fitted(self, work: Work) -> "Length":
        return self

    def why(self, change: Change) -> str:
        ratio = (len(change.new) + 1) / (len(change.old) + 1)  # one more each, for texts that are all spans
        if ratio < self.low:
            return say("much shorter")
        return say("much longer") if ratio > self.high else ""


@dataclass(frozen=True)
class Changed:
    low: float = 0.0  # least share of words that must be others, 0 to 1; order and marks do not count
    high: float = 0.8  # most

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise UsageError(
                problem(say("changed from {a} to {b}", a=self.low, b=self.high), "0 to 1, rising", "changed")
            )

    def fitted(self, work: Work) -> "Changed":
        return self

    def why(self, change: Change) -> str:
        before, after = Counter(words_of(change.old)), Counter(words_of(change.new))
        larger = max(before.total(), after.total(), 1)
        share = 1 - (before & after).total() / larger
        if share < self.low:
            return say("hardly changed")
        # A word of two is half a text: what is left must be more than one word short of the band.
        return say("mostly changed") if share > self.high and larger > 2 else ""


@dataclass(frozen=True)
class Script:
    def fitted(self, work: Work) -> "Script":
        return self

    def why(self, change: Change) -> str:
        if change.new.isascii() and change.old.isascii():
            return self._language(change)
        before = script_of(change.old)
        if before not in ("none", script_of(change.new)):
            return say("another script")
        return self._language(change) if before == "Latin" else ""

    def _language(self, change: Change) -> str:
        """Only where the new text has no common word of the old one's language left, and is clearly another's."""
        old, new = frozenset(words_of(change.old)), frozenset(words_of(change.new))
        if len(words_of(change.new)) < TELLING or 2 * len(old & new) >= len(old):  # most is still there
            return ""
        known = _language(change.old)
        if known == "unknown" or new & STOP_WORDS[known]:
            return ""
        return say("another language") if language_of(change.new) not in ("unknown", known) else ""


def _language(text: str) -> str:
    found = language_of(text)
    return found if found in STOP_WORDS else "unknown"
