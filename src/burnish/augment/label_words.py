"""Label-wise token replacement: a word gives way to another that carries the same BIO tag in the training rows.

Paper: Dai and Adel, "An Analysis of Simple Data Augmentation for Named Entity Recognition", COLING 2020,
arXiv:2010.11683, section 3 (LwTR); the word is drawn by how often it carries the tag.
Differs from it: one word at least is replaced; a mark gives way to a mark only and a Chinese character to one such;
numbers, links, negations and what is in `keep` stay, and none of them is put in.

When it helps: sequence labelling with few rows (the paper's gains are at 50 to 500 sentences).
What it costs: below a millisecond a short row. The sentence stops making sense, which with many rows costs more than it
brings; in Chinese, where a word here is one character, names come out that nobody bears.

Shapes: none; see _edits.py and _tags.py.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from burnish.augment._draw import EMPTY, Bag, bags_of, some
from burnish.augment._edits import Edit
from burnish.augment._rows import grown
from burnish.augment._tags import cut, movable, tagged, tagged_rows
from burnish.core import Rng, Row, Work, name_of
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["LabelWords"]


@dataclass(frozen=True)
class LabelWords:
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    p: float = 0.3  # chance of each word to be replaced, above 0 up to 1; the paper tries 0.1 to 0.7
    keep: tuple[str, ...] = ()  # words that stay
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1
    filters: tuple[str, ...] = ("near",)  # what no new row may be, such as near, length, numbers
    workers: int = 1  # processes

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise UsageError(problem(say("p {x}", x=self.p), say("above 0 up to 1"), "p=0.3"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        name = name_of(self)
        bags = bags_of(tagged_rows(work.train, name), self.keep)
        made = grown(work, self, _Replacing(bags, self.p, self.keep), name, rng, self.workers)
        counts: Counter[str] = Counter()
        for (tag, _), bag in bags.items():
            counts[tag] += len(bag.words)
        return replace(made, notes={**made.notes, "words": dict(sorted(counts.items()))})


@dataclass(frozen=True)
class _Replacing:
    bags: Mapping[tuple[str, str], Bag]
    p: float
    keep: tuple[str, ...]

    def edits(self, row: Row, rng: Rng) -> list[Edit]:
        if not tagged(row):
            return []
        found = [(w, self.bags.get((w.tag, w.kind), EMPTY)) for w in movable(row, cut(row), self.keep)]
        chosen = some([(w, bag) for w, bag in found if bag.has_other(w.text)], self.p, rng)
        why = say("word of the same label")
        return [Edit(w.start, w.end, bag.other(w.text, rng), why) for w, bag in chosen]
