"""What several diagnoses read from a diary: levels, trends, how far a run is and what was done to it so far."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from burnish.train.case import Case
from burnish.train.diary import Diary

__all__ = [
    "beats",
    "by_layer",
    "done",
    "fold_correlation",
    "longer_warmup",
    "losses",
    "lr_over_usual",
    "means",
    "rate_factor",
    "recent",
    "reference",
    "restarts",
    "short",
    "since_peak",
    "slope_t",
    "window",
]

# A window is this share of the planned steps, and at least so many steps: fewer are too noisy to compare.
WINDOW_SHARE, WINDOW_LEAST = 0.05, 12
FIRST = 5  # steps whose mean is "the loss at the start"
SURE, FAR = 2.0, 4.0  # standard errors
KNOWS = 0.98  # of the entropy: Mosbach et al. count a run within 2 % of it as failed (arXiv:2006.04884)
NUMBERED = re.compile(r"(?:layers?|blocks?|h)\.(\d+)\.")


def short(value: float) -> float:
    """Four digits are enough for evidence."""
    return float(f"{value:.4g}") if math.isfinite(value) else 0.0


def losses(diary: Diary, last: int | None = None) -> np.ndarray:
    return np.array([point["loss"] for point in (diary.curve if last is None else diary.curve[-last:])])


def window(case: Case) -> int:
    return max(WINDOW_LEAST, math.ceil(WINDOW_SHARE * case.steps))


def recent(diary: Diary, case: Case) -> tuple[float, float]:
    """Mean of the training loss over the last window, and its standard error."""
    found = losses(diary, window(case))
    return float(found.mean()), float(found.std() / math.sqrt(len(found)))


def reference(diary: Diary, case: Case) -> float:
    """The training loss of a model that has learned nothing: the labels' entropy, or else the loss at the start."""
    return case.entropy if case.plain else float(np.mean([p["loss"] for p in diary.curve[:FIRST]]))


def done(diary: Diary, case: Case) -> float:
    """The share of the planned steps."""
    return diary.curve[-1]["step"] / max(1, case.steps) if diary.curve else 0.0


def since_peak(diary: Diary) -> int:
    """Steps since the rate was highest."""
    rates = [point["lr"] for point in diary.curve]
    return len(rates) - 1 - int(np.argmax(rates)) if rates else 0


def beats(look: Mapping[str, Any]) -> bool:
    """Whether this evaluation is surely better than the answer that needs no reading.

    Of many evaluations one is lucky: the loss must agree, unless the score is far beyond luck.
    """
    above = (look["score"] - look["baseline"]) / max(look["error"], 1e-12)
    return bool(above > FAR or (above > SURE and look["valid_loss"] < KNOWS * look["entropy"]))


def slope_t(values: np.ndarray) -> float:
    """The slope of a line through the values, in its standard errors; 0 where there is no line."""
    if len(values) < 2:
        return 0.0
    x = np.arange(len(values)) - (len(values) - 1) / 2
    slope = float(x @ values / (x @ x))
    rest = values - values.mean() - slope * x
    error = math.sqrt(float(rest @ rest) / max(1, len(values) - 2) / float(x @ x))
    return slope / error if error > 0 else math.copysign(math.inf, slope) if slope else 0.0


def fold_correlation(values: np.ndarray, period: int) -> tuple[float, float]:
    """How alike neighbouring periods are once their own lines are taken out: mean correlation, and that in its errors.

    Around 0 for batches in random order, whatever the trend.
    """
    count = len(values) // period
    folded = values[: count * period].reshape(count, period)
    x = np.arange(period) - (period - 1) / 2
    folded = folded - folded.mean(1, keepdims=True)
    folded = folded - np.outer(folded @ x / (x @ x), x)
    size = np.sqrt((folded**2).sum(1))
    if count < 2 or not (size > 0).all():
        return 0.0, 0.0
    mean = float(((folded[:-1] * folded[1:]).sum(1) / (size[:-1] * size[1:])).mean())
    return mean, mean * math.sqrt(period * (count - 1))


def rate_factor(diary: Diary) -> float:
    """What all acts so far make of the rate."""
    return float(diary.events[-1]["rate_factor"]) if diary.events else 1.0


def restarts(diary: Diary, names: Iterable[str] | None = None) -> int:
    """How often the run began again, for one of these reasons."""
    wanted = None if names is None else set(names)
    return sum(e["did"] == "restart" and (wanted is None or e["name"] in wanted) for e in diary.events)


def longer_warmup(diary: Diary, case: Case) -> float:
    """Twice the warmup of now, as a share of the steps."""
    return min(0.5, max(case.warmup, WINDOW_SHARE) * 2 ** (restarts(diary) + 1))


def lr_over_usual(diary: Diary, case: Case) -> float:
    """The peak rate of now as a multiple of the usual one; 1 where none is known."""
    return case.lr * rate_factor(diary) / case.usual if case.usual else 1.0


def by_layer(norms: Mapping[str, float]) -> list[list[Any]]:
    """Gradient norms of matrices by layer, the lowest first: [['embeddings', 0.1], ['0', 0.2], ..., ['head', 0.3]].

    Vectors are left out: those of biases and norms are never quite dead.
    """
    squares: dict[tuple[int, str], float] = {}
    for name, norm in norms.items():
        if name.endswith("weight") and "norm" not in name.lower():
            squares[_place(name)] = squares.get(_place(name), 0.0) + norm**2
    return [[name, short(math.sqrt(value))] for (_, name), value in sorted(squares.items())]


def _place(name: str) -> tuple[int, str]:
    inside = NUMBERED.search(name)
    if inside:
        return int(inside[1]), inside[1]
    return (-1, "embeddings") if "embed" in name else (10**6, "head")


def means(values: np.ndarray, parts: Sequence[tuple[float, float]]) -> list[float]:
    """Means over shares of the whole, such as (0.5, 0.75)."""
    count = len(values)
    return [float(values[int(a * count) : max(int(a * count) + 1, int(b * count))].mean()) for a, b in parts]
