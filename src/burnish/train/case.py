"""What the doctor knows before a run begins, and what it reads off one evaluation. All of it is numbers.

Shapes: N = rows, C = outputs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from burnish.core import FILL, Task
from burnish.tasks.scores import pearson, softmax
from burnish.train.parts import Facts
from burnish.units import IGNORE

__all__ = ["Case", "case_of", "look_at"]

TINY = 1e-12
# Answers of a regression that spread less than this share of the truth are one answer.
ONE_ANSWER = 0.05


@dataclass(frozen=True)
class Case:
    """Losses are those of the task's own objective, a row; regression is in standard units."""

    steps: int  # as planned
    per_epoch: int
    rows: int
    lr: float
    classes: int
    entropy: float  # loss of one who knows how often each label comes, and nothing of the texts
    chance: float  # loss of a fresh head
    usual: float | None = None  # the rate that is usual for such a model and method
    warmup: float = 0.1  # share of the steps
    plain: bool = True  # the training loss is the task's own: its level means something


def case_of(facts: Facts, *, plain: bool, usual: float | None, warmup: float) -> Case:
    entropy, chance = _levels(facts.task, _labels(facts.targets))
    return Case(
        steps=facts.steps,
        per_epoch=facts.per_epoch,
        rows=len(facts.targets),
        lr=facts.lr,
        classes=facts.task.width,
        entropy=entropy,
        chance=chance,
        usual=usual,
        warmup=warmup,
        plain=plain and facts.task.reads != "answers",  # among how many places an answer is sought differs by row
    )


def _labels(targets: np.ndarray) -> np.ndarray:
    """Targets of words as one list of labels; others as they are."""
    return targets[targets != IGNORE] if targets.ndim == 2 and targets.dtype.kind == "i" else targets


def _levels(task: Task, targets: np.ndarray) -> tuple[float, float]:
    """Entropy of the labels and loss of a fresh head."""
    if task.objective in ("cross_entropy", "word_cross_entropy"):
        return _cross(_shares(targets, task.width), targets), math.log(task.width)
    if task.objective == "binary_cross_entropy":
        return _binary(targets.mean(0), targets), math.log(2)
    return 1.0, 1.0


def _shares(targets: np.ndarray, width: int) -> np.ndarray:
    return np.bincount(targets, minlength=width) / max(1, len(targets))


def _cross(share_C: np.ndarray, targets: np.ndarray) -> float:
    return float(-np.log(np.maximum(share_C[targets], TINY)).mean())


def _binary(share_C: np.ndarray, targets: np.ndarray) -> float:
    p_C = np.clip(share_C, 1e-6, 1 - 1e-6)
    return float(-(targets * np.log(p_C) + (1 - targets) * np.log(1 - p_C)).mean())


def look_at(
    facts: Facts, outputs_NC: np.ndarray, targets: np.ndarray, metrics: Mapping[str, float], score: float
) -> dict[str, Any]:
    """What an evaluation says beyond loss and score. JSON.

    rows; score and its standard error; baseline: the score of the answer that is best without reading; entropy: the
    loss of that answer; one_answer: the share of rows with the most frequent answer; and, for one label a row,
    majority: the largest label's share; accuracy; mcc; sure_and_wrong: mean probability of wrong answers; permuted:
    accuracy after the best exchange of labels, with `exchange` [[true, said], ...] where that is another.
    """
    task, outputs_NC = facts.task, np.nan_to_num(outputs_NC)
    if task.reads != "rows":
        return _of_words(task, facts, outputs_NC, targets, score)
    prior_NC, entropy = _without_reading(facts, targets)
    found: dict[str, Any] = {
        "rows": len(targets),
        "score": score,
        "error": _standard_error(task.metric, score, len(targets)),
        "baseline": _finite(task.score(prior_NC, targets)),
        "entropy": entropy,
        "one_answer": _one_answer(task, outputs_NC, targets),
    }
    if task.objective == "cross_entropy":
        found |= _of_labels(task, outputs_NC, targets, metrics)
    if task.objective == "mean_squared_error":
        found["correlation"] = _finite(pearson(outputs_NC[:, 0].astype(float), targets.reshape(-1).astype(float)))
    return found


def _of_words(task: Task, facts: Facts, outputs_NWC: np.ndarray, targets: np.ndarray, score: float) -> dict[str, Any]:
    """The answer that is best without reading is none at all: no entity, no answer."""
    nothing, there_NW = np.where(outputs_NWC == FILL, FILL, 0.0), outputs_NWC[:, :, 0] != FILL
    if task.reads == "words":
        nothing[there_NW, 0] = 1.0
        entropy = _levels(task, _labels(facts.targets))[0]
    else:
        nothing[:, 0] = 1.0
        entropy = _places(float((facts.targets[:, 0] == 0).mean()), float(there_NW.sum(1).mean()))
    return {
        "rows": len(targets),
        "score": score,
        "error": _standard_error(task.metric, score, len(targets)),
        "baseline": _finite(task.score(nothing, targets)),
        "entropy": entropy,
        "one_answer": float(1 - task.flips(outputs_NWC, nothing).mean()),
    }


def _places(none: float, words: float) -> float:
    """Loss of one who knows how often there is no answer, and takes every word for as likely otherwise."""
    p = np.clip([none, 1 - none], 1e-6, 1)
    return float(-(p * np.log(p)).sum() + p[1] * math.log(max(words, 2)))


def _without_reading(facts: Facts, targets: np.ndarray) -> tuple[np.ndarray, float]:
    """Outputs of one who knows the training labels and reads nothing, [N, C], and their loss on these targets."""
    task, learned = facts.task, facts.targets
    if task.objective == "cross_entropy":
        share_C = np.maximum(_shares(learned, task.width), TINY)
        return np.tile(np.log(share_C), (len(targets), 1)), _cross(share_C, targets)
    if task.objective == "binary_cross_entropy":
        share_C = np.clip(learned.mean(0), 1e-6, 1 - 1e-6)
        return np.tile(np.log(share_C / (1 - share_C)), (len(targets), 1)), _binary(share_C, targets)
    scale = facts.scale
    loss = float((((targets - scale.mean) / scale.std) ** 2).mean())
    return np.full((len(targets), 1), scale.mean), loss


def _one_answer(task: Task, outputs_NC: np.ndarray, targets: np.ndarray) -> float:
    if task.objective == "mean_squared_error":
        return 1.0 if float(outputs_NC.std()) < ONE_ANSWER * float(targets.std()) else 0.0
    if task.objective == "cross_entropy":
        return float(np.bincount(outputs_NC.argmax(1)).max() / len(outputs_NC))
    _, count = np.unique(outputs_NC > 0, axis=0, return_counts=True)
    return float(count.max() / len(outputs_NC))


def _of_labels(task: Task, outputs_NC: np.ndarray, targets: np.ndarray, metrics: Mapping[str, float]) -> dict[str, Any]:
    answer_N = outputs_NC.argmax(1)
    wrong_N = answer_N != targets
    table_CC = np.zeros((task.width, task.width))
    np.add.at(table_CC, (targets, answer_N), 1)
    said_C = _best_exchange(table_CC)
    other = [[task.labels[i], task.labels[j]] for i, j in enumerate(said_C) if i != j and table_CC[i, j]]
    return {
        "majority": float(table_CC.sum(1).max() / len(targets)),
        "accuracy": float(1 - wrong_N.mean()),
        "mcc": _finite(metrics.get("mcc", 0.0)),
        "macro_f1": _finite(metrics.get("macro_f1", 0.0)),
        "sure_and_wrong": float(softmax(outputs_NC)[wrong_N].max(1).mean()) if wrong_N.any() else 0.0,
        "permuted": float(table_CC[np.arange(task.width), said_C].sum() / len(targets)),
        "exchange": other,
    }


def _best_exchange(table_CC: np.ndarray) -> np.ndarray:
    """For each true label, the answer that stands for it when labels are exchanged so as to fit best."""
    if (table_CC.argmax(1) == np.arange(len(table_CC))).all():
        return np.arange(len(table_CC))
    from scipy.optimize import linear_sum_assignment

    # A label that changes nothing by moving stays where it is.
    return np.asarray(linear_sum_assignment(table_CC + 1e-6 * np.eye(len(table_CC)), maximize=True)[1])


def _standard_error(metric: str, score: float, rows: int) -> float:
    """About: of a share of rows; of a correlation; of an error, which is told negated, as of a standard deviation."""
    if not math.isfinite(score):
        return math.inf
    if metric in ("pearson", "spearman", "mcc", "r2"):
        return max(1 - score**2, 1 / rows) / math.sqrt(rows)
    if score < 0:
        return -score / math.sqrt(2 * rows)
    return math.sqrt(max(score * (1 - score), 1 / rows) / rows)


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else 0.0
