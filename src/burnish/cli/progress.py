"""Progress on stderr: one live line on a terminal, a plain line now and then elsewhere, nothing with --quiet.

The library reports `(what, share, facts)`: the stage in words, how much of it is done (0..1), and numbers
worth showing. This file knows nothing else about the work.
"""

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from burnish.cli import out
from burnish.report.show import duration
from burnish.words import say

__all__ = ["Report", "progress"]

Report = Callable[[str, float, Mapping[str, Any]], None]

# Seconds between two plain lines of one stage: a log should tell that it lives, not be a film.
PLAIN_GAP = 15.0
SHOWN = ("loss", "score")


@contextlib.contextmanager
def progress(quiet: bool) -> Iterator[Report]:
    """Give the library someone to report to, for as long as the work lasts."""
    if quiet:
        yield lambda what, share, facts: None
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _live() as report:
            yield report
    else:
        lines = _Lines(time.monotonic)
        yield lines.report


class _Lines:
    """A line when a stage begins, at most one every `PLAIN_GAP` seconds while it lasts."""

    def __init__(self, clock: Callable[[], float]):
        self.clock, self.start = clock, clock()
        self.what, self.began, self.said = "", self.start, -math.inf

    def report(self, what: str, share: float, facts: Mapping[str, Any]) -> None:
        now = self.clock()
        if what != self.what:
            self.what, self.began, self.said = what, now, -math.inf
        if now - self.said >= PLAIN_GAP:
            self.said = now
            parts = [f"[{duration(now - self.start)}]", what, *_numbers(facts)]
            if 0 < share < 1:
                parts += [f"{share:.0%}", left(now - self.began, share)]
            out.note("  ".join(part for part in parts if part))


@contextlib.contextmanager
def _live() -> Iterator[Report]:
    """One line that is redrawn: stage, bar, numbers, time left. Finished stages stay above it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn

    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[facts]}"),
        console=Console(stderr=True, highlight=False),
        transient=True,
    )
    now: dict[str, Any] = {"what": None, "id": TaskID(0), "began": 0.0}

    def close() -> None:
        if now["what"] is not None:
            shown.console.print(f"{now['what']}  {duration(time.monotonic() - now['began'])}", markup=False)
            shown.remove_task(now["id"])

    def report(what: str, share: float, facts: Mapping[str, Any]) -> None:
        if what != now["what"]:
            close()
            now.update(what=what, began=time.monotonic(), id=shown.add_task(what, total=1.0, facts=""))
        numbers = "  ".join(part for part in [*_numbers(facts), left(time.monotonic() - now["began"], share)] if part)
        shown.update(now["id"], completed=min(share, 1.0), facts=numbers)

    with shown:
        yield report
        close()


def _numbers(facts: Mapping[str, Any]) -> list[str]:
    """'loss 0.412', and any text that came along."""
    numbers = [
        f"{name} {facts[name]:.4g}"
        for name in SHOWN
        if isinstance(facts.get(name), int | float) and math.isfinite(facts[name])
    ]
    return numbers + [str(value) for value in facts.values() if isinstance(value, str)]


def left(seconds: float, share: float) -> str:
    """Time left in words, by rule of three; nothing while too little is done to tell."""
    if share < 0.05 or share >= 1 or seconds < 2:
        return ""
    return say("about {time} left", time=duration(seconds * (1 - share) / share))
