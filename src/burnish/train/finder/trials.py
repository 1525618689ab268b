"""The short runs a finder makes, each with the loop's own `train` on a copy: warm head, sweep, confirming run.

Nothing outside is touched: weights are copied, random numbers put back, and no run sees the desk's folder.
"""

import contextlib
import copy
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from burnish.core import Desk, Task, lend
from burnish.train import ranks
from burnish.train.diary import Diary
from burnish.train.finder.curve import smooth
from burnish.train.loop import Data, Settings, train
from burnish.train.optimizer import FusedAdamW
from burnish.train.parts import Facts, Schedule
from burnish.train.scale import head_of
from burnish.train.schedule import ToZero
from burnish.train.tweak import Tweak
from burnish.train.watch import Act, Watch
from burnish.words import say

__all__ = ["Bench", "Climb", "Curve", "OnlyHead", "confirm", "seconds_a_row", "sweep", "untouched", "warm_head"]

WARM_STEPS, WARM_RATE = 50, 1e-2
# A sweep ends when the loss is this far over its minimum: past divergence, with the turn still in the picture.
ENOUGH = 2.0
TRIAL_STEPS = 4
Report = Callable[[str, float, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Bench:
    """What every trial starts from. `settings.lr` is the table's rate."""

    model: nn.Module
    task: Task
    learn: Data
    valid: Data
    settings: Settings
    seed: int
    pad_id: int
    tweaks: tuple[Tweak, ...] = ()
    report: Report = lambda what, share, facts: None
    deadline: float | None = None  # time.monotonic() after which a trial may stop short

    def late(self) -> bool:
        return ranks.any_of(self.deadline is not None and time.monotonic() > self.deadline)


@dataclass(frozen=True)
class Curve:
    """One sweep: the loss of each step at its rate."""

    rates: list[float]
    losses: list[float]


@dataclass(frozen=True)
class Climb(Schedule):
    """From `low` times the peak rate to the peak, in equal ratios."""

    own_warmup: ClassVar[bool] = True
    low: float

    def multiple(self, t: float) -> float:
        return float(self.low ** (1.0 - t))


@dataclass(frozen=True)
class OnlyHead(Tweak):
    """Trains what stands behind the encoder, or at least the last layer."""

    width: int = 0

    def begin(self, facts: Facts) -> "OnlyHead":
        return OnlyHead(facts.task.width)

    def prepare(self, model: nn.Module) -> nn.Module:
        model.requires_grad_(False)
        head_of(model, self.width).requires_grad_(True)
        base = getattr(model, "base_model", model)
        inside = {id(p) for p in base.parameters()}
        for parameter in model.parameters():
            if id(parameter) not in inside:
                parameter.requires_grad_(True)
        return model


class _Until(Watch):
    """Ends a trial whose loss is lost."""

    def __init__(self, enough: float = math.inf):
        self.enough = enough
        self.diverged = False

    def stepped(self, diary: Diary, layer_norms: Mapping[str, float]) -> Act | None:
        losses = smooth([p["loss"] for p in diary.curve])
        first = min(5, len(losses) - 1)
        return self._end() if losses[-1] > self.enough * losses[first:].min() else None

    def broke(self, diary: Diary, loss: float, norm: float, rows: list[int]) -> Act | None:
        return self._end()

    def _end(self) -> Act:
        self.diverged = True
        return Act("stop", "diverged", say("the loss has diverged"))


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """Put the random numbers of python, numpy and torch back as they were, bit for bit."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if devices:
            torch.cuda.set_rng_state_all(devices)


def warm_head(bench: Bench) -> nn.Module:
    """A copy of the model whose head was trained for a few steps: behind a random head every rate lowers the loss."""
    data, epochs = _some(bench, WARM_STEPS, bench.seed)
    plain = replace(bench.settings, optimizer=FusedAdamW(), rates=(), schedule=ToZero())
    settings = replace(plain, lr=WARM_RATE, epochs=epochs, evals_per_epoch=0)
    model, _, _ = _run(bench, bench.model, data, settings, (OnlyHead(),), bench.seed, say("warming the head"))
    return model


def sweep(bench: Bench, model: nn.Module, number: int, steps: int, band: tuple[float, float]) -> Curve:
    """Train a copy of `model` over the rates of `band`, on rows in an order that the sweep's number decides."""
    seed = bench.seed + 1 + number
    data, epochs = _some(bench, steps, seed)
    climb = Climb(band[0] / band[1])
    settings = replace(bench.settings, lr=band[1], epochs=epochs, schedule=climb, evals_per_epoch=0)
    what = say("trying rates, sweep {n}", n=number + 1)
    _, notes, _ = _run(bench, model, data, settings, bench.tweaks, seed, what, enough=ENOUGH)
    return Curve([p["lr"] for p in notes["curve"]], [p["loss"] for p in notes["curve"]])


def confirm(bench: Bench, lr: float, steps: int) -> dict[str, float | None]:
    """Loss and score on dev after a whole run of only `steps` steps at the peak rate `lr`; None when it diverged.

    Every rate sees the same rows in the same order.
    """
    data, epochs = _some(bench, steps, bench.seed)
    settings = replace(bench.settings, lr=lr, epochs=epochs, evals_per_epoch=1)
    what = say("confirming lr {lr:.2g}", lr=lr)
    _, notes, diverged = _run(bench, bench.model, data, settings, bench.tweaks, bench.seed, what)
    last = notes["evals"][-1] if notes["evals"] and not diverged else {"valid_loss": math.inf, "score": math.nan}
    return {"lr": lr} | {k: last[k] if math.isfinite(last[k]) else None for k in ("valid_loss", "score")}


def seconds_a_row(bench: Bench) -> float:
    """How long a row takes in training, from a few steps on a copy."""
    data, epochs = _some(bench, TRIAL_STEPS, bench.seed)
    settings = replace(bench.settings, epochs=epochs, evals_per_epoch=0)
    start = time.monotonic()
    _run(bench, bench.model, data, settings, bench.tweaks, bench.seed, say("timing a few training steps"))
    return (time.monotonic() - start) / (len(data.encoded) * epochs)


def _some(bench: Bench, steps: int, seed: int) -> tuple[Data, int]:
    """Rows for `steps` steps, drawn anew for each seed, and how often to see them: all of them where they are few."""
    rows, wanted = len(bench.learn.encoded), steps * bench.settings.batch_size
    if wanted >= rows:
        return bench.learn, round(wanted / rows)
    drawn = np.sort(np.random.default_rng([seed, steps]).choice(rows, wanted, replace=False))
    return bench.learn.some(drawn), 1


def _run(
    bench: Bench,
    model: nn.Module,
    data: Data,
    settings: Settings,
    tweaks: Sequence[Tweak],
    seed: int,
    what: str,
    enough: float = math.inf,
) -> tuple[nn.Module, dict[str, Any], bool]:
    """Train a copy of `model`; also its notes, and whether it diverged."""
    watch = _Until(enough)
    desk = Desk(report=lambda _, share, facts: bench.report(what, share, facts), deadline=bench.deadline)
    with untouched(), lend(desk):
        trained = train(
            copy.deepcopy(model),
            bench.task,
            data,
            bench.valid,
            replace(settings, watch=watch, patience=0),
            seed=seed,
            pad_id=bench.pad_id,
            tweaks=tweaks,
        )
    return trained.model, trained.notes, watch.diverged
