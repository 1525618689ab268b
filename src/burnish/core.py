"""The whole contract: a Step turns Work into Work, and `run` measures each one from outside.

    rows ──► Work ──step──► Work ──step──► Work ──► engines ──► artifact
               │              │              │
             probes         probes         probes      each reading becomes a Record

This file knows no torch, no file format and no technique.
"""

import contextlib
import contextvars
import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

__all__ = [
    "FILL",
    "Desk",
    "Predictor",
    "Record",
    "Row",
    "Span",
    "Step",
    "Task",
    "Work",
    "describe",
    "desk",
    "lend",
    "name_of",
    "reads_of",
    "run",
    "step_key",
]

Rng = random.Random

# Outputs of a word that is not there: texts of unequal length stand in one array [N, W, C]. Finite, unlike nan, so that
# a model whose outputs are broken is still found by looking for what is not.
FILL = -1e9


@dataclass(frozen=True)
class Span:
    """A stretch of a row's text: characters `start`..`end` (excluded), and what it is called."""

    start: int
    end: int
    label: str = ""


@dataclass(frozen=True)
class Row:
    """One labelled example. `target` is a label, a tuple of labels (multi-label), a number, or a tuple of spans."""

    id: str  # where it came from, such as "data:17": file role and 0-based row number
    text: str
    pair: str | None = None  # the second text of a sentence pair; the question where spans of `text` answer it
    target: str | float | tuple[str, ...] | tuple[Span, ...] | None = None
    parent: str = ""  # id of the row that this one was made from, by augmentation
    weight: float = 1.0  # how much it counts in training, above 0
    smoothing: float = 0.0  # share of its label that training spreads over all labels, 0..1


Rows = Sequence[Row]


class Task(Protocol):
    """What goes in, what comes out and how it is scored. numpy only; see `burnish.tasks`."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def pair(self) -> bool: ...
    @property
    def metric(self) -> str: ...
    @property
    def objective(self) -> str: ...
    @property
    def reads(self) -> str: ...  # what outputs are about: "rows", each of the "words", or "answers" in a text
    @property
    def width(self) -> int: ...
    def encode(self, rows: Rows) -> np.ndarray: ...
    def read(self, outputs: np.ndarray) -> np.ndarray: ...
    def answers(self, outputs_NC: np.ndarray) -> list[Any]: ...
    def decode(self, outputs_NC: np.ndarray, texts: Sequence[str] = ...) -> list[dict[str, Any]]: ...
    def metrics(self, outputs_NC: np.ndarray, targets: np.ndarray) -> dict[str, float]: ...
    def score(self, outputs_NC: np.ndarray, targets: np.ndarray) -> float: ...
    def flips(self, a_NC: np.ndarray, b_NC: np.ndarray) -> np.ndarray: ...
    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Work:
    """What flows from step to step. Never changed in place: use `dataclasses.replace`."""

    model: Any  # a torch.nn.Module that answers `.logits`, kept callable the same way up to serving
    tokenizer: Any  # a transformers tokenizer
    task: Task
    train: Rows  # a step may learn from these
    valid: Rows  # and choose with these; the test rows are not here, only in the probes
    notes: Mapping[str, Any] = field(default_factory=dict)  # JSON facts left by the last step


class Step(Protocol):
    """A frozen dataclass: its fields are all its settings, `__call__` is all it does."""

    def __call__(self, work: Work, rng: Rng) -> Work: ...


class Predictor(Protocol):
    """What a probe measures and a server serves: token ids in, one row of outputs a row of input, or one a token."""

    def __call__(self, batch: Mapping[str, np.ndarray]) -> np.ndarray: ...


@dataclass(frozen=True)
class Record:
    """One line of evidence: what ran, with which settings, and what the probes read afterwards."""

    step: str  # 'tune/finetune'; 'start' for the reading before any step
    settings: dict[str, Any]
    seconds: float
    probes: dict[str, Any]
    notes: dict[str, Any]
    parent: str  # key of the step before, "" at the start
    key: str = ""  # hash over everything that decides the result: parent, step, settings, seed, files
    reads: dict[str, str] = field(default_factory=dict)  # files and folders named in the settings: SHA-256 of each


@dataclass(frozen=True)
class Desk:
    """What the runner lends to a step: a folder that outlives a kill, and someone to report to."""

    folder: Path | None = None  # for checkpoints; a step that finds its own files there resumes
    report: Callable[[str, float, Mapping[str, Any]], None] = lambda what, share, facts: None
    deadline: float | None = None  # time.monotonic() at which the step should be done, if any

    def seconds_left(self) -> float:
        return float("inf") if self.deadline is None else self.deadline - time.monotonic()


# A context variable, not an argument: most steps need no desk, and `Step` stays one call wide.
_desk: contextvars.ContextVar[Desk] = contextvars.ContextVar("desk", default=Desk())  # noqa: B039 (frozen)


def desk() -> Desk:
    """The desk lent to the step that is running now."""
    return _desk.get()


@contextlib.contextmanager
def lend(to_step: Desk) -> Iterator[None]:
    token = _desk.set(to_step)
    try:
        yield
    finally:
        _desk.reset(token)


class Cache(Protocol):
    """Finished steps by key. `take` gives back the work and its record, or None."""

    def take(self, key: str, like: Work) -> tuple[Work, Record] | None: ...
    def keep(self, key: str, work: Work, record: Record) -> None: ...
    def folder(self, key: str) -> Path | None: ...


def step_key(
    parent: str, name: str, settings: Mapping[str, Any], seed: int, reads: Mapping[str, str] | None = None
) -> str:
    """Hash of all that decides a step's result, given the key of the work that goes in."""
    what = [parent, name, settings, seed, *([reads] if reads else [])]
    text = json.dumps(what, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def reads_of(settings: Any) -> dict[str, str]:
    """The files and folders that settings name, with a hash of what is in them: another word list is another step."""
    found: dict[str, str] = {}
    parts = (
        settings.values() if isinstance(settings, Mapping) else settings if isinstance(settings, list) else [settings]
    )
    for part in parts:
        if isinstance(part, Mapping | list):
            found |= reads_of(part)
        elif isinstance(part, str) and _is_place(part):
            found[part] = _content(Path(part).expanduser())
    return found


def _is_place(text: str) -> bool:
    """A name that is there; a bare word is a setting, whatever lies in the folder one happens to be in."""
    try:
        return ("/" in text or "." in text) and Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _content(place: Path) -> str:
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    total = hashlib.sha256()
    for path in files:
        total.update(path.relative_to(place.parent).as_posix().encode("utf-8", "surrogateescape"))
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def run(
    steps: Sequence[Step],
    work: Work,
    probes: Mapping[str, Callable[[Work], Any]],
    cache: Cache,
    *,
    parent: str,
    seed: int = 0,
    lent: Desk | None = None,
) -> Iterator[tuple[Work, Record]]:
    """Apply the steps in turn; yield the work and its Record after each one.

    A step whose key is in the cache is not run again, so an interrupted run continues where it
    stopped. `parent` is the key of `work`; each step's random numbers depend on the seed and its own key only,
    so the same step after the same work gives the same result in any recipe.
    """
    for step in steps:
        name, settings = name_of(step), describe(step)
        reads = reads_of(settings)
        key = step_key(parent, name, settings, seed, reads)
        done = cache.take(key, work)
        if done is None:
            start = time.perf_counter()
            with lend(replace(lent or Desk(), folder=cache.folder(key))):
                work = step(replace(work, notes={}), random.Random(f"{seed}/{key}"))
            seconds = time.perf_counter() - start
            readings = {probe: read(work) for probe, read in probes.items()}
            record = Record(name, settings, seconds, readings, dict(work.notes), parent, key, reads)
            cache.keep(key, work, record)
        else:
            work, record = done
        parent = key
        yield work, record


def name_of(step: object) -> str:
    """'compress/int8' for an instance of a class in burnish/compress/int8.py."""
    return "/".join(type(step).__module__.split(".")[1:])


def describe(step: object) -> dict[str, Any]:
    """The settings of a step as JSON; a setting that is itself a technique becomes {"use": name, ...}."""
    return {f.name: _plain(getattr(step, f.name)) for f in fields(step)}  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {"use": name_of(value), **describe(value)}
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value
