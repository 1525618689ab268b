"""AEDA: punctuation marks put between words; every word stays, in its order.

Paper: Karimi, Rossi, Prati, "AEDA: An Easier Data Augmentation Technique for Text Classification", Findings of EMNLP
2021, arXiv:2108.13230, section 2.
Differs from it: a mark never falls inside a labelled span, a number or a link; words are found by their letters, not by
spaces; Chinese texts get Chinese marks, between characters; each row has a generator of its own, so the order of the
rows does not matter.

When it helps: little data and a model trained from scratch; with a strong pretrained encoder expect about nothing.
What it costs: microseconds a row. Labels are safe, unless punctuation is what they are about.

Shapes: none; see _edits.py.
"""

from dataclasses import dataclass

from burnish.augment._edits import Edit, clear_of, protected
from burnish.augment._filters import checked
from burnish.augment._rows import grown
from burnish.augment._words import Word, check_share, is_han, words
from burnish.core import Rng, Row, Work, name_of

__all__ = ["Aeda"]

MARKS = ".,!?;:"
CHINESE_MARKS = "。，！？；："


@dataclass(frozen=True)
class Aeda:
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    alpha: float = 0.3  # most marks put into a text, as a share of its words, above 0 up to 1
    filters: tuple[str, ...] = ("usual",)  # what a new row may not be, such as usual, meaning or label:tau=0.6
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1
    workers: int = 1  # processes

    def __post_init__(self) -> None:
        checked(self.filters)
        check_share("alpha", self.alpha)

    def __call__(self, work: Work, rng: Rng) -> Work:
        return grown(work, self, self, name_of(self), rng, self.workers)

    def edits(self, row: Row, rng: Rng) -> list[Edit]:
        """One to `alpha` times as many marks as there are words, each before a word of its own."""
        found = words(row.text, whole=False)
        ranges = protected(row)
        places = [i for i, word in enumerate(found) if clear_of(ranges, word.start, word.start)] if ranges else None
        total = len(found) if places is None else len(places)
        if not total:
            return []
        count = min(rng.randint(1, int(self.alpha * total) + 1), total)
        return [_mark(found, i, rng) for i in sorted(rng.sample(places or range(total), count))]


def _mark(found: list[Word], i: int, rng: Rng) -> Edit:
    """A mark before word `i`: a Chinese one beside a Chinese character, which needs no space."""
    at = found[i].start
    if is_han(found[i].text[0]) or (i and is_han(found[i - 1].text[0]) and found[i - 1].end == at):
        return Edit(at, at, rng.choice(CHINESE_MARKS), "mark")
    return Edit(at, at, rng.choice(MARKS) + " ", "mark")
