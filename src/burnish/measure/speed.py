"""The speed gate: candidates race on this machine in turns, on the same rows, and only a clear winner is
called faster.

Papers: Georges, Buytaert & Eeckhout, "Statistically rigorous Java performance evaluation", OOPSLA 2007 (warm
up, repeat, report an interval); Le Boudec, "Performance evaluation of computer and communication systems",
EPFL Press 2010, ch. 2 (the interval of a median from order statistics, which needs no shape of the noise).

A race is made of rounds. In each, every entrant meets the same rows, and who goes first moves on by one, so
that a slow minute of the machine hits all alike. A speedup is the median over rounds of (reference time /
entrant time).

    round 1   A rows alone, batches   B rows alone, batches   C ...
    round 2   B                       C                       A
"""

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from burnish.measure.intervals import Estimate
from burnish.words import say

__all__ = ["Entrant", "Reading", "faster", "median_interval", "race", "verdict"]


@dataclass(frozen=True)
class Entrant:
    """Something to time. `one` answers one row, `many` a list of rows the way the server would.

    Rows are whatever the caller encodes them to. An engine whose rows must not share a batch answers them one
    by one inside `many`, over as many workers as it would be served with.
    """

    name: str
    one: Callable[[Any], Any]
    many: Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Reading:
    """What the race showed of one entrant: milliseconds at batch 1, throughput at the served load."""

    name: str
    reference: str
    p50_ms: float
    p95_ms: float
    rows_per_second: float
    speedup: Estimate  # at batch 1, against the reference
    load_speedup: Estimate  # at the served load
    rounds: int
    rows: int  # rows timed alone, over all rounds

    def to_json(self) -> dict[str, Any]:
        return {
            "p50_ms": self.p50_ms,
            "p95_ms": self.p95_ms,
            "rows_per_second": self.rows_per_second,
            "speedup": self.speedup.to_json(),
            "load_speedup": self.load_speedup.to_json(),
            "rounds": self.rounds,
            "rows": self.rows,
        }


@dataclass
class _Lap:
    """One entrant's seconds: for each row alone, and for each batch, round by round."""

    alone: list[list[float]] = field(default_factory=list)
    loaded: list[list[float]] = field(default_factory=list)


def race(
    entrants: Sequence[Entrant],
    rows: Sequence[Any],
    *,
    reference: str,
    rounds: int = 9,
    seconds: float = 30.0,
    load: int = 32,
    seed: int = 0,
) -> dict[str, Reading]:
    """Time every entrant in `rounds` interleaved rounds, within about `seconds` in all; name -> Reading.

    `reference` names the entrant that the others are compared with. Each round draws rows (at most 64 alone
    and 4 batches of `load`) with the data's own lengths. When time runs short, rounds get smaller, then
    fewer; one whole round is always run, and an interval from under six rounds is simply their range. Raises
    ValueError without rows or without the reference.
    """
    names = [entrant.name for entrant in entrants]
    if reference not in names or len(set(names)) < len(names) or not rows:
        raise ValueError(f"a race needs rows and different names with '{reference}' among them, got {names}")
    start, rng = time.perf_counter(), random.Random(seed)
    with _quiet():
        costs = [_warm_up(entrant, _draw(rng, rows, load), share=seconds / (4 * len(names))) for entrant in entrants]
        left = seconds - (time.perf_counter() - start)
        alone, batches = _round_size(costs, left / max(rounds, 1), load)
        laps = {name: _Lap() for name in names}
        for turn in range(rounds):
            began = time.perf_counter()
            drawn = [_draw(rng, rows, alone), *(_draw(rng, rows, load) for _ in range(batches))]
            for i in range(len(entrants)):
                entrant = entrants[(turn + i) % len(entrants)]
                _lap(entrant, drawn, laps[entrant.name])
            now = time.perf_counter()
            if now - start + 0.5 * (now - began) > seconds:  # no time for most of another
                break
    return {name: _reading(name, laps, reference, load) for name in names}


# Even two equal engines come out alike in four rounds of four once in eight times.
ENOUGH_ROUNDS = 5


def faster(reading: Reading) -> bool:
    """Is it clearly faster than the reference at batch 1? The whole interval must lie above 1, over enough
    rounds.
    """
    return reading.speedup.low > 1 and reading.rounds >= ENOUGH_ROUNDS


def verdict(reading: Reading) -> str:
    """One sentence on what the race showed; only a clear winner is called faster."""
    s, facts = reading.speedup, {"name": reading.name, "reference": reading.reference}
    if reading.name == reading.reference:
        return say("{name} is what the others are compared with", name=reading.name)
    if faster(reading):
        text = "{name} is {x:.1f} times as fast as {reference} at batch 1 ({low:.1f} to {high:.1f})"
    elif s.high < 1:
        text = "{name} is slower than {reference} at batch 1: {x:.2f} times its speed ({low:.2f} to {high:.2f})"
    else:
        text = "{name} is not shown to be faster than {reference} at batch 1: {x:.2f} times its speed ({low:.2f} to {high:.2f})"  # noqa: E501
    return say(text, x=s.value, low=s.low, high=s.high, **facts)


def median_interval(values: Sequence[float], level: float = 0.95) -> Estimate:
    """The median and an interval for it from order statistics: the r-th smallest and r-th largest value, with
    r as large as the level allows. Under six values no pair reaches 95 %, and the interval is their range.
    """
    from scipy.stats import binom

    ordered = sorted(values)
    r = max(1, int(binom.ppf((1 - level) / 2, len(ordered), 0.5)))
    return Estimate(statistics.median(ordered), ordered[r - 1], ordered[-r])


def _draw(rng: random.Random, rows: Sequence[Any], count: int) -> list[Any]:
    """`count` different rows, or each row in turn when there are too few."""
    times, rest = divmod(count, len(rows))
    return list(rows) * times + rng.sample(list(rows), rest)


def _warm_up(entrant: Entrant, rows: list[Any], share: float) -> tuple[float, float]:
    """Let kernels build and caches fill for up to `share` seconds; (seconds a row, seconds a batch)."""
    end = time.perf_counter() + share
    alone: list[float] = []
    loaded: list[float] = []
    while len(loaded) < 3:
        for row in rows[:8]:
            alone.append(_seconds(entrant.one, row))
        loaded.append(_seconds(entrant.many, rows))
        if time.perf_counter() > end:
            break
    return statistics.median(alone), min(loaded)


def _round_size(costs: Sequence[tuple[float, float]], seconds: float, load: int) -> tuple[int, int]:
    """(rows alone, batches) for a round of about `seconds` over all entrants, half of it for each."""
    row, batch = (sum(kind) for kind in zip(*costs, strict=True))
    alone = int(0.5 * seconds / row) if row else 64
    batches = int(0.5 * seconds / batch) if batch else 4
    return max(2, min(64, alone)), max(1, min(4, batches))


def _lap(entrant: Entrant, drawn: Sequence[list[Any]], lap: _Lap) -> None:
    """One entrant's turn: rows alone, then batches."""
    rows, *batches = drawn
    for row in rows[:2]:  # not timed: the threads of whoever went before are still winding down
        entrant.one(row)
    lap.alone.append([_seconds(entrant.one, row) for row in rows])
    lap.loaded.append([_seconds(entrant.many, batch) for batch in batches])


def _seconds(answer: Callable[[Any], Any], given: Any) -> float:
    start = time.perf_counter()
    answer(given)
    return max(time.perf_counter() - start, 1e-9)


def _reading(name: str, laps: dict[str, _Lap], reference: str, load: int) -> Reading:
    mine, other = laps[name], laps[reference]
    flat = sorted(t for turn in mine.alone for t in turn)
    return Reading(
        name=name,
        reference=reference,
        p50_ms=1000 * statistics.median(flat),
        p95_ms=1000 * flat[max(0, math.ceil(0.95 * len(flat)) - 1)],
        rows_per_second=statistics.median(load * len(turn) / sum(turn) for turn in mine.loaded),
        speedup=_ratio(other.alone, mine.alone),
        load_speedup=_ratio(other.loaded, mine.loaded),
        rounds=len(mine.alone),
        rows=len(flat),
    )


def _ratio(other: list[list[float]], mine: list[list[float]]) -> Estimate:
    """Median over rounds of the ratio of median times, both over the same rows of the same round."""
    return median_interval([statistics.median(a) / statistics.median(b) for a, b in zip(other, mine, strict=True)])


@contextmanager
def _quiet() -> Iterator[None]:
    """No garbage collection while the clock runs: it would fall on one entrant and not on another."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
