"""The two ways to choose beside each other: the best single technique and the learned pairs, at the same cost."""

import random
from dataclasses import replace
from typing import Any

from burnish.augment.auto import Auto
from burnish.augment.learned import Learned
from burnish.core import Work

__all__ = ["compared"]


def compared(work: Work, auto: Auto, learned: Learned, seed: int = 0) -> dict[str, Any]:
    """What each chose, with its gain on fresh splits, its evaluations and arms: {"auto": ..., "learned": ...}.

    `learned` gets as many evaluations of the proxy as the race took.
    """
    found = {"auto": _facts(auto(work, random.Random(f"{seed}/auto")))}
    trials = max(2, round((found["auto"]["evaluations"] - learned.confirm) / learned.splits))
    return {**found, "learned": _facts(replace(learned, trials=trials)(work, random.Random(f"{seed}/learned")))}


def _facts(made: Work) -> dict[str, Any]:
    notes = made.notes
    return {
        "picked": notes["picked"],
        "new": notes["new"],
        "confirmed": notes["confirmed"],
        "evaluations": notes["evaluations"],
        "seconds": round(sum(arm["seconds"] for arm in notes["arms"]), 2),
        "arms": notes["arms"],
    }
