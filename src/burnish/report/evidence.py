"""Which model was chosen and why: what was asked, quality on the test rows, every candidate.

Each function reads `Files` and returns a Table, a Figure or facts; None or empty where the run does not know it yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.measure.intervals import interval
from burnish.report import plots, show
from burnish.report.answer import ENGINES, Limit, chosen_of, is_reference, limits, precision_of, speedup_of
from burnish.report.files import Files
from burnish.report.layout import Fact, Figure, Sentences, Table, scale
from burnish.words import say

__all__ = [
    "Headline",
    "asked",
    "beats",
    "candidates",
    "every_default",
    "headline",
    "metrics",
    "pareto",
    "quality",
]

Json = Mapping[str, Any]
STATUS = {
    "chosen": "chosen",
    "pareto": "Pareto set",
    "dominated": "dominated",
    "over budget": "over budget",
    "dropped early": "dropped early",
    "failed": "failed",
    "not tried": "not tried",
}


def asked(files: Files) -> list[Fact]:
    """What the user gave, in the order a reader asks for it."""
    request, result, task = files.request, files.result, files.task
    rows = result.get("rows") or {s: len(files.rows(s)) for s in ("train", "valid", "test")}
    told = say("{train} to learn from, {valid} to choose with, {test} kept for the end",
               **{k: show.count(rows.get(k)) for k in ("train", "valid", "test")})  # fmt: skip
    facts = [
        (say("Data"), show.plain(request.get("data"))),
        (say("Test data"), show.plain(request.get("test"))),
        (say("Columns"), show.plain({k: v for k, v in (files.facts.get("columns") or {}).items() if v is not None})),
        (say("Rows"), told if any(rows.values()) else ""),
        (say("Model"), show.plain(request.get("model"))),
        (say("Task"), _task(files)),
        (say("Labels"), _labels(task.labels if task else ())),
        (say("Limits"), "; ".join(f"{one.name} {one.asked}" for one in limits(result)) or _limits(request)),
        (say("Time limit"), _duration((request.get("budget") or {}).get("time"))),
        (say("Time taken"), _duration(result.get("seconds"))),
        (say("Seed"), show.plain(request.get("seed"))),
    ]
    return [(name, value) for name, value in facts if value]


def every_default(files: Files) -> list[Fact]:
    """Every setting of the request, as written out before the run began."""
    return [(key, show.plain(value)) for key, value in sorted(files.request.items()) if value not in (None, [], {})]


def _duration(seconds: float | None) -> str:
    return show.duration(seconds) if seconds else ""


def _task(files: Files) -> str:
    if not files.task:
        return ""
    named = say("{task}, judged by {metric}", task=files.task.name, metric=show.metric_name(files.metric))
    return say("{task}; pairs of texts", task=named) if files.task.pair else named


def _labels(labels: Sequence[str], most: int = 20) -> str:
    told = ", ".join(labels[:most])
    more = len(labels) - most
    return say("{some} and {more} more", some=told, more=more) if more > 0 else told


def _limits(request: Json) -> str:
    given = {k: v for k, v in (request.get("budget") or {}).items() if v not in (None, False)}
    return show.plain(given)


@dataclass(frozen=True)
class Headline:
    """A figure at the top of the page: its name, the number, what it compares with, and the limit it stands under."""

    name: str
    number: str
    beside: str
    limit: Limit | None


def headline(files: Files) -> list[Headline]:
    result, metric = files.result, files.metric
    chosen, reference = chosen_of(result), result.get("reference") or {}
    if not chosen:
        return []
    checked = {one.key: one for one in limits(result)}
    quality, test = show.metric_name(metric), chosen.get("test") or {}
    was = say("tuned float {value}", value="{}")
    lost = result.get("drop") or {}
    rows = (
        (quality, show.quality(test.get("value"), metric), show.interval(test, metric), "min_quality"),
        (say("drop in points"), show.points(lost.get("value")), _spread(lost), "max_drop"),
        (
            say("size"),
            show.size(chosen.get("size_bytes")),
            was.format(show.size(reference.get("size_bytes"))),
            "max_size",
        ),
        (say("p50 latency"), show.ms(chosen.get("p50_ms")), was.format(show.ms(reference.get("p50_ms"))), ""),
        (say("p95 latency"), show.ms(chosen.get("p95_ms")), was.format(show.ms(reference.get("p95_ms"))), "max_p95_ms"),
        (say("speed"), show.times(speedup_of(result, chosen)), _speed_beside(chosen.get("speedup")), ""),
    )
    return [
        Headline(name, number, beside, checked.get(key)) for name, number, beside, key in rows if number != show.NOTHING
    ]


def _speed_beside(speedup: Json | None) -> str:
    """What the ratio compares with, and its interval where it was measured more than once."""
    told, found = say("that of the tuned float model"), speedup or {}
    if found.get("low") is None or found["low"] == found["high"]:
        return told
    return say("{told}, {low} to {high}", told=told, low=show.number(found["low"]), high=show.times(found["high"]))


def _spread(drop: Json) -> str:
    if drop.get("low") is None:
        return ""
    return say("{low} to {high}", low=show.points(drop["low"]), high=show.points(drop["high"]))


def _models(files: Files) -> list[tuple[str, Json, Json]]:
    """(name, facts, metrics) of the baselines, the reference and the chosen model, as far as they were tested."""
    result = files.result
    known = result.get("metrics") or {}
    models = [(str(b.get("name")), b, known.get(b.get("name")) or {}) for b in result.get("baselines") or []]
    models.append((say("tuned float model"), result.get("reference") or {}, known.get("reference") or {}))
    models.append((say("chosen model"), chosen_of(result), known.get("chosen") or {}))
    return [model for model in models if (model[1].get("test") or {}).get("value") is not None]


def quality(files: Files) -> Table | None:
    """Baselines, reference and chosen model on the test rows: the primary metric, and what they cost."""
    models, metric = _models(files), files.metric
    if not models:
        return None
    others = [m for m in _metric_order(files) if m != metric][:2]
    tests = [facts["test"] for _, facts, _ in models]
    return Table(
        caption=say("Quality on the test rows, which were scored once, after the choice."),
        columns=(
            say("model"), f"#{show.metric_name(metric)}", f"#{say('95 % interval')}", "",
            *(f"#{show.metric_name(m)}" for m in others), f"#{say('size')}", f"#{say('p50')}", f"#{say('p95')}",
        ),
        rows=[
            (
                name, show.quality(test["value"], metric), show.interval(test, metric), strip,
                *(show.quality(reading.get(m), m) for m in others),
                show.size(facts.get("size_bytes")), show.ms(facts.get("p50_ms")), show.ms(facts.get("p95_ms")),
            )
            for (name, facts, reading), test, strip in zip(models, tests, scale([_ends(t) for t in tests]), strict=True)
        ],
        marks=["chosen" if name == say("chosen model") else "" for name, _, _ in models],
    )  # fmt: skip


def _chance(p: float | None) -> str:
    return show.NOTHING if p is None else "< 0.001" if p < 0.001 else f"= {p:.3f}"


def metrics(files: Files) -> Table | None:
    """Every metric of the task, for every model that was scored on the test rows."""
    models, order = _models(files), _metric_order(files)
    if not models or len(order) < 2:
        return None
    return Table(
        caption=say("All metrics on the test rows."),
        columns=(say("model"), *(f"#{show.metric_name(m)}" for m in order)),
        rows=[(name, *(show.quality(reading.get(m), m) for m in order)) for name, _, reading in models],
        marks=["chosen" if name == say("chosen model") else "" for name, _, _ in models],
        fold=say("All metrics"),
    )


def _metric_order(files: Files) -> list[str]:
    """The metrics that were read, in the order the task names them."""
    read = {m for _, _, reading in _models(files) for m in reading if reading[m] is not None}
    return [m for m in getattr(files.task, "METRICS", sorted(read)) if m in read]


def beats(files: Files) -> Sentences | None:
    """Whether the Transformer earns its cost against the best baseline, and how small a drop could be seen."""
    found, visible = files.result.get("beats_baseline") or {}, files.result.get("min_visible_drop")
    told = []
    if gain := found.get("gain"):
        better = say("The chosen model is better than the best baseline, {name}: it gains {gain} points")
        unsure = say("The chosen model is not shown to be better than the baseline {name}: it gains {gain} points")
        text = better if found.get("better", True) else unsure
        told.append(text.format(name=found.get("name"), gain=show.points(gain.get("value"))))
        told.append(say("(95 % interval {spread}, p {p}).", spread=_spread(gain), p=_chance(found.get("p"))))
    if visible is not None:
        told.append(
            say(
                "On these test rows a drop of {points} points or more would be seen, four times out of five.",
                points=show.points(visible),
            )
        )
    return Sentences((" ".join(told),)) if told else None


def candidates(files: Files) -> Table | None:
    """Every candidate with its numbers on the validation rows, its status and the reason."""
    rows, metric = files.candidates, files.metric
    if not rows:
        return None
    strips = scale([_ends(c.get("valid")) for c in rows])
    return Table(
        caption=say("Every candidate, in the order tried. Quality and drop are read on the validation rows."),
        columns=(
            "##", say("candidate"), say("status"), f"#{show.metric_name(metric)}", "", f"#{say('drop, points')}",
            f"#{say('size')}", f"#{say('p50')}", f"#{say('p95')}", f"#{say('rows/s')}", f"#{say('speed')}",
            f"#{say('flips')}",
        ),
        rows=[
            (str(n), _named(c), _status(c),
             show.quality((c.get("valid") or {}).get("value"), metric), strip, _drop(c.get("drop")),
             show.size(c.get("size_bytes")), show.ms(c.get("p50_ms")), show.ms(c.get("p95_ms")),
             show.count(c.get("rows_per_second")), show.times((c.get("speedup") or {}).get("value")),
             _flips(c.get("agreement")))
            for n, (c, strip) in enumerate(zip(rows, strips, strict=True), 1)
        ],
        notes=[str(c.get("why") or "") for c in rows],
        marks=[str(c.get("status") or "").replace(" ", "-") for c in rows],
        foot=say(
            "Speed is against the tuned float model in torch, one text at a time, measured in turns on this machine. "
            "Flips are answers that differ from the same model in torch fp32."
        ),
    )  # fmt: skip


def _status(candidate: Json) -> str:
    status = say(STATUS.get(candidate.get("status", ""), str(candidate.get("status") or "")))
    return say("{status}, nearest", status=status) if candidate.get("near") and status != say("chosen") else status


def _named(candidate: Json) -> str:
    """The name, and what it runs on."""
    engine = str(candidate.get("engine") or "")
    words = (ENGINES.get(engine, engine), precision_of(candidate) if engine else "")
    return " · ".join(part for part in (str(candidate.get("name") or ""), " ".join(filter(None, words))) if part)


def _ends(found: Json | None) -> tuple[float, float, float] | None:
    if not found or found.get("low") is None:
        return None
    return found["low"], found["value"], found["high"]


def _drop(drop: Json | None) -> str:
    if not drop or drop.get("value") is None:
        return show.NOTHING
    spread = _spread(drop)
    return f"{show.points(drop['value'])} ({spread})" if spread else show.points(drop["value"])


def _flips(agreement: Json | None) -> str:
    if not agreement or agreement.get("flips") is None:
        return show.NOTHING
    return say("{flips} of {rows}", flips=agreement["flips"], rows=show.count(agreement.get("rows")))


def pareto(files: Files) -> Figure | None:
    """Quality with its interval against size, and against latency; the candidates' table holds the numbers."""
    shown = [c for c in files.candidates if (c.get("valid") or {}).get("value") is not None]
    if not shown:
        return None
    asked_for = (files.result.get("budget") or {}).get("limits") or {}
    metric = files.metric
    unit = f"{show.metric_name(metric)}, %" if metric in show.PERCENT else show.metric_name(metric)
    charts = []
    for key, per, label, title, limit in (
        ("size_bytes", 1e6, say("size, MB"), say("Quality against size"), asked_for.get("max_size")),
        ("p50_ms", 1.0, say("median latency of one text, ms"), say("Quality against latency"), None),
    ):
        dots = _dots(files, key, per)
        if len(dots) > 1:
            limit = limit / per if limit else None
            charts.append(plots.against_quality(dots, title=title, x_label=label, y_label=unit, limit=limit))
    caption = say(
        "Up and to the left is better. Bars are 95 % intervals on the validation rows; numbers are those of the "
        "table of candidates; the coloured circle is the chosen model, the diamond the tuned float model in torch; "
        "filled circles are in the Pareto set, and the faint line joins those that no cheaper one matches."
    )
    return Figure(charts, caption) if charts else None


def _dots(files: Files, key: str, per: float) -> list[plots.Dot]:
    dots = []
    reference = files.result.get("reference") or {}
    if reference.get(key) and (found := _reference_valid(files)):
        dots.append(plots.Dot(reference[key] / per, *_shown(found, files.metric), say("float"), "reference"))
    for n, c in enumerate(files.candidates, 1):
        same = bool(dots) and is_reference(files.result, c)
        if c.get(key) and (c.get("valid") or {}).get("value") is not None and not same:
            kind = {"chosen": "chosen", "pareto": "front"}.get(c.get("status", ""), "other")
            dots.append(plots.Dot(c[key] / per, *_shown(c["valid"], files.metric), str(n), kind))
    return dots


def _reference_valid(files: Files) -> Json | None:
    """The reference on the validation rows: as written, else counted from its predictions."""
    if given := (files.result.get("reference") or {}).get("valid"):
        return dict(given)
    kept = files.predictions("valid-reference")
    if kept is None or files.task is None:
        return None
    return interval(files.task, kept.outputs, kept.targets).to_json()


def _shown(found: Json, metric: str) -> tuple[float, float | None, float | None]:
    """Value, low, high in the unit of the axis: percent, or the metric itself."""
    factor = 100 if metric in show.PERCENT else 1  # an error metric stays negated, so that up is better
    low, high = found.get("low"), found.get("high")
    return factor * found["value"], None if low is None else factor * low, None if high is None else factor * high
