"""OCR noise: in some words one or two letters become what a scanner takes them for: 0 for O, rn for m, 1 for l.

Paper: Kolak, Resnik, "OCR Error Correction Using a Noisy Channel Model", HLT 2002, describes such errors as edits of
short strings; no paper: the pairs below, which are the well-known ones, written by hand.
Differs from it: pairs are equally likely, not learned from scans; a share of the words is hit; never at the first
letter unless asked; numbers, negations, links and labelled spans stay.

When it helps: a model that will read scanned texts. It buys robustness, not accuracy on clean texts.
What it costs: microseconds a row.

Shapes: none; see _edits.py.
"""

from collections import defaultdict
from dataclasses import dataclass

from burnish.augment._edits import Edit
from burnish.augment._filters import checked
from burnish.augment._noise import slips
from burnish.augment._rows import grown
from burnish.augment._words import check_share
from burnish.core import Rng, Row, Work, name_of

__all__ = ["Ocr"]

# Each may be read as the other.
PAIRS = (
    "o 0|O 0|O Q|O D|l 1|I 1|I l|i l|i j|i 1|S 5|s 5|B 8|Z 2|z 2|G 6|b 6|g 9|q 9|g q|T 7|A 4|c e|c o|e o|a o|h b|n h|"
    "u v|v y|f t|t l|E F|P R|U V|C G|m rn|M rn|d cl|w vv|W VV|n ri|h li|k lc|H ll|u ii|U ll|N ll|b lo|a ci"
)
READ_AS: dict[str, tuple[str, ...]] = {}
_found: defaultdict[str, list[str]] = defaultdict(list)
for _pair in PAIRS.split("|"):
    _a, _b = _pair.split()
    _found[_a].append(_b)
    _found[_b].append(_a)
READ_AS.update({seen: tuple(read) for seen, read in _found.items()})


@dataclass(frozen=True)
class Ocr:
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    alpha: float = 0.1  # share of all words with a slip, above 0 up to 1
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

    def __call__(self, work: Work, rng: Rng) -> Work:
        return grown(work, self, self, name_of(self), rng, self.workers)

    def edits(self, row: Row, rng: Rng) -> list[Edit]:
        """One misreading in each of `alpha` of the words."""
        return slips(
            row, rng, _slip, "ocr",
            alpha=self.alpha, first=self.first, shortest=self.shortest, keep=self.keep,
        )  # fmt: skip


def _slip(word: str, first: int, rng: Rng) -> tuple[int, int, str] | None:
    hit = [
        (i, i + n) for i in range(first, len(word)) for n in (1, 2) if word[i : i + n] in READ_AS and i + n <= len(word)
    ]
    if not hit:
        return None
    start, end = rng.choice(hit)
    return start, end, rng.choice(READ_AS[word[start:end]])
