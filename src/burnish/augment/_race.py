"""A race between techniques, run on the proxy: the better half goes on, and 'none' wins every tie.

Paper: Jamieson, Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016,
arXiv:1502.07943 (successive halving).
Differs from it: 'none' is always among the arms, with a gain of 0; who is left at the end is measured again, on splits
that nobody was chosen by, and must be better than none there by the whole of its interval.
"""

from collections.abc import Sequence
from typing import Any

from burnish.augment._proxy import Arm, Proxy
from burnish.core import desk
from burnish.errors import BurnishError
from burnish.words import say

__all__ = ["confirmed", "race", "told"]

HEAT = 24  # evaluations in a heat, so that the fewer are left, the better each is known
FRESH = 1000  # the first turn of those kept for the end


def race(proxy: Proxy, arms: Sequence[Arm], splits: int) -> Arm | None:
    """The best arm, when any seems better than none; arms that refuse these rows leave with their own words."""
    standing, begin, heat = list(arms), 0, 0
    while standing:
        turns = range(begin, begin + max(splits, HEAT // len(standing) if len(standing) > 1 else 0))
        for number, arm in enumerate(standing):
            desk().report(say("trying {name}", name=arm.name), number / len(standing), {})
            _tried(proxy, arm, turns)
        standing = _better_half(standing, last=heat > 0 or len(standing) < 3)
        if len(standing) < 2 or desk().seconds_left() < 0:
            break
        begin, heat = turns.stop, heat + 1
    for arm in standing[1:]:
        arm.why = say("the time was used up")
    return standing[0] if standing else None


def _better_half(arms: Sequence[Arm], *, last: bool) -> list[Arm]:
    """The best first. After the first heat, whose few splits are mostly luck, nobody leaves for being below none."""
    ranked = sorted((arm for arm in arms if not arm.why), key=lambda arm: -arm.mean)
    kept = ranked[: (len(ranked) + 1) // 2]
    for arm in ranked:
        if last and arm.mean <= 0:
            arm.why = say("not better than none")
        elif arm not in kept:
            arm.why = say("others are better")
    return [arm for arm in kept if not arm.why]


def _tried(proxy: Proxy, arm: Arm, turns: Sequence[int]) -> None:
    for turn in turns:
        if arm.why or (arm.gains and desk().seconds_left() < 0):
            return
        try:
            proxy.try_(arm, turn)
        except BurnishError as error:
            arm.why = str(error).splitlines()[0]


def confirmed(proxy: Proxy, arm: Arm, pairs: int) -> dict[str, Any]:
    """The winner on fresh splits, and one look at the validation rows; marks it as chosen where it holds."""
    turns = range(FRESH, FRESH + pairs)
    _tried(proxy, arm, turns)
    found = arm.to_json(turns)
    valid: dict[str, Any] = {}
    if not arm.why and (found["pairs"] < 2 or found["low"] <= 0):
        arm.why = say("on fresh splits it is not shown to be better than none")
    if not arm.why:
        valid = proxy.look(arm)
        arm.chosen = not valid or valid["low"] <= 0
        arm.why = "" if arm.chosen else say("on the validation rows it is worse")
    return {**found, "chosen": arm.chosen, "why": arm.why, **({"valid": valid} if valid else {})}


def told(proxy: Proxy, arms: Sequence[Arm], last: dict[str, Any] | None) -> dict[str, Any]:
    """Notes: every arm with its gain, interval and cost, 'none' among them, and how the winner was confirmed."""
    chosen = any(arm.chosen for arm in arms)
    none = {"name": say("none"), "pairs": 0, "gain": 0.0, "seconds": 0.0, "new": 0, "why": "", "chosen": not chosen}
    ranked = sorted(arms, key=lambda a: (not a.chosen, not a.gains, -a.mean))
    turns = [turn for arm in arms for turn in arm.gains if turn < FRESH]
    listed = [{**arm.to_json(turns), "chosen": arm.chosen} for arm in ranked]
    finite = [{k: v for k, v in one.items() if v not in (float("inf"), -float("inf"))} for one in listed]
    return {
        "arms": [*finite, none],
        "confirmed": last or {},
        "evaluations": proxy.evaluations,
        "proxy_rows": len(proxy.rows),
        "read": proxy.reader.told,
    }
