"""EDA: each new row comes from one of four operations: synonym replacement, random insertion, swap or deletion.

Paper: Wei, Zou, "EDA: Easy Data Augmentation Techniques for Boosting Performance on Text Classification Tasks", EMNLP
2019, arXiv:1901.11196, sections 2 and 4.3 (the shares by data size, table 3).
Differs from it: the operations do (see synonyms, random_insertion, random_swap, random_deletion); upper case, digits,
punctuation and other alphabets than a-z survive; original rows stay as they are.

When it helps: little data and a model trained from scratch (the paper: 3 points at 500 rows, 0.8 on full sets). With a
pretrained encoder others found no consistent gain (Longpre et al., arXiv:2010.01764). For tasks on grammar, inference
or entities leave insertion, swap and deletion out (0).
What it costs: about 0.1 ms a row. The paper's many copies also mean as many more training steps: compare with a run of
the same number of steps.
Needs: what synonyms needs (burnish show augment/synonyms).

Shapes: none; see _edits.py.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from burnish.augment._edits import Edit
from burnish.augment._filters import checked
from burnish.augment._rows import Editing, grown, originals
from burnish.augment._thesaurus import Thesaurus
from burnish.augment._words import ready
from burnish.augment.random_deletion import RandomDeletion
from burnish.augment.random_insertion import RandomInsertion
from burnish.augment.random_swap import RandomSwap
from burnish.augment.synonyms import Synonyms
from burnish.core import Rng, Row, Work, name_of
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Eda", "recommended"]

# Rows up to which a setting holds, its share of words and its copies of each row.
PAPER = ((500, 0.05, 16), (2000, 0.05, 8), (float("inf"), 0.1, 4))


def recommended(rows: int) -> tuple[float, int]:
    """The paper's share of words and copies of each row: (0.05, 16) to 500 rows, (0.05, 8) to 2,000, else (0.1, 4).

    >>> recommended(500), recommended(2000), recommended(5000)
    ((0.05, 16), (0.05, 8), (0.1, 4))
    """
    return next((alpha, copies) for most, alpha, copies in PAPER if rows <= most)


@dataclass(frozen=True)
class Eda:
    ratio: float = 0.5  # new rows as a share of the original ones; 0: 16, 8 or 4, the paper's for so many rows
    synonyms: float | None = None  # share of words replaced; 0: not this operation; none: the paper's for so many rows
    insertion: float | None = None  # share of words put in, likewise
    swap: float | None = None  # share of words that move, likewise
    deletion: float | None = None  # share of words that go, likewise
    language: Literal["auto", "en", "zh"] = (
        "auto"  # en or zh: texts in the other one get no synonyms; auto: each by its letters
    )
    own: str = ""  # a file to use instead of the dictionaries: interchangeable words a line, commas between
    keep: tuple[str, ...] = ()  # words that never change, or the .txt file they are in
    shortest: int = 5  # words a text must have
    wordnet: str = ""  # WordNet's folder; found by itself in the usual places and BURNISH_WORDNET
    filters: tuple[str, ...] = ("usual",)  # what a new row may not be, such as usual, meaning or label:tau=0.6
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1
    workers: int = 1  # processes

    def __post_init__(self) -> None:
        checked(self.filters)
        for name, share in self._shares().items():
            if share is not None and not 0 <= share <= 1:
                given = say("{name} {value}", name=name, value=share)
                raise UsageError(problem(given, say("0 up to 1"), f"{name}=0.1"))
        if all(share == 0 for share in self._shares().values()):
            given = say("no operation is left")
            raise UsageError(problem(given, say("one share above 0"), "synonyms=0.1"))

    def _shares(self) -> dict[str, float | None]:
        return {"synonyms": self.synonyms, "insertion": self.insertion, "swap": self.swap, "deletion": self.deletion}

    def settled(self, rows: int) -> "Eda":
        """With the paper's values for so many rows where none are given."""
        alpha, copies = recommended(rows)
        found = {name: alpha if share is None else share for name, share in self._shares().items()}
        return replace(
            self, ratio=self.ratio or float(copies), synonyms=found["synonyms"], insertion=found["insertion"],
            swap=found["swap"], deletion=found["deletion"],
        )  # fmt: skip

    def __call__(self, work: Work, rng: Rng) -> Work:
        settled = self.settled(len(originals(work.train)))
        ready(work.train)
        if settled.synonyms or settled.insertion:
            Thesaurus(self.language, self.own, self.wordnet, 2, 10.0).ready(work.train)
        return grown(work, settled, settled, name_of(self), rng, self.workers)

    def edits(self, row: Row, rng: Rng) -> list[Edit]:
        """Those of one operation, drawn anew for each copy."""
        return rng.choice(_operations(self)).edits(row, rng)


@lru_cache(maxsize=32)
def _operations(eda: Eda) -> tuple[Editing, ...]:
    """The operations whose share is not 0, at the share for large data where none is given."""
    alpha, _ = recommended(10**9)
    share = {name: alpha if given is None else given for name, given in eda._shares().items()}
    found: list[Editing] = []
    if share["synonyms"]:
        found.append(
            Synonyms(
                alpha=share["synonyms"], language=eda.language, own=eda.own, keep=eda.keep,
                shortest=eda.shortest, wordnet=eda.wordnet,
            )
        )  # fmt: skip
    if share["insertion"]:
        found.append(
            RandomInsertion(
                alpha=share["insertion"], language=eda.language, own=eda.own, keep=eda.keep,
                shortest=eda.shortest, wordnet=eda.wordnet,
            )
        )  # fmt: skip
    if share["swap"]:
        found.append(RandomSwap(alpha=share["swap"], keep=eda.keep, shortest=eda.shortest))
    if share["deletion"]:
        found.append(RandomDeletion(alpha=share["deletion"], keep=eda.keep, shortest=eda.shortest))
    return tuple(found)
