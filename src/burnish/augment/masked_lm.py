"""Masked LM: some words give way to others that a masked language model finds likely in their place.

Paper: Kobayashi, "Contextual Augmentation: Data Augmentation by Words with Paradigmatic Relations", NAACL 2018,
arXiv:1805.06201; with BERT and the label: Wu et al., "Conditional BERT Contextual Augmentation", ICCS 2019,
arXiv:1812.06705, and Kumar et al., "Data Augmentation using Pre-trained Transformer Models", 2020, arXiv:2003.02245.
Differs from it: the label is read from a prefix ("positive: ...") without training the model for it; a word gives way
whole, however many pieces it has, and to whole words only; names, numbers, links and negations stay; all gaps of a row
are filled in one pass, many rows at a time.

When it helps: few rows. In arXiv:2408.16502 the best of the established techniques, at a fraction of the cost of a
large language model. A likely word may turn the label over ("a good film" becomes "a bad film"): give new rows a
smoothing, or a label prefix and a model that was tuned on such texts.
What it costs: one pass of the model for each new row.

Shapes: M = gaps of a batch, W = candidate words, K = words to draw from; see _mlm.py.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from burnish.augment._edits import Edit, clear_of, protected
from burnish.augment._filters import checked
from burnish.augment._mlm import Gaps, filler, like_case, likeliest
from burnish.augment._rewrites import Offer, Try, grown_in_batches, offers_of_edits
from burnish.core import Rng, Row, Work, name_of
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["MaskedLM"]

# A word with its hyphens and apostrophes; Chinese character by character, as Chinese models read it.
WORD = re.compile(r"[㐀-鿿]|[^\W\d_㐀-鿿]+(?:[-'’][^\W\d_㐀-鿿]+)*")


@dataclass(frozen=True)
class MaskedLM:
    model: str  # a folder with a masked language model
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    share: float = 0.15  # words that give way, as a share of all that may, above 0 up to 1; one at least
    top_k: int = 10  # likeliest words to draw from, without the one that was there
    temperature: float = 1.0  # above 0; small: the likeliest of them nearly always
    label_prefix: bool = False  # let the model read the label before the text
    keep: tuple[str, ...] = ()  # words that stay, besides names, numbers, links and negations
    batch: int = 64  # rows in one pass
    filters: tuple[str, ...] = ("usual",)  # what a new row may not be, such as usual, meaning or label:tau=0.6
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1

    def __post_init__(self) -> None:
        checked(self.filters)
        for name, value, good, expected in (
            ("share", self.share, 0 < self.share <= 1, say("above 0 up to 1")),
            ("top_k", self.top_k, self.top_k >= 1, say("1 or more")),
            ("temperature", self.temperature, self.temperature > 0, say("above 0")),
            ("batch", self.batch, self.batch >= 1, say("1 or more")),
        ):
            if not good:
                default = {"share": 0.15, "top_k": 10, "temperature": 1.0, "batch": 64}[name]
                raise UsageError(problem(say("{name} {value}", name=name, value=value), expected, f"{name}={default}"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        filler(self.model)  # say what is wrong with it before any row is read
        return grown_in_batches(work, self, self.offers, name_of(self), rng)

    def offers(self, batch: Sequence[Try]) -> list[Offer]:
        return offers_of_edits(batch, self.edits_of([one.row for one in batch], [one.rng for one in batch]))

    def edits(self, row: Row, rng: Rng) -> list[Edit]:
        return self.edits_of([row], [rng])[0]

    def edits_of(self, rows: Sequence[Row], rngs: Sequence[Rng]) -> list[list[Edit]]:
        """The edits of each row; they are the same whoever shares the batch."""
        source = filler(self.model)
        gaps = [self._gaps(row, rng) for row, rng in zip(rows, rngs, strict=True)]
        made: list[list[Edit]] = [[] for _ in rows]
        for batch, seen, logits_MW in source.logits(gaps, self.batch):
            asked = [(i, gaps[i].words[g]) for i, numbers in zip(batch, seen, strict=True) for g in numbers]
            olds = [rows[i].text[slice(*place)] for i, place in asked]
            words_MK, odds_MK = likeliest(logits_MW, olds, source, self.top_k, self.temperature)
            for (i, (start, end)), old, words, odds in zip(asked, olds, words_MK, odds_MK, strict=True):
                new = rngs[i].choices(words, odds)[0]
                made[i].append(Edit(start, end, like_case(new, old), say("masked LM")))
        return made

    def _gaps(self, row: Row, rng: Rng) -> Gaps:
        fixed = protected(row, self.keep)
        places = [m.span() for m in WORD.finditer(row.text) if clear_of(fixed, *m.span())]
        count = max(1, round(self.share * len(places)))
        chosen = sorted(rng.sample(places, min(count, len(places))))
        label = f"{row.target}: " if self.label_prefix and isinstance(row.target, str) else ""
        return Gaps(row.text, tuple(chosen), label)
