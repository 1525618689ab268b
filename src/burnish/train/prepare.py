"""From a step's settings, some of them open, to the loop's settings and encoded rows."""

import copy
import math
from dataclasses import replace
from typing import Any, Literal, Protocol

import numpy as np
import torch

from burnish.core import Rows, Task, Work, name_of
from burnish.errors import UsageError, nearest, problem
from burnish.measure.machine import bf16_is_native
from burnish.models import longest
from burnish.tasks.answer import words_of
from burnish.tasks.windows import answer_targets, word_targets
from burnish.train import fp8, memory
from burnish.train.batches import Bucketed, Encoded, encode, encode_windows
from burnish.train.clip import ByNorm
from burnish.train.defaults import choose, choose_length
from burnish.train.doctor import doctor_for
from burnish.train.given import Data, Settings, Whole
from burnish.train.optimizer import FusedAdamW
from burnish.train.parts import Batching, Clip, Objective, Optimizer, Rates, Schedule, Weighting
from burnish.train.schedule import ToZero
from burnish.train.texts import Texts
from burnish.train.tweak import Tweak
from burnish.words import say

__all__ = [
    "Wishes",
    "bounded",
    "data_of",
    "encode_work",
    "encoded_of",
    "length_for",
    "one_answer_a_row",
    "precision_for",
    "settings_for",
]

PRECISIONS = ("fp32", "bf16", "fp16", "fp8")
# A rate further than this factor from its own method's is nearer to that of the other, 10 times off.
ASTRAY = math.sqrt(10)
FEWEST_PARAMETERS = 1_000_000  # the smallest pretrained encoders have a few million
CPU = torch.device("cpu")


class Wishes(Protocol):
    """The settings that every learning step has; None leaves the choice to the defaults."""

    @property
    def lr(self) -> float | Literal["auto"] | None: ...
    @property
    def epochs(self) -> int | None: ...
    @property
    def batch_size(self) -> int | None: ...
    @property
    def accumulate(self) -> int | str: ...
    @property
    def optimizer(self) -> Optimizer | None: ...
    @property
    def schedule(self) -> Schedule | None: ...
    @property
    def warmup(self) -> float | None: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def clip(self) -> float | Clip: ...
    @property
    def objective(self) -> Objective | None: ...
    @property
    def weighting(self) -> Weighting | None: ...
    @property
    def rates(self) -> tuple[Rates, ...]: ...
    @property
    def batching(self) -> Batching | None: ...
    @property
    def tweaks(self) -> tuple[Tweak, ...]: ...
    @property
    def max_length(self) -> int | None: ...
    @property
    def precision(self) -> str: ...
    @property
    def evals_per_epoch(self) -> int: ...
    @property
    def patience(self) -> int: ...
    @property
    def min_difference(self) -> float: ...
    @property
    def doctor(self) -> str: ...


def settings_for(work: Work, wishes: Wishes) -> tuple[Settings, int, list[str]]:
    """Final settings, the maximum length, and a sentence for every choice that was left open."""
    parameters = sum(p.numel() for p in work.model.parameters())
    usual = choose(parameters, len(work.train), pair=work.task.pair)
    optimizer = wishes.optimizer or FusedAdamW()
    asked = None if isinstance(wishes.lr, str) else wishes.lr  # auto begins from the table's: see train.finder
    reasons = list(usual.reasons) if asked is None or wishes.epochs is None else []
    relative = optimizer.relative_rate * math.prod(t.relative_rate for t in wishes.tweaks)
    if asked is None and relative != 1:
        reasons.append(say("lr {lr:g}: {x:g} times that, as its technique asks", lr=usual.lr * relative, x=relative))
    if asked is not None:
        reasons += _astray(asked, usual.lr * optimizer.relative_rate, wishes)
    if wishes.schedule is None and optimizer.only_schedule is not None:
        name, asks = name_of(optimizer.only_schedule), name_of(optimizer)
        reasons.append(say("schedule {name}: {asks} asks for it", name=name, asks=asks))
    precision, why = precision_for(wishes.precision, next(work.model.parameters()).device)
    max_length, why_length = length_for(work, wishes.max_length)
    epochs = usual.epochs if wishes.epochs is None else wishes.epochs
    batch_size = usual.batch_size if wishes.batch_size is None else wishes.batch_size
    steps: int | None = getattr(wishes, "steps", None)  # only tune/finetune has it
    if steps is not None and wishes.epochs is None:
        epochs = max(1, math.ceil(steps * batch_size / len(work.train)))
    planned = math.ceil(len(work.train) / batch_size) * epochs if steps is None else steps
    warmup = _warmup(usual.warmup if wishes.warmup is None else wishes.warmup, planned)
    settings = Settings(
        lr=usual.lr * relative if asked is None else asked,
        epochs=epochs,
        batch_size=batch_size,
        steps=steps,
        accumulate=0 if isinstance(wishes.accumulate, str) else wishes.accumulate,  # auto: see train.microbatch
        warmup=warmup,
        weight_decay=wishes.weight_decay,
        precision=precision,
        evals_per_epoch=wishes.evals_per_epoch,
        patience=wishes.patience,
        min_difference=wishes.min_difference,
        optimizer=optimizer,
        schedule=_following(wishes.schedule, optimizer),
        clip=wishes.clip if isinstance(wishes.clip, Clip) else ByNorm(wishes.clip),
        batching=wishes.batching or Bucketed(),
        objective=_suiting(wishes.objective, work.task),
        weighting=wishes.weighting,
        rates=wishes.rates,
        watch=doctor_for(wishes.doctor, usual=_known(usual.lr * relative, parameters, wishes), warmup=warmup),
    )
    _check(settings)
    forecast, why_memory = memory.reason(work.model, settings, max_length, wishes.tweaks)
    return replace(settings, forecast_bytes=forecast), max_length, [*reasons, why, why_length, why_memory]


def _known(lr: float, parameters: int, wishes: Wishes) -> float | None:
    """The usual rate, where one is: not with rates by layer, when most may be frozen, nor below the table's models."""
    return None if wishes.rates or parameters < FEWEST_PARAMETERS else lr


def _astray(lr: float, full: float, wishes: Wishes) -> list[str]:
    """A sentence when `lr` is nearer to the usual rate of the other method: adapters take 10 times that of all weights.

    The most frequent slip there is, both ways. With rates by layer nothing is said of high ones: most may be frozen.
    """
    asked = math.prod(t.relative_rate for t in wishes.tweaks)
    if asked > ASTRAY and lr < full * asked / ASTRAY:
        names = ", ".join(name_of(t) for t in wishes.tweaks if t.relative_rate > 1)
        text = "lr {lr:g} is a rate for tuning all weights; {names} takes about {x:g} times that, {good:g} here"
        return [say(text, lr=lr, names=names, x=asked, good=full * asked)]
    if asked == 1 and not wishes.rates and lr > full * ASTRAY:
        text = "lr {lr:g} is high for tuning all weights: {good:g} is usual here, and such rates are for tune/lora"
        return [say(text, lr=lr, good=full)]
    return []


def _warmup(wish: float, steps: int) -> float:
    """As a share of all steps; 1 and more is a number of steps."""
    return wish if wish < 1 else wish / steps


def _following(schedule: Schedule | None, optimizer: Optimizer) -> Schedule:
    only = optimizer.only_schedule
    if only is not None and schedule not in (None, only):
        given = say("schedule {name} with optimizer {optimizer}", name=name_of(schedule), optimizer=name_of(optimizer))
        expected = say("{only}, the one this optimizer is made for", only=name_of(only))
        raise UsageError(problem(given, expected, say("leave schedule out")))
    return schedule or only or ToZero()


def _suiting(objective: Objective | None, task: Task) -> Objective | None:
    if objective is not None and task.objective not in objective.suits:
        given = say("{name} for a task that is scored by {task}", name=name_of(objective), task=task.objective)
        expected = say("a task with: {known}", known=", ".join(objective.suits))
        raise UsageError(problem(given, expected, say("leave objective out")))
    return objective


def precision_for(wish: str, device: torch.device = CPU) -> tuple[str, str]:
    if wish == "auto":
        native, why = bf16_is_native() if device.type == "cpu" else bf16_is_native(str(device))
        return "bf16" if native else "fp32", why
    if wish not in PRECISIONS:
        raise _unknown("precision", wish, ["auto", *PRECISIONS])
    if wish == "fp8":
        fp8.refuse(device)
    if wish == "fp16" and device.type == "cpu":
        return wish, say("precision fp16: as asked, and slow on a CPU; bf16 or fp32 is faster here")
    return wish, say("precision {wish}: as asked", wish=wish)


def length_for(work: Work, wish: int | None) -> tuple[int, str]:
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
    learn, valid = (data_of(work, rows, max_length) for rows in (work.train, work.valid))
    return replace(learn, texts=Texts(work.tokenizer, work.train, max_length)), valid


def data_of(work: Work, rows: Rows, max_length: int) -> Data:
    """Rows as the model of `work` reads them, with their targets; what is cut into windows is several rows."""
    return _data(work.tokenizer, work.task, rows, max_length)


def encoded_of(tokenizer: Any, task: Task, rows: Rows, max_length: int) -> Encoded:
    """Rows as a model of `task` reads them; they need no labels."""
    if task.reads == "rows":
        return encode(tokenizer, rows, max_length)
    return encode_windows(tokenizer, rows, max_length, task.reads)[0]


def _data(tokenizer: Any, task: Task, rows: Rows, max_length: int) -> Data:
    if task.reads != "rows":
        return _windows(tokenizer, task, rows, max_length)
    own = Data(encode(tokenizer, rows, max_length), task.encode(rows), [row.id for row in rows])
    return replace(own, weights=_uneven([row.weight for row in rows], 1), smoothing=_smoothing(rows))


def _windows(tokenizer: Any, task: Task, rows: Rows, max_length: int) -> Data:
    encoded, layouts = encode_windows(tokenizer, rows, max_length, task.reads)
    ids = [row.id for row, layout in zip(rows, layouts, strict=True) for _ in range(layout.windows)]
    targets = task.encode(rows)
    if task.reads == "words":
        own = word_targets(layouts, targets, [len(window["input_ids"]) for window in encoded])
    else:
        own = answer_targets(layouts, [words_of(row.text, row.target) for row in rows])
    which = np.repeat(np.arange(len(rows)), [layout.windows for layout in layouts])
    weights, smoothing = (_uneven([row.weight for row in rows], 1), _smoothing(rows))
    return Data(
        encoded,
        own,
        ids,
        Whole(layouts, targets),
        weights=None if weights is None else weights[which],
        smoothing=None if smoothing is None else smoothing[which],
    )


def one_answer_a_row(task: Task, name: str) -> None:
    """Raises UsageError for a task about words, which technique `name` cannot do."""
    if task.reads != "rows":
        given = say("{name} for {task}", name=name, task=task.name)
        raise UsageError(problem(given, say("a task with one answer a row"), say("leave {name} out", name=name)))


def _smoothing(rows: Rows) -> np.ndarray | None:
    return _uneven([row.smoothing for row in rows], 0)


def _uneven(values: list[float], usual: float) -> np.ndarray | None:
    """float32 [N]; None when all are as usual, which costs nothing then."""
    return None if all(value == usual for value in values) else np.array(values, dtype=np.float32)


def _check(s: Settings) -> None:
    for name, value, good, expected in (
        ("lr", s.lr, s.lr > 0, "above 0"),
        ("epochs", s.epochs, s.epochs >= 1, "1 or more"),
        ("steps", s.steps, s.steps is None or s.steps >= 1, "1 or more"),
        ("batch_size", s.batch_size, s.batch_size >= 1, "1 or more"),
        ("accumulate", s.accumulate, 0 <= s.accumulate <= s.batch_size, f"1..{s.batch_size}, the batch size, or auto"),
        (
            "warmup",
            s.warmup,
            0 <= s.warmup <= 1,
            "a share of the steps (below 1), or a count of them",
        ),
        ("min_difference", s.min_difference, s.min_difference >= 0, "0 or more"),
        ("evals_per_epoch", s.evals_per_epoch, s.evals_per_epoch >= 1, "1 or more"),
    ):
        if not good:
            given = say("{name} {value}", name=name, value=value)
            raise UsageError(problem(given, expected, say("--set {name}=...", name=name)))


def _unknown(name: str, value: str, known: list[str]) -> UsageError:
    close = nearest(value, known) or known[0]
    given = say("there is no {name} '{value}'", name=name, value=value)
    return UsageError(problem(given, ", ".join(known), f"--set {name}={close}"))
