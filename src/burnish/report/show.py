"""Numbers as people read them: sizes, times, qualities, intervals.

Pure functions of a number; each takes None for "was not measured" and answers with a dash. A quality in a run's files
is what budgets compare, higher is better, so error metrics lie there negated; they are shown as everybody knows them.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from burnish.words import say

__all__ = [
    "count",
    "duration",
    "estimate",
    "interval",
    "is_error",
    "metric_name",
    "ms",
    "number",
    "plain",
    "points",
    "printable",
    "quality",
    "sentence",
    "share",
    "size",
    "tie",
    "times",
    "when",
]

NOTHING = "–"
TIE = "\u00a0"  # a space at which no line breaks, between a number and its unit
SIGNS = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"} | {127: "\u2421"}
SIGNS |= dict.fromkeys(range(128, 160), "�")  # terminals obey some of these
PERCENT = frozenset({"accuracy", "exact_match", "hamming_accuracy"})
ERRORS = frozenset({"log_loss", "calibration_error", "mae", "rmse"})
NAMES = {
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "f1": "F1",
    "mcc": "Matthews correlation",
    "auroc": "AUROC",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
    "exact_match": "exact match",
    "hamming_accuracy": "Hamming accuracy",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "r2": "R²",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
}


def printable(text: str) -> str:
    """Control characters of someone's data as the signs that stand for them, half a surrogate as a question mark."""
    return text.translate(SIGNS).encode("utf-8", "replace").decode("utf-8")


def plain(value: object) -> str:
    """Any JSON value on one line; empty for None."""
    if isinstance(value, bool):
        return say("yes") if value else say("no")
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} = {plain(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return "" if value is None else str(value)


def sentence(text: str) -> str:
    """A message of the run as a sentence: it begins with a capital and ends with a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if not text or text[-1] in ".!?" else ".")


def tie(text: str) -> str:
    """Keep `95 %` on one line."""
    return re.sub(r"(?<=\d) (?=%)", TIE, text)


def when(moment: str) -> str:
    """An ISO time as people write it, to the minute: 2026-11-22 21:04 UTC. Anything else stays as it is."""
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    zone = "" if at.tzinfo is None else at.strftime(" %Z")
    return at.strftime("%Y-%m-%d %H:%M") + zone


def metric_name(metric: str) -> str:
    return say(NAMES.get(metric, metric.replace("_", " ")))


def is_error(metric: str) -> bool:
    """Whether less is better."""
    return metric in ERRORS


def number(value: float | None, digits: int = 1) -> str:
    """Fixed digits, a true minus sign, and never a minus before zero."""
    if value is None:
        return NOTHING
    text = f"{value:,.{digits}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", "−")


def count(value: float | None) -> str:
    return number(value, 0)


def size(bytes_: float | None) -> str:
    """Decimal units, as `--max-size 30MB` takes them."""
    if bytes_ is None:
        return NOTHING
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes_ >= scale:
            return f"{number(bytes_ / scale, 1 if bytes_ < 1000 * scale else 0)}{TIE}{unit}"
    return f"{count(bytes_)}{TIE}B"


def ms(value: float | None) -> str:
    """Milliseconds with three significant digits at most."""
    return NOTHING if value is None else f"{_three(value)}{TIE}ms"


def times(value: float | None) -> str:
    """A ratio such as 5.6 ×."""
    return NOTHING if value is None else f"{_three(value)}{TIE}×"


def _three(value: float) -> str:
    return number(value, 2 if abs(value) < 1 else 1 if abs(value) < 100 else 0)


def duration(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{number(seconds, 1)}{TIE}s"
    if seconds < 120:
        return f"{count(seconds)}{TIE}s"
    if seconds < 7200:
        return f"{number(seconds / 60, 1)}{TIE}min"
    return f"{number(seconds / 3600, 1)}{TIE}h"


def share(fraction: float | None) -> str:
    return NOTHING if fraction is None else f"{number(100 * fraction, 1)}{TIE}%"


def points(value: float | None) -> str:
    return number(value, 1)


def quality(value: float | None, metric: str) -> str:
    """A reading of `metric`: percent for accuracies, three decimals for the others, errors without their minus."""
    if value is None:
        return NOTHING
    return share(value) if metric in PERCENT else number(abs(value) if is_error(metric) else value, 3)


def interval(found: Mapping[str, Any] | None, metric: str) -> str:
    """The interval of an estimate alone, such as `89.3 to 93.1 %`."""
    if not found or found.get("low") is None:
        return NOTHING
    low, high = found["low"], found["high"]
    if is_error(metric):
        low, high = sorted((abs(low), abs(high)))
    first = quality(low, metric).removesuffix(f"{TIE}%")
    return say("{low} to {high}", low=first, high=quality(high, metric))


def estimate(found: Mapping[str, Any] | None, metric: str) -> str:
    """A value with its interval, such as `91.4 % (89.3 to 93.1 %)`."""
    if not found:
        return NOTHING
    value = quality(found.get("value"), metric)
    return value if found.get("low") is None else f"{value} ({interval(found, metric)})"
