"""The smallest drop that so many rows can show, said before anything is spent.

Papers: Connor, "Sample size for testing differences in proportions for the paired-sample design", Biometrics
1987 (after Miettinen, "The matched pairs design in the case of all-or-none responses", Biometrics 1968),
`connor_rows`; Duffy, "Asymptotic and exact power for the McNemar test and its analogue with R controls per
case", Biometrics 1984. Connor's formula is for the asymptotic test and promises a little too much on few
rows; burnish tests with the exact one, so it asks the exact power and the formula is the check.

Everything here is in points (100 x the metric), at alpha .05 two-sided and power .8 unless said otherwise.
"""

import numpy as np

from burnish.core import Task
from burnish.measure.intervals import right_rows
from burnish.measure.weighted import resampled, scorer

__all__ = [
    "USUAL_DISAGREE",
    "connor_rows",
    "mcnemar_power",
    "smallest_visible_drop",
    "smallest_visible_drop_for",
]

# Before there are two models to compare, we suppose that on one row in ten just one of them is right.
# Two fine-tunings of one model with different seeds differ about this much; a quantised twin differs less.
USUAL_DISAGREE = 0.10


def smallest_visible_drop(
    rows: int, disagree: float = USUAL_DISAGREE, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """The smallest true drop, in points, that an exact McNemar test on `rows` rows shows with this power.

    `disagree` is the share of rows, 0..1, where exactly one of the two models is right. A drop can never be
    larger than that share: where even a one-sided disagreement would stay hidden, the answer is the drop at
    which it would not. 100 means that so few rows show nothing at all.
    """
    if mcnemar_power(rows, 1.0, 1.0, alpha) < power:
        return 100.0
    low, high = 0.0, 1.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        seen = mcnemar_power(rows, max(disagree, middle), middle, alpha) >= power
        low, high = (low, middle) if seen else (middle, high)
    return round(100 * high, 3)


def mcnemar_power(rows: int, disagree: float, drop: float, alpha: float = 0.05) -> float:
    """Power of the exact two-sided McNemar test; `disagree` and `drop` are fractions with drop <= disagree.

    The number m of rows that disagree is binomial(rows, disagree); of these, binomial(m, (1 +
    drop/disagree)/2) are losses. Sums over all m that matter (8 standard deviations).
    """
    from scipy.stats import binom

    spread = 8 * np.sqrt(rows * disagree * (1 - disagree)) + 8
    m_M = np.arange(max(0, int(rows * disagree - spread)), min(rows, int(rows * disagree + spread)) + 1)
    # Reject when the smaller side has at most k rows: the largest k with 2 P(X <= k) <= alpha under a fair
    # coin.
    k_M = binom.ppf(alpha / 2, m_M, 0.5) - 1
    k_M += 2 * binom.cdf(k_M + 1, m_M, 0.5) <= alpha
    loss = min((1 + drop / disagree) / 2, 1.0)
    reject_M = binom.cdf(k_M, m_M, loss) + binom.sf(m_M - k_M - 1, m_M, loss)
    return float((binom.pmf(m_M, rows, disagree) * np.where(k_M >= 0, reject_M, 0.0)).sum())


def connor_rows(disagree: float, drop: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Rows that the asymptotic McNemar test needs (Connor 1987); fractions, 0 < drop <= disagree."""
    from scipy.special import ndtri

    z_alpha, z_beta = float(ndtri(1 - alpha / 2)), float(ndtri(power))
    root = z_alpha * disagree**0.5 + z_beta * (disagree - drop**2) ** 0.5
    return float((root / drop) ** 2)


def smallest_visible_drop_for(
    task: Task,
    outputs_NC: np.ndarray,
    others_NC: np.ndarray | None,
    targets: np.ndarray,
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> float:
    """The smallest drop, in points of the task's own metric, that these rows show with power .8.

    Shares of rows: the McNemar answer above, at the disagreement seen between the two models. Other metrics:
    2.8 (1.96 + 0.84) bootstrap standard errors of the paired difference. Without `others_NC`,
    `USUAL_DISAGREE` for the first; for the second 2.8 standard errors of the one score, which is what two
    models whose errors correlate by one half would have: cautious for two versions of one model.
    """
    right_N = right_rows(task, outputs_NC, targets)
    if right_N is not None:
        if others_NC is None:
            return smallest_visible_drop(len(targets))
        other_N = right_rows(task, others_NC, targets)
        return smallest_visible_drop(len(targets), max(float((right_N != other_N).mean()), 1 / len(targets)))
    scorers = [scorer(task, x, targets) for x in (outputs_NC, others_NC) if x is not None]
    score_SR = resampled(scorers, len(targets), seed=seed, resamples=resamples)
    spread_R = score_SR[0] - score_SR[1] if len(score_SR) == 2 else score_SR[0]
    return round(280 * float(np.nanstd(spread_R)), 3)
