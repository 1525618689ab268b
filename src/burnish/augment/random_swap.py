"""Random swap: some words of a text change places with one another.

Paper: Wei, Zou, "EDA: Easy Data Augmentation Techniques for Boosting Performance on Text Classification Tasks", EMNLP
2019, arXiv:1901.11196, section 2 (the third of its four operations).
Differs from it: `alpha` is the share of words that move, so it makes half as many swaps as the paper's; no word moves
twice; negations, numbers, links and labelled spans stay where they are; a capital at the start stays at the start.

When it helps: little data and a model that looks at words more than at their order. Not for tasks on grammar, inference
or entities: "dog bites man" becomes "man bites dog".
What it costs: microseconds a row.
Needs: pip install jieba where there are Chinese texts.

Shapes: none; see _edits.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from burnish.augment._edits import Edit, apply
from burnish.augment._filters import checked
from burnish.augment._rows import grown
from burnish.augment._words import Word, check_share, free, how_many, kept, like, ready, words
from burnish.core import Rng, Row, Work, name_of

__all__ = ["RandomSwap"]


@dataclass(frozen=True)
class RandomSwap:
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    alpha: float = 0.1  # share of all words that move, above 0 up to 1
    keep: tuple[str, ...] = ()  # words that stay where they are, or the .txt file they are in
    shortest: int = 4  # words a text must have
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
        """Pairs of words that differ, `alpha` of the words in all."""
        found = words(row.text)
        pairs = how_many(self.alpha / 2, len(found), rng) if len(found) >= self.shortest else 0
        if not pairs:
            return []
        loose = free(row, found, kept(self.keep))
        made: list[Edit] = []
        # Two more than are needed, for words that meet their like.
        for a, b in _pairs(rng.sample(loose, min(len(loose), 2 * pairs + 2)))[:pairs]:
            made += [_moved(b, a, found[0]), _moved(a, b, found[0])]
        made.sort()
        # Words that stand side by side without a space may read the same the other way round: 十 and 十十.
        return made if apply(row.text, made) != row.text else []


def _pairs(mixed: Sequence[Word]) -> list[tuple[Word, Word]]:
    """Neighbours in the mixed order whose words differ."""
    pairs, waiting = [], list[Word]()
    for word in mixed:
        partner = next((w for w in waiting if w.text.lower() != word.text.lower()), None)
        if partner is None:
            waiting.append(word)
        else:
            waiting.remove(partner)
            pairs.append((partner, word))
    return pairs


def _moved(word: Word, to: Word, first: Word) -> Edit:
    """`word` at the place of `to`, with a capital where the text begins and without one where it came from there."""
    text = word.text
    if to == first:
        text = like(text, to.text)
    elif word == first and text.istitle() and len(text) > 1:
        text = text.lower()
    return Edit(to.start, to.end, text, "swap")
