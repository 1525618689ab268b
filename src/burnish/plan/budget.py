"""What the user asked for, and whether a candidate meets it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from burnish.words import say

__all__ = ["Budget", "cost", "dominates", "overruns"]

# The drop that is asked for when nobody asks: a model may be smaller and faster, not worse.
USUAL_DROP = 1.0


@dataclass(frozen=True)
class Budget:
    """None means no limit. Drops are in points of the primary metric (100 x) against the tuned float model."""

    max_size: int | None = None  # bytes of the files that serving needs
    max_p95_ms: float | None = None  # milliseconds at batch 1, on this machine
    max_drop: float | None = None  # points
    min_quality: float | None = None  # the primary metric itself, such as 0.9
    time: float | None = None  # seconds for the whole run
    strict: bool = False  # judge the drop by the bound of its interval, not by its estimate

    @property
    def drop(self) -> float:
        return USUAL_DROP if self.max_drop is None else self.max_drop

    def limits(self) -> dict[str, Any]:
        """The limits that were set, as JSON."""
        return {k: v for k, v in {**asdict(self), "max_drop": self.drop}.items() if v not in (None, False)}


def overruns(candidate: Mapping[str, Any], budget: Budget) -> list[str]:
    """A sentence for each limit that `candidate` breaks; empty when it meets all. Unmeasured parts are passed over."""
    found = []
    size, p95, drop = candidate.get("size_bytes"), candidate.get("p95_ms"), candidate.get("drop")
    if budget.max_size is not None and size is not None and size > budget.max_size:
        found.append(say("{a:.1f} MB is over {b:.1f} MB", a=size / 1e6, b=budget.max_size / 1e6))
    if budget.max_p95_ms is not None and p95 is not None and p95 > budget.max_p95_ms:
        found.append(say("p95 {a:.1f} ms is over {b:.1f} ms", a=p95, b=budget.max_p95_ms))
    if drop is not None:
        lost = drop["high"] if budget.strict else drop["value"]
        if lost > budget.drop:
            found.append(say("it loses {a:.1f} points, over {b:.1f}", a=lost, b=budget.drop))
    quality = candidate.get("valid", {}).get("value")
    if budget.min_quality is not None and quality is not None and quality < budget.min_quality:
        found.append(say("quality {a:.3f} is under {b:.3f}", a=quality, b=budget.min_quality))
    return found


def excess(candidate: Mapping[str, Any], budget: Budget) -> float:
    """How far a candidate is from the limits, as a sum of relative overruns: 0 when all are met."""
    drop = candidate["drop"]["high" if budget.strict else "value"]
    parts = [max(0.0, (drop - budget.drop) / max(budget.drop, 1.0))]
    if budget.max_size is not None:
        parts.append(max(0.0, candidate["size_bytes"] / budget.max_size - 1))
    if budget.max_p95_ms is not None:
        parts.append(max(0.0, candidate["p95_ms"] / budget.max_p95_ms - 1))
    if budget.min_quality is not None:
        parts.append(max(0.0, (budget.min_quality - candidate["valid"]["value"]) * 100))
    return sum(parts)


def cost(candidate: Mapping[str, Any]) -> float:
    """What serving costs: the geometric mean of bytes and milliseconds. Halving either counts the same."""
    return float((candidate["size_bytes"] * candidate["p50_ms"]) ** 0.5)


def dominates(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether `a` is at least as good as `b` in quality, size and latency, and better in one."""
    mine = (-a["valid"]["value"], a["size_bytes"], a["p50_ms"])
    other = (-b["valid"]["value"], b["size_bytes"], b["p50_ms"])
    return all(x <= y for x, y in zip(mine, other, strict=True)) and mine != other
