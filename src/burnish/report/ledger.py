"""What each technique gave, from RUN/ledger.json: a table, and a plot of what each costs and saves."""

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.report import plots, show
from burnish.report.files import Files
from burnish.report.layout import Figure, Part, Sentences, Table
from burnish.words import say

__all__ = ["gave"]

Json = Mapping[str, Any]


def gave(files: Files) -> list[Part]:
    """Empty where `burnish ledger` has not been asked."""
    found = files.ledger
    if not found:
        return []
    told = say(
        "Each technique was added alone to the tuned model, and removed alone from the chosen one; all as served by "
        "ONNX Runtime, on the same {rows} validation rows, which can show a loss of {x} points. {n} comparisons, "
        "corrected for their number.",
        rows=found["rows"],
        x=show.points(found["smallest_visible_drop"]),
        n=found["comparisons"],
    )
    techniques = found["techniques"]
    return [
        Sentences((told,)),
        _table(techniques),
        Figure([plot(techniques)], say("What each costs in the whole, and what it saves.")),
    ]


def _table(techniques: Sequence[Json]) -> Table:
    rows, notes = [], []
    for one in techniques:
        for kind, name in (("alone", say("added alone")), ("removed", say("in the whole"))):
            last = kind == "removed"
            minutes = show.duration(one["seconds"]) if last else ""
            rows.append((one["technique"] if not last else "", name, *_cells(one[kind]), minutes))
            notes.append(f"{say(one['verdict'])}: {show.sentence(one['why'])} {_company(one)}".strip() if last else "")
    return Table(
        caption=say("What each technique gave."),
        columns=(
            say("technique"), "", f"#{say('points lost')}", f"#{say('size')}", f"#{say('speed')}",
            f"#{say('speed under load')}", f"#{say('memory')}", f"#{say('time to make')}",
        ),
        rows=rows,
        notes=notes,
    )  # fmt: skip


def _cells(effect: Json | str) -> tuple[str, ...]:
    if isinstance(effect, str):
        return (effect, "", "", "", "")
    drop = effect["drop"]
    lost = f"{show.points(drop['value'])} ({show.points(drop['low'])} to {show.points(drop['high'])})"
    speeds = [f"×{effect[k]['value']:.2f}" for k in ("speedup", "load_speedup")]
    return (lost, f"×{effect['size_ratio']:.2f}", *speeds, f"×{effect['memory_ratio']:.2f}")


def _company(one: Json) -> str:
    """Named only where the others surely change what it costs."""
    more = one.get("interaction")
    if not more or more["low"] <= 0 <= more["high"]:
        return ""
    text = say("With the others it costs {x} points more than alone ({low} to {high}).")
    return text.format(**{k: show.points(more[n]) for k, n in (("x", "value"), ("low", "low"), ("high", "high"))})


def plot(techniques: Sequence[Json]) -> str:
    """Points lost in the whole, with intervals; beside each name what it saves."""
    shown = [one for one in techniques if isinstance(one["removed"], Mapping)]
    return plots.intervals(
        [
            (
                f"{one['technique']}  ×{one['removed']['size_ratio']:.2f} size, "
                f"×{one['removed']['speedup']['value']:.2f} speed",
                *(one["removed"]["drop"][k] for k in ("low", "value", "high")),
            )
            for one in shown
        ],
        title=say("What each technique costs"),
        x_label=say("points lost (left of 0: gained)"),
    )
