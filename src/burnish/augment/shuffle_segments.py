"""Shuffle within segments: the words of a mention, or of a stretch between two mentions, change places.

Paper: Dai and Adel, "An Analysis of Simple Data Augmentation for Named Entity Recognition", COLING 2020,
arXiv:2010.11683, section 3 (SiS).
Differs from it: one segment at least is shuffled, and comes out in another order; punctuation marks, numbers, links,
negations and what is in `keep` stay where they are; mentions may be left whole.

When it helps: sequence labelling with few rows and a model that should not learn the order of words by heart.
What it costs: below a millisecond a short row. In Chinese, where a word here is one character, little is left of
the sentence.

Shapes: none; see _edits.py and _tags.py.
"""

from collections import defaultdict
from dataclasses import dataclass

from burnish.augment._draw import some
from burnish.augment._edits import Edit
from burnish.augment._rows import grown
from burnish.augment._tags import OUTSIDE, Word, cut, movable, segments, tagged, tagged_rows
from burnish.core import Rng, Row, Work, name_of
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["ShuffleSegments"]


@dataclass(frozen=True)
class ShuffleSegments:
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    p: float = 0.3  # chance of each segment to be shuffled, above 0 up to 1; the paper tries 0.1 to 0.7
    mentions: bool = True  # shuffle the words of mentions too, as the paper does
    keep: tuple[str, ...] = ()  # words that stay
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1
    filters: tuple[str, ...] = ("near",)  # what no new row may be, such as near, length, numbers
    workers: int = 1  # processes

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise UsageError(problem(say("p {x}", x=self.p), say("above 0 up to 1"), "p=0.3"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        tagged_rows(work.train, name_of(self))
        return grown(work, self, self, name_of(self), rng, self.workers)

    def edits(self, row: Row, rng: Rng) -> list[Edit]:
        """Words of a kind trade places, so that no two grow together where nothing stands between them."""
        if not tagged(row):
            return []
        groups = []
        for segment in segments(cut(row)):
            if self.mentions or segment[0].tag == OUTSIDE:
                groups.append(_by_kind(movable(row, segment, self.keep)))
        chosen = some([group for group in groups if group], self.p, rng)
        return sorted(edit for group in chosen for words in group for edit in _shuffled(words, rng))


def _by_kind(words: list[Word]) -> list[list[Word]]:
    """The words but for marks, apart by kind; only kinds of which another order reads otherwise."""
    kinds: dict[str, list[Word]] = defaultdict(list)
    for word in words:
        if word.kind != "mark":
            kinds[word.kind].append(word)
    return [group for group in kinds.values() if len({word.text for word in group}) > 1]


def _shuffled(words: list[Word], rng: Rng) -> list[Edit]:
    old = [word.text for word in words]
    new = list(old)
    while new == old:
        rng.shuffle(new)
    why = say("shuffled")
    return [Edit(w.start, w.end, text, why) for w, text in zip(words, new, strict=True) if w.text != text]
