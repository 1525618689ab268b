"""Random deletion: some words of a text are left out.

Paper: Wei, Zou, "EDA: Easy Data Augmentation Techniques for Boosting Performance on Text Classification Tasks", EMNLP
2019, arXiv:1901.11196, section 2 (the last of its four operations).
Differs from it: as many words go as the share says, not each by a draw of its own; negations, numbers, links and
labelled spans stay; short texts are left alone; the space beside a word goes with it, and punctuation stays.

When it helps: little data and a model trained from scratch. Not for tasks on grammar, inference or entities.
What it costs: microseconds a row. The word that goes may be the one that the label is about.
Needs: pip install jieba where there are Chinese texts.

Shapes: none; see _edits.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from burnish.augment._edits import Edit, Range, clear_of, protected
from burnish.augment._filters import checked
from burnish.augment._rows import grown
from burnish.augment._words import Word, check_share, how_many, kept, outside, ready, words
from burnish.core import Rng, Row, Work, name_of

__all__ = ["RandomDeletion"]


@dataclass(frozen=True)
class RandomDeletion:
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    alpha: float = 0.1  # share of all words that go, above 0 up to 1
    keep: tuple[str, ...] = ()  # words that never go, or the .txt file they are in
    shortest: int = 5  # words a text must have: of fewer, each one counts
    filters: tuple[str, ...] = ("usual",)  # what a new row may not be, such as usual, meaning or label:tau=0.6
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1
    workers: int = 1  # processes

    def __post_init__(self) -> None:
        checked(self.filters)
        check_share("alpha", self.alpha)

    def __call__(self, work: Work, rng: Rng) -> Work:
        ready(work.train)
        return grown(work, self, self, name_of(self), rng, self.workers)

    def edits(self, row: Row, rng: Rng) -> list[Edit]:
        """`alpha` of the words go, but never all."""
        found = words(row.text)
        count = how_many(self.alpha, len(found), rng) if len(found) >= self.shortest else 0
        if not count:
            return []
        ranges = protected(row, kept(self.keep))
        loose = outside(ranges, found)
        count = min(count, len(loose), len(found) - 1)
        return _without(row.text, sorted(rng.sample(loose, count)), ranges)


def _without(text: str, gone: Sequence[Word], ranges: Sequence[Range]) -> list[Edit]:
    """Each word with one space beside it: the one after it, or before it at the end of the text or of a clause."""
    made: list[Edit] = []
    for word in gone:
        start, end = word.start, word.end
        last = made[-1].end if made else 0
        if text[end : end + 1] == " " and clear_of(ranges, end, end + 1):
            end += 1
        elif start - 1 >= last and text[start - 1 : start] == " " and clear_of(ranges, start - 1, start):
            start -= 1
        made.append(Edit(start, end, "", "deletion"))
    return made
