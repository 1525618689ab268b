"""An interval round every score, and paired comparisons: both models on the same rows, so luck cancels out.

Papers: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927
(proportions); Efron, "Better bootstrap confidence intervals", JASA 1987 (every other metric: resampled rows,
BCa interval); Efron & Tibshirani, "An Introduction to the Bootstrap", 1993 (paired drops: percentile
interval, whose p it shares); McNemar, "Note on the sampling error of the difference between correlated
proportions", Psychometrika 1947 (exact form: a two-sided binomial test on the rows where exactly one model is
right); Bonett & Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on
paired data", JEBS 2012; Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
of Statistics 1979.

Where we part from the textbook: a bootstrap that never saw a difference answers "exactly none". With no row
changed it then takes the interval of a proportion with no changed row, so that 50 rows never prove more than
50 rows can.

Every function is pure and repeats exactly under its seed. Shapes: N = rows, C = outputs a row, R = resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from burnish.core import Task
from burnish.errors import UsageError, problem
from burnish.measure.weighted import Scorer, left_out, resampled, scorer
from burnish.words import say

__all__ = ["Drop", "Estimate", "beats_baseline", "holm", "interval", "paired_drop", "right_rows", "wilson"]


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its interval, in the unit of the value (a fraction for a score)."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Drop:
    """How much worse the candidate is, in points (100 x the metric): above 0 the candidate is worse.

    `p` is two-sided: how often two equal models would come out at least this far apart.
    """

    value: float
    low: float
    high: float
    p: float
    unit: str = "points"
    paired: bool = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def interval(
    task: Task,
    outputs_NC: np.ndarray,
    targets: np.ndarray,
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Estimate:
    """The task's primary score with its interval; a loss comes negated, so that higher is always better.

    Wilson where the score is a share of rows, otherwise the BCa bootstrap over rows. 2,000 rows take well
    under a second. Raises UsageError when there are no rows, or the metric is undefined on them.
    """
    outputs_NC = np.asarray(outputs_NC, np.float32)  # as stored, so that a recount gives the same bits
    value = _score(task, outputs_NC, targets)
    right_N = right_rows(task, outputs_NC, targets)
    if right_N is not None:
        return wilson(int(right_N.sum()), len(right_N), level)
    score = scorer(task, outputs_NC, targets)
    score_R = resampled([score], len(targets), seed=seed, resamples=resamples)[0]
    low, high = _bca(score, score_R, value, len(targets), level)
    if high - low < 1e-12 and _is_share(task):
        # Every row right (or every row wrong): resampling the same rows cannot imagine another kind.
        room = 1 - wilson(len(targets), len(targets), level).low
        low, high = max(low - room, -1.0 if task.metric == "mcc" else 0.0), min(high + room, 1.0)
    return Estimate(value, min(low, value), max(high, value))


def wilson(right: int, rows: int, level: float = 0.95) -> Estimate:
    """Score interval of a proportion: `right` of `rows`. Never leaves [0, 1], never has width 0."""
    z2, share = _z(level) ** 2, right / rows
    middle = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = float(np.sqrt(z2 * (share * (1 - share) / rows + z2 / (4 * rows**2)))) / (1 + z2 / rows)
    return Estimate(share, max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share)))


def paired_drop(
    task: Task,
    reference_NC: np.ndarray,
    candidate_NC: np.ndarray,
    targets: np.ndarray,
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Drop:
    """How many points the candidate loses against the reference on the same rows, with interval and p.

    Where the score is a share of rows: Bonett-Price interval and exact McNemar p. Otherwise: percentile
    interval and p of the paired bootstrap (every resample scores both models on the same drawn rows). Outputs
    that are the same in every bit differ by exactly 0. Raises UsageError when there are no rows or the shapes
    do not fit.
    """
    reference_NC, candidate_NC = np.asarray(reference_NC, np.float32), np.asarray(candidate_NC, np.float32)
    if reference_NC.shape != candidate_NC.shape:
        given = say("outputs of shape {a} and {b}", a=reference_NC.shape, b=candidate_NC.shape)
        hint = say("compare two runs on the same rows and labels")
        raise UsageError(problem(given, say("two models on the same rows, with the same labels"), hint))
    value = 100 * (_score(task, reference_NC, targets) - _score(task, candidate_NC, targets))
    if np.array_equal(reference_NC, candidate_NC):
        return Drop(0.0, 0.0, 0.0, 1.0)
    right_a, right_b = right_rows(task, reference_NC, targets), right_rows(task, candidate_NC, targets)
    if right_a is not None and right_b is not None:
        lost, won = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
        low, high = _bonett_price(lost, won, len(targets), level)
        return Drop(value, 100 * low, 100 * high, mcnemar(lost, won))
    scorers = [scorer(task, reference_NC, targets), scorer(task, candidate_NC, targets)]
    both_SR = resampled(scorers, len(targets), seed=seed, resamples=resamples)
    drop_R = both_SR[0] - both_SR[1]
    low, high = _percentiles(drop_R, level)
    if high - low < 1e-12 and _is_share(task):
        below, above = _bonett_price(0, 0, len(targets), level)
        low, high = max(-1.0, low + below), min(1.0, high + above)
    return Drop(value, min(100 * low, value), max(100 * high, value), _bootstrap_p(drop_R))


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided p that `lost` and `won` rows are sides of a fair coin; 1 when no row differs."""
    from scipy.stats import binomtest

    return float(binomtest(lost, lost + won, 0.5).pvalue) if lost + won else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values, in the same order: the chance of even one false alarm stays at the level."""
    order = np.argsort(p_values, kind="stable")
    raised = np.asarray(p_values, dtype=float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return [float(p) for p in adjusted]


def beats_baseline(
    task: Task,
    outputs_NC: np.ndarray,
    baselines: Mapping[str, np.ndarray],
    targets: np.ndarray,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Is the model better than the best baseline? {"name", "gain" in points, "p", "better"}.

    `better` needs a gain above 0 whose p is below .05. Testing only the strongest needs no correction: the
    claim is that the model beats every baseline, and that is the hardest of them.
    """
    name = max(baselines, key=lambda n: task.score(np.asarray(baselines[n], np.float32), targets))
    gain = paired_drop(task, outputs_NC, baselines[name], targets, seed=seed)
    shown = {"value": gain.value, "low": gain.low, "high": gain.high, "unit": gain.unit}
    return {"name": name, "gain": shown, "p": gain.p, "better": bool(gain.value > 0 and gain.p < 0.05)}


def right_rows(task: Task, outputs_NC: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
    """Which rows the task's metric counts as right, bool [N]; None when the metric is not a share of rows."""
    if task.objective == "cross_entropy" and task.metric == "accuracy":
        return np.asarray(outputs_NC.argmax(1) == targets)
    if task.objective == "binary_cross_entropy" and task.metric == "exact_match":
        return np.asarray(((outputs_NC > 0) == (targets > 0.5)).all(1))
    return None


def _is_share(task: Task) -> bool:
    """Metrics with a perfect value, which no resample of perfect answers can leave."""
    return task.metric in (
        "macro_f1", "f1", "mcc", "micro_f1", "hamming_accuracy", "auroc", "precision", "recall", "exact_match"
    )  # fmt: skip


def _score(task: Task, outputs_NC: np.ndarray, targets: np.ndarray) -> float:
    if len(targets) == 0 or len(targets) != len(outputs_NC):
        given = say("{a} rows of outputs for {b} targets", a=len(outputs_NC), b=len(targets))
        raise UsageError(problem(given, say("at least one row, and as many of each"), say("burnish check DATA")))
    # Among outputs that are not numbers argmax still finds a winner, so accuracy alone would not notice.
    value = task.score(outputs_NC, targets) if np.isfinite(outputs_NC).all() else float("nan")
    if not np.isfinite(value):
        given = say("{metric} is undefined on these {n} rows", metric=task.metric, n=len(targets))
        expected = say("rows on which it means something: both labels there, and finite outputs")
        raise UsageError(problem(given, expected, say("another --metric, or more rows")))
    return float(value)


# The correction shrinks like 1 / sqrt(rows); past this many rows it is noise, and its cost (rows squared) is not.
_BCA_ROWS = 2000
# Some metrics are worse on every resample than on the rows themselves (a calibration error, since drawn rows
# repeat). No percentile then reaches round the value, so the spread of the resamples is put there.
_BIASED = 0.75


def _bca(score: Scorer, score_R: np.ndarray, value: float, rows: int, level: float) -> tuple[float, float]:
    """Percentiles moved for bias (z0) and for a spread that changes with the value (a), Efron 1987.

    Needed on a few hundred rows near the ends of the scale: over 500 simulated sets of 100 rows the 95 %
    percentile interval of macro F1 held the truth 91 times in 100, this one 94 times.
    """
    from scipy.special import ndtr, ndtri

    score_R = score_R[np.isfinite(score_R)]
    if rows < 3 or np.ptp(score_R) < 1e-12:
        return _percentiles(score_R, level)
    below = ((score_R < value).mean() + (score_R <= value).mean()) / 2
    z0 = ndtri(np.clip(below, 1 / len(score_R), 1 - 1 / len(score_R)))
    if abs(z0) > _BIASED:
        low, high = _percentiles(score_R - score_R.mean(), level)
        return value + low, value + high
    if rows > _BCA_ROWS:
        return _percentiles(score_R, level)
    without_N = left_out(score, rows)
    pull_N = np.nanmean(without_N) - without_N[np.isfinite(without_N)]
    a = (pull_N**3).sum() / max(6 * (pull_N**2).sum() ** 1.5, 1e-30)
    z = np.array([-_z(level), _z(level)])
    low, high = np.quantile(score_R, ndtr(z0 + (z0 + z) / np.maximum(1 - a * (z0 + z), 1e-3)))
    return float(low), float(high)


def _percentiles(value_R: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.nanquantile(value_R, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _bootstrap_p(drop_R: np.ndarray) -> float:
    """Two-sided: twice the smaller share of resamples on either side of 0, never below 2 in R + 1."""
    drop_R = drop_R[np.isfinite(drop_R)]
    tail = min((drop_R <= 0).sum(), (drop_R >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (len(drop_R) + 1)))


def _bonett_price(lost: int, won: int, rows: int, level: float) -> tuple[float, float]:
    """Interval of (lost - won) / rows for paired rows, as fractions: one pseudo-row is added on each side."""
    a, b, n = lost + 1, won + 1, rows + 2
    middle = (a - b) / n
    half = _z(level) * np.sqrt(((a + b) / n - middle**2) / n)
    return float(max(-1.0, middle - half)), float(min(1.0, middle + half))


def _z(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))
