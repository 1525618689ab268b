"""How good the answers are: every metric of the task, which label is taken for which, and the worst mistakes.

Shapes: N = rows, C = outputs a row.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from burnish.core import Row, Span, Task

__all__ = ["confusion", "quality", "row_loss", "worst_mistakes"]


def quality(outputs_NC: np.ndarray, targets: np.ndarray, task: Task) -> dict[str, Any]:
    """{"metrics": {name: value}, "score": the primary one, higher is better}.

    A metric that is undefined on these rows (AUROC when only one label is there) is None, since JSON has no
    nan. Outputs that are not finite have no metrics at all and the score None: argmax would find an answer
    even among nan.
    """
    outputs_NC = np.asarray(outputs_NC, np.float32)  # as the prediction files keep them
    if not np.isfinite(outputs_NC).all():
        return {"metrics": {}, "score": None}
    metrics = {name: _finite(value) for name, value in task.metrics(outputs_NC, targets).items()}
    return {"metrics": metrics, "score": _finite(task.score(outputs_NC, targets))}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def confusion(task: Task, outputs_NC: np.ndarray, targets: np.ndarray) -> dict[str, Any] | None:
    """Which label is taken for which; None for a task whose answers are numbers.

    One label of several: {"labels", "counts"}, counts[true][answered]. Any number of labels: {"labels",
    "counts"} with one line a label, [right yes, wrong yes, missed, right no].
    """
    labels, width = list(task.labels), task.width
    if task.objective == "cross_entropy":
        table_CC = np.zeros((width, width), dtype=int)
        np.add.at(table_CC, (targets, outputs_NC.argmax(1)), 1)
        return {"labels": labels, "counts": table_CC.tolist()}
    if task.objective == "binary_cross_entropy":
        said_NC, true_NC = outputs_NC > 0, targets > 0.5
        kinds = (said_NC & true_NC, said_NC & ~true_NC, ~said_NC & true_NC, ~said_NC & ~true_NC)
        return {"labels": labels, "counts": np.stack([kind.sum(0) for kind in kinds], axis=1).tolist()}
    return None


def row_loss(task: Any, outputs_NC: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """How wrong each row is, [N]: minus log probability of the truth, or distance from it for numbers."""
    from scipy.special import log_expit, log_softmax

    if task.reads != "rows":
        return np.asarray(task.losses(outputs_NC, targets))
    outputs_NC = np.asarray(outputs_NC, np.float32).astype(np.float64)
    if task.objective == "cross_entropy":
        return np.asarray(-log_softmax(outputs_NC, axis=1)[np.arange(len(targets)), targets])
    if task.objective == "binary_cross_entropy":
        return np.asarray(-log_expit(np.where(targets > 0.5, outputs_NC, -outputs_NC)).sum(1))
    return np.abs(outputs_NC[:, 0] - targets.reshape(-1))


def worst_mistakes(
    task: Task,
    ids: Sequence[str],
    outputs_NC: np.ndarray,
    targets: np.ndarray,
    rows: Sequence[Row],
    k: int = 10,
) -> list[dict[str, Any]]:
    """The k rows the model is most wrong about, worst first; of rows with labels, only wrongly answered ones.

    Each: {"id", "text", "pair", "target", "said", "loss"}, where `said` is what the server would answer.
    `rows` are found by id, so they may come in any order; an id without a row gives empty texts.
    """
    loss_N = row_loss(task, outputs_NC, targets)
    order = np.argsort(-loss_N, kind="stable")
    if task.labels or task.reads != "rows":
        order = order[_wrong(task, outputs_NC, targets)[order]]
    order, text = order[:k], {row.id: row for row in rows}
    found = []
    kept = [text.get(ids[n], Row(ids[n], "")) for n in order]
    for n, row, said in zip(order, kept, task.decode(outputs_NC[order], [row.text for row in kept]), strict=True):
        target = [_in_words(row, part) for part in row.target] if isinstance(row.target, tuple) else row.target
        shown = {"id": row.id, "text": row.text, "pair": row.pair, "target": target}
        found.append({**shown, "said": said, "loss": float(loss_N[n])})
    return found


def _in_words(row: Row, part: str | Span) -> str:
    """One of a row's labels, or what a span of it says."""
    if isinstance(part, str):
        return part
    said = row.text[part.start : part.end]
    return f"{part.label}: {said}" if part.label else said


def _wrong(task: Any, outputs_NC: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Which rows are not answered exactly right, bool [N]."""
    if task.reads != "rows":
        return np.asarray(task.losses(outputs_NC, targets) > 0)
    if task.objective == "cross_entropy":
        return np.asarray(outputs_NC.argmax(1) != targets)
    return np.asarray(((outputs_NC > 0) != (targets > 0.5)).any(1))
