"""What stands before the application, as plain ASGI: strangers, and bodies that are too large or never end.

The Host header on loopback (against DNS rebinding), the key, and the body's size, first as announced and then as
counted while it arrives. What happens before there is a request at all is in `protocol`.
"""

import hmac
import ipaddress
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from burnish.serve.limits import Limits
from burnish.serve.wire import Refusal
from burnish.words import say

__all__ = ["Guard", "header", "is_loopback", "reply"]

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
