"""What the server counts, for Prometheus. One registry a server, so that two in a process do not mix."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["Metrics"]

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64)
TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Metrics:
    """Counters and histograms by the names they have on /metrics. `waited` and `ran` make it a batching.Watcher."""

    def __init__(self, depth: Callable[[], tuple[int, int]]):
        registry = CollectorRegistry()
        self._registry = registry
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "burnish_requests", "Requests to /predict by status code.", ["code"], registry=registry
        )
        self.rejected = Counter("burnish_rejected", "Refused requests by reason.", ["reason"], registry=registry)
        self.truncated = Counter("burnish_truncated", "Texts that were cut to fit, as asked.", registry=registry)
        self.dropped = Counter("burnish_dropped", "Requests whose client left before the answer.", registry=registry)
        self.in_flight = Gauge("burnish_requests_in_flight", "Requests taken and not yet answered.", registry=registry)
        self.tokenize = _seconds("burnish_tokenize", "Tokenising the texts of one request.", registry)
        self._queue = _seconds("burnish_queue", "From arrival in the queue to the first row's start.", registry)
        self._inference = _seconds("burnish_inference", "One batch in the engine.", registry)
        self._rows = Histogram("burnish_batch_rows", "Rows of a batch.", buckets=ROWS, registry=registry)
        self._tokens = Histogram(
            "burnish_batch_tokens", "Tokens of a batch, padding included.", buckets=TOKENS, registry=registry
        )
        waiting = Gauge("burnish_queue_requests", "Requests that wait.", registry=registry)
        waiting.set_function(lambda: depth()[0])
        tokens = Gauge("burnish_queue_tokens", "Tokens that wait.", registry=registry)
        tokens.set_function(lambda: depth()[1])
        self._by_code: dict[int, Counter] = {}  # labels() takes a lock and a lookup: once a code is enough

    def answered(self, code: int) -> None:
        child = self._by_code.get(code)
        if child is None:
            child = self._by_code[code] = self._requests.labels(str(code))
        child.inc()

    def waited(self, seconds: float) -> None:
        self._queue.observe(seconds)

    def ran(self, rows: int, tokens: int, seconds: float) -> None:
        self._inference.observe(seconds)
        self._rows.observe(rows)
        self._tokens.observe(tokens)

    def page(self) -> tuple[bytes, str]:
        """The text of /metrics and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


def _seconds(name: str, text: str, registry: CollectorRegistry) -> Histogram:
    return Histogram(f"{name}_seconds", text, buckets=SECONDS, registry=registry)
