"""stdout is data, stderr is everything else: the only places of the command line that print."""

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from burnish.words import say

__all__ = ["SCHEMA_VERSION", "columns", "data", "document", "error", "note"]

SCHEMA_VERSION = 1
PIPE_CLOSED = 141  # 128 + SIGPIPE


def data(lines: Iterable[str]) -> None:
    """Print what was asked for, and at once, since another program may be reading.

    When that program has gone (`burnish ls | head -1`), the command ends as a shell expects: quietly, with 141.
    """
    try:
        for line in lines:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered has no reader
        raise SystemExit(PIPE_CLOSED) from None


def document(facts: Mapping[str, Any]) -> None:
    """Print the one JSON document of `--json`."""
    whole = {"schema_version": SCHEMA_VERSION, **facts}
    data([json.dumps(_plain(whole), indent=1, ensure_ascii=False, allow_nan=False)])


def note(text: str, *, quiet: bool = False) -> None:
    """Say something beside the data; not with `--quiet`."""
    if not quiet:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def error(kind: str, message: str, code: int, *, as_json: bool) -> None:
    """Print an error for a person and, with `--json`, also for the program that reads stdout."""
    note(say("burnish: {message}", message=message))
    if as_json:
        document({"error": {"kind": kind, "message": message, "exit_code": code}})


def columns(rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """The rows as lines of aligned columns; the last column is as long as it likes."""
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(len(rows[0]))] if rows else []
    return [(indent + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True))).rstrip() for row in rows]


def _plain(value: Any) -> Any:
    """JSON has no nan and no infinity: null says the same."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
