"""Perturbed context: words near a mention are dropped, or give way to other words from outside mentions.

no paper: the label-wise replacement of Dai and Adel (arXiv:2010.11683) and the deletion of EDA (Wei and Zou,
arXiv:1901.11196), both only outside mentions and only `window` words from one. Mentions stay as they are, letter by
letter.

When it helps: a model that knows an entity by the words beside it in a few training rows, and not by itself.
What it costs: below a millisecond a short row. Where the context alone tells the type, it takes away what decides.

Shapes: none; see _edits.py and _tags.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish.augment._draw import EMPTY, Bag, bags_of, some
from burnish.augment._edits import Edit
from burnish.augment._rows import grown
from burnish.augment._tags import OUTSIDE, Word, cut, letter, movable, spans_of, tagged, tagged_rows
from burnish.core import Rng, Row, Work, name_of
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Context"]


@dataclass(frozen=True)
class Context:
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    window: int = 3  # words on either side of a mention, 1 or more
    p: float = 0.3  # chance of each of them to be changed, above 0 up to 1
    drop: float = 0.3  # share of the changed ones that is dropped, the others are replaced; 0 to 1
    keep: tuple[str, ...] = ()  # words that stay
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1
    filters: tuple[str, ...] = ("near",)  # what no new row may be, such as near, length, numbers
    workers: int = 1  # processes

    def __post_init__(self) -> None:
        for name, value, good, expected in (
            ("p", self.p, 0 < self.p <= 1, say("above 0 up to 1")),
            ("drop", self.drop, 0 <= self.drop <= 1, say("0 to 1")),
            ("window", self.window, self.window >= 1, say("1 or more")),
        ):
            if not good:
                given = say("{name} {value}", name=name, value=value)
                raise UsageError(problem(given, expected, "window=3, p=0.3, drop=0.3"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        name = name_of(self)
        bags = bags_of(tagged_rows(work.train, name), self.keep)
        outside = {kind: found for (tag, kind), found in bags.items() if tag == OUTSIDE}
        return grown(work, self, _Perturbing(outside, self), name, rng, self.workers)


@dataclass(frozen=True)
class _Perturbing:
    bags: Mapping[str, Bag]  # words outside mentions, by kind
    wish: Context

    def edits(self, row: Row, rng: Rng) -> list[Edit]:
        if not tagged(row):
            return []
        words = cut(row)
        near = [words[i] for i in _near(words, self.wish.window)]
        found = movable(row, [w for w in near if w.kind != "mark"], self.wish.keep)
        edits: list[Edit] = []
        for word in some(found, self.wish.p, rng):
            edit = None
            if rng.random() < self.wish.drop:
                edit = _dropped(row, words, word, edits[-1].end if edits else 0)
            edit = edit or self._replaced(word, rng)
            edits += [edit] if edit else []
        return edits

    def _replaced(self, word: Word, rng: Rng) -> Edit | None:
        found = self.bags.get(word.kind, EMPTY)
        if not found.has_other(word.text):
            return None
        return Edit(word.start, word.end, found.other(word.text, rng), say("other context"))


def _near(words: Sequence[Word], window: int) -> list[int]:
    """Which words stand outside mentions, at most `window` words from one."""
    inside = [i for i, word in enumerate(words) if word.tag != OUTSIDE]
    near = {j for i in inside for j in range(i - window, i + window + 1)}
    return [i for i, word in enumerate(words) if i in near and word.tag == OUTSIDE]


def _dropped(row: Row, words: Sequence[Word], word: Word, done: int) -> Edit | None:
    """The edit that takes the word out with one space beside it; None where its neighbours would grow together.

    A word that alone keeps two mentions apart stays. `done` is where the edit before this one ended: no two words in
    a row are dropped.
    """
    i, text = words.index(word), row.text
    before, after = (words[j] if 0 <= j < len(words) else None for j in (i - 1, i + 1))
    if before and after and OUTSIDE not in (before.tag, after.tag):
        return None
    start, end = word.start, word.end
    if text[end : end + 1].isspace() and (after is None or end < after.start):
        end += 1
    elif after is None and text[start - 1 : start].isspace():
        start -= 1
    if (start <= done and done) or any(s.start < end and start < s.end for s in spans_of(row)):
        return None
    glued = letter(text, start - 1) and letter(text, end)
    return None if glued else Edit(start, end, "", say("dropped"))
