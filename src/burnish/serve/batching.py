"""The queue in front of an engine: what waits, what is refused, and what runs together.

    event loop: submit ──► [ job job job ... ] ──take──► worker threads ──► engine
         ▲                  caps: requests, tokens                             │
         └────────────── call_soon_threadsafe(job resolved) ◄──────────────────┘

Work-conserving: a free worker takes at once what is there, the oldest row first and then those behind it while the
padded batch stays within its budget; nobody waits for company. Rows that must be alone run one at a time; under load
a worker takes a few at once all the same and hands their answers back together, because waking the event loop for
each costs more than a tenth of a small model. A row that finds everything idle runs on all cores. Jobs whose client
has left, or whose time is up, are taken out before they cost anything.

This file knows no HTTP, no tokenizer and no engine.
"""

import asyncio
import functools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from burnish.core import Predictor
from burnish.serve.engines import collate
from burnish.units import stacked

__all__ = ["Batching", "Closed", "Job", "Overloaded", "Scheduler", "Watcher"]

LONGEST_RETRY = 60  # seconds; a client that waits longer has better things to do
# Rows that a worker takes at once to run one by one: a share of what waits, that no worker goes without; at most this.
ALONE_TOGETHER = 6


class Overloaded(Exception):
    """A cap is reached. `reason` names it; `retry_after` is when the queue should be empty, in whole seconds."""

    def __init__(self, reason: str, retry_after: int):
        super().__init__(reason)
        self.reason, self.retry_after = reason, retry_after


class Closed(Exception):
    """The server is stopping and takes no more work."""


@dataclass(frozen=True)
class Batching:
    """What may run together. `alone` overrides the other two."""

    alone: bool
    max_tokens: int = 4096  # of a batch, padding included: its longest row times its rows
    max_rows: int = 64
    pad_id: int = 0


class Watcher(Protocol):
    """Who is told what happened, from worker threads. Times are in seconds."""

    def waited(self, seconds: float) -> None: ...
    def ran(self, rows: int, tokens: int, seconds: float) -> None: ...


class Job:
    """One request's rows on their way through; `future` gives float32 [N, C] (or [N, S, C]) on its loop."""

    __slots__ = ("arrived", "future", "left", "lengths", "loop", "outputs", "rows", "taken")

    def __init__(self, rows: Sequence[Mapping[str, np.ndarray]], loop: asyncio.AbstractEventLoop):
        self.rows, self.loop = rows, loop
        self.lengths = [len(row["input_ids"]) for row in rows]
        self.future: asyncio.Future[np.ndarray] = loop.create_future()
        self.outputs: list[np.ndarray | None] = [None] * len(rows)
        self.taken = 0  # rows that a worker has; the queue holds the rest
        self.left = len(rows)  # rows without an answer
        self.arrived = time.perf_counter()


Piece = tuple[Job, int]  # one row: its job and its place there


class Scheduler:
    """Feeds `predictor` from `workers` threads. `submit` and `cancel` belong to the event loop's thread."""

    def __init__(
        self,
        predictor: Predictor,
        *,
        batching: Batching,
        workers: int,
        max_queue: int,
        max_queued_tokens: int,
        watcher: Watcher,
        wide: Predictor | None = None,
    ):
        """`wide` gives the same answers as `predictor` and uses every core: for a row that is all there is to do."""
        self._predictor, self._batching, self._watcher = predictor, batching, watcher
        self._wide, self._busy = wide or predictor, 0
        self._max_queue, self._max_tokens = max_queue, max_queued_tokens
        self._waiting: deque[Job] = deque()  # jobs with rows that no worker has
        self._tokens = self._rows = 0  # of those jobs
        self._closed = False
        self._ready = threading.Condition(threading.Lock())
        self._seconds_a_token = 0.0  # running mean over recent batches, for Retry-After
        self._threads = [threading.Thread(target=self._work, name=f"burnish-{n}", daemon=True) for n in range(workers)]
        for thread in self._threads:
            thread.start()

    # -- for the event loop ----------------------------------------------------------------------------

    def submit(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Job:
        """Queue the N >= 1 rows of a request. Raises Overloaded when a cap is reached, Closed after `close`."""
        job = Job(rows, asyncio.get_running_loop())
        tokens = sum(job.lengths)
        with self._ready:
            if self._closed:
                raise Closed
            if len(self._waiting) >= self._max_queue:
                raise Overloaded("requests", self._retry_after())
            if self._tokens + tokens > self._max_tokens:
                raise Overloaded("tokens", self._retry_after())
            self._waiting.append(job)
            self._tokens += tokens
            self._rows += len(rows)
            self._ready.notify()
        return job

    def cancel(self, job: Job) -> None:
        """Take back what no worker has yet; answers that come later are dropped."""
        job.future.cancel()
        with self._ready:
            self._drop(job)

    def depth(self) -> tuple[int, int]:
        """Requests and tokens that wait."""
        return len(self._waiting), self._tokens

    def close(self) -> None:
        """Take no more work; what is queued is still done."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def _retry_after(self) -> int:
        seconds = self._tokens * self._seconds_a_token / len(self._threads)
        return min(max(1, math.ceil(seconds)), LONGEST_RETRY)

    def _drop(self, job: Job) -> None:
        if job.taken < len(job.rows):
            self._waiting.remove(job)
            self._tokens -= sum(job.lengths[job.taken :])
            self._rows -= len(job.rows) - job.taken
            job.taken = len(job.rows)

    # -- for the workers -------------------------------------------------------------------------------

    def _work(self) -> None:
        while taken := self._take():
            batch, predictor = taken
            start = time.perf_counter()
            for job, i in batch:
                if i == 0:
                    self._watcher.waited(start - job.arrived)
            self._run(predictor, [[piece] for piece in batch] if self._batching.alone else [batch])
            self._note(batch, time.perf_counter() - start)

    def _run(self, predictor: Predictor, batches: Sequence[Sequence[Piece]]) -> None:
        done: list[tuple[Piece, np.ndarray]] = []
        for batch in batches:
            try:
                found_NC = predictor(collate([job.rows[i] for job, i in batch], self._batching.pad_id))
                done += zip(batch, found_NC, strict=True)
            except BaseException as error:  # whatever it is, this thread must live on and the client must hear of it
                self._fail(batch, error)
        self._give(done)

    def _take(self) -> tuple[list[Piece], Predictor] | None:
        """Wait for work and take a batch and who runs it; None when the scheduler is closed and nothing is left."""
        with self._ready:
            while not self._waiting:
                if self._closed:
                    return None
                self._ready.wait()
            batch = self._alone() if self._batching.alone else self._together()
            if self._waiting:
                self._ready.notify()  # there is more: wake the next worker, if one sleeps
            by_itself = len(batch) == 1 and not self._busy and not self._waiting
            self._busy += 1
            return batch, self._wide if by_itself else self._predictor

    def _together(self) -> list[Piece]:
        batch = [self._next()]
        widest = self._length(batch[0])
        while self._waiting and self._fits(widest := max(widest, self._waiting_length()), len(batch) + 1):
            batch.append(self._next())
        return batch

    def _alone(self) -> list[Piece]:
        share = self._rows // (2 * len(self._threads))
        return [self._next() for _ in range(min(max(1, share), ALONE_TOGETHER))]

    def _fits(self, widest: int, rows: int) -> bool:
        b = self._batching
        return rows <= b.max_rows and widest * rows <= b.max_tokens

    def _next(self) -> Piece:
        job = self._waiting[0]
        i, job.taken = job.taken, job.taken + 1
        self._tokens -= job.lengths[i]
        self._rows -= 1
        if job.taken == len(job.rows):
            self._waiting.popleft()
        return job, i

    def _waiting_length(self) -> int:
        job = self._waiting[0]
        return job.lengths[job.taken]

    @staticmethod
    def _length(piece: Piece) -> int:
        return piece[0].lengths[piece[1]]

    def _give(self, done: Sequence[tuple[Piece, np.ndarray]]) -> None:
        finished = []
        with self._ready:  # two workers may hold rows of one job
            self._busy -= 1
            for (job, i), outputs_C in done:
                job.outputs[i] = outputs_C
                job.left -= 1
                if job.left == 0:
                    finished.append(job)
        for loop in {job.loop for job in finished}:  # one in a server; woken once for all
            _on_loop(loop, functools.partial(_resolve, [job for job in finished if job.loop is loop]))

    def _fail(self, batch: Sequence[Piece], error: BaseException) -> None:
        with self._ready:
            for job in {job for job, _ in batch}:
                self._drop(job)
        for job in {job for job, _ in batch}:
            _on_loop(job.loop, functools.partial(_reject, job, error))

    def _note(self, batch: Sequence[Piece], seconds: float) -> None:
        lengths = [self._length(piece) for piece in batch]
        padded = sum(lengths) if self._batching.alone else max(lengths) * len(lengths)
        now = seconds / padded
        self._seconds_a_token = 0.9 * self._seconds_a_token + 0.1 * now if self._seconds_a_token else now
        self._watcher.ran(len(batch), padded, seconds)


def _on_loop(loop: asyncio.AbstractEventLoop, act: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(act)
    except RuntimeError:  # the loop is closed: nobody is left to hear the answer
        return


def _reject(job: Job, error: BaseException) -> None:
    if not job.future.done():
        job.future.set_exception(RuntimeError(repr(error)))


def _resolve(jobs: Sequence[Job]) -> None:
    for job in jobs:
        if not job.future.done():
            job.future.set_result(stacked(job.outputs, job.lengths))  # type: ignore[arg-type]
