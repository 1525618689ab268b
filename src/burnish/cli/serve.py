"""Serve a finished run over HTTP: POST /predict, /health, /ready, /metrics, /info.

    burnish serve runs/reviews
    burnish serve runs/reviews --port 0
    BURNISH_API_KEY=secret burnish serve reviews --host 0.0.0.0
    curl -s localhost:8000/predict -H 'content-type: application/json' -d '{"inputs": ["good", "bad"]}'

Binds to this machine only unless told otherwise; a public address needs an API key. SIGTERM and Ctrl-C let
it finish what it has taken, and end it with exit code 0; a second one ends it at once. What it says is on stderr.
"""

from typing import Annotated

import typer

from burnish.cli.flags import Run
from burnish.cli.units import parse_bytes, parse_seconds

__all__ = ["serve"]

Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="0.0.0.0 is every address of this machine")]
Port = Annotated[int, typer.Option("--port", metavar="PORT", help="0 takes a free one and says which")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key", metavar="KEY", envvar="BURNISH_API_KEY", help="who asks must send it; better given as variable"
    ),
]
MaxQueue = Annotated[int | None, typer.Option("--max-queue", metavar="N", help="requests that wait; then 429")]
MaxQueuedTokens = Annotated[
    int | None, typer.Option("--max-queued-tokens", metavar="N", help="tokens that wait; then 429")
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="TIME", parser=parse_seconds, help="for an answer; then 504")
]
MaxBody = Annotated[
    int | None, typer.Option("--max-body", metavar="SIZE", parser=parse_bytes, help="of a request; then 413")
]
Truncate = Annotated[bool, typer.Option("--truncate", help="cut texts that are too long, instead of 422")]
Workers = Annotated[int | None, typer.Option("--workers", metavar="N", help="rows or batches at once; fills the cores")]
Threads = Annotated[int | None, typer.Option("--engine-threads", metavar="N", help="threads for each of them")]


def serve(
    run: Run,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    api_key: ApiKey = None,
    max_queue: MaxQueue = None,
    max_queued_tokens: MaxQueuedTokens = None,
    timeout: Timeout = None,
    max_body: MaxBody = None,
    truncate: Truncate = False,
    workers: Workers = None,
    engine_threads: Threads = None,
) -> None:
    from burnish.serve.app import serve as run_server
    from burnish.serve.limits import Limits

    run_server(
        run,
        host=host,
        port=port,
        api_key=api_key,
        max_queue=Limits.max_queue if max_queue is None else max_queue,
        max_queued_tokens=Limits.max_queued_tokens if max_queued_tokens is None else max_queued_tokens,
        timeout=Limits.timeout if timeout is None else timeout,
        max_body=Limits.max_body if max_body is None else max_body,
        truncate=truncate,
        workers=workers,
        engine_threads=engine_threads,
    )
