"""AEDA: punctuation marks put between words; every word stays, in its order.

Paper: Karimi, Rossi, Prati, "AEDA: An Easier Data Augmentation Technique for Text Classification", Findings of EMNLP
2021, arXiv:2108.13230, section 2.
Differs from it: a mark never falls inside a labelled span, a number or a link; Chinese texts get Chinese marks, between
characters; each row has a generator of its own, so the order of the rows does not matter.

When it helps: little data and a model trained from scratch; with a strong pretrained encoder expect about nothing.
What it costs: microseconds a row. Labels are safe, unless punctuation is what they are about.

Shapes: none; see _edits.py.
"""

import re
from dataclasses import dataclass

from burnish.augment._edits import Edit, clear_of, protected
from burnish.augment._rows import grown
from burnish.core import Rng, Row, Work, name_of
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Aeda"]

MARKS = ".,!?;:"
CHINESE_MARKS = "。，！？；："
WORD = re.compile(r"[^\W一-鿿㐀-䶿]+|[一-鿿㐀-䶿]|[^\w\s]")


@dataclass(frozen=True)
class Aeda:
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    alpha: float = 0.3  # most marks put into a text, as a share of its words, above 0 up to 1
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1
    workers: int = 1  # processes

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise UsageError(problem(say("alpha {x}", x=self.alpha), say("above 0 up to 1"), "alpha=0.3"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        return grown(work, self, self, name_of(self), rng, self.workers)

    def edits(self, row: Row, rng: Rng) -> list[Edit]:
        """One to `alpha` times as many marks as there are words, each before a word of its own."""
        fixed = protected(row)
        places = [(m.start(), m.group()) for m in WORD.finditer(row.text) if clear_of(fixed, m.start(), m.start())]
        if not places:
            return []
        count = min(rng.randint(1, int(self.alpha * len(places)) + 1), len(places))
        return [_mark(at, word, rng) for at, word in sorted(rng.sample(places, count))]


def _mark(at: int, word: str, rng: Rng) -> Edit:
    if "一" <= word[0] <= "鿿":
        return Edit(at, at, rng.choice(CHINESE_MARKS), say("mark"))
    return Edit(at, at, rng.choice(MARKS) + " ", say("mark"))
