"""TextFooler: the words that a classifier leans on most give way to synonyms, until it answers wrongly.

Paper: Jin, Jin, Zhou, Szolovits, "Is BERT Really Robust? A Strong Baseline for Natural Language Attack on Text
Classification and Entailment", AAAI 2020, arXiv:1907.11932, algorithm 1.
Differs from it: synonyms of the same part of speech from WordNet, a masked language model or the user's list, in place
of counter-fitted vectors and a tagger; likeness by the model's own vectors, mean over tokens, in place of a sentence
encoder; names, numbers and negations stay; many texts are attacked at once; a text and an attack have a budget.

When it helps: robustness against reworded input; accuracy on plain texts mostly stays or falls a little. An answer is
not always wrong because it changed: some "synonyms" do turn a text over, so look at the examples.
What it costs: 50 to 500 forward passes of the victim for each row attacked, in batches.

Shapes: N = texts of a question, C = labels.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from burnish.augment._adversary import attacked, check_attack
from burnish.augment._attack import Asked, Case, without
from burnish.augment._filters import checked
from burnish.core import Rng, Work, name_of

__all__ = ["TextFooler"]


@dataclass(frozen=True)
class TextFooler:
    ratio: float = 0.3  # new rows as a share of the original ones; no more than fool the victim
    source: Literal["wordnet", "masked_lm", "own"] = "wordnet"  # of other words
    place: str = ""  # WordNet's folder (found by itself), that of the masked language model, or the own list's file
    victim: Literal["auto", "model", "words"] = "auto"  # words: TF-IDF and a linear model; auto: model if tuned
    candidates: int = 20  # other words tried for each, 50 in the paper
    share: float = 0.2  # words that may change, of all, above 0 up to 1
    similarity: float = 0.8  # least cosine of the new text with the old, 0 up to 1; 0: not asked
    queries: int = 500  # texts judged in one attack, at most
    keep: tuple[str, ...] = ()  # words that stay, or the .txt file they are in
    filters: tuple[str, ...] = ("usual",)  # what a new row may not be; label would take out what is wanted here
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1

    def __post_init__(self) -> None:
        checked(self.filters)
        check_attack(self)

    def __call__(self, work: Work, rng: Rng) -> Work:
        return attacked(work, self, by_deletion, name_of(self), rng)


def by_deletion(case: Case, start_C: np.ndarray) -> Generator[Asked, np.ndarray, list[tuple[int, tuple[str, ...]]]]:
    """Places by how much the label loses when their word is deleted, all their other words with each."""
    if not case.places:
        return []
    odds_NC = yield from case.ask([without(case, i) for i in range(len(case.places))])
    importance_N = importance(odds_NC, start_C, case.label)
    ranked = sorted(range(len(case.places)), key=lambda i: (-importance_N[i], i))
    return [(i, case.places[i].others) for i in ranked]


def importance(odds_NC: np.ndarray, start_C: np.ndarray, label: int) -> np.ndarray:
    """Equation 2 of the paper: what the label loses, and where another one wins, what that one gains as well."""
    answer_N = odds_NC.argmax(1)
    lost_N = start_C[label] - odds_NC[:, label]
    gained_N = odds_NC[np.arange(len(odds_NC)), answer_N] - start_C[answer_N]
    return np.asarray(lost_N + np.where(answer_N != label, gained_N, 0.0))
