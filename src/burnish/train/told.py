"""What a finished run has to tell: its curves, its speed, what stopped it and what it needed."""

from typing import TYPE_CHECKING, Any

import numpy as np

from burnish.train.batches import padding_share
from burnish.train.first_loss import first_loss_notes
from burnish.train.memory import memory_notes

if TYPE_CHECKING:
    from burnish.train.loop import Run

__all__ = ["notes_of"]


def notes_of(run: "Run", seconds: float) -> dict[str, Any]:
    """JSON; `seconds` of training and evaluation, earlier parts of a killed run included."""
    seen = _seen(run)
    tokens = int(sum(run.learn.lengths[b].sum() for b in seen))
    notes = {
        **run.diary.notes(),
        **first_loss_notes(run.task, run.diary.curve, run.s.objective, run.tweaks),
        "best_step": run.best_step,
        "steps": run.step,
        **({"accumulate": run.why_accumulate} if run.why_accumulate else {}),
        "stopped": run.stopped,
        "padding_share": padding_share(run.learn.lengths, run.order(run.seed, 0)),
        "train_seconds": seconds,
        "samples_per_second": sum(len(b) for b in seen) / seconds,
        "tokens_per_second": tokens / seconds,
        **memory_notes(run.device, run.s.forecast_bytes),
    }
    for tweak in run.tweaks:
        notes |= tweak.notes()
    return notes


def _seen(run: "Run") -> list[np.ndarray]:
    whole = [b for epoch in range(run.epoch) for b in run.order(run.seed, epoch)]
    return [*whole, *(run.order(run.seed, run.epoch)[: run.position] if run.position else [])]
