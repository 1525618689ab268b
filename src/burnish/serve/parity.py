"""The same rows through the real server over HTTP, and which hand-off changed an answer if one did.

    text ─tokenizer─► ids ─export, precision─► engine, as measured ─batching─► other company ─server─► answer

What was measured in this process is only worth something if the server says the same. `served_outputs` asks it as
clients would, many at once, so that batching happens; `trace` walks the chain above and names the first link at
which a flipped answer appears.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from burnish import tasks
from burnish.core import Row, Rows
from burnish.errors import BurnishError, problem
from burnish.serve.artifact import read_artifact, text_of
from burnish.serve.predict import Local, outputs_of
from burnish.units import as_one, same_width
from burnish.words import say

__all__ = ["Served", "running", "served_outputs", "trace"]

START = 60.0  # seconds a server may take to be ready: a large model on a slow disk
EXAMPLES = 5


class Served:
    """What the server said: `answers` as JSON, `outputs` float32 [N, C], both in the order of the rows."""

    def __init__(self, answers: list[dict[str, Any]], outputs: np.ndarray):
        self.answers, self.outputs = answers, outputs


def served_outputs(folder: Path, rows: Rows, *, concurrency: int = 16) -> Served:
    """Start `burnish serve` on `folder`, ask for every row in a request of its own, stop it.

    `concurrency` clients ask at once. Texts that are too long are cut, as in training. Raises BurnishError when the
    server does not start or refuses a row.
    """
    answers: list[dict[str, Any]] = [{}] * len(rows)
    with running(folder) as port:
        reads = tasks.from_json(read_artifact(folder)["task"]).reads
        _ask_all(port, rows, reads, answers, concurrency)
    outputs = as_one([answer["outputs"] for answer in answers])
    return Served([{k: v for k, v in answer.items() if k != "outputs"} for answer in answers], outputs)


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[int]:
    """A real server process, ready, on a free port of this machine; it is stopped at the end."""
    # Few enough clients ask that no cap can be reached: a refusal here would say nothing about the answers.
    command = [sys.executable, "-m", "burnish.serve.app", str(folder), "--port", "0", "--timeout", "300", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines: list[str] = []
    reader = threading.Thread(target=_keep_lines, args=(process, lines), daemon=True)
    reader.start()
    try:
        port = _wait_for(lambda: _port(lines), process, lines)
        _wait_for(lambda: _ready(port), process, lines)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(5)
        if process.stderr is not None:
            process.stderr.close()


def _keep_lines(process: subprocess.Popen[str], lines: list[str]) -> None:
    if process.stderr is not None:
        lines.extend(iter(process.stderr.readline, ""))


def _wait_for(ask: Callable[[], Any], process: subprocess.Popen[str], lines: Sequence[str]) -> Any:
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        found = ask()
        if found:
            return found
        time.sleep(0.01)
    time.sleep(0.1)  # for its last words
    given = say("the server did not start: {words}", words=" | ".join(line.strip() for line in lines[-5:]))
    raise BurnishError(problem(given, say("ready within {seconds:g} s", seconds=START), "burnish serve RUN"))


def _port(lines: Sequence[str]) -> int | None:
    for line in lines:
        _, found, address = line.rpartition("http://")
        if found:
            return int(address.strip().rpartition(":")[2])
    return None


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _ask_all(port: int, rows: Rows, reads: str, answers: list[dict[str, Any]], concurrency: int) -> None:
    left, lock = iter(enumerate(rows)), threading.Lock()
    errors: list[Exception] = []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        try:
            while not errors:
                with lock:
                    i, row = next(left, (None, None))
                if i is None or row is None:
                    return
                answers[i] = _ask(connection, row, reads)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=client, daemon=True) for _ in range(min(concurrency, max(1, len(rows))))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _ask(connection: http.client.HTTPConnection, row: Row, reads: str) -> dict[str, Any]:
    text = text_of(row, reads)
    inputs = text if isinstance(text, str) else [list(text)]
    connection.request("POST", "/predict", json.dumps({"inputs": inputs, "truncate": True, "raw": True}))
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        given = say(
            "the server answered {status} for row {id}: {body}", status=response.status, id=row.id, body=body[:300]
        )
        raise BurnishError(problem(given, "200", say("burnish serve, and ask for that row yourself")))
    return dict(json.loads(body)[0])


def trace(
    folder: Path,
    rows: Rows,
    expected: np.ndarray,
    served: np.ndarray,
    *,
    model: Any = None,
    tokenizer: Any = None,
) -> dict[str, Any]:
    """Compare what was measured with what the server said, both float32 [N, C].

    Returns {"rows", "flips", "max_abs", "batching": "rows alone" or "batches", "handoff", "examples"}. "handoff" is
    None without flips, else the first of tokenizer, export, precision, batching, server at which a flipped row
    leaves the expected answer. `tokenizer` (of transformers) and `model` (of torch, as it was exported) let the first
    three be told apart; without them they cannot be blamed but for export.
    """
    local = Local(folder)
    if expected.ndim == 3:
        expected, served = same_width(expected, served)
    flipped_N = local.task.flips(expected, served) | ~np.isfinite(served).all(tuple(range(1, served.ndim)))
    gap = np.abs(expected.astype(np.float64) - served).max(initial=0.0)
    found: dict[str, Any] = {
        "rows": len(rows),
        "flips": int(flipped_N.sum()),
        "max_abs": float(gap) if np.isfinite(gap) else None,
        "batching": "rows alone" if local.alone else "batches",
        "handoff": None,
        "examples": [],
    }
    where: list[int] = np.flatnonzero(flipped_N).tolist()
    if where:
        chosen = [rows[i] for i in where]
        found["handoff"] = _blame(local, rows, expected, where, model, tokenizer)
        answers = zip(chosen, local.task.answers(expected[where]), local.task.answers(served[where]), strict=True)
        found["examples"] = [
            {"id": row.id, "text": row.text, "pair": row.pair, "expected": a, "served": b} for row, a, b in answers
        ][:EXAMPLES]
    return found


def _blame(local: Local, rows: Rows, expected: np.ndarray, where: Sequence[int], model: Any, tokenizer: Any) -> str:
    """The first hand-off that moves one of the rows at `where` away from its expected answer."""
    texts = [text_of(row, local.task.reads) for row in rows]
    if local.task.reads != "rows":
        return "export" if local.task.flips(expected, local.outputs(texts))[where].any() else "server"
    encoded = local.encoder.encode(texts, truncate=True).rows
    some = [encoded[i] for i in where]
    if tokenizer is not None and not _same_ids(some, [rows[i] for i in where], tokenizer, local.encoder.max_length):
        return "tokenizer"
    again = local.outputs(texts)  # all of them, so that batches are those of the measuring
    if local.task.flips(expected, again)[where].any():
        low = local.facts["precision"] != "fp32"
        return "precision" if low and model is not None and _is_float(model) else "export"
    if local.alone:
        return "server"
    for alone in (True, False):  # does other company change the answer?
        other = outputs_of(
            local.predictor, some, alone=alone, workers=1, max_tokens=10**9, pad_id=local.facts["pad_id"]
        )
        if local.task.flips(expected[where], other).any():
            return "batching"
    return "server"


def _same_ids(encoded: Sequence[dict[str, np.ndarray]], rows: Rows, tokenizer: Any, max_length: int) -> bool:
    for own, row in zip(encoded, rows, strict=True):
        # As lists: called with two plain texts, transformers takes an empty second one for none.
        pair = None if row.pair is None else [row.pair]
        theirs = tokenizer([row.text], pair, truncation=True, max_length=max_length)["input_ids"]
        if own["input_ids"].tolist() != list(theirs[0]):
            return False
    return True


def _is_float(model: Any) -> bool:
    """Whether torch computes in float32, so that a difference from int8 or bf16 is the precision's doing."""
    import torch

    return all(tensor.dtype == torch.float32 for tensor in model.state_dict().values() if tensor.numel() > 1024)
