"""What a training run is given and gives back: settings, encoded rows, and the facts that follow from them."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from burnish.core import Task
from burnish.tasks.windows import Layout, of_rows
from burnish.train.batches import Bucketed, Encoded
from burnish.train.clip import ByNorm
from burnish.train.objective import words_in
from burnish.train.optimizer import FusedAdamW
from burnish.train.parts import Batching, Clip, Facts, Objective, Optimizer, Rates, Schedule, Weighting
from burnish.train.scale import Scale
from burnish.train.schedule import ToZero
from burnish.train.texts import Texts
from burnish.train.watch import Watch

__all__ = ["Data", "Settings", "Trained", "Whole", "facts_of", "standard", "weights_of"]


@dataclass(frozen=True)
class Settings:
    """What the loop needs to know. Every value is final: defaults are chosen in `train.defaults`."""

    lr: float  # peak learning rate
    epochs: int
    batch_size: int  # rows an optimizer step
    steps: int | None = None  # optimizer steps, whole epochs or not; `epochs` then only says how often to evaluate
    accumulate: int = 1  # micro-batches a batch is cut into; changes memory, never the result; 0: find by trying
    warmup: float = 0.1  # share of all steps
    weight_decay: float = 0.01
    precision: str = "fp32"  # fp32, bf16, fp16 or fp8 (autocast, with fp32 masters and, for fp16, a loss scale)
    evals_per_epoch: int = 2
    patience: int = 6  # evaluations without a better score before stopping; 0 never stops early
    min_difference: float = 0.0  # how much better a score must be to count as better
    optimizer: Optimizer = FusedAdamW()
    schedule: Schedule = ToZero()
    clip: Clip = ByNorm()
    batching: Batching = Bucketed()
    objective: Objective | None = None  # None: the task's own
    weighting: Weighting | None = None  # None: every row counts alike
    rates: tuple[Rates, ...] = ()
    watch: Watch | None = None
    forecast_bytes: int = 0  # memory that this should take, for the record; 0 where nobody knows


@dataclass(frozen=True)
class Data:
    """Encoded rows with their targets, as `task.encode` gives them.

    Where words are read, a row may be cut into several windows, which then are what is encoded: `targets` are those of
    their tokens, `ids` those of their rows, and `whole` says how to come back to rows.
    """

    encoded: Encoded
    targets: np.ndarray
    ids: Sequence[str] = ()  # names of the rows, for people
    whole: "Whole | None" = None
    texts: Texts | None = None  # what they were made of, where it is known
    weights: np.ndarray | None = None  # how much each counts, float32 [N]; None: alike
    smoothing: np.ndarray | None = None  # share of each label that goes to all, float32 [N]; None: nothing of any

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        return np.array([len(row["input_ids"]) for row in self.encoded])

    def some(self, rows: np.ndarray) -> "Data":
        """Only these rows; those of texts that were cut into windows are windows."""
        return Data(
            [self.encoded[i] for i in rows],
            self.targets[rows],
            texts=self.texts and self.texts.of(rows.tolist()),
            weights=None if self.weights is None else self.weights[rows],
            smoothing=None if self.smoothing is None else self.smoothing[rows],
        )

    def named(self, rows: np.ndarray) -> list[str]:
        return [self.ids[i] if self.ids else str(i) for i in rows.tolist()]


@dataclass(frozen=True)
class Whole:
    """Rows that were cut into windows."""

    layouts: Sequence[Layout]
    targets: np.ndarray  # of the rows, as `task.encode` gives them

    def outputs(self, task: Task, windows_NSC: np.ndarray) -> np.ndarray:
        """Outputs of windows as outputs of rows, [N, W, C]."""
        return task.read(of_rows(task.reads, windows_NSC, self.layouts))


@dataclass(frozen=True)
class Trained:
    model: nn.Module
    notes: dict[str, Any]  # JSON: curve, evals, best_step, train_seconds, samples_per_second, ...


def facts_of(task: Task, learn: Data, s: Settings, scale: Scale, seed: int, device: torch.device) -> Facts:
    """What parts and tweaks may know before the first step."""
    per_epoch = len(s.batching.order(learn.lengths, s.batch_size, seed, 0))
    return Facts(
        task=task,
        targets=standard(learn.targets, scale),
        steps=per_epoch * s.epochs if s.steps is None else s.steps,
        per_epoch=per_epoch,
        batch_size=s.batch_size,
        lr=s.lr,
        seed=seed,
        device=device,
        scale=scale,
        texts=learn.texts,
    )


def standard(targets: np.ndarray, scale: Scale) -> np.ndarray:
    """Targets as the model learns them: numbers with mean 0 and deviation 1; labels as they are."""
    return targets if scale == Scale() else (targets - scale.mean) / scale.std


def weights_of(
    weighting: Weighting | None, task: Task, targets: np.ndarray, own_N: np.ndarray | None = None
) -> np.ndarray:
    """Weights of the rows, float32 [N]: what they ask for, 1 on average, times what a weighting and they say."""
    asked_N = words_in(task.objective, targets)
    made = asked_N / max(asked_N.mean(), 1e-9)
    if weighting is not None:
        made = made * weighting.weights(task, targets)
    if own_N is not None:
        made = made * own_N
    return np.asarray(made, dtype=np.float32)
