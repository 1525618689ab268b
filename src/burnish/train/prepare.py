"""From a step's settings, some of them open, to the loop's settings and encoded rows."""

import copy
from typing import Any, Protocol

import numpy as np

from burnish.core import Rows, Task, Work
from burnish.errors import UsageError, nearest, problem
from burnish.measure.machine import bf16_is_native
from burnish.models import longest
from burnish.train.batches import encode
from burnish.train.defaults import choose, choose_length
from burnish.train.loop import Data, Settings
from burnish.train.schedule import SCHEDULES
from burnish.words import say

__all__ = ["Wishes", "bounded", "encode_work", "settings_for"]


class Wishes(Protocol):
    """The settings that every learning step has; None leaves the choice to the defaults."""

    @property
    def lr(self) -> float | None: ...
    @property
    def epochs(self) -> int | None: ...
    @property
    def batch_size(self) -> int | None: ...
    @property
    def accumulate(self) -> int: ...
    @property
    def schedule(self) -> str: ...
    @property
    def warmup(self) -> float | None: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def clip(self) -> float: ...
    @property
    def max_length(self) -> int | None: ...
    @property
    def precision(self) -> str: ...
    @property
    def evals_per_epoch(self) -> int: ...
    @property
    def patience(self) -> int: ...


def settings_for(work: Work, wishes: Wishes) -> tuple[Settings, int, list[str]]:
    """Final settings, the maximum length, and a sentence for every choice that was left open."""
    parameters = sum(p.numel() for p in work.model.parameters())
    usual = choose(parameters, len(work.train), pair=work.task.pair)
    reasons = list(usual.reasons) if wishes.lr is None or wishes.epochs is None else []
    bf16, why = _precision(wishes.precision)
    max_length, why_length = _length(work, wishes.max_length)
    if wishes.schedule not in SCHEDULES:
        raise _unknown("schedule", wishes.schedule, list(SCHEDULES))
    settings = Settings(
        lr=usual.lr if wishes.lr is None else wishes.lr,
        epochs=usual.epochs if wishes.epochs is None else wishes.epochs,
        batch_size=usual.batch_size if wishes.batch_size is None else wishes.batch_size,
        accumulate=wishes.accumulate,
        schedule=wishes.schedule,
        warmup=usual.warmup if wishes.warmup is None else wishes.warmup,
        weight_decay=wishes.weight_decay,
        clip=wishes.clip,
        bf16=bf16,
        evals_per_epoch=wishes.evals_per_epoch,
        patience=wishes.patience,
    )
    _check(settings)
    return settings, max_length, [*reasons, why, why_length]


def _precision(wish: str) -> tuple[bool, str]:
    if wish == "auto":
        native, why = bf16_is_native()
        return native, why
    if wish not in ("fp32", "bf16"):
        raise _unknown("precision", wish, ["auto", "fp32", "bf16"])
    return wish == "bf16", say("precision {wish}: as asked", wish=wish)


def _length(work: Work, wish: int | None) -> tuple[int, str]:
    most = longest(work.model, work.tokenizer)
    if wish is not None:
        if not 2 <= wish <= most:
            raise UsageError(
                problem(
                    say("max_length {wish}", wish=wish),
                    say("2..{most} for this model", most=most),
                    say("--set max_length={most}", most=most),
                )
            )
        return wish, say("max_length {wish}: as asked", wish=wish)
    lengths_N = np.array([len(row["input_ids"]) for row in encode(work.tokenizer, work.train, most + 1)])
    return choose_length(lengths_N, most)


def bounded(tokenizer: Any, max_length: int) -> Any:
    """A copy of `tokenizer` whose `model_max_length` is what its model was trained with, also when saved."""
    made = copy.deepcopy(tokenizer)
    made.model_max_length = max_length
    return made


def encode_work(work: Work, max_length: int) -> tuple[Data, Data]:
    return _data(work.tokenizer, work.task, work.train, max_length), _data(
        work.tokenizer, work.task, work.valid, max_length
    )


def _data(tokenizer: Any, task: Task, rows: Rows, max_length: int) -> Data:
    return Data(encode(tokenizer, rows, max_length), task.encode(rows))


def _check(s: Settings) -> None:
    for name, value, good, expected in (
        ("lr", s.lr, s.lr > 0, "above 0"),
        ("epochs", s.epochs, s.epochs >= 1, "1 or more"),
        ("batch_size", s.batch_size, s.batch_size >= 1, "1 or more"),
        ("accumulate", s.accumulate, 1 <= s.accumulate <= s.batch_size, f"1..{s.batch_size}, the batch size"),
        ("warmup", s.warmup, 0 <= s.warmup <= 1, "a share of the steps, 0..1"),
        ("clip", s.clip, s.clip >= 0, "0 or more"),
        ("evals_per_epoch", s.evals_per_epoch, s.evals_per_epoch >= 1, "1 or more"),
    ):
        if not good:
            given = say("{name} {value}", name=name, value=value)
            raise UsageError(problem(given, expected, say("--set {name}=...", name=name)))


def _unknown(name: str, value: str, known: list[str]) -> UsageError:
    close = nearest(value, known) or known[0]
    given = say("there is no {name} '{value}'", name=name, value=value)
    return UsageError(problem(given, ", ".join(known), f"--set {name}={close}"))
