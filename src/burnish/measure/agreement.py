"""How far two sets of outputs of what should be one model are apart: in numbers, and in answers that flip.

Shapes: N = rows, C = outputs a row.
"""

from typing import Any

import numpy as np

from burnish.core import Task
from burnish.units import same_width

__all__ = ["agreement"]


def agreement(task: Task, reference_NC: np.ndarray, outputs_NC: np.ndarray) -> dict[str, Any]:
    """{"max_abs", "mean_abs" difference of outputs, "flips": rows whose answer changed, "rows"}.

    Where an output is not a finite number there is no distance: both distances are then None and every such
    row counts as a flip. Raises ValueError when the shapes differ.
    """
    if task.reads != "rows" and reference_NC.ndim == outputs_NC.ndim == 3:
        reference_NC, outputs_NC = same_width(reference_NC, outputs_NC)
    if reference_NC.shape != outputs_NC.shape:
        raise ValueError(f"outputs to compare must have one shape, got {reference_NC.shape} and {outputs_NC.shape}")
    broken_N = ~(np.isfinite(reference_NC) & np.isfinite(outputs_NC)).all(tuple(range(1, outputs_NC.ndim)))
    flips_N = task.flips(reference_NC, outputs_NC) | broken_N
    gap_NC = np.abs(reference_NC[~broken_N].astype(np.float64) - outputs_NC[~broken_N])
    whole = not broken_N.any()
    return {
        "max_abs": float(gap_NC.max(initial=0.0)) if whole else None,
        "mean_abs": float(gap_NC.mean()) if whole and gap_NC.size else (0.0 if whole else None),
        "flips": int(flips_N.sum()),
        "rows": len(outputs_NC),
    }
