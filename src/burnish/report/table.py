"""A run as tables: a pandas frame for notebooks, a few lines for the end of a fit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.report import show
from burnish.report.answer import answer, chosen_of, limits, speedup_of
from burnish.report.files import Files
from burnish.words import say

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["steps", "summary_lines", "table"]

Json = Mapping[str, Any]


def table(run: Path) -> "pd.DataFrame":
    """Every candidate, one row each, in the order tried; what was not measured is missing (NaN or None).

    Columns: name, status, why, steps, engine, precision, quality with quality_low and quality_high (the primary metric
    on the validation rows, higher is better), drop with drop_low and drop_high (points), size_bytes, p50_ms, p95_ms,
    rows_per_second, speedup with speedup_low and speedup_high, load_speedup, flips.
    """
    import pandas as pd

    return pd.DataFrame([_candidate(c) for c in Files(run).candidates], columns=COLUMNS)


COLUMNS = [
    "name", "status", "why", "steps", "engine", "precision", "quality", "quality_low", "quality_high", "drop",
    "drop_low", "drop_high", "size_bytes", "p50_ms", "p95_ms", "rows_per_second", "speedup", "speedup_low",
    "speedup_high", "load_speedup", "flips",
]  # fmt: skip


def _candidate(c: Json) -> dict[str, Any]:
    plain = {name: c.get(name) for name in COLUMNS}
    return {
        **plain,
        "steps": " > ".join(c.get("steps") or ()),
        **_spread("quality", c.get("valid")),
        **_spread("drop", c.get("drop")),
        **_spread("speedup", c.get("speedup")),
        "load_speedup": (c.get("load_speedup") or {}).get("value"),
        "flips": (c.get("agreement") or {}).get("flips"),
    }


def _spread(name: str, found: Json | None) -> dict[str, Any]:
    found = found or {}
    return {name: found.get("value"), f"{name}_low": found.get("low"), f"{name}_high": found.get("high")}


def steps(run: Path) -> "pd.DataFrame":
    """Every record, one row a step: step, key, parent, seconds, score and bytes afterwards, settings (a dict)."""
    import pandas as pd

    rows = []
    for record in Files(run).records:
        quality, size = record.probes.get("quality") or {}, record.probes.get("size") or {}
        rows.append({
            "step": record.step, "key": record.key, "parent": record.parent, "seconds": record.seconds,
            "score": quality.get("score"), "size_bytes": size.get("bytes"), "settings": record.settings,
        })  # fmt: skip
    return pd.DataFrame(rows, columns=["step", "key", "parent", "seconds", "score", "size_bytes", "settings"])


def summary_lines(run: Path | Json) -> list[str]:
    """The end of a fit for a terminal: the answer, quality, size and latency against the float model, what to mind.

    `run` is the folder, or what its result.json holds. Where the report is and how to serve is for the caller to add.
    """
    result = Files(run).result if isinstance(run, Path) else run
    told = answer(result)
    lines = [told.sentence, ""]
    if chosen_of(result):
        lines += [*_aligned(_compared(result)), ""]
    if gave := (result.get("augmentation") or {}).get("told"):
        lines += [say("augmentation: {told}", told=gave), ""]
    lines += [f"! {caution}" for caution in told.cautions] + [""] * bool(told.cautions)
    return [_terminal(line) for line in lines[:-1]]


def _compared(result: Json) -> list[Sequence[str]]:
    """One line a figure: its name, the float model's, the chosen model's, and what the limit says of it."""
    metric = str(result.get("metric", ""))
    reference, chosen, drop = result.get("reference") or {}, chosen_of(result), result.get("drop") or {}
    holds = {one.key: one.told for one in limits(result)}
    speed = speedup_of(result, chosen)
    best = _best_baseline(result)
    models = (best, reference, chosen)
    sizes = [show.size(one.get("size_bytes")) if one.get("size_bytes") else "" for one in models]
    times = {key: [show.ms(one.get(key)) if one.get(key) else "" for one in models] for key in ("p50_ms", "p95_ms")}
    fast = say("{times} as fast", times=show.times(speed)) if speed else ""
    texts = [show.estimate(one.get("test"), metric) for one in models]
    return [
        ("", str(best.get("name") or ""), say("tuned float"), say("chosen"), ""),
        (show.metric_name(metric), *texts, holds.get("min_quality", "")),
        (say("drop in points"), "", "", _drop(drop), holds.get("max_drop", "")),
        (say("size"), *sizes, holds.get("max_size", "")),
        (say("p50 latency"), *times["p50_ms"], fast),
        (say("p95 latency"), *times["p95_ms"], holds.get("max_p95_ms", "")),
    ]


def _best_baseline(result: Json) -> Json:
    """The strongest baseline: the one the chosen model was compared with, else the one with the highest score."""
    known = [b for b in result.get("baselines") or [] if b.get("test")]
    named = (result.get("beats_baseline") or {}).get("name")
    return max(known, key=lambda b: (b.get("name") == named, b["test"]["value"]), default={})


def _drop(drop: Json) -> str:
    if drop.get("low") is None:
        return show.points(drop.get("value"))
    return say("{value} ({low} to {high})", **{k: show.points(drop[k]) for k in ("value", "low", "high")})


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _terminal(line: str) -> str:
    """Only what any terminal shows: someone's data must not steer it, and an old locale has no true minus."""
    for sign, plain in (("\n", " "), (show.TIE, " "), ("−", "-"), ("×", "x"), ("–", "-")):
        line = line.replace(sign, plain)
    return show.printable(line)
