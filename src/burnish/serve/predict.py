"""An artifact as a function in this process, and the scorer that everything offline goes through.

Rows of an artifact that says `alone` are run one by one, each on a thread of its own. Other rows are sorted by
length and run in batches up to a budget of padded tokens. Either way the outputs are in the order given.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from burnish import tasks
from burnish.core import Predictor, Task
from burnish.errors import UsageError, problem
from burnish.measure.machine import cores
from burnish.serve.artifact import artifact_folder, read_artifact
from burnish.serve.engines import collate, engine
from burnish.serve.tokens import Encoded, Encoder, Text
from burnish.tasks.windows import of_rows
from burnish.units import stacked
from burnish.words import say

__all__ = ["Local", "outputs_of", "read"]

MAX_TOKENS = 4096  # padded tokens a batch; more gains nothing on a CPU and costs memory
MAX_ROWS = 64


class Local:
    """`Local(folder).predict(texts)`: what the server would answer, without a server.

    `workers` rows or batches at a time, each on `threads`; left open, they fill the cores. Raises UsageError when
    `folder` holds no artifact, DataError when it is damaged, Missing when its engine is not installed.
    """

    def __init__(self, folder: Path | str, *, workers: int | None = None, threads: int | None = None):
        self.folder = artifact_folder(folder)
        self.facts = read_artifact(self.folder)
        self.task = tasks.from_json(self.facts["task"])
        self.alone: bool = self.facts["alone"]
        self.workers, self.threads = shape(self.alone, workers, threads)
        self.encoder = Encoder.of(self.folder, self.facts)
        runtime = engine(self.facts["engine"])
        self.predictor = runtime.load(self.folder, threads=self.threads, callers=self.workers)
        spread = runtime.WIDE and self.alone and threads is None and self.workers > 1
        self.wide = runtime.load(self.folder, threads=self.workers) if spread else self.predictor

    def predict(self, texts: Sequence[Text]) -> list[dict[str, Any]]:
        """One answer a text, as the server gives it. A text that was cut to fit has "truncated": True."""
        if not texts:
            return []
        encoded = self.encoder.encode(texts, truncate=True)
        answers = self.task.decode(self._read(encoded), [text if isinstance(text, str) else text[1] for text in texts])
        return [{**a, "truncated": True} if cut else a for a, cut in zip(answers, encoded.truncated, strict=True)]

    def outputs(self, texts: Sequence[Text]) -> np.ndarray:
        """The engine's raw outputs, float32 [N, C], or [N, W, C] of words. Texts that are too long are cut."""
        return self._read(self.encoder.encode(texts, truncate=True))

    def _read(self, encoded: Encoded) -> np.ndarray:
        return read(self.task, self._score(encoded.rows), encoded)

    def _score(self, rows: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        if not rows:
            return np.zeros((0, self.task.width), dtype=np.float32)
        return outputs_of(
            self.predictor if len(rows) > 1 else self.wide,
            rows,
            alone=self.alone,
            workers=self.workers,
            max_tokens=MAX_TOKENS,
            pad_id=self.facts["pad_id"],
        )


def read(task: Task, outputs: np.ndarray, encoded: Encoded) -> np.ndarray:
    """Outputs of the rows that texts became as outputs of the texts."""
    return task.read(of_rows(task.reads, outputs, encoded.layouts)) if encoded.layouts else outputs


def shape(alone: bool, workers: int | None, threads: int | None) -> tuple[int, int]:
    """(workers, threads of each) that fill the cores: rows alone on one thread, or one batch at a time on all.

    What is given stays as given. Raises UsageError below 1.
    """
    for name, value in (("workers", workers), ("threads", threads)):
        if value is not None and value < 1:
            given = say("{name}: {value}", name=name, value=value)
            raise UsageError(problem(given, say("1 or more"), say("leave it out to fill the cores")))
    if alone:
        return workers or max(1, cores() // (threads or 1)), threads or 1
    return workers or 1, threads or max(1, cores() // (workers or 1))


def outputs_of(
    predictor: Predictor,
    encoded_rows: Sequence[Mapping[str, np.ndarray]],
    *,
    alone: bool,
    workers: int,
    max_tokens: int,
    max_rows: int = MAX_ROWS,
    pad_id: int = 0,
) -> np.ndarray:
    """Outputs float32 [N, C] of N >= 1 rows of token ids, in their order; [N, S, C] of a model that answers a token.

    `predictor` is called by `workers` threads at once. Raises what it raises, after the others have stopped.
    """
    lengths = [len(row["input_ids"]) for row in encoded_rows]
    batches = [[i] for i in range(len(lengths))] if alone else list(cut(lengths, max_tokens, max_rows))
    answers: dict[int, np.ndarray] = {}

    def score(batch: Sequence[int]) -> None:
        outputs_NC = predictor(collate([encoded_rows[i] for i in batch], pad_id))
        answers.update(zip(batch, outputs_NC, strict=True))

    if workers == 1 or len(batches) == 1:
        for batch in batches:
            score(batch)
    else:
        _share(score, batches, workers)
    return stacked([answers[i] for i in range(len(lengths))], lengths).astype(np.float32)


def cut(lengths: Sequence[int], max_tokens: int, max_rows: int) -> Iterator[list[int]]:
    """Row numbers in batches: longest first, so that memory peaks at once, and at most `max_tokens` with padding."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        widest = lengths[batch[0]] if batch else lengths[i]
        if batch and (widest * (len(batch) + 1) > max_tokens or len(batch) == max_rows):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _share(score: Any, batches: Iterable[Sequence[int]], workers: int) -> None:
    """Call `score` on every batch from `workers` threads; the first error stops them all."""
    left, lock = iter(batches), threading.Lock()
    errors: list[BaseException] = []

    def work() -> None:
        while not errors:
            with lock:
                batch = next(left, None)
            if batch is None:
                return
            try:
                score(batch)
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=work, name=f"burnish-score-{n}") for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
