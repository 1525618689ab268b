"""What a training run is made of: one class for each kind of part, and what the loop asks of it.

    objective   the loss of each row             weighting   how much each row counts
    optimizer   how weights follow gradients     rates       each parameter's share of the rate
    schedule    the rate over time               clip        what happens to large gradients
    batching    which rows share a step          tweak       everything else: burnish.train.tweak

A technique is one part: a frozen dataclass in `tune/` that derives from one of these and whose fields are its
settings. The loop divides once by the total weight of the whole accumulated batch, on every device together, so
losses are given by row, never as a mean.

Shapes: N = rows of the data, B = rows of a batch, C = outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from burnish.core import Task
from burnish.train.scale import Scale

if TYPE_CHECKING:  # it knows how batches are made, which are parts themselves
    from burnish.train.texts import Texts

__all__ = ["Batching", "Clip", "Facts", "Group", "Objective", "Optimizer", "Part", "Rates", "Schedule", "Weighting"]


@dataclass(frozen=True)
class Facts:
    """What a part may know before training starts."""

    task: Task
    targets: np.ndarray  # of the N rows to learn from, as task.encode gives them; standard units in regression
    steps: int  # optimizer steps, as planned
    per_epoch: int  # optimizer steps an epoch, as planned
    batch_size: int
    lr: float  # peak rate
    seed: int
    device: torch.device
    scale: Scale = field(default_factory=Scale)  # from standard units to those of the data
    texts: "Texts | None" = None  # of those rows; None where only their tokens are known


class Part:
    """Anything that can stand in a setting of a learning step."""


class Objective(Part):
    suits: ClassVar[tuple[str, ...]] = ()  # the task objectives it can stand in for

    def begin(self, facts: Facts) -> "Objective":
        """The live object for one run, for an objective that looks at the data first."""
        return self

    def rows(self, outputs_BC: Tensor, targets: Tensor) -> Tensor:
        """The loss of each row, float32 [B]. `targets` is int64 [B] for classes and float32 [B, C] otherwise."""
        raise NotImplementedError


class Weighting(Part):
    def weights(self, task: Task, targets: np.ndarray) -> np.ndarray:
        """How much each row counts, float32 [N], above 0 and 1 on average."""
        raise NotImplementedError


@dataclass(frozen=True)
class Group:
    """Parameters that share a rate and a weight decay."""

    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    scale: float  # multiple of the rate
    weight_decay: float

    def settings(self, lr: float) -> dict[str, Any]:
        """As torch's optimizers take it. The loop sets `lr` before each step to rate x scale."""
        return {
            "params": list(self.parameters),
            "lr": lr * self.scale,
            "scale": self.scale,
            "weight_decay": self.weight_decay,
        }


class Optimizer(Part):
    """`make` gives a torch optimizer whose every param group has "scale"; the loop sets "lr" before each step.

    When the torch optimizer has `train` and `eval`, the loop calls them around evaluations and saves.
    """

    relative_rate: ClassVar[float] = 1.0  # a good rate, as a multiple of AdamW's; what `lr: auto` uses
    only_schedule: ClassVar["Schedule | None"] = None  # the one it must have; others are then refused

    def make(self, groups: Sequence[Group], lr: float) -> torch.optim.Optimizer:
        raise NotImplementedError


class Schedule(Part):
    own_warmup: ClassVar[bool] = False  # it climbs by itself; the loop then adds no warmup

    def multiple(self, t: float) -> float:
        """The multiple of the peak rate, 0..1, when the share `t` (0..1) of training after warmup is done."""
        raise NotImplementedError

    def after(self, t: float, scores: Sequence[float]) -> float:
        """`multiple` for a schedule that also looks at the validation scores so far."""
        return self.multiple(t)


class Rates(Part):
    def scale(self, name: str, depth: int, layers: int) -> float:
        """The multiple of the rate for parameter `name`; 0 freezes it.

        `depth` is 0 for embeddings, 1..layers for the encoder's layers, layers + 1 for pooler and head.
        """
        raise NotImplementedError


class Clip(Part):
    def apply(self, gradients: Sequence[Tensor], norm: float, norms: Sequence[float]) -> bool:
        """Change the gradients in place; return whether anything was cut.

        `norm` is their joint norm now; `norms` those of all steps before this one, before clipping.
        """
        raise NotImplementedError


class Batching(Part):
    def order(self, lengths_N: np.ndarray, size: int, seed: int, epoch: int) -> list[np.ndarray]:
        """The batches of one epoch as arrays of row numbers; every row once. A pure function."""
        raise NotImplementedError

    def grown(self, noise: Sequence[float], size: int) -> int:
        """How many of these batches make one step now. `noise`: the gradient noise scales measured so far, in rows."""
        return 1

    measure_every: ClassVar[int] = 0  # steps between measurements of the noise scale; 0 never measures
