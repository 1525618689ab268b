"""Extractive question answering: where in a text the answer to a question stands, or that it does not.

Paper: Rajpurkar, Jia, Liang, "Know What You Don't Know: Unanswerable Questions for SQuAD", ACL 2018, arXiv:1806.03822.
Exact match and F1 are SQuAD's: lower case, without punctuation and articles, the best of several true answers; a
question without an answer counts 1 when none is given. In Chinese, where blanks set no words apart, F1 counts
characters, as CMRC 2018 does.

Shapes: N = questions, W = words of the text; outputs are [N, 1 + W, 2], start and end: first of no answer, then of each
word; FILL where a text has no such word.
"""

import json
import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from burnish.core import FILL, Rows, Span
from burnish.units import covered, same_width, units

__all__ = ["Answer", "exact", "f1", "normalised"]

KIND = "question-answering"
LONGEST = 30  # words of an answer, as in SQuAD's reference code
ARTICLES = re.compile(r"\b(a|an|the)\b")
HAN = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff])")
MARKS = str.maketrans("", "", string.punctuation + "。，！？；：、（）《》「」『』“”‘’…—·")

Range = tuple[int, int]  # first and last word, from 0; NONE for no answer
NONE: Range = (-1, -1)


@dataclass(frozen=True)
class Answer:
    """Rows have the text in `text` and the question in `pair`; the model reads the question first."""

    labels: tuple[str, ...] = ()  # none; here so that all tasks are built alike
    pair: bool = True
    metric: str = "f1"

    METRICS = ("f1", "exact_match", "answered_f1", "none_accuracy")
    name = KIND
    objective = "span_cross_entropy"
    reads = "answers"
    width = 2

    def encode(self, rows: Rows) -> np.ndarray:
        """Each row's text and true answers as JSON, [N] of objects: scores are about the words, not their numbers."""
        return np.array([_packed(row.text, row.target) for row in rows], dtype=object)

    def read(self, outputs: np.ndarray) -> np.ndarray:
        return outputs

    def answers(self, outputs: np.ndarray) -> list[Range]:
        """First and last word of each answer; NONE where no answer scores higher."""
        return [_best(own) for own in outputs]

    def decode(self, outputs: np.ndarray, texts: Sequence[str] = ()) -> list[dict[str, Any]]:
        """What the server answers: the answer, its place in the text, and its probability among all of these."""
        return [_shown(own, text) for own, text in zip(outputs, texts, strict=True)]

    def metrics(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        both, has = self._both(outputs, targets), np.array([bool(_unpacked(t)[1]) for t in targets])
        found = {"f1": float(both[:, 1].mean()), "exact_match": float(both[:, 0].mean())}
        found["answered_f1"] = float(both[has, 1].mean()) if has.any() else float("nan")
        found["none_accuracy"] = float(both[~has, 0].mean()) if not has.all() else float("nan")
        return found

    def tallies(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        """[N, 2]: the row's score, and 1; None for metrics of some rows only."""
        if self.metric not in ("f1", "exact_match"):
            return None
        column = 1 if self.metric == "f1" else 0
        return np.stack([self._both(outputs, targets)[:, column], np.ones(len(targets))], axis=1)

    def of_tallies(self, sums_RK: np.ndarray) -> np.ndarray:
        return np.asarray(sums_RK[:, 0] / np.maximum(sums_RK[:, 1], 1))

    def _both(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Exact match and F1 of each row, [N, 2]."""
        pairs = []
        for said, target in zip(self.answers(outputs), targets, strict=True):
            text, true = _unpacked(target)
            where = units(text)
            given = text[where[said[0]][0] : where[said[1]][1]] if said != NONE else ""
            pairs.append((exact(given, true), f1(given, true)))
        return np.array(pairs, dtype=float).reshape(len(pairs), 2)

    def losses(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """How wrong each answer is, [N]: 0 where it is exact, else 1 and what F1 lacks."""
        exact_N, f1_N = self._both(outputs, targets).T
        return np.where(exact_N == 1, 0.0, 2 - f1_N)

    def verdicts(self, outputs: np.ndarray, targets: np.ndarray) -> list[str]:
        """What became of each question."""
        found = []
        for said, target, (right, part) in zip(
            self.answers(outputs), targets, self._both(outputs, targets), strict=True
        ):
            if not _unpacked(target)[1]:
                found.append("none, rightly" if said == NONE else "given where there is none")
            elif said == NONE:
                found.append("none given")
            else:
                found.append("exact" if right else "partly" if part else "wrong")
        return found

    def score(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        return self.metrics(outputs, targets)[self.metric]

    def flips(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = same_width(a, b)
        return np.array([x != y for x, y in zip(self.answers(a), self.answers(b), strict=True)], dtype=bool)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "labels": [], "pair": self.pair, "metric": self.metric}


def normalised(text: str) -> str:
    """Lower case, no punctuation, no articles, single blanks; Chinese and Japanese characters set apart."""
    plain = ARTICLES.sub(" ", HAN.sub(r" \1 ", text.lower().translate(MARKS)))
    return " ".join(plain.split())


def exact(given: str, true: Sequence[str]) -> float:
    """1 when `given` is one of the true answers after normalising; no true answers: when nothing is given."""
    return float(any(normalised(given) == normalised(t) for t in true or [""]))


def f1(given: str, true: Sequence[str]) -> float:
    """The best F1 of common words with one of the true answers, 0..1."""
    return max(_overlap(normalised(given).split(), normalised(t).split()) for t in true or [""])


def _overlap(a: Sequence[str], b: Sequence[str]) -> float:
    if not a or not b:
        return float(a == b)
    common = sum((Counter(a) & Counter(b)).values())
    return 2 * common / (len(a) + len(b))


def _packed(text: str, target: Any) -> str:
    spans = [part for part in target or () if isinstance(part, Span)]
    return json.dumps([text, [text[span.start : span.end] for span in spans]], ensure_ascii=False)


@lru_cache(maxsize=20_000)
def _unpacked(target: str) -> tuple[str, tuple[str, ...]]:
    text, true = json.loads(target)
    return text, tuple(true)


def _pairs(own: np.ndarray) -> tuple[np.ndarray, int]:
    """Scores of all answers of at most LONGEST words, [W, LONGEST]: first word, and how many follow it."""
    real = own[1:][own[1:, 0] != FILL].astype(np.float64)
    width = min(LONGEST, max(len(real), 1))
    ends = np.concatenate([real[:, 1], np.full(width, -np.inf)])
    follow = np.lib.stride_tricks.sliding_window_view(ends, width)[: len(real)]
    return real[:, :1] + follow, width


def _best(own: np.ndarray) -> Range:
    score_WL, width = _pairs(own)
    if not score_WL.size or score_WL.max() <= own[0].astype(np.float64).sum():
        return NONE
    first, more = divmod(int(score_WL.argmax()), width)
    return first, first + more


def _shown(own: np.ndarray, text: str) -> dict[str, Any]:
    first, last = _best(own)
    score_WL, _ = _pairs(own)
    none = float(own[0].sum(dtype=np.float64))
    best = max(float(score_WL.max(initial=-np.inf)), none)
    whole = np.exp(score_WL - best).sum() + np.exp(none - best)
    if (first, last) == NONE:
        return {"answer": "", "start": None, "end": None, "score": round(float(np.exp(none - best) / whole), 6)}
    where = units(text)
    start, end = where[first][0], where[last][1]
    return {"answer": text[start:end], "start": start, "end": end, "score": round(float(1 / whole), 6)}


def words_of(text: str, target: Any) -> list[Range]:
    """The true answers in words, for training."""
    where = units(text)
    spans = [part for part in target or () if isinstance(part, Span)]
    return [pair for pair in (covered(where, span) for span in spans) if pair[0] <= pair[1]]


TASK = Answer
