"""The HTTP server: routes, address, signals. Run it with `burnish serve RUN` or `python -m burnish.serve.app RUN`.

POST /predict   {"inputs": "one text" | ["many", ...] | [["first", "second"], ...]} -> [{"label", "score"}, ...]
GET  /health    200 while the process lives
GET  /ready     200 once the golden rows came out right, 503 with the reason before that and while stopping
GET  /metrics   for Prometheus
GET  /info      what is served: hashes, measured numbers, batching, limits
"""

import argparse
import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from burnish.errors import BurnishError, Missing, UsageError, problem
from burnish.serve.artifact import artifact_folder
from burnish.serve.guard import App, Guard, Receive, Scope, Send, is_loopback, reply
from burnish.serve.limits import Limits
from burnish.serve.protocol import protocol
from burnish.serve.service import Gone, Service
from burnish.serve.wire import Refusal
from burnish.words import say

__all__ = ["application", "serve"]

KEEP_ALIVE = 30  # seconds that an idle connection stays open
LINGER = 0.2  # seconds that a stopping server still answers 503, so that who asks hears it rather than a reset
FLUSH = 5  # seconds for the last answers to leave


class Predict:
    """POST /predict as plain ASGI: on this route every tenth of a millisecond counts."""

    def __init__(self, service: Service):
        self._service = service
        self._headers = [(b"x-burnish-artifact", service.hash[:16].encode())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body, status, headers = await self._service.predict(scope, receive), 200, self._headers
        except Gone:
            return
        except Refusal as refusal:
            body, status, headers = refusal.body, refusal.status, list(self._headers)
            if refusal.retry_after is not None:
                headers.append((b"retry-after", str(refusal.retry_after).encode()))
        self._service.metrics.answered(status)
        await reply(send, status, body, headers)


def application(service: Service) -> App:
    """All routes over one service, without the guard. /predict goes past the framework, which would add 50 us to it."""
    predict = Predict(service)
    others = _routes(service, predict)

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        direct = scope["type"] == "http" and scope["path"] == "/predict" and scope["method"] == "POST"
        await (predict if direct else others)(scope, receive, send)

    return route


def _routes(service: Service, predict: Predict) -> FastAPI:
    app = FastAPI(title="burnish", docs_url=None, redoc_url=None, openapi_url=None)
    app.router.routes.append(Route("/predict", endpoint=predict, methods=["POST"]))

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        if service.state == "ready":
            return JSONResponse({"status": "ready"})
        message = say("the server is {state}", state=service.state)
        body = {"status": service.state, "error": {"type": "not_ready", "message": message}}
        return JSONResponse(body, 503, {"retry-after": "1"})

    @app.get("/metrics")
    async def metrics() -> Response:
        page, kind = service.metrics.page()
        return Response(page, headers={"content-type": kind})

    @app.get("/info")
    async def info() -> JSONResponse:
        return JSONResponse(service.info())

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        kind = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
        body = {"error": {"type": kind, "message": f"{request.method} {request.url.path}: {error.detail}"}}
        return JSONResponse(body, error.status_code, error.headers)

    return app


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: it would leave with the signal's code, and we end with 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(
    folder: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int | None = None,
    api_key: str | None = None,
    max_queue: int = Limits.max_queue,
    max_queued_tokens: int = Limits.max_queued_tokens,
    timeout: float = Limits.timeout,
    max_body: int = Limits.max_body,
    truncate: bool = False,
    engine_threads: int | None = None,
) -> None:
    """Serve the artifact at `folder` until SIGTERM or SIGINT, then finish what was taken; a second signal ends at once.

    `port` 0 takes a free one; the address is printed on stderr. `truncate` cuts long texts unless a request says
    otherwise. Raises UsageError for a public `host` without `api_key`, Missing when the port is taken or the engine
    is not installed, DataError when the artifact is damaged or answers otherwise than when it was built.
    """
    limits = Limits(max_queue=max_queue, max_queued_tokens=max_queued_tokens, timeout=timeout, max_body=max_body)
    _check_key(host, api_key)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads would take the engine's cores
    place = artifact_folder(folder)
    service = Service(place, limits=limits, truncate=truncate, workers=workers, threads=engine_threads)
    bound = _bind(host, port)
    _say_where(place, bound)
    server = _Server(_config(Guard(application(service), limits=limits, api_key=api_key, host=host), limits))
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(_run(service, server, bound))
    _say(say("stopped: {answered} answered, {aborted} aborted", answered=service.answered, aborted=service.aborted))


def _config(app: App, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol(limits),
        loop="uvloop" if _has_uvloop() else "asyncio",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,  # we use no address of the client, and X-Forwarded-For can lie
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=FLUSH,
    )


async def _run(service: Service, server: _Server, bound: socket.socket) -> None:
    """Load beside the running server, so that /ready can say 'starting'; raise what loading raised."""
    start = time.perf_counter()
    _handle_signals(service, server)

    async def load() -> None:
        try:
            await asyncio.to_thread(service.load)
            _say(say("ready after {seconds:.2f} s", seconds=time.perf_counter() - start))
        except BaseException:
            service.state, server.should_exit = "failed", True
            raise

    loading = asyncio.create_task(load())
    await server.serve(sockets=[bound])
    await loading


def _handle_signals(service: Service, server: _Server) -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may; a test that serves from another stops the server itself
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[None]] = []

    def heard(number: int) -> None:
        if stopping:
            os._exit(128 + number)
        stopping.append(loop.create_task(_drain(service, server)))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heard, number)


async def _drain(service: Service, server: _Server) -> None:
    service.stop()
    end = time.monotonic() + service.limits.drain
    lingered = time.monotonic() + LINGER
    while (service.in_flight and time.monotonic() < end) or time.monotonic() < lingered:
        await asyncio.sleep(0.01)
    service.aborted = service.in_flight
    server.should_exit = True


def _check_key(host: str, api_key: str | None) -> None:
    if api_key is not None and not api_key.strip():
        given = say("the API key is empty")
        raise UsageError(problem(given, say("a secret of some length"), '--api-key "$(openssl rand -hex 16)"'))
    if api_key is None and not is_loopback(host):
        given = say("--host {host} can be reached from other machines, and there is no API key", host=host)
        hint = say("--api-key KEY, or --host 127.0.0.1 for this machine only")
        raise UsageError(problem(given, say("a key for a public address"), hint))


def _bind(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        given = say("--port {port}", port=port)
        raise UsageError(problem(given, "0..65535", say("--port 0 for any free one")))
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, proto)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
            bound.listen(2048)  # from here on a connection waits instead of being refused
        except OSError:
            bound.close()
            raise
        bound.setblocking(False)
        return bound
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = say("it is taken") if taken else (error.strerror or str(error))
        given = say("cannot listen on {host}:{port}: {why}", host=host, port=port, why=why)
        hint = say("--port 0 for any free one")
        raise Missing(problem(given, say("a free port of this machine"), hint)) from error


def _has_uvloop() -> bool:
    from importlib.util import find_spec

    return find_spec("uvloop") is not None


def _say_where(place: Path, bound: socket.socket) -> None:
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    name = place.absolute().parent.name if place.name == "artifact" else place.absolute().name
    _say(say("burnish serves {name} on http://{host}:{port}", name=name, host=shown, port=port))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    """The same as `burnish serve`, without the weight of the whole command line."""
    parser = argparse.ArgumentParser(prog="python -m burnish.serve.app")
    parser.add_argument("folder")
    parser.add_argument("--host", default="127.0.0.1")
    for name, default in (
        ("--port", 8000), ("--max-queue", Limits.max_queue), ("--max-queued-tokens", Limits.max_queued_tokens),
        ("--max-body", Limits.max_body),
    ):  # fmt: skip
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--timeout", type=float, default=Limits.timeout)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--engine-threads", type=int)
    parser.add_argument("--truncate", action="store_true")
    settings: dict[str, Any] = vars(parser.parse_args(argv))
    # A key on the command line could be read by everyone on the machine.
    try:
        serve(settings.pop("folder"), api_key=os.environ.get("BURNISH_API_KEY"), **settings)
    except BurnishError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
