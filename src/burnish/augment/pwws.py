"""PWWS: each word's best synonym is found first; words then give way by how much that and the word itself count.

Paper: Ren, Deng, He, Che, "Generating Natural Language Adversarial Examples through Probability Weighted Word
Saliency", ACL 2019, pages 1085-1097, section 3.
Differs from it: names stay, where the paper swaps them for others of their kind; parts of speech as in TextFooler here;
a least likeness and a share of words are asked for (similarity=0 and share=1 for the paper's own); many texts at once.

When it helps: as TextFooler; it asks more at first and changes fewer words, since it has weighed every one of them.
What it costs: a query for each other word of each word, then one or two for each that changes.

Shapes: N = places of a text, C = labels.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from burnish.augment._adversary import attacked, check_attack
from burnish.augment._attack import Asked, Case, with_changes
from burnish.augment._filters import checked
from burnish.core import Rng, Work, name_of

__all__ = ["PWWS"]

UNKNOWN = "unk"  # stands where a word is to be missing, as in the paper


@dataclass(frozen=True)
class PWWS:
    ratio: float = 0.3  # new rows as a share of the original ones; no more than fool the victim
    source: Literal["wordnet", "masked_lm", "own"] = "wordnet"  # of other words
    place: str = ""  # WordNet's folder (found by itself), that of the masked language model, or the own list's file
    victim: Literal["auto", "model", "words"] = "auto"  # words: TF-IDF and a linear model; auto: model if tuned
    candidates: int = 20  # other words tried for each
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
        return attacked(work, self, by_weighted_saliency, name_of(self), rng)


def by_weighted_saliency(
    case: Case, start_C: np.ndarray
) -> Generator[Asked, np.ndarray, list[tuple[int, tuple[str, ...]]]]:
    """Places by softmax(saliency) times what their best other word takes from the label; that word alone with each."""
    if not case.places:
        return []
    places = range(len(case.places))
    hidden_NC = yield from case.ask([with_changes(case, {i: UNKNOWN}) for i in places])
    tried = [(i, word) for i in places for word in case.places[i].others]
    odds = yield from case.ask([with_changes(case, {i: word}) for i, word in tried])
    loss = {pair: float(start_C[case.label] - odds_C[case.label]) for pair, odds_C in zip(tried, odds, strict=True)}
    best = [max(case.places[i].others, key=lambda word: loss[i, word]) for i in places]
    loss_N = np.array([loss[i, word] for i, word in enumerate(best)])
    score_N = weighted(start_C[case.label] - hidden_NC[:, case.label], loss_N)
    ranked = sorted(places, key=lambda i: (-score_N[i], i))
    return [(i, (best[i],)) for i in ranked]


def weighted(saliency_N: np.ndarray, loss_N: np.ndarray) -> np.ndarray:
    """Equation 8 of the paper: what a change takes from the label, times the share of the saliency its place has."""
    share_N = np.exp(saliency_N - saliency_N.max())
    return np.asarray(loss_N * share_N / share_N.sum())
