"""A cheap stand-in for training: what do new rows bring to a linear model on the work's own vectors?

    training rows ──split, anew each turn──► learn ──technique──► learn + new ──fit──► score on held ┐ paired: a gain
                                        └──► held                 learn, as heavy ──fit──► score     ┘

The vectors of a text are the mean over the tokens of the encoder's last layer, frozen, so a fit takes milliseconds and
a new row costs one forward pass. Without the new rows the old ones weigh as much as both would, as if they were there
more than once: as many steps. The validation rows are not touched but by `look`, once, at the end.

Papers: Alain & Bengio, arXiv:1610.01644 (linear probes); Nadeau & Bengio, "Inference for the Generalization Error",
Machine Learning 2003 (the variance of scores on splits that share rows).
What it cannot see: what only a tuned encoder could learn from the new rows.

Shapes: N = rows, H = width of the vectors, C = outputs, J = turns.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from burnish.augment._alike import _Remembering, reader_of
from burnish.core import Desk, Row, Rows, Step, Work, desk, lend
from burnish.errors import DataError, UsageError, problem
from burnish.measure.intervals import paired_drop
from burnish.words import say

__all__ = ["Arm", "Proxy", "corrected"]

HELD = 0.25  # of the rows, in each turn
FEWEST = 16  # rows that can be split at all
STRENGTH = 0.1  # scikit-learn's C, on standardised vectors


@dataclass
class Arm:
    """A technique with its settings, and what it brought in each turn so far."""

    name: str
    steps: tuple[Step, ...]
    gains: dict[int, float] = field(default_factory=dict)  # turn -> points
    new: int = 0
    seconds: float = 0.0
    why: str = ""  # it is out of the race
    chosen: bool = False

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.gains.values()))) if self.gains else 0.0

    def to_json(self, turns: Sequence[int] | None = None) -> dict[str, Any]:
        gains = [g for turn, g in self.gains.items() if turns is None or turn in turns]
        found: dict[str, Any] = {"name": self.name, "pairs": len(gains), "seconds": round(self.seconds, 2)}
        found |= {"new": self.new, "why": self.why, "chosen": self.chosen}
        if gains:
            value, low, high = corrected(gains)
            found |= {"gain": value, "low": low, "high": high}
        return found


def corrected(gains: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """The mean gain over J random splits of the same rows, and its interval (Nadeau & Bengio); one split has none.

    >>> corrected([2.0, 2.0])
    (2.0, 2.0, 2.0)
    """
    from scipy.stats import t as student

    mean, turns = float(np.mean(gains)), len(gains)
    if turns < 2:
        return mean, -float("inf") if mean else mean, float("inf") if mean else mean
    deviation = (float(np.var(gains, ddof=1)) * (1 / turns + HELD / (1 - HELD))) ** 0.5
    half = float(student.ppf((1 + level) / 2, turns - 1)) * deviation
    return mean, mean - half, mean + half


class Proxy:
    """Turns with the same number have the same split, whatever is tried in them: gains are paired."""

    def __init__(self, work: Work, most: int, seed: int):
        self.work, self.seed = work, seed
        if work.task.reads != "rows":
            given = say("a policy for {task}", task=work.task.name)
            raise UsageError(problem(given, say("a task with one answer a row"), say("name a technique instead")))
        rows = [row for row in work.train if not row.parent]
        self.rows = random.Random(f"{seed}/rows").sample(rows, most) if len(rows) > most else rows
        if len(self.rows) < FEWEST:
            given = say("{n} rows to choose a technique with", n=len(self.rows))
            raise DataError(problem(given, say("at least {n}", n=FEWEST), say("name a technique instead")))
        self.reader, self.evaluations = _Remembering(reader_of(work)), 0
        self._plain: dict[tuple[int, float], float] = {}

    def try_(self, arm: Arm, turn: int) -> None:
        """Add the arm's gain in this turn, in points."""
        if turn in arm.gains:
            return
        start = time.monotonic()
        learn, held = self.split(turn)
        new = self.made(arm, learn, held, turn)
        mass = sum(row.weight for row in new)
        if (turn, mass) not in self._plain:
            self._plain[turn, mass] = self._score(learn, [], held, 1 + mass / len(learn))
        arm.gains[turn] = 100 * (self._score(learn, new, held, 1.0) - self._plain[turn, mass])
        arm.new, arm.seconds = len(new), arm.seconds + time.monotonic() - start
        self.evaluations += 1

    def split(self, turn: int) -> tuple[list[Row], list[Row]]:
        """Three quarters to learn from and the rest, drawn anew each turn, each label apart where labels are single."""
        rng, groups = random.Random(f"{self.seed}/split/{turn}"), dict[Any, list[Row]]()
        for row in self.rows:
            groups.setdefault(row.target if isinstance(row.target, str) else None, []).append(row)
        held: set[str] = set()
        for _, members in sorted(groups.items(), key=lambda item: str(item[0])):
            share = HELD * len(members)
            count = int(share) + (rng.random() < share % 1)
            held.update(row.id for row in rng.sample(members, count))
        return [r for r in self.rows if r.id not in held], [r for r in self.rows if r.id in held]

    def made(self, arm: Arm, learn: Rows, held: Rows, turn: int) -> list[Row]:
        """New rows; nobody is told of them, since nobody keeps them."""
        inner = replace(self.work, train=list(learn), valid=list(held))
        with lend(Desk(deadline=desk().deadline)):
            for i, step in enumerate(arm.steps):
                inner = step(inner, random.Random(f"{self.seed}/{arm.name}/{turn}/{i}"))
        return list(inner.train[len(learn) :])

    def look(self, arm: Arm) -> dict[str, Any]:
        """The one look at the validation rows: the drop from without to with, as paired rows give it."""
        if not self.work.valid:
            return {}
        new, valid = self.made(arm, self.rows, self.work.valid, -1), self.work.valid
        targets, mass = self.work.task.encode(valid), sum(row.weight for row in new)
        plain_NC = self._outputs(self.rows, [], valid, 1 + mass / len(self.rows))
        return paired_drop(self.work.task, plain_NC, self._outputs(self.rows, new, valid, 1.0), targets).to_json()

    def _score(self, learn: Rows, new: Rows, held: Rows, weight: float) -> float:
        return float(self.work.task.score(self._outputs(learn, new, held, weight), self.work.task.encode(held)))

    def _outputs(self, learn: Rows, new: Rows, held: Rows, weight: float) -> np.ndarray:
        x_NH, z_NH = self._vectors([*learn, *new]), self._vectors(held)
        mean_H, std_H = x_NH[: len(learn)].mean(0), x_NH[: len(learn)].std(0)
        std_H[std_H < 1e-9] = 1.0
        targets = self.work.task.encode([*learn, *new])
        weight_N = np.array([row.weight * weight for row in learn] + [row.weight for row in new])
        return _fitted((x_NH - mean_H) / std_H, targets, weight_N, (z_NH - mean_H) / std_H, self.work.task)

    def _vectors(self, rows: Rows) -> np.ndarray:
        first = self.reader.vectors([row.text for row in rows])
        if rows[0].pair is None:
            return first
        second = self.reader.vectors([row.pair or "" for row in rows])
        return np.concatenate([first, second, np.abs(first - second)], axis=1)


def _fitted(x_NH: np.ndarray, targets: np.ndarray, weight_N: np.ndarray, z_MH: np.ndarray, task: Any) -> np.ndarray:
    """Outputs [M, C] for the rows `z_MH` of a linear model of the task's own kind."""
    from sklearn.linear_model import LogisticRegression, Ridge

    if task.objective == "mean_squared_error":
        made = Ridge(alpha=1 / STRENGTH).fit(x_NH, targets, sample_weight=weight_N)
        return np.asarray(made.predict(z_MH), np.float32).reshape(len(z_MH), -1)

    def logistic(label_N: np.ndarray) -> Any:
        return LogisticRegression(C=STRENGTH, max_iter=500).fit(x_NH, label_N, sample_weight=weight_N)

    said_MC = np.full((len(z_MH), task.width), -20.0, np.float32)  # a label that was not seen is not said
    if task.objective == "cross_entropy":
        seen = np.unique(targets)
        if len(seen) > 1:
            said_MC[:, seen] = logistic(targets).predict_log_proba(z_MH)
        else:
            said_MC[:, seen] = 0.0
        return said_MC
    for c in range(task.width):
        yes_N = targets[:, c] > 0.5
        one = bool(yes_N.all() or not yes_N.any())
        said_MC[:, c] = (20.0 if yes_N[0] else -20.0) if one else logistic(yes_N).decision_function(z_MH)
    return said_MC
