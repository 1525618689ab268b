"""The answer of a run in one sentence, and what an honest reader must know beside it.

Knows only `result.json`: what was chosen, what was asked, and how sure the numbers are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from burnish.report import show
from burnish.words import say

__all__ = [
    "ENGINES",
    "Answer",
    "Limit",
    "answer",
    "chosen_of",
    "is_reference",
    "limits",
    "model_name",
    "precision_of",
    "speedup_of",
]

Facts = Mapping[str, Any]
ENGINES = {"onnx": "ONNX", "openvino": "OpenVINO", "torch": "torch"}
# Two speeds closer than this are called the same: repeated measurements differ by as much.
SAME_SPEED = 0.05


@dataclass(frozen=True)
class Answer:
    """`sentence` is the answer, `cautions` are what weakens it, `met` is None while the run goes on."""

    sentence: str
    cautions: tuple[str, ...]
    met: bool | None


@dataclass(frozen=True)
class Limit:
    """One thing that was asked: its key among the limits, its name, asked and found as text, and whether it holds."""

    key: str
    name: str
    asked: str  # such as `at most 30 MB`
    bound: str  # such as `30 MB`
    found: str
    met: bool | None
    judged: str  # on which rows, for what is read from rows

    @property
    def told(self) -> str:
        """Such as `limit 30 MB, met` or `limit 1, missed on validation rows`."""
        if self.met is None:
            return say("limit {limit}, not measured", limit=self.bound)
        told = (
            say("limit {limit}, met", limit=self.bound) if self.met else say("limit {limit}, missed", limit=self.bound)
        )
        return " ".join(part for part in (told, self.judged) if part)


def answer(result: Facts) -> Answer:
    """The answer to `result`; an empty one belongs to a run that is not finished."""
    if not result.get("chosen") and not result.get("reference"):
        told = say("This run is not finished. What is below is what its files hold so far.")
        return Answer(told, (), None)
    met = bool(result.get("budget", {}).get("met", True))
    if chosen := chosen_of(result):
        told = f"{_what_it_does(result, chosen, met)}; {_verdict(result, met)}"
    else:
        told = say("No candidate could be built that meets the limits.")
    return Answer(told, tuple(show.sentence(str(w)) for w in result.get("warnings") or ()), met)


def chosen_of(result: Facts) -> dict[str, Any]:
    """The chosen model with all that is known of it: its line among the candidates, then its own facts."""
    chosen = result.get("chosen") or {}
    line: Facts = next((c for c in result.get("candidates") or [] if c.get("status") == "chosen"), {})
    return {**line, **{k: v for k, v in chosen.items() if v is not None}}


def precision_of(facts: Facts) -> str:
    """'int8', 'bf16' or 'fp32': as written, or read off the steps."""
    if facts.get("precision"):
        return str(facts["precision"])
    return "int8" if any("int8" in step for step in facts.get("steps") or []) else ""


def model_name(facts: Facts) -> str:
    """Such as `int8 ONNX model`."""
    engine, _, detail = str(facts.get("engine") or "").partition("-")
    words = [precision_of(facts) or detail, ENGINES.get(engine, engine), say("model")]
    return " ".join(word for word in words if word)


def speedup_of(result: Facts, chosen: Facts) -> float | None:
    """How many times faster than the tuned float model at batch 1: as measured side by side, else from the medians."""
    measured = chosen.get("speedup")
    if measured:
        return float(measured["value"] if isinstance(measured, Mapping) else measured)
    before, after = (result.get("reference") or {}).get("p50_ms"), chosen.get("p50_ms")
    return before / after if before and after else None


def limits(result: Facts) -> list[Limit]:
    """What was asked against what was found, for each limit that was given."""
    asked, chosen = (result.get("budget") or {}).get("limits") or {}, chosen_of(result)
    metric, valid = str(result.get("metric", "")), chosen.get("valid") or chosen.get("test") or {}
    drop = chosen.get("drop") or result.get("drop") or {}
    bound = say("upper bound of the drop in points") if asked.get("strict") else say("drop in points")
    rows = (
        ("max_size", say("size"), chosen.get("size_bytes"), show.size, False),
        ("max_p95_ms", say("p95 latency"), chosen.get("p95_ms"), show.ms, False),
        ("max_drop", bound, drop.get("high" if asked.get("strict") else "value"), show.points, False),
        ("min_quality", show.metric_name(metric), valid.get("value"), lambda v: show.quality(v, metric), True),
    )
    return [
        _limit(key, name, asked[key], found, text, at_least)
        for key, name, found, text, at_least in rows
        if asked.get(key) is not None
    ]


def _limit(key: str, name: str, asked: float, found: float | None, text: Any, at_least: bool) -> Limit:
    bound = re.sub(r"(?<=\d)\.0(?!\d)", "", text(asked))  # nobody asks for 30.0 MB
    word = say("at least {limit}", limit=bound) if at_least else say("at most {limit}", limit=bound)
    holds = None if found is None else found >= asked if at_least else found <= asked
    judged = say("on the validation rows") if key in ("max_drop", "min_quality") else ""
    return Limit(key, name, word, bound, text(found), holds, judged)


def _what_it_does(result: Facts, chosen: Facts, met: bool) -> str:
    name = model_name(chosen)
    latency = say("{p50} (p95 {p95})", p50=show.ms(chosen.get("p50_ms")), p95=show.ms(chosen.get("p95_ms")))
    facts = {"name": name, "size": show.size(chosen.get("size_bytes")), "latency": latency}
    speed, loss = _speed(speedup_of(result, chosen)), _loss(result)
    an = name.lower().startswith(("a", "e", "i", "o", "fp"))  # as it is said: an int8, an fp32, a bf16 model
    if is_reference(result, chosen):
        return say("The tuned float model itself is the answer: {size}, {latency}", **facts)
    if met:
        head = say(
            "An {name} of {size} answers in {latency}" if an else "A {name} of {size} answers in {latency}", **facts
        )
    else:
        head = say("No candidate meets every limit. The nearest, {an} {name} of {size}, answers in {latency}",
                   an="an" if an else "a", **facts)  # fmt: skip
    return ", ".join(part for part in (head, speed) if part) + (say(", and {loss}", loss=loss) if loss else "")


def is_reference(result: Facts, chosen: Facts) -> bool:
    """Whether a model is the tuned float one itself, on the engine that all others are compared with."""
    reference = result.get("reference") or {}
    same = chosen.get("steps") == reference.get("steps") and chosen.get("engine") == "torch"
    return same and precision_of(chosen) in ("", "fp32")


def _speed(ratio: float | None) -> str:
    if ratio is None:
        return ""
    if abs(ratio - 1) <= SAME_SPEED:
        return say("as fast as the tuned float model")
    if ratio > 1:
        return say("{times} faster than the tuned float model", times=show.times(ratio))
    return say("{times} slower than the tuned float model", times=show.times(1 / ratio))


def _loss(result: Facts) -> str:
    drop, metric = result.get("drop") or {}, show.metric_name(str(result.get("metric", "")))
    if drop.get("value") is None:
        return ""
    lost = drop["value"]
    if show.points(lost) == show.points(0) and drop.get("low") is not None:
        ends = {"low": show.points(drop["low"]), "high": show.points(drop["high"])}
        return say("loses no {metric} (95 % interval of the drop {low} to {high} points)", metric=metric, **ends)
    verb = say("loses {points} points of {metric}") if lost >= 0 else say("gains {points} points of {metric}")
    told = verb.format(points=show.points(abs(lost)), metric=metric)
    if drop.get("low") is None:
        return told
    low, high = (drop["low"], drop["high"]) if lost >= 0 else (-drop["high"], -drop["low"])
    spread = say("95 % interval {low} to {high}", low=show.points(low), high=show.points(high))
    return f"{told} ({spread})"


def _verdict(result: Facts, met: bool) -> str:
    asked = limits(result)
    if met:
        told = say("all limits are met") if asked else say("no limits were asked for")
        beats = result.get("beats_baseline") or {}
        if not beats.get("better", True):
            told = say("{told}, but it is not shown to be better than {name}", told=told, name=beats.get("name"))
        return f"{told}."
    missed = [
        say("{name} {found}, asked was {limit}", name=m.name, found=m.found, limit=m.asked)
        for m in asked
        if m.met is False
    ]
    return say("missed: {missed}.", missed="; ".join(missed)) if missed else say("not every limit is met.")
