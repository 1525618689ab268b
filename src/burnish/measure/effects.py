"""What one technique of several did: effects alone and in company, and a verdict that says when it is not known.

Paper: Holm 1979 (see burnish.measure.intervals) for the many comparisons. The interaction is the difference of
differences of a two-by-two design (Fisher, "The design of experiments", 1935), with a paired bootstrap. What is
trained anew for each seed has two kinds of luck, of the rows and of the seed; their variances add up, and the degrees
of freedom are those of Satterthwaite, "An Approximate Distribution of Estimates of Variance Components", Biometrics
Bulletin 1946.

Shapes: N = rows, C = outputs, S = seeds, R = resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from burnish.core import Task
from burnish.measure.intervals import Drop, Estimate, paired_drop
from burnish.measure.weighted import resampled, scorer
from burnish.words import say

__all__ = ["Effect", "Gain", "facts_of", "gain", "interaction", "inverse", "verdict", "verdict_of_gain"]

LEVEL = 0.05
SMALLER = 0.97  # of the bytes: less than this is a gain
RESAMPLES = 2000


@dataclass(frozen=True)
class Effect:
    """From a model without the technique to the same with it."""

    drop: Drop  # points of the primary metric that it costs
    size_ratio: float  # bytes with it / without
    speedup: Estimate  # at batch 1
    load_speedup: Estimate  # at the served load
    memory_ratio: float  # resident bytes of a process that serves it, with / without
    p_adjusted: float = 1.0  # of the drop, good for all comparisons of the ledger

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def inverse(ratio: Estimate) -> Estimate:
    """From 'without it against with it' to the reverse."""
    return Estimate(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)


def interaction(
    task: Task, targets: np.ndarray, bare: np.ndarray, alone: np.ndarray, without: np.ndarray, whole: np.ndarray
) -> Estimate:
    """How much more a technique costs in company than alone, in points, with a 95 % interval; all outputs [N, C]."""
    scorers = [scorer(task, np.asarray(o, np.float32), targets) for o in (bare, alone, without, whole)]
    score_SR = resampled(scorers, len(targets), seed=0, resamples=RESAMPLES)
    points_R = 100 * ((score_SR[2] - score_SR[3]) - (score_SR[0] - score_SR[1]))
    one = np.array([task.score(o, targets) for o in (bare, alone, without, whole)])
    value = 100 * float((one[2] - one[3]) - (one[0] - one[1]))
    low, high = np.percentile(points_R, [2.5, 97.5])
    return Estimate(value, min(float(low), value), max(float(high), value))


def verdict(effect: Effect, limit: float) -> tuple[str, str]:
    """'helps', 'hurts' or 'cannot tell', and why; `limit` is the drop in points that was allowed for the whole."""
    lost = effect.p_adjusted < LEVEL and effect.drop.value > 0
    won = effect.p_adjusted < LEVEL and effect.drop.value < 0
    gains = _gains(effect)
    if won:
        return "helps", say("quality rises by {x:.1f} points", x=-effect.drop.value)
    if gains and not lost:
        return "helps", say("{gains}, and no loss of quality is shown", gains=", ".join(gains))
    if gains and effect.drop.value <= limit:
        return "helps", say("{gains}, for {x:.1f} points", gains=", ".join(gains), x=effect.drop.value)
    if lost:
        given = say("{gains}, but ", gains=", ".join(gains)) if gains else ""
        return "hurts", given + say("it costs {x:.1f} points", x=effect.drop.value)
    if effect.speedup.high < 1 and effect.size_ratio >= SMALLER:
        return "hurts", say("{x:.2f} times the speed, and no smaller", x=effect.speedup.value)
    return "cannot tell", say("no gain in size or speed is shown, and no change of quality")


def _gains(effect: Effect) -> list[str]:
    found = []
    if effect.size_ratio < SMALLER:
        found.append(say("{x:.0%} of the size", x=effect.size_ratio))
    if effect.speedup.low > 1:
        found.append(say("{x:.2f} times the speed", x=effect.speedup.value))
    if effect.load_speedup.low > 1 and effect.speedup.low <= 1:
        found.append(say("{x:.2f} times the rows a second under load", x=effect.load_speedup.value))
    return found


def facts_of(effect: Mapping[str, Any]) -> Effect:
    """An effect as `to_json` wrote it."""
    ratios = {k: Estimate(**effect[k]) for k in ("speedup", "load_speedup")}
    return Effect(**{**effect, "drop": Drop(**effect["drop"]), **ratios})


# -- what is trained anew for each seed ----------------------------------------------------------


@dataclass(frozen=True)
class Gain:
    """How many points of the primary metric something brings, over seeds: above 0 it helps."""

    value: float
    low: float
    high: float
    p: float
    seeds: int
    by_seed: tuple[float, ...]
    unit: str = "points"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "by_seed": list(self.by_seed)}


def gain(
    task: Task, targets: np.ndarray, without: Sequence[np.ndarray], with_: Sequence[np.ndarray], level: float = 0.95
) -> Gain:
    """The mean gain over pairs of outputs [N, C], one pair a seed, on the same rows.

    Its variance is that of the mean over resampled rows and that of the seeds' mean. What only this seed does with
    only these rows is in both, so the interval is rather too wide than too narrow. Of one pair, only the luck of the
    rows is known.
    """
    from scipy.stats import t as student

    pairs = list(zip(without, with_, strict=True))
    by_seed = tuple(100 * float(task.score(b, targets) - task.score(a, targets)) for a, b in pairs)
    value, seeds = float(np.mean(by_seed)), len(pairs)
    rows, luck = _rows_variance(task, targets, pairs), float(np.var(by_seed, ddof=1)) / seeds if seeds > 1 else 0.0
    total = rows + luck
    if seeds == 1 or total <= 0:  # one pair, or no row differs: what so many rows can show, and no more
        drop = paired_drop(task, with_[0], without[0], targets, level=level)
        return Gain(value, drop.low, drop.high, drop.p, seeds, by_seed)
    freedom = total**2 / (luck**2 / (seeds - 1) + rows**2 / max(1, len(targets) - 1))
    half, p = student.ppf((1 + level) / 2, freedom) * total**0.5, 2 * student.sf(abs(value) / total**0.5, freedom)
    return Gain(value, value - float(half), value + float(half), float(p), seeds, by_seed)


def _rows_variance(task: Task, targets: np.ndarray, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Of the mean gain in points, had other rows been drawn."""
    scorers = [scorer(task, np.asarray(o, np.float32), targets) for pair in pairs for o in pair]
    score_SR = resampled(scorers, len(targets), seed=0, resamples=RESAMPLES)
    return float(np.nanvar(100 * (score_SR[1::2] - score_SR[::2]).mean(0)))


def verdict_of_gain(found: Gain) -> tuple[str, str]:
    """'helps', 'hurts' or 'cannot tell', and why."""
    ends = {"low": found.low, "high": found.high, "n": found.seeds}
    many = say("over {n} seeds", n=found.seeds)
    told = many if found.seeds > 1 else say("with one seed, whose luck is not in the interval")
    if found.low > 0:
        return "helps", say("{x:.1f} points better ({low:.1f} to {high:.1f}) {told}", x=found.value, told=told, **ends)
    if found.high < 0:
        return "hurts", say("{x:.1f} points worse ({low:.1f} to {high:.1f}) {told}", x=-found.value, told=told,
                            **{**ends, "low": -found.high, "high": -found.low})  # fmt: skip
    given = say("no difference is shown: {x:+.1f} points ({low:+.1f} to {high:+.1f}) {told}",
                x=found.value, told=told, **ends)  # fmt: skip
    return "cannot tell", given
