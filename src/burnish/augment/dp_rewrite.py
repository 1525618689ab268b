"""DP rewriting: every word gives way to one drawn with noise, so that a text says little of who wrote what.

Paper: Meisenbacher, Chevli, Vladika, Matthes, "DP-MLM: Differentially Private Text Rewriting Using Masked Language
Models", Findings of ACL 2024, arXiv:2407.00637; the exponential mechanism: McSherry & Talwar, FOCS 2007.
Differs from it: stop words and numbers are rewritten too, and capitals are not carried over, since either would tell
of the text for nothing; the bounds of the logits come from public sentences, never from the rows; and the epsilon that
is stated is that of the whole text.

When it helps: texts that must not leave as they are. It costs accuracy, and much of it where epsilon is small.
What is promised: for any two texts of as many words, with spaces and punctuation in the same places, each new text is
at most e^epsilon times as likely from one as from the other; epsilon is that of a word times the words (composition).
How many words there are, where punctuation stands, and the label are not hidden. Rows made later from the same original
add up, and so do tries that were thrown away: all of it is in the notes. A text that comes out as one that is there
already is drawn anew, which the promise does not cover; with many words that hardly ever happens.
What it costs: one reading of the text, twice as long, for each of its words.

Shapes: M = words of a batch, W = candidate words.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import torch
from torch import Tensor

from burnish.augment._edits import Edit, apply
from burnish.augment._filters import checked
from burnish.augment._mlm import Gaps, filler
from burnish.augment._rewrites import Offer, Try, grown_in_batches
from burnish.augment._rows import originals
from burnish.core import Rng, Row, Span, Work, name_of
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["DPRewrite"]

# What a model finds likely in general is learned from these, which are nobody's secret.
PUBLIC = (
    "The meeting starts at nine in the morning and ends before lunch.",
    "She bought a small house near the river with her sister.",
    "The new phone has a bright screen but a weak battery.",
    "He did not know where the train to the city would stop.",
    "We had dinner at a quiet place and talked about the film.",
    "Prices rose again last year while wages stayed the same.",
    "The doctor asked how long the pain had been there.",
    "Children played in the park until it began to rain.",
)
WORD = re.compile(r"[㐀-鿿]|[^\W_㐀-鿿]+(?:[-'’.,:/][^\W_㐀-鿿]+)*")


@dataclass(frozen=True)
class DPRewrite:
    model: str  # a folder with a masked language model
    epsilon: float = 100.0  # of a word, above 0; in the paper 10 to 250. Of a text: that times its words
    ratio: float = 1.0  # new rows as a share of the original ones, 1 as a rule
    clip: tuple[float, ...] = ()  # least and largest logit; none: mean, and 4 deviations above, on public sentences
    beside: bool = True  # let the model read the text itself beside the one with the gap, as in the paper
    keep_originals: bool = True  # also train on the rows as they were, which is then private in no way
    batch: int = 64  # gaps in one pass
    filters: tuple[str, ...] = ()  # what a new row may not be; each looks at the text, outside of what is promised
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1

    def __post_init__(self) -> None:
        checked(self.filters)
        if self.epsilon <= 0 or self.batch < 1:
            given = say("epsilon {epsilon}, batch {batch}", epsilon=self.epsilon, batch=self.batch)
            raise UsageError(problem(given, say("both above 0"), "epsilon=100"))
        if self.clip and (len(self.clip) != 2 or self.clip[0] >= self.clip[1]):
            given = say("clip {clip}", clip=", ".join(map(str, self.clip)))
            raise UsageError(problem(given, say("the least logit, then a larger one"), "clip=-3,16"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        _check(originals(work.train))
        writing = _Writing(self, self.clip or public_bounds(self.model))
        made = grown_in_batches(work, self, writing.offers, name_of(self), rng)
        new = made.train[len(work.train) :]
        notes = {**made.notes, **writing.facts(new)}
        if self.keep_originals:
            return replace(made, notes=notes)
        # Without the originals nothing may lead back to them: no parents, and no examples of before and after.
        orphans = tuple(replace(row, parent="") for row in new)
        return replace(made, train=orphans, notes={**notes, "examples": [], "filtered": {}})


@dataclass
class _Writing:
    wish: DPRewrite
    bounds: tuple[float, ...]
    spent: Counter[str] = field(default_factory=Counter)  # words drawn, by original row, over all its tries
    words: Counter[tuple[str, str | None]] = field(default_factory=Counter)  # words of a new row

    def offers(self, batch: Sequence[Try]) -> list[Offer]:
        source = filler(self.wish.model)
        places = [[m.span() for m in WORD.finditer(one.row.text)] for one in batch]
        gaps = [
            Gaps(one.row.text, (place,), beside=one.row.text if self.wish.beside else None)
            for one, found in zip(batch, places, strict=True)
            for place in found
        ]
        owner = [i for i, found in enumerate(places) for _ in found]
        chance = torch.tensor([batch[i].rng.random() for i in owner], dtype=torch.float64)
        drawn: list[dict[tuple[int, int], str]] = [{} for _ in batch]
        for asked, seen, logits_MW in source.logits(gaps, self.wish.batch):
            gaps_M = [g for g, numbers in zip(asked, seen, strict=True) for _ in numbers]
            odds_MW = odds(logits_MW, self.bounds[0], self.bounds[1], self.wish.epsilon)
            for g, word in zip(gaps_M, picked(odds_MW, chance[gaps_M]), strict=True):
                drawn[owner[g]][gaps[g].words[0]] = source.words[word]
        return [self._offer(*parts) for parts in zip(batch, places, drawn, strict=True)]

    def _offer(self, one: Try, places: Sequence[tuple[int, int]], drawn: Mapping[tuple[int, int], str]) -> Offer:
        if not places:
            return Offer(reason=say("no words"))
        if len(drawn) < len(places):  # a word that is not rewritten would be told as it is
            return Offer(reason=say("too long for the model"))
        edits = [Edit(start, end, drawn[start, end]) for start, end in places]
        made = one.made(apply(one.row.text, edits), one.row.target)
        assert made is not None
        self.spent[one.origin.id] += len(places)
        self.words[made[:2]] = len(places)
        return Offer(made)

    def facts(self, new: Sequence[Row]) -> dict[str, object]:
        """What the rows cost, in epsilons: of a word, of each new row, and of each original over all its tries."""
        of_rows = {row.id: self.words[row.text, row.pair] * self.wish.epsilon for row in new}
        of_originals = {key: count * self.wish.epsilon for key, count in self.spent.items()}
        return {
            "epsilon_of_a_word": self.wish.epsilon,
            "epsilon_of_a_text": max(of_rows.values(), default=0.0),  # the largest: what the step can promise for all
            "epsilon_of_an_original": max(of_originals.values(), default=0.0),
            "epsilons": of_rows,
            "epsilons_of_originals": of_originals,
            "clip": [round(bound, 4) for bound in self.bounds],
        }


def odds(logits_MW: Tensor, low: float, high: float, epsilon: float) -> Tensor:
    """Probabilities of the exponential mechanism [M, W]: any two inputs give each word within a factor e^epsilon.

    A logit within low..high differs between two texts by high - low at most; at temperature 2 (high - low) / epsilon
    that is a factor e^(epsilon / 2) for the word itself, and as much for the sum it is divided by.
    """
    temperature = 2 * (high - low) / epsilon
    return (logits_MW.double().clamp(low, high) / temperature).softmax(dim=1)


def picked(odds_MW: Tensor, chance_M: Tensor) -> list[int]:
    """The word of each gap, by a number 0..1 for each."""
    sums_MW = odds_MW.cumsum(dim=1)
    place_M1 = torch.searchsorted(sums_MW, (chance_M * sums_MW[:, -1])[:, None], right=True)
    return [int(place) for place in place_M1[:, 0].clamp(max=odds_MW.shape[1] - 1)]


@lru_cache(maxsize=8)
def public_bounds(model: str) -> tuple[float, float]:
    """Mean of the logits of all words in the gaps of public sentences, and four deviations above it."""
    asked = [Gaps(text, (m.span(),)) for text in PUBLIC for m in WORD.finditer(text)]
    logits_MW = torch.cat([found for _, _, found in filler(model).logits(asked, 64)]).double()
    mean, deviation = float(logits_MW.mean()), float(logits_MW.std())
    return mean, mean + 4 * deviation


def _check(rows: Sequence[Row]) -> None:
    if any(isinstance(row.target, tuple) and any(isinstance(part, Span) for part in row.target) for row in rows):
        given = say("rows with labelled spans, whose words would be told as they are")
        raise UsageError(problem(given, say("a label for the whole text"), "burnish show augment/entities"))
