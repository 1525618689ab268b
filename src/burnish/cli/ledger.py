"""What each technique of the chosen model gave, alone and in company: quality, size, speed and memory, with verdicts.

    burnish ledger runs/reviews
    burnish ledger reviews --json

Each technique of a finished fit is added alone to the tuned model, and removed alone from the chosen one. Steps that
learn are trained again where the run has not kept them, so this may take as long as the fit. Everything is compared on
the same validation rows; p values are corrected for their number (Holm). A technique 'hurts' when it costs quality for
no gain, and 'cannot tell' is an answer. The table joins the run's report. The same command again goes on.
"""

from collections.abc import Mapping
from typing import Any

from burnish.cli import flags, out
from burnish.cli.progress import progress
from burnish.report import show
from burnish.words import say

__all__ = ["ledger"]


def ledger(run: flags.Run, json: flags.Json = False, quiet: flags.Quiet = False) -> None:
    from burnish import api

    with progress(quiet) as report:
        found = api.ledger(run, report)
    if json:
        out.document(found)
    else:
        out.data(_lines(found))


def _lines(found: Mapping[str, Any]) -> list[str]:
    head = (say("technique"), "", say("points lost"), say("size"), say("speed"), say("verdict"))
    rows = [head]
    for one in found["techniques"]:
        for kind, name in (("alone", say("added alone")), ("removed", say("in the whole"))):
            first = one["technique"] if kind == "alone" else ""
            told = f"{one['verdict']}: {one['why']}" if kind == "removed" else ""
            rows.append((first, name, *cells(one[kind]), told))
    lines = out.columns(rows)
    seen = say(
        "{rows} validation rows can show a loss of {x:.1f} points; {n} comparisons",
        rows=found["rows"],
        x=found["smallest_visible_drop"],
        n=found["comparisons"],
    )
    return [*lines, seen]


def cells(effect: Mapping[str, Any] | str) -> tuple[str, str, str]:
    """Points lost with their interval, size and speed as factors; or why there is nothing to show."""
    if isinstance(effect, str):
        return effect, "-", "-"
    drop, speed = effect["drop"], effect["speedup"]
    lost = f"{show.points(drop['value'])} ({show.points(drop['low'])} to {show.points(drop['high'])})"
    return lost, f"x {effect['size_ratio']:.2f}", f"x {speed['value']:.2f} ({speed['low']:.2f} to {speed['high']:.2f})"
