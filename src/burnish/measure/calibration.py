"""Does a confidence of 0.9 mean right nine times in ten? A table to draw, and a number that would repair it.

Papers: Niculescu-Mizil & Caruana, "Predicting good probabilities with supervised learning", ICML 2005 (the
reliability table); Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural networks", ICML 2017,
arXiv:1706.04599 (temperature scaling: divide the logits by one T fitted on validation rows). The temperature
is reported and never applied: it cannot change an answer, and what is served is what was measured.

Shapes: N = rows, C = labels.
"""

from typing import Any

import numpy as np

from burnish.core import Task

__all__ = ["confidences", "reliability", "temperature", "temperature_report"]


def confidences(task: Task, outputs_NC: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """(confidence in 0..1, was it right) for every answer given; None for a task that states no probability.

    One label of several: the probability of the answer, [N]. Any number of labels: each label is an answer of
    its own and its confidence is that of the yes or no that was given, [N * C].
    """
    from scipy.special import expit, softmax

    outputs_NC = np.asarray(outputs_NC, np.float32).astype(np.float64)
    if task.objective == "cross_entropy":
        return softmax(outputs_NC, axis=1).max(1), outputs_NC.argmax(1) == targets
    if task.objective == "binary_cross_entropy":
        return expit(np.abs(outputs_NC)).ravel(), ((outputs_NC > 0) == (targets > 0.5)).ravel()
    return None


def reliability(confidence_N: np.ndarray, right_N: np.ndarray, bins: int = 15) -> list[dict[str, float]]:
    """One line for each equal-width bin of confidence that holds rows.

    Each line: "low" and "high" (the bin), "confidence" and "accuracy" (means in it), "count". The weighted
    mean of |confidence - accuracy| over the lines is the expected calibration error.
    """
    bin_N = np.minimum((confidence_N * bins).astype(int), bins - 1)
    lines = []
    for b in np.unique(bin_N):
        here = bin_N == b
        means = {"confidence": float(confidence_N[here].mean()), "accuracy": float(right_N[here].mean())}
        lines.append({"low": b / bins, "high": (b + 1) / bins, **means, "count": int(here.sum())})
    return lines


def temperature(outputs_NC: np.ndarray, targets: np.ndarray, *, many: bool = False) -> float:
    """The T in 0.05..20 whose `outputs / T` have the smallest log loss; above 1 the model is overconfident.

    `targets` are label indices [N], or 0 and 1 [N, C] when `many` (any number of labels a row).
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log_t: _log_loss(outputs_NC / np.exp(log_t), targets, many),
        bounds=(np.log(0.05), np.log(20.0)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x))


def temperature_report(task: Task, outputs_NC: np.ndarray, targets: np.ndarray) -> dict[str, Any] | None:
    """What temperature scaling would gain on these rows; None where outputs are no logits.

    {"temperature", "log_loss": [as is, scaled], "calibration_error": [as is, scaled]}. Fit it on validation
    rows.
    """
    if task.objective not in ("cross_entropy", "binary_cross_entropy"):
        return None
    many = task.objective == "binary_cross_entropy"
    outputs_NC = np.asarray(outputs_NC, np.float32).astype(np.float64)
    t = temperature(outputs_NC, targets, many=many)
    both = (outputs_NC, outputs_NC / t)
    return {
        "temperature": t,
        "log_loss": [_log_loss(x, targets, many) for x in both],
        "calibration_error": [_calibration_error(task, x, targets) for x in both],
    }


def _calibration_error(task: Task, outputs_NC: np.ndarray, targets: np.ndarray) -> float:
    found = confidences(task, outputs_NC, targets)
    assert found is not None
    lines = reliability(*found)
    gaps = sum(line["count"] * abs(line["confidence"] - line["accuracy"]) for line in lines)
    return float(gaps / sum(line["count"] for line in lines))


def _log_loss(outputs_NC: np.ndarray, targets: np.ndarray, many: bool) -> float:
    from scipy.special import log_expit, log_softmax

    if many:
        return float(-log_expit(np.where(targets > 0.5, outputs_NC, -outputs_NC)).mean())
    return float(-log_softmax(outputs_NC, axis=1)[np.arange(len(targets)), targets].mean())
