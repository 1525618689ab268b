"""The filter on labels: would a model that never saw the row it was made from give the new row its label?

Paper: Anaby-Tavor, Carmeli, Goldbraich, Kantor, Kour, Shlomov, Tepper, Zwerdling, "Do Not Have Enough Data? Deep
Learning to the Rescue!", AAAI 2020, arXiv:1911.03118, section 4 (keep what a classifier is sure of).
Differs from it: the classifier (TF-IDF with a linear model) learns out of fold: the originals are dealt into folds,
equal texts into one, and a new row is judged by the model that did not see its original. A model that knows the
original by heart would pass anything that looks like it.

What it costs: one fit a fold. It is as strict as the classifier is weak: where that is right on 80 of 100 originals,
about 20 of 100 faultless new rows go, so it is for plenty of doubtful rows, not for a usual run.

Shapes: N = rows, C = labels.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from burnish.augment._change import Change
from burnish.core import Row, Rows, Span, Task, Work
from burnish.data.split import group_key
from burnish.errors import DataError, UsageError, problem
from burnish.words import say

__all__ = ["Label"]

Answer = Callable[[Rows], np.ndarray]


@dataclass(frozen=True)
class Label:
    tau: float = 0.5  # least probability of the row's own label, 0 to 1
    folds: int = 5  # parts the originals are dealt into, 2 to 20

    def __post_init__(self) -> None:
        if not (0 <= self.tau < 1 and 2 <= self.folds <= 20):
            given = say("tau {x}, folds {n}", x=self.tau, n=self.folds)
            raise UsageError(problem(given, say("0 to 1, 2 to 20"), "label:tau=0.5"))

    def fitted(self, work: Work) -> "_Judge":
        rows = [row for row in work.train if not row.parent]
        if any(isinstance(row.target, tuple) and any(isinstance(p, Span) for p in row.target) for row in rows):
            given = say("the filter 'label' for rows with labelled spans")
            raise UsageError(problem(given, say("a task with a label for the whole text"), say("leave it out")))
        folds = np.array([_fold(row, self.folds) for row in rows])
        if len(set(folds.tolist())) < 2 or len(rows) < 2 * self.folds:
            given = say("the filter 'label' has {n} original rows to learn from", n=len(rows))
            raise DataError(problem(given, say("at least {n}", n=2 * self.folds), say("leave 'label' out")))
        return _Judge(work.task, rows, folds, self)


@dataclass
class _Judge:
    task: Task
    rows: list[Row]
    folds: np.ndarray
    s: Label
    answers: dict[int, Answer] = field(default_factory=dict)  # fitted when first asked
    told: str = ""
    room: float | None = None  # regression: how far answers may be off, as 95 of 100 originals are

    def whys(self, changes: Sequence[Change]) -> list[str]:
        fold_N = np.array([_fold(change.parent, self.s.folds) for change in changes])
        found = [""] * len(changes)
        for fold in sorted(set(fold_N.tolist())):
            mine = np.flatnonzero(fold_N == fold).tolist()
            children = [changes[i].child for i in mine]
            for i, kept in zip(mine, self._kept(fold, children), strict=True):
                found[i] = "" if kept else say("another label")
        return found

    def _kept(self, fold: int, rows: Rows) -> np.ndarray:
        said_NC, targets = self._answer(fold)(rows), self.task.encode(rows)
        if self.task.objective == "mean_squared_error":
            return np.asarray(np.abs(said_NC - targets)[:, 0] <= self._room())
        if self.task.objective == "cross_entropy":
            p_N = np.exp(said_NC)[np.arange(len(rows)), targets]
            return np.asarray((said_NC.argmax(1) == targets) & (p_N >= self.s.tau))
        p_NC = 1 / (1 + np.exp(-said_NC))
        right_NC = np.where(targets > 0.5, p_NC, 1 - p_NC)
        return np.asarray(right_NC.min(1) >= max(self.s.tau, 0.5))

    def _answer(self, fold: int) -> Answer:
        if fold not in self.answers:
            from burnish.measure.baselines import fit_tfidf

            learn = [row for row, other in zip(self.rows, self.folds, strict=True) if other != fold]
            self.answers[fold] = fit_tfidf(self.task, learn, 0)
        return self.answers[fold]

    def _room(self) -> float:
        if self.room is None:
            errors = []
            for fold in sorted(set(self.folds.tolist())):
                held = [row for row, f in zip(self.rows, self.folds, strict=True) if f == fold]
                errors.append(np.abs(self._answer(fold)(held) - self.task.encode(held))[:, 0])
            self.room = float(np.percentile(np.concatenate(errors), 95))
        return self.room


def _fold(row: Row, folds: int) -> int:
    """By its text, so that equal texts share a fold."""
    digest = hashlib.blake2b(group_key(row).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) % folds
