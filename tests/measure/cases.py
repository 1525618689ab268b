"""Simulated models for the tests: rows whose truth is known because we drew it."""

import numpy as np

from burnish.tasks import make

LABELS = tuple("abcdef")
PRIOR = np.array([0.5, 0.3, 0.2])


def labelled(rng, rows, labels=3, edge=2.0):
    """(outputs [N, C], targets [N]) of a classifier whose right output is `edge` higher than noise."""
    targets = rng.choice(labels, rows, p=PRIOR[:labels] / PRIOR[:labels].sum())
    outputs = rng.normal(size=(rows, labels))
    outputs[np.arange(rows), targets] += edge
    return outputs.astype(np.float32), targets


def numbers(rng, rows, noise=0.7):
    targets = rng.normal(size=(rows, 1)).astype(np.float32)
    return (targets + rng.normal(size=(rows, 1)) * noise).astype(np.float32), targets


def tagged(rng, rows, labels=4):
    targets = (rng.random((rows, labels)) < 0.3).astype(np.float32)
    return (2 * targets - 1 + rng.normal(size=targets.shape)).astype(np.float32), targets


def every_metric():
    """(name, task, draw) for each metric of each task; draw(rng, rows) -> (outputs, targets)."""
    for labels in (2, 3):
        for metric in ("accuracy", "macro_f1", "mcc", "log_loss", "calibration_error"):
            yield _classifier(metric, labels)
    yield _classifier("f1", 2)
    yield _classifier("auroc", 2)
    for metric in ("micro_f1", "macro_f1", "exact_match", "hamming_accuracy", "log_loss"):
        yield f"multi/{metric}", make("multi-label-classification", LABELS[:4], metric=metric), tagged
    for metric in ("pearson", "spearman", "r2", "mae", "rmse"):
        yield f"regression/{metric}", make("regression", metric=metric), numbers


def _classifier(metric, labels):
    task = make("text-classification", LABELS[:labels], metric=metric)
    return f"{labels} labels/{metric}", task, lambda rng, rows: labelled(rng, rows, labels)
