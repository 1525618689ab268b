"""Chinese lookalikes: some characters become others of a similar shape, as scanners and writers by shape take them.

Paper: no paper: the second kind of error in Chinese texts (Liu et al., "Visually and Phonologically Similar Characters
in Incorrect Chinese Words", ACM TALIP 10(2), 2011).
Differs from it: which characters look alike is said by pycorrector's list of 831 groups, read as "the first with
each other one"; a character gives way only to one about as common; negations, numbers, links and labelled spans stay.

When it helps: a model that will read scanned Chinese texts. It buys robustness, not accuracy on clean texts.
What it costs: about 0.1 ms a row, and a second to load.
Needs: pip install jieba, and pip install --no-deps pycorrector for its list (Apache-2.0; nothing of it is imported);
with `own` neither.

Shapes: none; see _edits.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from burnish.augment import _chinese
from burnish.augment._edits import Edit
from burnish.augment._filters import checked
from burnish.augment._hanzi import check_band, exchanged, near, own_exchanged
from burnish.augment._own import own
from burnish.augment._rows import grown
from burnish.augment._words import check_share, kept
from burnish.core import Rng, Row, Work, name_of

__all__ = ["Lookalikes"]


@dataclass(frozen=True)
class Lookalikes:
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    alpha: float = 0.05  # share of the Chinese characters that change, above 0 up to 1
    band: float = 10.0  # the new character is at most this many times as common or rare, 1 or more
    own: str = ""  # a file to use instead of the list: interchangeable characters a line, commas between
    keep: tuple[str, ...] = ()  # words that never change, or the .txt file they are in
    filters: tuple[str, ...] = ("usual",)  # what a new row may not be, such as usual, meaning or label:tau=0.6
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1
    workers: int = 1  # processes

    def __post_init__(self) -> None:
        checked(self.filters)
        check_share("alpha", self.alpha)
        check_band(self.band)

    def __call__(self, work: Work, rng: Rng) -> Work:
        if self.own:
            own(self.own)
        else:
            _chinese.jieba()
            _chinese.lookalikes()
        return grown(work, self, self, name_of(self), rng, self.workers)

    def edits(self, row: Row, rng: Rng) -> list[Edit]:
        """Other characters for `alpha` of the Chinese ones, as far as they have any."""
        if self.own:
            return own_exchanged(row, rng, self.own, "lookalike", alpha=self.alpha, keep=kept(self.keep))
        return exchanged(row, rng, self._others, "lookalike", alpha=self.alpha, keep=self.keep, whole=False)

    def _others(self, word: str) -> Sequence[Sequence[str]]:
        return [_same_shape(char, self.band) for char in word]


@lru_cache(maxsize=10_000)
def _same_shape(char: str, band: float) -> list[str]:
    return near(char, _chinese.lookalikes().get(char, ()), band)
