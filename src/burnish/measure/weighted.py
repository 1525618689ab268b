"""Scores of many bootstrap resamples at once: each metric written as a function of how often each row was
drawn.

A resample is a row of counts w (row n was drawn w_n times). Most metrics are functions of weighted sums over
rows, so a matrix product scores thousands of resamples; ranks and curves need one sort for all of them. A
metric that is not written here still works, one resample at a time, through `task.score`.

Shapes: N = rows, R = resamples, C = labels, K = sums kept per row.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from burnish.core import Task

__all__ = ["Scorer", "draws", "left_out", "resampled", "scorer"]

Scorer = Callable[[np.ndarray], np.ndarray]  # counts w_RN, float64 -> score_R, higher is better

_CHUNK = 2_000_000  # entries of w_RN held at once, 16 MB
_BINS = 15  # of confidence, as in the task's own calibration_error


def resampled(scorers: list[Scorer], rows: int, *, seed: int, resamples: int) -> np.ndarray:
    """Score the same resamples with every scorer (which makes a comparison paired): [S, R]."""
    rng = np.random.default_rng(seed)
    chunk = max(1, min(resamples, _CHUNK // max(rows, 1)))
    parts = []
    for start in range(0, resamples, chunk):
        w_RN = draws(rng, min(chunk, resamples - start), rows)
        parts.append(np.stack([score(w_RN) for score in scorers]))
    return np.concatenate(parts, axis=1)


def draws(rng: np.random.Generator, resamples: int, rows: int) -> np.ndarray:
    """How often each row is drawn when `rows` are drawn with replacement, float64 [R, N]; each line sums to
    N.
    """
    drawn_RN = rng.integers(0, rows, size=(resamples, rows)) + rows * np.arange(resamples)[:, None]
    return np.bincount(drawn_RN.ravel(), minlength=resamples * rows).reshape(resamples, rows).astype(np.float64)


def left_out(score: Scorer, rows: int) -> np.ndarray:
    """The score without each row in turn (the jackknife), [N]."""
    chunk = max(1, _CHUNK // rows)
    parts = [score(1.0 - np.eye(rows)[start : start + chunk]) for start in range(0, rows, chunk)]
    return np.concatenate(parts)


def scorer(task: Task, outputs_NC: np.ndarray, targets: np.ndarray) -> Scorer:
    """Return `task.score` as a function of row counts. The sign is the task's: higher is better."""
    if task.objective == "cross_entropy":
        found = _classify(task.metric, outputs_NC, targets)
    elif task.objective == "binary_cross_entropy":
        found = _multilabel(task.metric, outputs_NC, targets)
    elif task.objective == "mean_squared_error":
        found = _regress(task.metric, outputs_NC, targets)
    else:
        found = _tallied(task, outputs_NC, targets)
    return found or _one_by_one(task, outputs_NC, targets)


def _tallied(task: Any, outputs: np.ndarray, targets: np.ndarray) -> Scorer | None:
    """Of a task about words, which says itself what sums its metric is made of."""
    sums = getattr(task, "tallies", None)
    tallies_NK = None if sums is None else sums(outputs, targets)
    if tallies_NK is None:
        return None
    return lambda w_RN: np.asarray(task.of_tallies(w_RN @ tallies_NK))


def _one_by_one(task: Task, outputs_NC: np.ndarray, targets: np.ndarray) -> Scorer:
    def score(w_RN: np.ndarray) -> np.ndarray:
        drawn = [np.repeat(np.arange(len(targets)), w_N.astype(int)) for w_N in w_RN]
        return np.array([task.score(outputs_NC[i], targets[i]) for i in drawn])

    return score


def _mean(value_N: np.ndarray) -> Scorer:
    value_N = np.asarray(value_N, dtype=np.float64)
    return lambda w_RN: w_RN @ value_N / w_RN.sum(1)


# --- one label of several


def _classify(metric: str, outputs_NC: np.ndarray, target_N: np.ndarray) -> Scorer | None:
    from scipy.special import log_softmax

    answer_N, width = outputs_NC.argmax(1), outputs_NC.shape[1]
    log_p_NC = log_softmax(outputs_NC.astype(np.float64), axis=1)
    if metric == "accuracy":
        return _mean(answer_N == target_N)
    if metric == "log_loss":
        return _mean(np.maximum(log_p_NC[np.arange(len(target_N)), target_N], np.log(1e-12)))
    if metric == "calibration_error":
        return _calibration(np.exp(log_p_NC.max(1)), answer_N == target_N)
    if metric == "auroc" and width == 2:
        return _auroc(np.exp(log_p_NC[:, 1]), target_N == 1)
    reduce = {"macro_f1": _macro_f1, "mcc": _matthews, "f1": _positive_f1}.get(metric)
    if reduce is None or (metric == "f1" and width != 2):
        return None
    true_NC, said_NC = np.eye(width)[target_N], np.eye(width)[answer_N]
    hit_NC = true_NC * said_NC
    return lambda w_RN: reduce(w_RN @ hit_NC, w_RN @ true_NC, w_RN @ said_NC)


def _f1(hit_RC: np.ndarray, true_RC: np.ndarray, said_RC: np.ndarray) -> np.ndarray:
    return np.asarray(2 * hit_RC / np.maximum(true_RC + said_RC, 1))


def _positive_f1(hit_RC: np.ndarray, true_RC: np.ndarray, said_RC: np.ndarray) -> np.ndarray:
    return np.asarray(_f1(hit_RC, true_RC, said_RC)[:, 1])


def _macro_f1(hit_RC: np.ndarray, true_RC: np.ndarray, said_RC: np.ndarray) -> np.ndarray:
    seen_RC = true_RC + said_RC > 0
    return np.asarray((_f1(hit_RC, true_RC, said_RC) * seen_RC).sum(1) / np.maximum(seen_RC.sum(1), 1))


def _matthews(hit_RC: np.ndarray, true_RC: np.ndarray, said_RC: np.ndarray) -> np.ndarray:
    total_R = true_RC.sum(1)
    above_R = hit_RC.sum(1) * total_R - (true_RC * said_RC).sum(1)
    below_R = (total_R**2 - (said_RC**2).sum(1)) * (total_R**2 - (true_RC**2).sum(1))
    return np.asarray(np.where(below_R > 0, above_R / np.sqrt(np.maximum(below_R, 1)), 0.0))


def _calibration(confidence_N: np.ndarray, right_N: np.ndarray) -> Scorer:
    bin_N = np.minimum((confidence_N * _BINS).astype(int), _BINS - 1)
    gap_NB = np.eye(_BINS)[bin_N] * (confidence_N - right_N)[:, None]
    return lambda w_RN: -np.abs(w_RN @ gap_NB).sum(1) / w_RN.sum(1)


def _auroc(score_N: np.ndarray, positive_N: np.ndarray) -> Scorer:
    order_N, starts_G = _sorted_groups(score_N)

    def score(w_RN: np.ndarray) -> np.ndarray:
        up_RG = np.add.reduceat((w_RN * positive_N)[:, order_N], starts_G, axis=1)
        down_RG = np.add.reduceat((w_RN * ~positive_N)[:, order_N], starts_G, axis=1)
        won_R = (up_RG * (np.cumsum(down_RG, axis=1) - down_RG / 2)).sum(1)
        pairs_R = up_RG.sum(1) * down_RG.sum(1)
        return np.where(pairs_R > 0, won_R / np.maximum(pairs_R, 1), np.nan)

    return score


# --- any number of labels


def _multilabel(metric: str, outputs_NC: np.ndarray, targets_NC: np.ndarray) -> Scorer | None:
    from scipy.special import log_expit

    answer_NC, true_NC = outputs_NC > 0, targets_NC > 0.5
    if metric == "exact_match":
        return _mean((answer_NC == true_NC).all(1))
    if metric == "hamming_accuracy":
        return _mean((answer_NC == true_NC).mean(1))
    if metric == "log_loss":
        signed_NC = np.where(true_NC, outputs_NC, -outputs_NC).astype(np.float64)
        return _mean(np.maximum(log_expit(signed_NC), np.log(1e-12)).mean(1))
    hit_NC = (answer_NC & true_NC).astype(np.float64)
    size_NC = answer_NC.astype(np.float64) + true_NC
    if metric == "micro_f1":
        hit_N, size_N = hit_NC.sum(1), size_NC.sum(1)
        return lambda w_RN: 2 * (w_RN @ hit_N) / np.maximum(w_RN @ size_N, 1)
    return _label_f1(hit_NC, size_NC, true_NC.astype(np.float64)) if metric == "macro_f1" else None


def _label_f1(hit_NC: np.ndarray, size_NC: np.ndarray, true_NC: np.ndarray) -> Scorer:
    def score(w_RN: np.ndarray) -> np.ndarray:
        seen_RC = w_RN @ true_NC > 0
        f1_RC = 2 * (w_RN @ hit_NC) / np.maximum(w_RN @ size_NC, 1)
        return np.asarray((f1_RC * seen_RC).sum(1) / np.maximum(seen_RC.sum(1), 1))

    return score


# --- a number


def _regress(metric: str, outputs_NC: np.ndarray, targets: np.ndarray) -> Scorer | None:
    said_N, true_N = outputs_NC[:, 0].astype(np.float64), targets.reshape(-1).astype(np.float64)
    squared_N = (said_N - true_N) ** 2
    if metric == "mae":
        return _mean(-np.abs(said_N - true_N))
    if metric == "rmse":
        return lambda w_RN: -np.sqrt(w_RN @ squared_N / w_RN.sum(1))
    if metric == "pearson":
        return lambda w_RN: _pearson(w_RN, said_N - said_N.mean(), true_N - true_N.mean())
    if metric == "spearman":
        return _spearman(said_N, true_N)
    return _r2(squared_N, true_N - true_N.mean()) if metric == "r2" else None


def _r2(squared_N: np.ndarray, true_N: np.ndarray) -> Scorer:
    def score(w_RN: np.ndarray) -> np.ndarray:
        total_R = w_RN.sum(1)
        spread_R = w_RN @ true_N**2 / total_R - (w_RN @ true_N / total_R) ** 2
        alive_R = spread_R > 1e-12 * (true_N**2).max(initial=1e-300)
        return np.where(alive_R, 1 - w_RN @ squared_N / total_R / np.where(alive_R, spread_R, 1), 0.0)

    return score


def _pearson(w_RN: np.ndarray, a_N: np.ndarray, b_N: np.ndarray) -> np.ndarray:
    """Weighted correlation. `a_N`, `b_N` are [N] or [R, N] and already roughly centred, so that sums lose no
    digits.
    """
    total_R = w_RN.sum(1)
    wa_RN = w_RN * a_N
    mean_a_R, mean_b_R = wa_RN.sum(1) / total_R, (w_RN * b_N).sum(1) / total_R
    ab_R = (wa_RN * b_N).sum(1) / total_R - mean_a_R * mean_b_R
    aa_R = (wa_RN * a_N).sum(1) / total_R - mean_a_R**2
    bb_R = (w_RN * b_N * b_N).sum(1) / total_R - mean_b_R**2
    # A side that is constant in this resample leaves rounding dust where the task sees exactly 0.
    alive_R = (aa_R > 1e-12 * np.max(a_N * a_N)) & (bb_R > 1e-12 * np.max(b_N * b_N))
    return np.where(alive_R, ab_R / np.sqrt(np.where(alive_R, aa_R * bb_R, 1)), 0.0)


def _spearman(a_N: np.ndarray, b_N: np.ndarray) -> Scorer:
    rank_a, rank_b = _ranker(a_N), _ranker(b_N)

    def score(w_RN: np.ndarray) -> np.ndarray:
        middle_R1 = (w_RN.sum(1, keepdims=True) + 1) / 2
        return _pearson(w_RN, rank_a(w_RN) - middle_R1, rank_b(w_RN) - middle_R1)

    return score


def _ranker(x_N: np.ndarray) -> Scorer:
    """w_RN -> rank of each row in each resample, [R, N]; drawn twice or tied, rows share the mean."""
    order_N, starts_G = _sorted_groups(x_N)
    group_N = np.empty(len(x_N), dtype=int)
    group_N[order_N] = np.repeat(np.arange(len(starts_G)), np.diff(np.append(starts_G, len(x_N))))

    def ranks(w_RN: np.ndarray) -> np.ndarray:
        size_RG = np.add.reduceat(w_RN[:, order_N], starts_G, axis=1)
        return np.asarray((np.cumsum(size_RG, axis=1) - (size_RG - 1) / 2)[:, group_N])

    return ranks


def _sorted_groups(x_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order that sorts `x_N`, and where each run of equal values starts in it."""
    order_N = np.argsort(x_N, kind="stable")
    sorted_N = x_N[order_N]
    starts_G = np.flatnonzero(np.concatenate([[True], sorted_N[1:] != sorted_N[:-1]]))
    return order_N, starts_G
