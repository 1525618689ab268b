"""A closed-loop HTTP load client that costs little: raw asyncio sockets, requests built beforehand.

On a small machine the client shares the cores with the server, so what it burns is lost to what it measures.
"""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Load", "load", "requests_of"]


@dataclass(frozen=True)
class Load:
    """What one closed loop saw. `latencies` in seconds, of the answers with status 200."""

    concurrency: int
    seconds: float
    latencies: list[float]
    statuses: dict[int, int]

    def figures(self) -> dict[str, float]:
        ordered = sorted(self.latencies)
        at = {f"p{p}_ms": ordered[min(len(ordered) - 1, p * len(ordered) // 100)] * 1000 for p in (50, 95, 99)}
        return {"requests_per_second": len(ordered) / self.seconds, **at}


def requests_of(texts: Sequence[str], path: str, key: str = "inputs") -> list[bytes]:
    """One POST for each text."""
    made = []
    for text in texts:
        body = json.dumps({key: text}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        made.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return made


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as the answer is whole."""

    def __init__(self, requests: Iterator[bytes], done: "asyncio.Future[None]"):
        self.requests, self.done = requests, done
        self.latencies: list[float] = []
        self.statuses: dict[int, int] = {}
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._next()

    def _next(self) -> None:
        request = next(self.requests, None)
        if request is None:
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self.start = time.perf_counter()
        self.transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        where = head.lower().index(b"content-length:") + 15
        if len(body) < int(head[where : head.find(b"\r\n", where) if b"\r\n" in head[where:] else None]):
            return
        status = int(head[9:12])
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == 200:
            self.latencies.append(time.perf_counter() - self.start)
        self.buffer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))


async def load(port: int, requests: Sequence[bytes], concurrency: int) -> Load:
    """Send every request once over `concurrency` connections, each waiting for its answer."""
    loop, left = asyncio.get_running_loop(), iter(requests)
    made = []
    start = time.perf_counter()
    for _ in range(concurrency):
        done: asyncio.Future[None] = loop.create_future()
        connection = _Connection(left, done)
        await loop.create_connection(lambda connection=connection: connection, "127.0.0.1", port)
        made.append((connection, done))
    await asyncio.gather(*(done for _, done in made))
    seconds = time.perf_counter() - start
    statuses: dict[int, int] = {}
    for connection, _ in made:
        for status, count in connection.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    return Load(concurrency, seconds, [x for c, _ in made for x in c.latencies], statuses)
