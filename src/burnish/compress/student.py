"""A shallower student: keep some layers of the tuned model and let it learn from the whole one.

Paper: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531 (the loss);
Sanh, Debut, Chaumond, Wolf, "DistilBERT", 2019, arXiv:1910.01108 (a student made of the teacher's own layers).
Differs from them: no general pre-training of the student, only the task's rows; the teacher's outputs are
computed once and kept, since the rows do not change between epochs.

When it helps: latency falls in proportion to the layers left, on every engine and on top of INT8.
What it costs: a training run on the student, and usually half a point to two points at half the depth.

Shapes: none here; the loss is in _lesson.py.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from torch import nn

from burnish.compress._layers import layers_of, refuse_rebuilt, with_layers
from burnish.compress._lesson import Distill, distance
from burnish.compress._recover import recovered
from burnish.core import Rng, Work
from burnish.errors import UsageError, problem
from burnish.train.parts import Batching, Clip, Objective, Optimizer, Rates, Schedule, Weighting
from burnish.train.tweak import Tweak
from burnish.words import say

__all__ = ["Distill", "Student", "chosen_layers", "distance", "refuse_rebuilt", "shallower"]


@dataclass(frozen=True)
class Student:
    share: float = 0.5  # of the encoder layers left, 0..1; at least one stays and one goes
    keep: str = "spread"  # spread: first and last and evenly between; first: the lowest ones
    alpha: float = 0.3  # weight of the labels; the teacher has the rest
    temperature: float = 2.0  # softens both sides of the comparison
    lr: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
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
    tweaks: tuple[Tweak, ...] = ()  # inside the lesson: their loss is the labels' side of it
    max_length: int | None = None
    precision: str = "auto"
    evals_per_epoch: int = 2
    patience: int = 6
    min_difference: float = 0.0
    doctor: Literal["act", "advise", "off"] = "act"

    def __call__(self, work: Work, rng: Rng) -> Work:
        student, kept = shallower(work.model, self.share, self.keep)
        model, tokenizer, notes = recovered(work, student, self, rng)
        return replace(work, model=model, tokenizer=tokenizer, notes={**notes, "kept_layers": kept})


def lesson_of(step: Any) -> Student:
    """A lesson as usual but for the settings that `step` has of it; which layers stay is not the lesson's."""
    names = {f.name for f in fields(Student)} - {"share", "keep"}
    return Student(**{name: getattr(step, name) for name in sorted(names) if hasattr(step, name)})


def shallower(model: nn.Module, share: float, keep: str) -> tuple[nn.Module, list[int]]:
    """A copy of `model` with that share of its encoder layers, and which ones they were."""
    refuse_rebuilt(model)
    total = len(layers_of(model))
    if not 0 < share < 1 or total < 2:
        given = say("share={share} of a model with {total} layers", share=share, total=total)
        raise UsageError(
            problem(given, say("a share between 0 and 1, of 2 or more layers"), "compress/student:share=0.5")
        )
    kept = chosen_layers(total, min(max(1, round(share * total)), total - 1), keep)
    return with_layers(model, kept), kept


def chosen_layers(total: int, layers: int, keep: str) -> list[int]:
    """Which of `total` layers to keep, lowest first."""
    if keep not in ("spread", "first"):
        raise UsageError(problem(f"keep={keep}", "spread, first", "--with compress/student:keep=spread"))
    if keep == "first" or layers == 1:
        return list(range(layers))
    return [int(i) for i in np.linspace(0, total - 1, layers).round()]
