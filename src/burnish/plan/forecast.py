"""What a run will cost, before it is run: a few real steps are timed, the rest is multiplication."""

import copy
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from burnish.core import Work
from burnish.measure import memory
from burnish.plan.budget import Budget
from burnish.train.evaluate import pad_id_of
from burnish.train.loop import Settings, train
from burnish.train.prepare import encode_work, settings_for
from burnish.train.tweak import Tweak
from burnish.tune.finetune import FineTune
from burnish.words import say

__all__ = ["Forecast", "fit_into", "forecast"]

# How the time of a run is shared, from runs on two cores (docs/LOG.md).
TUNE_SHARE = 0.4
TRIAL_BATCHES, TRIAL_LENGTH = 6, 64
FEWEST_EPOCHS, SHORTEST = 3, 64
EXPORT_SECONDS, RACE_SECONDS, REST_SECONDS = 5.0, 40.0, 20.0


@dataclass(frozen=True)
class Forecast:
    """Seconds, bytes, and the tuning settings that fit into the time."""

    tune_seconds: float
    student_seconds: float  # for a student with half of the layers
    rest_seconds: float  # engines, race, parity, report
    memory_bytes: int
    disk_bytes: int
    epochs: int
    max_length: int
    reasons: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return self.tune_seconds + self.student_seconds * (1 + 0.7) + self.rest_seconds


def forecast(work: Work, step: FineTune, budget: Budget, recipes: int) -> Forecast:
    """Time a few training steps on a copy and multiply; with a time limit, shorten rows and epochs to fit it."""
    settings, max_length, _ = settings_for(work, step)
    seconds_a_row = _trial(work, settings, max_length, step.tweaks)
    rows = len(work.train) + 0.4 * len(work.valid) * settings.evals_per_epoch
    epoch = seconds_a_row * rows
    epochs = settings.epochs
    reasons: list[str] = []
    if budget.time is not None:
        epochs, max_length, reasons = fit_into(
            TUNE_SHARE * budget.time, epoch, epochs, max_length, step.epochs is None, step.max_length is None
        )
        epoch *= max_length / settings_for(work, step)[1]
    parameters = sum(p.numel() for p in work.model.parameters())
    return Forecast(
        tune_seconds=epoch * epochs,
        student_seconds=epoch * epochs * 0.5 + seconds_a_row * len(work.train) / 3,
        rest_seconds=EXPORT_SECONDS * (recipes + 4) + RACE_SECONDS + REST_SECONDS,
        memory_bytes=_memory(work, settings, max_length, parameters),
        disk_bytes=parameters * (4 * 5 + 4 * (recipes + 2)),
        epochs=epochs,
        max_length=max_length,
        reasons=tuple(reasons),
    )


def fit_into(
    seconds: float, epoch: float, epochs: int, length: int, free_epochs: bool, free_length: bool
) -> tuple[int, int, list[str]]:
    """Epochs and length so that training takes `seconds`; `epoch` is the time of one at full `length`.

    Rows are shortened before the epochs fall under three: a text says most in its beginning, and a model that
    saw the data once knows little of it.
    """
    reasons = []
    fewest = min(FEWEST_EPOCHS, epochs) if free_epochs else epochs
    if free_length and epoch * fewest > seconds and length > SHORTEST:
        shorter = max(SHORTEST, int(length * seconds / (epoch * fewest)) // 8 * 8)
        reasons.append(say("max_length {n} instead of {m}: for the time limit", n=shorter, m=length))
        epoch, length = epoch * shorter / length, shorter
    if free_epochs and epoch * epochs > seconds:
        fewer = max(1, int(seconds / epoch))
        if fewer < epochs:
            reasons.append(say("{n} epochs instead of {m}: for the time limit", n=fewer, m=epochs))
            epochs = fewer
    return epochs, length, reasons


def _trial(work: Work, settings: Settings, max_length: int, tweaks: Sequence[Tweak]) -> float:
    """Seconds a training row of `max_length` takes, from a few real steps on a copy of the model.

    Long rows are cut for the trial and the time is scaled by tokens: the trial then takes seconds, not minutes, and
    is a little kind to rows of many hundred tokens, whose attention grows with the square.
    """
    few = settings.batch_size * TRIAL_BATCHES
    every = max(1, len(work.train) // few)
    small = replace(work, train=list(work.train)[::every][:few], valid=list(work.valid)[:32])
    full, _ = encode_work(small, max_length)
    learn, valid = encode_work(small, min(max_length, TRIAL_LENGTH))
    once = replace(settings, epochs=1, evals_per_epoch=1, watch=None)
    start = time.perf_counter()
    model, pad_id = copy.deepcopy(work.model), pad_id_of(work.tokenizer)
    train(model, work.task, learn, valid, once, seed=0, pad_id=pad_id, tweaks=tweaks)
    seconds = (time.perf_counter() - start) / (len(small.train) + 0.4 * len(small.valid))
    return seconds * float(full.lengths.sum() / learn.lengths.sum())


def _memory(work: Work, settings: Settings, max_length: int, parameters: int) -> int:
    config = work.model.config
    hidden, layers = getattr(config, "hidden_size", 768), getattr(config, "num_hidden_layers", 12)
    return memory.forecast(
        parameters,
        batch=-(-settings.batch_size // (settings.accumulate or 1)),
        length=max_length,
        layers=layers,
        hidden=hidden,
        heads=getattr(config, "num_attention_heads", 12),
        intermediate=getattr(config, "intermediate_size", None),
        precision="bf16" if settings.precision == "bf16" else "fp32",
        copies=2,  # the model before tuning, and the best weights so far
    )


def disk_free(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def as_json(f: Forecast, recipes: Sequence[str]) -> dict[str, Any]:
    return {
        "seconds": round(f.seconds, 1),
        "minutes": round(f.seconds / 60, 2),
        "memory_bytes": f.memory_bytes,
        "disk_bytes": f.disk_bytes,
        "tune_seconds": round(f.tune_seconds, 1),
        "epochs": f.epochs,
        "max_length": f.max_length,
        "reasons": list(f.reasons),
        "recipes": list(recipes),
    }
