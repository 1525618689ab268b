"""Keyboard noise: in some words one letter becomes one of its neighbours on the keyboard.

Paper: Belinkov, Bisk, "Synthetic and Natural Noise Both Break Neural Machine Translation", ICLR 2018, arXiv:1711.02173,
section 3.2 (the noise called "key").
Differs from it: a share of the words is hit, not each; never the first letter unless asked; numbers, negations, links
and labelled spans stay; the case stays.

When it helps: a model that will meet what people type. It buys robustness, not accuracy on clean texts.
What it costs: microseconds a row.

Shapes: none; see _edits.py.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from burnish.augment._edits import Edit
from burnish.augment._filters import checked
from burnish.augment._noise import slips
from burnish.augment._rows import grown
from burnish.augment._words import check_share
from burnish.core import Rng, Row, Work, name_of

__all__ = ["Keyboard", "neighbours"]

ROWS = {
    "qwerty": ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    "qwertz": ("qwertzuiopü", "asdfghjklöä", "yxcvbnm"),
    "azerty": ("azertyuiop", "qsdfghjklm", "wxcvbn"),
    "russian": ("йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю"),
}
# How far each row stands to the right of the one above it, in keys.
SHIFTS = (0.0, 0.25, 0.75)


@lru_cache(maxsize=8)
def neighbours(layout: str) -> dict[str, str]:
    """A letter to those whose keys touch its own: less than 1.2 keys away, middle to middle."""
    spots = {key: (x + SHIFTS[y], y) for y, row in enumerate(ROWS[layout]) for x, key in enumerate(row)}
    return {
        a: "".join(b for b, (bx, by) in spots.items() if a != b and (ax - bx) ** 2 + (ay - by) ** 2 < 1.2**2 + 0.2)
        for a, (ax, ay) in spots.items()
    }


@dataclass(frozen=True)
class Keyboard:
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    alpha: float = 0.1  # share of all words with a slip, above 0 up to 1
    layout: Literal["qwerty", "qwertz", "azerty", "russian"] = "qwerty"  # whose keyboard
    first: bool = False  # whether the first letter may change: readers stumble most there
    shortest: int = 4  # letters a word must have
    keep: tuple[str, ...] = ()  # words that never change, or the .txt file they are in
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
        """One letter in each of `alpha` of the words."""
        return slips(
            row, rng, self._slip, "keyboard",
            alpha=self.alpha, first=self.first, shortest=self.shortest, keep=self.keep,
        )  # fmt: skip

    def _slip(self, word: str, first: int, rng: Rng) -> tuple[int, int, str] | None:
        near = neighbours(self.layout)
        hit = [i for i in range(first, len(word)) if word[i].lower() in near]
        if not hit:
            return None
        i = rng.choice(hit)
        new = rng.choice(near[word[i].lower()])
        return i, i + 1, new.upper() if word[i].isupper() else new
