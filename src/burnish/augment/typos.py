"""Typing slips: in some words a letter is dropped, typed twice, or changes places with the next one.

Paper: Belinkov, Bisk, "Synthetic and Natural Noise Both Break Neural Machine Translation", ICLR 2018, arXiv:1711.02173,
section 3.2 (the noise called "swap"); dropped letters after Pruthi, Dhingra, Lipton, "Combating Adversarial
Misspellings with Robust Word Recognition", ACL 2019, arXiv:1905.11268, section 3.
Differs from them: a share of the words is hit, not each; never the first letter unless asked; letters that are alike do
not change places, since nothing would be seen; numbers, negations, links and labelled spans stay.

When it helps: a model that will meet what people type. It buys robustness, not accuracy on clean texts.
What it costs: microseconds a row.

Shapes: none; see _edits.py.
"""

from dataclasses import dataclass

from burnish.augment._edits import Edit
from burnish.augment._filters import checked
from burnish.augment._noise import slips
from burnish.augment._rows import grown
from burnish.augment._words import check_share
from burnish.core import Rng, Row, Work, name_of
from burnish.errors import UsageError, nearest, problem
from burnish.words import say

__all__ = ["Typos"]

KINDS = ("drop", "double", "transpose")


@dataclass(frozen=True)
class Typos:
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    alpha: float = 0.1  # share of all words with a slip, above 0 up to 1
    kinds: tuple[str, ...] = KINDS  # which slips: drop, double, transpose
    first: bool = False  # whether the first letter may change
    shortest: int = 4  # letters a word must have
    keep: tuple[str, ...] = ()  # words that never change, or the .txt file they are in
    filters: tuple[str, ...] = ("usual",)  # what a new row may not be, such as usual, meaning or label:tau=0.6
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1
    workers: int = 1  # processes

    def __post_init__(self) -> None:
        checked(self.filters)
        check_share("alpha", self.alpha)
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            given = say("kinds {kinds}", kinds=",".join(self.kinds))
            close = nearest(unknown[0], KINDS) if unknown else None
            raise UsageError(problem(given, say("of: {kinds}", kinds=", ".join(KINDS)), f"kinds={close or KINDS[0]}"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        return grown(work, self, self, name_of(self), rng, self.workers)

    def edits(self, row: Row, rng: Rng) -> list[Edit]:
        """One slip in each of `alpha` of the words."""
        return slips(
            row, rng, self._slip, "typo",
            alpha=self.alpha, first=self.first, shortest=self.shortest, keep=self.keep,
        )  # fmt: skip

    def _slip(self, word: str, first: int, rng: Rng) -> tuple[int, int, str] | None:
        kind = rng.choice(self.kinds)
        hit = [i for i in range(first, len(word)) if _alone(word, i)]
        if kind == "transpose":
            hit = [i for i in hit if i + 1 in hit and word[i] != word[i + 1]]
        if not hit:
            return None
        i = rng.choice(hit)
        if kind == "transpose":
            return i, i + 2, word[i + 1] + word[i]
        return i, i + 1, "" if kind == "drop" else word[i] * 2


def _alone(word: str, i: int) -> bool:
    """Whether character `i` is a letter without a sign of its own (an accent, a vowel sign), which would go astray."""
    after = word[i + 1 : i + 2]
    return word[i].isalpha() and (not after or after.isalnum() or after in "'’-_")
