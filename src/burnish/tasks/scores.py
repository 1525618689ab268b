"""Scores as pure functions of arrays. Each agrees with scikit-learn or scipy to 1e-9 (see the tests).

They are here, and not imported, because the server uses the tasks and should not load either library.
Shapes: N = rows, C = labels.
"""

import numpy as np

__all__ = [
    "auroc",
    "calibration_error",
    "f1_per_label",
    "matthews",
    "pearson",
    "sigmoid",
    "softmax",
    "spearman",
]


def softmax(x_NC: np.ndarray) -> np.ndarray:
    e_NC = np.exp(x_NC.astype(np.float64) - x_NC.max(1, keepdims=True))
    return np.asarray(e_NC / e_NC.sum(1, keepdims=True))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x.astype(np.float64))))  # this form cannot overflow


def f1_per_label(answer_N: np.ndarray, target_N: np.ndarray, labels: int) -> np.ndarray:
    """F1 of each label, 0 where a label is neither given nor true."""
    hit_C = np.bincount(target_N[answer_N == target_N], minlength=labels)
    size_C = np.bincount(answer_N, minlength=labels) + np.bincount(target_N, minlength=labels)
    return np.asarray(2 * hit_C / np.maximum(size_C, 1))


def matthews(answer_N: np.ndarray, target_N: np.ndarray, labels: int) -> float:
    """Matthews correlation for any number of labels (Gorodkin 2004); 0 when one side is constant."""
    table_CC = np.zeros((labels, labels))
    np.add.at(table_CC, (target_N, answer_N), 1)
    true_C, said_C, total = table_CC.sum(1), table_CC.sum(0), table_CC.sum()
    above = np.trace(table_CC) * total - true_C @ said_C
    below = (total**2 - said_C @ said_C) * (total**2 - true_C @ true_C)
    return float(above / np.sqrt(below)) if below > 0 else 0.0


def auroc(score_N: np.ndarray, positive_N: np.ndarray) -> float:
    """The chance that a positive row scores above a negative one, ties counted half; nan without both."""
    positives, negatives = int(positive_N.sum()), int((~positive_N).sum())
    if not positives or not negatives:
        return float("nan")
    return float((_ranks(score_N)[positive_N].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def calibration_error(confidence_N: np.ndarray, right_N: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error (Naeini et al. 2015) over equal-width bins of confidence."""
    bin_N = np.minimum((confidence_N * bins).astype(int), bins - 1)
    gap_B = np.bincount(bin_N, weights=confidence_N - right_N, minlength=bins)
    return float(np.abs(gap_B).sum() / len(confidence_N))


def pearson(a_N: np.ndarray, b_N: np.ndarray) -> float:
    """Linear correlation; 0 when one side is constant, since it then orders nothing."""
    a_N, b_N = a_N - a_N.mean(), b_N - b_N.mean()
    below = np.sqrt((a_N @ a_N) * (b_N @ b_N))
    return float(a_N @ b_N / below) if below > 0 else 0.0


def spearman(a_N: np.ndarray, b_N: np.ndarray) -> float:
    return pearson(_ranks(a_N), _ranks(b_N))


def _ranks(x_N: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties sharing their mean."""
    _, where_N, count = np.unique(x_N, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[where_N])
