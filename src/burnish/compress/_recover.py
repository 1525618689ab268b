"""Training that follows a cut: the smaller model learns from the labels and from what the model before it said."""

from typing import Any, Protocol

import torch
from torch import nn

from burnish.compress._lesson import Distill
from burnish.core import Rng, Work, desk
from burnish.errors import UsageError, problem
from burnish.train.evaluate import model_outputs, pad_id_of
from burnish.train.loop import train
from burnish.train.prepare import Wishes, bounded, encode_work, settings_for
from burnish.train.scale import fit_scale
from burnish.words import say

__all__ = ["Lesson", "recovered", "wanted"]


class Lesson(Wishes, Protocol):
    """The settings of a step that recovers what it lost."""

    @property
    def alpha(self) -> float: ...
    @property
    def temperature(self) -> float: ...


def wanted(name: str, value: Any, good: bool, expected: str, example: str) -> None:
    """Raises UsageError unless `good`."""
    if not good:
        raise UsageError(problem(say("{name} {value}", name=name, value=value), expected, example))


def recovered(work: Work, smaller: nn.Module, wishes: Lesson, rng: Rng) -> tuple[nn.Module, Any, dict[str, Any]]:
    """`smaller`, changed in place, after lessons from `work.model`; its tokenizer and the notes of the training.

    With 0 epochs nothing is learned, and the tokenizer is that of `work`.
    """
    if wishes.epochs == 0:
        return smaller.eval(), work.tokenizer, {}
    settings, max_length, reasons = settings_for(work, wishes)
    learn, valid = encode_work(work, max_length)
    desk().report(say("asking the teacher"), 0.0, {})
    pad_id = pad_id_of(work.tokenizer)
    teacher_NC = model_outputs(work.model, learn.encoded, pad_id, bf16=settings.precision == "bf16")
    scale = fit_scale(work.task, learn.targets)
    said_NC = torch.from_numpy((teacher_NC - scale.mean) / scale.std)
    lesson = Distill(said_NC, work.task.objective, wishes.alpha, wishes.temperature)
    trained = train(
        smaller,
        work.task,
        learn,
        valid,
        settings,
        seed=rng.getrandbits(31),
        pad_id=pad_id,
        tweaks=(lesson, *wishes.tweaks),
    )
    notes = {**trained.notes, "reasons": reasons, "max_length": max_length}
    return trained.model, bounded(work.tokenizer, max_length), notes
