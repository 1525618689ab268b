"""uvicorn's HTTP protocol with limits on what it has none for: the head's size, the time to arrive, connections."""

import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from burnish.serve.limits import Limits
from burnish.words import say

__all__ = ["protocol"]


def protocol(limits: Limits) -> type[HttpToolsProtocol]:
    """The class to give to uvicorn, which makes one object of it for each connection."""
    return type("Limited", (_Limited,), {"limits": limits})


class _Limited(HttpToolsProtocol):
    """A request must arrive whole within `read_timeout` of its first byte, and its head within `max_header` bytes."""

    limits: Limits
    _head = 0  # bytes of a head that came in pieces, so far
    _fields = 0  # bytes of the names and values in it, and in the trailers after the body
    _whole = True  # no request is half here
    _headless = True  # the head of the current request is not complete
    _timer: Any = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            transport.close()
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._whole:
            self._stop_timer()
        elif self._headless and self._head + len(data) > self.limits.max_header:
            self._refuse(431, "head_too_large", say("the request's head is too large"))
        else:
            self._head += len(data) if self._headless else 0
            if self._timer is None:
                self._start_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head, self._fields, self._whole, self._headless = 0, 0, False, True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += len(name) + len(value)
        if self._fields > self.limits.max_header:
            raise ValueError("head too large")  # the parser makes it a 400
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._headless = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._whole = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "invalid_http", msg)

    def _late(self) -> None:
        self._timer = None
        busy = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
        if busy or self.pipeline:  # we hold up the client, not it us
            self._start_timer()
        elif self._whole:
            self.transport.close()
        else:
            self._refuse(408, "too_slow", say("the request did not arrive in time"))

    def _refuse(self, status: int, kind: str, message: str) -> None:
        body = json.dumps({"error": {"type": kind, "message": message}}).encode()
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.limits.read_timeout, self._late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
