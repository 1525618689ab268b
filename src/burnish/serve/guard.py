"""What stands before the application: headers that are too big, bodies that never end, strangers.

`protocol` watches the socket: a request must arrive whole in time and its head must be small. `Guard` is plain ASGI:
the Host header on loopback (against DNS rebinding), the key, and the body's size, first as announced and then as
counted while it arrives.
"""

import hmac
import ipaddress
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from burnish.serve.limits import Limits
from burnish.serve.wire import Refusal
from burnish.words import say

__all__ = ["Guard", "header", "is_loopback", "protocol", "reply"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/health", "/ready")  # answered without the key: whoever restarts the server has none
log = logging.getLogger("burnish.serve")


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of that lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: who knows where it leads
        return False


async def reply(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """One JSON response. `headers` come after content type and length."""
    length = str(len(body)).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


class Guard:
    """Wraps the application. `api_key` None means that no key is asked for; `host` is what the server is bound to."""

    def __init__(self, app: App, *, limits: Limits, api_key: str | None, host: str):
        self._app, self._limits = app, limits
        self._key = None if api_key is None else f"Bearer {api_key}".encode()
        self._hosts = {b"localhost", b"127.0.0.1", b"[::1]", host.encode()} if is_loopback(host) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            self._admit(scope)
            await self._app(scope, self._counted(receive), watched)
        except Refusal as refusal:
            await reply(send, refusal.status, refusal.body, [])
        except Exception:  # a bug: the client hears 500, the log has the story, the server lives on
            log.exception("request failed")
            if not started:
                failed = Refusal(500, "internal", say("the server failed on this request"))
                await reply(send, 500, failed.body, [])

    def _admit(self, scope: Scope) -> None:
        if self._hosts is not None and _name(header(scope, b"host") or b"") not in self._hosts:
            raise Refusal(403, "forbidden_host", say("this server answers to localhost only"))
        if self._key is not None and scope["path"] not in OPEN:
            given = header(scope, b"authorization") or b""
            if not hmac.compare_digest(given, self._key):
                raise Refusal(401, "unauthorized", say("send the header: Authorization: Bearer KEY"))
        announced = header(scope, b"content-length") or b"0"
        if announced.isdigit() and int(announced[:19]) > self._limits.max_body:
            raise self._too_large()

    def _counted(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limits.max_body:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> Refusal:
        most = self._limits.max_body
        return Refusal(
            413, "too_large", say("the body is larger than {most} bytes", most=most), facts={"max_body": most}
        )


def _name(host: bytes) -> bytes:
    """The Host header without its port."""
    name, colon, port = host.rpartition(b":")
    return name.lower() if colon and port.isdigit() else host.lower()


def protocol(limits: Limits) -> type[HttpToolsProtocol]:
    """uvicorn's HTTP protocol with limits on what it lacks them for: head size, arrival time, connections."""

    class Limited(HttpToolsProtocol):
        _head = 0  # bytes of the head that is arriving
        _whole = True  # no request is half here
        _headless = True  # the head of the current request is not complete
        _timer: Any = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.max_connections:
                transport.close()
                return
            self._timer = self.loop.call_later(limits.read_timeout, self._late)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.transport.is_closing():
                return
            if self._whole:
                self._stop_timer()
            elif self._headless:
                self._head += len(data)
                if self._head > limits.max_header:
                    self._refuse(431, "head_too_large", say("the request's head is too large"))
                    return
            if not self._whole and self._timer is None:
                self._timer = self.loop.call_later(limits.read_timeout, self._late)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._head, self._whole, self._headless = 0, False, True

        def on_header(self, name: bytes, value: bytes) -> None:
            self._head += len(name) + len(value)
            if self._head > 2 * limits.max_header:  # also trailers, which come after the head
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
                self._timer = self.loop.call_later(limits.read_timeout, self._late)
            elif self._whole:
                self.transport.close()
            else:
                self._refuse(408, "too_slow", say("the request did not arrive in time"))

        def _refuse(self, status: int, kind: str, message: str) -> None:
            body = json.dumps({"error": {"type": kind, "message": message}}).encode()
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
            self.transport.close()

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Limited
