"""How much of an engine's speed reaches the client: `python benchmarks/serve_load.py ARTIFACT --texts FILE.csv`.

In one run, interleaved so that a noisy machine is noisy for all: the bare engine (batch 1, batch 32 sorted by length
on all threads, rows alone over single-thread workers), `burnish serve` at concurrency 1, 8 and 32, and the same ONNX
file behind a naive FastAPI app (and LitServe, where installed). Prints a table, writes JSON.
"""

import argparse
import asyncio
import contextlib
import csv
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from serve_client import load, requests_of

from burnish.measure.machine import cores, machine, versions
from burnish.serve.artifact import read_artifact, served_bytes
from burnish.serve.engines import engine
from burnish.serve.predict import outputs_of
from burnish.serve.tokens import Encoder

CONCURRENCY = (1, 8, 32)
HERE = Path(__file__).parent


class Bare:
    """The engine alone in this process, tokens ready: what a server can at best deliver."""

    def __init__(self, folder: Path, texts: Sequence[str]):
        facts = read_artifact(folder)
        encoder = Encoder.of(folder, facts)
        self.rows, self.pad_id = encoder.encode(texts, truncate=True).rows, facts["pad_id"]
        runtime = engine(facts["engine"])
        self.one = runtime.load(folder, threads=1, callers=cores())
        self.all = runtime.load(folder, threads=cores())

    def singly(self, threads: str) -> dict[str, float]:
        """Batch 1, one after another."""
        predictor = self.one if threads == "one" else self.all
        seconds = []
        for row in self.rows[:300]:
            start = time.perf_counter()
            predictor({name: ids_L[None] for name, ids_L in row.items()})
            seconds.append(time.perf_counter() - start)
        return {"rows_per_second": len(seconds) / sum(seconds), "p50_ms": statistics.median(seconds) * 1000}

    def batched(self) -> dict[str, float]:
        """Batches of 32 sorted by length, on all threads."""
        return self._offline(self.all, alone=False, workers=1)

    def alone(self) -> dict[str, float]:
        """Each row by itself, on as many single-thread workers as there are cores."""
        return self._offline(self.one, alone=True, workers=cores())

    def _offline(self, predictor: Any, *, alone: bool, workers: int) -> dict[str, float]:
        start = time.perf_counter()
        outputs_of(
            predictor, self.rows, alone=alone, workers=workers, max_tokens=10**9, max_rows=32, pad_id=self.pad_id
        )
        return {"rows_per_second": len(self.rows) / (time.perf_counter() - start)}


class Server:
    """A server process on a port of its own; `ready_seconds` from start to its first ready answer."""

    def __init__(self, command: Sequence[str], port: int, path: str):
        self.port = port
        start = time.perf_counter()
        self.process = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        while not self._answers(path):
            if self.process.poll() is not None or time.perf_counter() - start > 60:
                raise SystemExit(f"did not start: {' '.join(command)}")
            time.sleep(0.01)
        self.ready_seconds = time.perf_counter() - start

    def _answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def load(self, requests: Sequence[bytes], concurrency: int) -> dict[str, float]:
        """Awake for its own turn only: some servers burn a core while they wait, which others would pay for."""
        os.killpg(self.process.pid, signal.SIGCONT)
        found = asyncio.run(load(self.port, requests, concurrency)).figures()
        self.pause()
        return found

    def pause(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def stop(self) -> None:
        """Its children too: some servers leave theirs behind."""
        os.killpg(self.process.pid, signal.SIGCONT)
        self.process.terminate()
        self.process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_all(folder: Path, rivals: bool) -> dict[str, Server]:
    port = free_port()
    burnish = [sys.executable, "-m", "burnish.serve.app", str(folder), "--port", str(port)]
    servers = {"burnish": Server(burnish, port, "/ready")}
    for name in ("fastapi", "litserve") if rivals else ():
        if find_spec(name):
            port = free_port()
            command = [sys.executable, str(HERE / "serve_rivals.py"), name, str(folder), str(port)]
            servers[name] = Server(command, port, "/health")
    return servers


def measure(bare: Bare, servers: dict[str, Server], requests: Sequence[bytes], rounds: int) -> dict[str, Any]:
    """Every figure once a round; the median over the rounds."""
    for server in servers.values():
        server.pause()
    jobs: dict[str, Callable[[], dict[str, float]]] = {
        "bare, batch 1, 1 thread": lambda: bare.singly("one"),
        f"bare, batch 1, {cores()} threads": lambda: bare.singly("all"),
        f"bare, batch 32, {cores()} threads": bare.batched,
        f"bare, rows alone, {cores()} workers": bare.alone,
    }
    for name, server in servers.items():
        for c in CONCURRENCY:
            count = len(requests) // 3 if c == 1 else len(requests)
            jobs[f"{name}, concurrency {c}"] = lambda s=server, c=c, n=count: s.load(requests[:n], c)
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            seen[name].append(job())
            time.sleep(0.3)
    return {
        name: {key: float(np.median([found[key] for found in all_found])) for key in all_found[0]}
        for name, all_found in seen.items()
    }


def verdict(found: dict[str, Any], servers: dict[str, Server]) -> dict[str, Any]:
    """The figures burnish promises: share of the engine's throughput, milliseconds added, start, memory."""
    n = cores()
    best_ms = min(found[f"bare, batch 1, {t}"]["p50_ms"] for t in ("1 thread", f"{n} threads"))
    served = found["burnish, concurrency 32"]["requests_per_second"]
    return {
        "share_of_batch_32": served / found[f"bare, batch 32, {n} threads"]["rows_per_second"],
        "share_of_rows_alone": served / found[f"bare, rows alone, {n} workers"]["rows_per_second"],
        "added_ms_at_1": found["burnish, concurrency 1"]["p50_ms"] - best_ms,
        "ready_seconds": servers["burnish"].ready_seconds,
        "resident_mb": servers["burnish"].resident_bytes() / 1e6,
    }


def show(found: dict[str, Any], checks: dict[str, Any]) -> None:
    print(f"{'':34}{'per second':>12}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}")
    for name, figures in found.items():
        rate = figures.get("requests_per_second", figures.get("rows_per_second", 0))
        times = "".join(f"{figures[k]:9.2f}" if k in figures else f"{'':9}" for k in ("p50_ms", "p95_ms", "p99_ms"))
        print(f"{name:34}{rate:12.0f}{times}")
    for name, value in checks.items():
        print(f"{name:34}{value:12.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--texts", type=Path, required=True, help="CSV with a column 'text'")
    parser.add_argument("--rows", type=int, default=900)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-rivals", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with args.texts.open(newline="", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)][: args.rows]
    servers = start_all(args.artifact, not args.no_rivals)
    try:
        found = measure(Bare(args.artifact, texts), servers, requests_of(texts, "/predict"), args.rounds)
        checks = verdict(found, servers)
    finally:
        for server in servers.values():
            server.stop()
    show(found, checks)
    facts = {"artifact_bytes": served_bytes(args.artifact), "machine": machine(), "versions": versions()}
    if args.out:
        args.out.write_text(json.dumps({"figures": found, "checks": checks, **facts}, indent=1) + "\n")


if __name__ == "__main__":
    main()
