"""Numbers about rows, each a pure function: labels, lengths, oddities, scripts, what rows can show."""

import re
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from burnish.core import Row, Rows, Span
from burnish.data.kind import labels_of
from burnish.data.overlap import EXAMPLES, SIDES, example
from burnish.data.split import Splits
from burnish.data.text import language_of, script_of

__all__ = [
    "characters",
    "label_counts",
    "odd_texts",
    "quantiles",
    "shares",
    "smallest_difference",
    "smallest_difference_in_correlation",
    "spread_of_targets",
]


def label_counts(splits: Splits) -> list[dict[str, Any]]:
    """[{"label", "train", "valid", "test", "share"}], in the order of the model's outputs."""
    counts = {side: Counter(label for row in getattr(splits, side) for label in _labels(row)) for side in SIDES}
    rows = sum(len(getattr(splits, side)) for side in SIDES)
    labels = labels_of([row.target for side in SIDES for row in getattr(splits, side)])
    return [
        {
            "label": label,
            **{side: counts[side][label] for side in SIDES},
            "share": sum(counts[side][label] for side in SIDES) / max(rows, 1),
        }
        for label in labels
    ]


def _labels(row: Row) -> tuple[str, ...]:
    if not isinstance(row.target, tuple):
        return (str(row.target),)
    return tuple(part.label if isinstance(part, Span) else part for part in row.target)


def spread_of_targets(splits: Splits) -> dict[str, dict[str, float]]:
    """For regression: {"train": {"mean", "std", "min", "p50", "max"}, ...}; an empty side is left out."""
    found = {}
    for side in SIDES:
        values = np.array([float(row.target) for row in getattr(splits, side)])
        if len(values):
            low, middle, high = np.quantile(values, (0, 0.5, 1))
            found[side] = {
                "mean": float(values.mean()),
                "std": float(values.std()),
                "min": float(low),
                "p50": float(middle),
                "max": float(high),
            }
    return found


def characters(rows: Rows) -> np.ndarray:
    """Length of each row in characters, both texts of a pair together, int [N]."""
    return np.array([len(row.text) + len(row.pair or "") for row in rows], dtype=np.int64)


def quantiles(lengths_N: np.ndarray) -> dict[str, int]:
    """{"p50", "p95", "p99", "max"}; each is the length of some row."""
    found = np.quantile(lengths_N, (0.5, 0.95, 0.99, 1), method="higher") if len(lengths_N) else np.zeros(4)
    return dict(zip(("p50", "p95", "p99", "max"), map(int, found), strict=True))


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_TAG = re.compile(r"</?(?:p|br|div|span|a|b|i|em|strong|li|ul|ol|table|tr|td|h[1-6]|img|html|body)\b[^<>]*>", re.I)
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|nbsp|#\d{2,5});")
_URL = re.compile(r"\s*(?:https?://|www\.)\S+\s*")
_ODD: Mapping[str, Callable[[str], Any]] = {
    "empty": lambda text: not text.strip(),
    "no letters": lambda text: bool(text.strip()) and not any(map(str.isalpha, text)),
    "control characters": _CONTROL.search,
    "replacement characters": lambda text: "\ufffd" in text,
    "HTML": lambda text: _TAG.search(text) or _ENTITY.search(text),
    "nothing but a link": _URL.fullmatch,
}
VERY_LONG = 20  # times the median length, and at least
LONG_ENOUGH = 2000  # characters


def odd_texts(splits: Splits) -> dict[str, dict[str, Any]]:
    """{"empty": {"rows": n, "examples": [...]}, ...} for each oddity that occurs; a row may be in several."""
    placed = [(row, side) for side in SIDES for row in getattr(splits, side)]
    found = {kind: [p for p in placed if any(is_odd(t) for t in _texts(p[0]))] for kind, is_odd in _ODD.items()}
    median = statistics.median(len(row.text) for row, _ in placed) if placed else 0
    found["very long"] = [p for p in placed if len(p[0].text) > max(VERY_LONG * median, LONG_ENOUGH)]
    return {
        kind: {"rows": len(odd), "examples": [example(*p) for p in odd[:EXAMPLES]]}
        for kind, odd in found.items()
        if odd
    }


def _texts(row: Row) -> tuple[str, ...]:
    return (row.text,) if row.pair is None else (row.text, row.pair)


def shares(rows: Rows) -> dict[str, dict[str, float]]:
    """{"scripts": {"Latin": 0.98, ...}, "languages": {"en": 0.93, ...}}, largest first."""
    texts = [" ".join(_texts(row)) for row in rows]
    return {
        "scripts": _shares([script_of(t) for t in texts]),
        "languages": _shares([language_of(t) for t in texts]),
    }


def _shares(names: Sequence[str]) -> dict[str, float]:
    counts = Counter(names)
    return {name: counts[name] / len(names) for name in sorted(counts, key=lambda name: (-counts[name], name))}


# Standard normal quantiles for alpha .05 two-sided and power .80.
_Z_ALPHA, _Z_BETA = 1.959964, 0.841621


def smallest_difference(rows: int, p_disagree: float = 0.10) -> float:
    """The smallest true difference in accuracy (0..1) that a paired test on `rows` rows shows.

    McNemar's test, alpha .05 two-sided, power .80, by the sample-size formula of Connor, "Sample size for
    testing differences in proportions for the paired-sample design", Biometrics 1987, solved for the
    difference. `p_disagree` is the share of rows that exactly one of the two models gets right; a difference
    cannot be larger, so where that share is too small to show anything it is raised to the difference.
    """
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        disagree = max(p_disagree, middle)
        needed = ((_Z_ALPHA * disagree**0.5 + _Z_BETA * (disagree - middle**2) ** 0.5) / middle) ** 2
        low, high = (low, middle) if needed <= rows else (middle, high)
    return high


def smallest_difference_in_correlation(rows: int, correlation: float = 0.7, alike: float = 0.9) -> float:
    """The smallest difference in Pearson's r (0..1) of two models near `correlation` on the same rows.

    The variance of r is (1 - r^2)^2 / n to first order; the two r of models that agree much vary together, here
    with correlation `alike`, which leaves 2 (1 - alike) of it in their difference.
    """
    spread = (1 - correlation**2) * (2 * (1 - alike) / max(rows, 1)) ** 0.5
    return float(min(1.0, (_Z_ALPHA + _Z_BETA) * spread))
