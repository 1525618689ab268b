"""A learning step's wishes for techniques whose training is a means: a few are asked for, the rest are the usual."""

from dataclasses import dataclass
from typing import Literal

from burnish.train.parts import Batching, Clip, Objective, Optimizer, Rates, Schedule, Weighting
from burnish.train.tweak import Tweak

__all__ = ["Usual"]


@dataclass(frozen=True)
class Usual:
    """As `burnish.train.prepare.Wishes` and `burnish.compress._recover.Lesson` ask for."""

    lr: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    tweaks: tuple[Tweak, ...] = ()
    max_length: int | None = None
    precision: str = "auto"
    evals_per_epoch: int = 1
    patience: int = 0
    accumulate: int | Literal["auto"] = 1
    optimizer: Optimizer | None = None
    schedule: Schedule | None = None
    warmup: float | None = None
    weight_decay: float = 0.01
    clip: float | Clip = 1.0
    objective: Objective | None = None
    weighting: Weighting | None = None
    rates: tuple[Rates, ...] = ()
    batching: Batching | None = None
    min_difference: float = 0.0
    doctor: Literal["act", "advise", "off"] = "off"
    alpha: float = 0.3  # of the labels in a lesson, where there is one
    temperature: float = 2.0
