"""The command line: one file a verb. A verb parses, calls the library and prints; it decides nothing.

A verb's file is imported when the verb is called, so `burnish --help` costs no more than reading the first
line of each. Its docstring is its help; its function, of the same name, holds its flags.
"""

import ast
import contextlib
import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from burnish.cli import out
from burnish.errors import BurnishError, Missing, UsageError, nearest, problem
from burnish.words import say

__all__ = ["GROUPS", "main"]

# The order in which people meet the verbs. A test holds this against the files.
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("the whole way", ("fit", "demo")),
    ("one stage", ("check", "augment", "lr", "search", "tune", "compress")),
    ("use a run", ("predict", "serve", "export", "report", "compare", "ledger", "verify")),
    ("find out", ("ls", "show", "init", "schema", "doctor")),
)
RESUMABLE = ("fit", "demo", "tune", "lr", "search", "compress", "ledger")
INTERRUPTED, TERMINATED = 130, 143
# typer carries its own copy of click since 0.26; this is the base of both copies' usage errors.
ClickError: Any = typer.BadParameter.__mro__[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, as the foot of `burnish --help` lists them."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale without some sign must not end hours of work
            stream.reconfigure(errors="backslashreplace")
    with _terminable():
        try:
            code = _program().main(given or ["--help"], prog_name="burnish", standalone_mode=False)
            if code == INTERRUPTED:
                out.note(_stopped(given))
            return int(code or 0)
        except BurnishError as error:
            return _end(type(error).__name__, str(error), error.exit_code, as_json)
        except ClickError as error:
            return _end("UsageError", _usage(error), 2, as_json)
        except KeyboardInterrupt:
            out.note(_stopped(given))
            return INTERRUPTED
        except Exception as error:
            return _unexpected(error, as_json)


def _stopped(given: Sequence[str]) -> str:
    if given and given[0] in RESUMABLE:
        return say("stopped; the same command again goes on where it stopped")
    return say("stopped")


def _end(kind: str, message: str, code: int, as_json: bool) -> int:
    out.error(kind, message, code, as_json=as_json)
    return code


def _usage(error: Any) -> str:
    """A mistake in the flags, laid out as all others."""
    command = error.ctx.command_path if getattr(error, "ctx", None) else "burnish"
    what = error.format_message().rstrip(".").replace("\n", " ")
    return problem(what, say("flags as in the help"), f"{command} --help")


def _unexpected(error: Exception, as_json: bool) -> int:
    """What burnish did not foresee: say what to do; the traceback only for those who ask for it."""
    if os.environ.get("BURNISH_DEBUG") == "1":
        import traceback

        traceback.print_exc()
    known = _known_trouble(error)
    if known is not None:
        return _end(type(known).__name__, str(known), known.exit_code, as_json)
    given = say("something unexpected: {kind}: {error}", kind=type(error).__name__, error=error)
    expected = say("this to work; it is a mistake in burnish")
    hint = say("BURNISH_DEBUG=1 shows where it happened; report that with what `burnish doctor` prints")
    return _end("BurnishError", problem(given, expected, hint), 1, as_json)


def _known_trouble(error: Exception) -> BurnishError | None:
    """Troubles of the machine that can arise anywhere, with what helps."""
    if isinstance(error, ModuleNotFoundError) and not (error.name or "burnish").startswith("burnish"):
        given = say("the package '{name}' is not installed", name=error.name)
        return Missing(problem(given, say("an installation with everything this needs"), "burnish doctor"))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        given = say("the disk is full: {path}", path=error.filename or "")
        hint = say("free some space and give the same command again: it goes on where it stopped")
        return Missing(problem(given, say("room for the run"), hint))
    if isinstance(error, MemoryError):
        hint = say("--set batch_size=8, a smaller model, or fewer other programs; --dry-run forecasts the need")
        return Missing(problem(say("memory ran out"), say("room for model and batch"), hint))
    return None


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does, so that files are closed and half-written ones removed."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Verbs(TyperGroup):
    """Lists the verbs from their files and imports only the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [verb for _, verbs in GROUPS for verb in verbs]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _verb(cmd_name) if cmd_name in self.list_commands(ctx) else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            close = nearest(args[0], known)
            hint = say("did you mean 'burnish {close}'?", close=close) if close else "burnish --help"
            given = say("there is no verb '{verb}'", verb=args[0])
            raise UsageError(problem(given, say("one of: {known}", known=", ".join(known)), hint))
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(_overview())


def _program() -> Any:
    app = typer.Typer(cls=_Verbs, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(_burnish)
    return typer.main.get_command(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from burnish import __version__

        out.data([f"burnish {__version__}"])
        raise typer.Exit


def _burnish(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="print the version")
    ] = False,
) -> None:
    """What every verb has in common: nothing but its name and version."""


class _Verb(TyperCommand):
    """A verb's help is its file's docstring as it stands, examples first, then the flags."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        formatter.write(f"\n{say(_docstring(self.name or ''))}\n")


def _verb(name: str) -> Any:
    """Import the file of a verb and make its command."""
    module = importlib.import_module(f"burnish.cli.{name}")
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name=name, cls=_Verb)(getattr(module, name))
    return typer.main.get_command(app)


def _overview() -> str:
    """What `burnish --help` prints: no verb is imported for it."""
    rows = [[(verb, _first_line(verb)) for verb in verbs] for _, verbs in GROUPS]
    width = max(len(verb) for part in rows for verb, _ in part)
    parts = [
        f"{say(title)}\n" + "\n".join(f"  {verb.ljust(width)}  {line}" for verb, line in part)
        for (title, _), part in zip(GROUPS, rows, strict=True)
    ]
    return "\n\n".join([say(_HEAD), *parts, say(_FOOT)]) + "\n"


def _first_line(verb: str) -> str:
    return say(_docstring(verb).split("\n")[0])


def _docstring(verb: str) -> str:
    """The docstring of a verb's file as it stands there, read without running it."""
    source = (Path(__file__).parent / f"{verb}.py").read_text("utf-8")
    return (ast.get_docstring(ast.parse(source), clean=False) or "").strip()


_HEAD = """\
A labelled data set and a pretrained Transformer in; the smallest, fastest model that still meets
the quality bar out, ready to serve, with evidence for every step.

  burnish fit reviews.csv --model ./my-bert --max-size 30MB --max-p95 10ms --max-drop 1.0
  burnish serve runs/reviews
  burnish predict runs/reviews "the battery died after two days\""""
_FOOT = """\
burnish VERB --help shows examples and every flag. stdout is data, stderr is everything else;
exit codes: 0 ok, 1 failure, 2 usage, 3 a gate was not met, 4 something is missing, 5 bad data."""
