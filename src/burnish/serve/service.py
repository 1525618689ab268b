"""One artifact being served: its state, its queue, and the way of a request from body to answer.

    starting ──golden rows answered as when they were built──► ready ──SIGTERM──► draining ──► stopped
        └── anything wrong ──► failed

This file knows no socket and no route: `predict` takes what ASGI gives it.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from burnish import tasks
from burnish.errors import DataError, problem
from burnish.runs import file_hash
from burnish.serve.artifact import read_artifact
from burnish.serve.batching import Batching, Closed, Job, Overloaded, Scheduler
from burnish.serve.engines import collate, engine
from burnish.serve.guard import Receive, Scope, header
from burnish.serve.limits import Limits
from burnish.serve.metrics import Metrics
from burnish.serve.predict import read, shape
from burnish.serve.tokens import SLOW, Encoded, Encoder, Unreadable
from burnish.serve.wire import Asked, Refusal, answer_body, parse, patience
from burnish.words import say

__all__ = ["Gone", "Service"]

# Tokenising this many characters costs about as much as handing them to another thread and back, ten times over:
# below it the event loop does it itself.
INLINE = 4000
WATCH_AFTER = 0.2  # seconds until it is worth finding out whether the client is still there
# How far a golden answer may be from what the engine gave when it was built: rounding differs between processors.
DRIFT = {"fp32": 1e-3, "bf16": 0.05, "int8": 0.05, "int4": 0.05, "int3": 0.05, "int2": 0.05}


class Gone(Exception):
    """The client closed the connection before its answer."""


class Service:
    """Made at once; `load` does the work and may run in another thread, `predict` belongs to the event loop."""

    def __init__(self, folder: Path, *, limits: Limits, truncate: bool, workers: int | None, threads: int | None):
        self.folder, self.limits, self._truncate = folder, limits, truncate
        self.facts = read_artifact(folder)
        self.hash = file_hash(folder / "burnish.json")
        self.task = tasks.from_json(self.facts["task"])
        self.workers, self.threads = shape(self.facts["alone"], workers, threads)
        self._spread = threads is None  # a lone row may use all cores, unless someone said how many
        self.state = "starting"
        self.in_flight = 0
        self.answered = 0  # requests whose outputs came
        self.aborted = 0  # requests that were taken and not answered when the server had to end
        self.metrics = Metrics(self._depth)
        self._scheduler: Scheduler | None = None
        self._encoder: Encoder
        self._inline = INLINE
        # One thread: tokenising is quick, and the cores belong to the engine.
        self._tokeniser = ThreadPoolExecutor(1, thread_name_prefix="burnish-tokens")

    # -- states ----------------------------------------------------------------------------------------

    def load(self) -> None:
        """Tokenizer, engine, golden rows, queue. Raises Missing or DataError; only then is the state not ready."""
        facts = self.facts
        self._encoder = Encoder.of(self.folder, facts)
        runtime = engine(facts["engine"])
        predictor = runtime.load(self.folder, threads=self.threads, callers=self.workers)
        self._check_golden(predictor)
        wide = None
        if runtime.WIDE and facts["alone"] and self._spread and self.workers > 1:
            wide = runtime.load(self.folder, threads=self.workers)
            self._check_golden(wide)
        if self._encoder.slowest_probe() > SLOW:
            self._inline = 0  # a tokenizer that can hang must not hang the event loop
        self._scheduler = Scheduler(
            predictor,
            wide=wide,
            batching=Batching(alone=facts["alone"], pad_id=facts["pad_id"]),
            workers=self.workers,
            max_queue=self.limits.max_queue,
            max_queued_tokens=self.limits.max_queued_tokens,
            watcher=self.metrics,
        )
        if self.state == "starting":
            self.state = "ready"

    def stop(self) -> None:
        """Take no more requests; those taken are still answered."""
        self.state = "draining"
        if self._scheduler is not None:
            self._scheduler.close()

    def info(self) -> dict[str, Any]:
        """What is served and how, for /info."""
        shown = {k: v for k, v in self.facts.items() if k != "golden"}
        batching = "rows alone" if self.facts["alone"] else "batches"
        serving = {"batching": batching, "workers": self.workers, "threads": self.threads, "limits": vars(self.limits)}
        return {**shown, "artifact_sha256": self.hash, "state": self.state, "serving": serving}

    def _depth(self) -> tuple[int, int]:
        return self._scheduler.depth() if self._scheduler is not None else (0, 0)

    def _check_golden(self, predictor: Any) -> None:
        for golden in self.facts["golden"]:
            text = golden["text"] if golden["pair"] is None else (golden["text"], golden["pair"])
            rows = self._encoder.encode([text], truncate=True).rows
            expected_C = np.array(golden["outputs"])
            gap = float(np.abs(predictor(collate(rows[:1], self.facts["pad_id"]))[0] - expected_C).max())
            allowed = DRIFT[self.facts["precision"]] * (1 + float(np.abs(expected_C).max()))
            if not gap <= allowed:  # nan is not below anything
                given = say(
                    "on this machine the model answers otherwise than when it was built (by {gap:.3g})", gap=gap
                )
                expected = say("at most {allowed:.3g} on the golden rows", allowed=allowed)
                hint = say("build the artifact on this machine, or use another engine or precision")
                raise DataError(problem(given, expected, hint))

    # -- one request -----------------------------------------------------------------------------------

    async def predict(self, scope: Scope, receive: Receive) -> bytes:
        """The body of the answer. Raises Refusal, or Gone when the client has left."""
        wait = patience(header(scope, b"x-timeout-ms"), self.limits.timeout)
        try:
            async with asyncio.timeout(wait):
                return await self._answer(await _body(receive), receive)
        except TimeoutError:
            self.metrics.rejected.labels("deadline").inc()
            message = say("no answer within {seconds:g} s", seconds=wait)
            raise Refusal(504, "timeout", message, facts={"timeout_ms": round(wait * 1000)}) from None

    async def _answer(self, body: bytes, receive: Receive) -> bytes:
        if self.state != "ready" or self._scheduler is None:
            raise self._not_ready()
        asked = parse(body, pair=self.task.pair, truncate=self._truncate, max_inputs=self.limits.max_inputs)
        encoded = await self._encode(asked)
        self._check_lengths(encoded, asked)
        job = self._submit(self._scheduler, encoded)
        try:
            outputs_NC = await self._outcome(self._scheduler, job, receive)
        finally:
            self.in_flight -= 1
        self.metrics.truncated.inc(sum(encoded.truncated))
        outputs_NC = read(self.task, outputs_NC, encoded)
        answers = self.task.decode(outputs_NC, [text if isinstance(text, str) else text[1] for text in asked.texts])
        return answer_body(answers, encoded.truncated, outputs_NC if asked.raw else None)

    def _not_ready(self) -> Refusal:
        return Refusal(503, "not_ready", say("the server is {state}", state=self.state), retry_after=1)

    async def _encode(self, asked: Asked) -> Encoded:
        characters = sum(len(t) if isinstance(t, str) else len(t[0]) + len(t[1]) for t in asked.texts)
        start = time.perf_counter()
        try:
            if characters <= self._inline:
                return self._encoder.encode(asked.texts, truncate=asked.truncate)
            return await asyncio.get_running_loop().run_in_executor(self._tokeniser, self._encode_long, asked)
        except Unreadable as error:
            raise Refusal(422, "invalid_request", str(error).splitlines()[0]) from None
        finally:
            self.metrics.tokenize.observe(time.perf_counter() - start)

    def _encode_long(self, asked: Asked) -> Encoded:
        return self._encoder.encode(asked.texts, truncate=asked.truncate)

    def _check_lengths(self, encoded: Encoded, asked: Asked) -> None:
        most = self._encoder.max_length
        for i, (length, cut) in enumerate(zip(encoded.lengths, encoded.truncated, strict=True)):
            if length > most and not cut:
                message = say(
                    'input {i} has {length} tokens, at most {most} fit; send "truncate": true to have it cut',
                    i=i, length=length, most=most,
                )  # fmt: skip
                raise Refusal(422, "too_long", message, facts={"input": i, "tokens": length, "max_length": most})
        tokens = sum(min(length, most) for length in encoded.lengths)
        if tokens > self.limits.max_queued_tokens:
            cap = self.limits.max_queued_tokens
            message = say(
                "the request has {tokens} tokens, at most {cap} can wait here: split it", tokens=tokens, cap=cap
            )
            raise Refusal(422, "too_many_tokens", message, facts={"tokens": tokens, "max_queued_tokens": cap})

    def _submit(self, scheduler: Scheduler, encoded: Encoded) -> Job:
        try:
            job = scheduler.submit(encoded.rows)
        except Overloaded as full:
            self.metrics.rejected.labels(full.reason).inc()
            message = say("too much is waiting ({reason}); try again later", reason=full.reason)
            raise Refusal(429, "overloaded", message, retry_after=full.retry_after) from None
        except Closed:
            raise self._not_ready() from None
        self.in_flight += 1
        return job

    async def _outcome(self, scheduler: Scheduler, job: Job, receive: Receive) -> np.ndarray:
        """The job's outputs, unless the client leaves first: then its rows are taken out of the queue."""
        watchers: list[asyncio.Task[None]] = []

        def watch() -> None:
            watchers.append(asyncio.ensure_future(_hang_up(job, receive)))

        timer = job.loop.call_later(WATCH_AFTER, watch)
        try:
            outputs_NC = await job.future
            self.answered += 1
            return outputs_NC
        except RuntimeError as error:
            raise Refusal(500, "engine", say("the engine failed: {error}", error=str(error)[:200])) from None
        except (Gone, asyncio.CancelledError) as error:  # cancelled: the time is up, or the server ends
            scheduler.cancel(job)
            self.metrics.dropped.inc(isinstance(error, Gone))
            raise
        finally:
            timer.cancel()
            for watcher in watchers:
                watcher.cancel()


async def _hang_up(job: Job, receive: Receive) -> None:
    message = await receive()
    if message["type"] == "http.disconnect" and not job.future.done():
        job.future.set_exception(Gone())


async def _body(receive: Receive) -> bytes:
    parts: Sequence[bytes] = ()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        body, more = message.get("body", b""), message.get("more_body", False)
        if not more:
            return b"".join((*parts, body)) if parts else body
        parts = [*parts, body]
