"""What augmentation gave, from RUN/augment.json: the verdict, the arms by seed, and what each technique made."""

from collections.abc import Mapping
from typing import Any

from burnish.report import show
from burnish.report.files import Files
from burnish.report.layout import Part, Sentences, Table
from burnish.words import say

__all__ = ["augmentation"]

Json = Mapping[str, Any]


def augmentation(files: Files) -> list[Part]:
    """Empty where none was asked for, and while nothing is known."""
    found = files.augment
    if not found.get("told"):
        return []
    told = [show.sentence(found["told"]), *(show.sentence(w) for w in found.get("warnings") or ())]
    text = "Asked were {asked} seeds; the time left allowed {n}."
    if 0 < found.get("seeds", 0) < found.get("seeds_asked", 0):
        told.append(say(text, asked=found["seeds_asked"], n=found["seeds"]))
    tables = [_effect(found, files.metric), _made(found), *(_policy(one) for one in found["techniques"])]
    return [Sentences(told), *(table for table in tables if table is not None)]


def _effect(found: Json, metric: str) -> Table | None:
    """Both arms of every seed."""
    if not found.get("arms_by_seed"):
        return None
    gain = found["gain"]
    whole = say("{value} ({low} to {high})", **{k: show.points(gain[k]) for k in ("value", "low", "high")})
    rows = [
        (str(a["seed"]), show.quality(a["plain"], metric), show.quality(a["with"], metric), show.points(a["points"]),
         show.count(a["steps"]["plain"]), show.count(a["steps"]["with"]), show.duration(a["seconds"]))
        for a in found["arms_by_seed"]
    ]  # fmt: skip
    return Table(
        caption=say("The same tuning with and without the new rows, on the {n} validation rows.", n=found["valid"]),
        columns=(
            f"#{say('seed')}", f"#{say('without')}", f"#{say('with')}", f"#{say('points gained')}",
            f"#{say('steps without')}", f"#{say('steps with')}", f"#{say('time')}",
        ),
        rows=[*rows, (say("all"), "", "", whole, "", "", "")],
        foot=say(
            "{n} optimizer steps were planned for each arm, so that more rows do not also mean more training; fewer "
            "mean that it stopped early. The interval (95 %) counts the luck of the rows and, of several seeds, "
            "theirs.",
            n=show.count(found["optimizer_steps"]),
        ),
    )  # fmt: skip


def _made(found: Json) -> Table:
    return Table(
        caption=say("What was made of {n} training rows.", n=show.count(found["rows"])),
        columns=(say("technique"), f"#{say('new rows')}", f"#{say('asked')}", f"#{say('time')}", say("settings")),
        rows=[
            (one["technique"], show.count(one["new"]), show.count(one["asked"]), show.duration(one["seconds"]),
             ", ".join(f"{k} = {show.plain(v)}" for k, v in one["settings"].items() if v not in (None, "", [])))
            for one in found["techniques"]
        ],
        notes=[", ".join(f"{why}: {count}" for why, count in one["short"].items()) for one in found["techniques"]],
    )  # fmt: skip


def _policy(one: Json) -> Table | None:
    """Every arm that a policy tried."""
    if not one.get("arms"):
        return None
    return Table(
        caption=say("What {name} tried, on a part of the training rows kept for that.", name=one["technique"]),
        columns=(
            say("arm"), f"#{say('points gained')}", f"#{say('95 % interval')}", f"#{say('splits')}", f"#{say('time')}",
            "",
        ),
        rows=[
            (a["name"], show.points(a.get("gain")), _ends(a), show.count(a.get("pairs")),
             show.duration(a.get("seconds", 0.0)), str(a.get("why", "")))
            for a in one["arms"]
        ],
        marks=["chosen" if a.get("chosen") else "" for a in one["arms"]],
    )  # fmt: skip


def _ends(arm: Json) -> str:
    if arm.get("low") is None:
        return show.NOTHING
    return say("{low} to {high}", low=show.points(arm["low"]), high=show.points(arm["high"]))
