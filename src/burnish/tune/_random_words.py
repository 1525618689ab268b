"""Some words of a text give way to any others: noise that needs no dictionary and no idea of the language.

Paper: Lowell, Howard, Lipton, Wallace, "Unsupervised Data Augmentation with Naive Augmentation and without Unlabeled
Data", EMNLP 2021, arXiv:2010.11966.
Differs from it: words with digits in them stay, and so do links; in Chinese a character is a word.

It changes what a text says, so its label is not to be trusted: good for consistency training, not for new rows.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from burnish.core import Rng, Row

__all__ = ["RandomWords", "Swap", "words_of"]

# Links are found as a whole and then left alone.
WORD = re.compile(r"https?://\S+|www\.\S+|\S+@\S+|[一-鿿㐀-䶿]|[^\W一-鿿㐀-䶿]+")


@dataclass(frozen=True)
class Swap:
    """Put `text` in place of characters `start`..`end` (excluded)."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class RandomWords:
    words: tuple[str, ...]  # what to draw from
    share: float  # chance of each word to be replaced, above 0 up to 1

    def edits(self, row: Row, rng: Rng) -> list[Swap]:
        """At least one, where the text has a word and there is another."""
        places = [m for m in WORD.finditer(row.text) if m.group().isalpha()]
        if not places or len(self.words) < 2:
            return []
        chosen = [m for m in places if rng.random() < self.share] or [rng.choice(places)]
        return [Swap(*m.span(), self._other(m.group(), rng)) for m in chosen]

    def _other(self, word: str, rng: Rng) -> str:
        i = rng.randrange(len(self.words))
        return self.words[i] if self.words[i] != word else self.words[i - 1]


def words_of(texts: Iterable[str]) -> tuple[str, ...]:
    """All words of the texts, each once, in the order of the alphabet."""
    return tuple(sorted({m.group() for text in texts for m in WORD.finditer(text) if m.group().isalpha()}))
