"""Random insertion: synonyms of some words of a text are put in at random places.

Paper: Wei, Zou, "EDA: Easy Data Augmentation Techniques for Boosting Performance on Text Classification Tasks", EMNLP
2019, arXiv:1901.11196, section 2 (the second of its four operations).
Differs from it: stop-words give no synonym, as the paper says and its code does not do; the part of speech is guessed;
nothing goes into a labelled span, a number or a link; Chinese words go in without spaces.

When it helps: little data and a model trained from scratch. Not for tasks on grammar, inference or entities.
What it costs: about 0.1 ms a row; the texts no longer read well.
Needs: what synonyms needs (burnish show augment/synonyms).

Shapes: none; see _edits.py.
"""

from dataclasses import dataclass
from typing import Literal

from burnish.augment._edits import Edit, clear_of, protected
from burnish.augment._filters import checked
from burnish.augment._rows import grown
from burnish.augment._thesaurus import Thesaurus
from burnish.augment._words import Word, check_share, how_many, is_han, kept, ready, words
from burnish.core import Rng, Row, Work, name_of

__all__ = ["RandomInsertion"]


@dataclass(frozen=True)
class RandomInsertion:
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    alpha: float = 0.1  # words put in, as a share of all words, above 0 up to 1
    language: Literal["auto", "en", "zh"] = "auto"  # en or zh: texts in the other one stay; auto: each by its letters
    senses: int = 2  # meanings of a word that count, the commonest ones, 1 or more
    band: float = 10.0  # a Chinese synonym is at most this many times as common or rare, 1 or more
    own: str = ""  # a file to use instead of the dictionaries: interchangeable words a line, commas between
    keep: tuple[str, ...] = ()  # words that nothing goes into and no synonym is taken of, or the .txt file they are in
    shortest: int = 3  # words a text must have
    wordnet: str = ""  # WordNet's folder; found by itself in the usual places and BURNISH_WORDNET
    filters: tuple[str, ...] = ("usual",)  # what a new row may not be, such as usual, meaning or label:tau=0.6
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1
    workers: int = 1  # processes

    def __post_init__(self) -> None:
        checked(self.filters)
        check_share("alpha", self.alpha)
        self._thesaurus()

    def _thesaurus(self) -> Thesaurus:
        return Thesaurus(self.language, self.own, self.wordnet, self.senses, self.band)

    def __call__(self, work: Work, rng: Rng) -> Work:
        ready(work.train)
        self._thesaurus().ready(work.train)
        return grown(work, self, self, name_of(self), rng, self.workers)

    def edits(self, row: Row, rng: Rng) -> list[Edit]:
        """As many words more as are `alpha` of the text's, each at a gap of its own."""
        found = words(row.text)
        count = how_many(self.alpha, len(found), rng) if len(found) >= self.shortest else 0
        if not count:
            return []
        gaps = _gaps(row, found, kept(self.keep))
        new = self._new(row, found, min(count, len(gaps)), rng)
        return sorted(_put(row.text, at, word) for at, word in zip(rng.sample(gaps, len(new)), new, strict=True))

    def _new(self, row: Row, found: list[Word], count: int, rng: Rng) -> list[str]:
        """Synonyms of that many words of the row, or of as many as have one."""
        thesaurus, new = self._thesaurus(), list[str]()
        places = thesaurus.places(row, found, self.keep)
        for word in rng.sample(places, len(places)):
            if len(new) == count:
                break
            other = thesaurus.other(row.text, found, word, rng)
            if other:
                new.append(other.lower() if word.text.istitle() else other)
        return new


def _gaps(row: Row, found: list[Word], keep: tuple[str, ...]) -> list[int]:
    """Before each word and after the last, outside of what is protected."""
    ranges = protected(row, keep)
    return [at for at in (*(word.start for word in found), found[-1].end) if clear_of(ranges, at, at)]


def _put(text: str, at: int, word: str) -> Edit:
    """With a space on the side where another word is, unless one of the two is Chinese."""
    left, right = text[at - 1 : at], text[at : at + 1]
    before = " " if left.isalnum() and not is_han(left) and not is_han(word[0]) else ""
    after = " " if right.isalnum() and not is_han(right) and not is_han(word[0]) else ""
    return Edit(at, at, before + word + after, "insertion")
