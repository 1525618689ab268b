"""What is in the data: the findings of check.json, the labels, how long the texts are, and every count."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from burnish.core import Row
from burnish.report import plots, show
from burnish.report.files import Files
from burnish.report.layout import Facts, Figure, Finding, Findings, Part, Sentences, Table
from burnish.words import say

__all__ = ["data"]

SPLITS = ("train", "valid", "test")
FEW_LABELS = 12  # a longer table waits behind a click
BINS = 24
LEVELS = ("error", "warn", "info")
Json = Mapping[str, Any]


def data(files: Files) -> list[Part]:
    """The findings first, then labels and lengths, then every count; empty before the data were checked."""
    check = files.check
    if not check:
        return []
    parts = (
        _findings(check.get("findings") or []),
        _labels(check.get("labels") or []),
        _lengths(files),
        _counted(check),
    )
    return [part for part in parts if part is not None]


def _findings(found: Sequence[Any]) -> Findings | Sentences:
    if not found:
        return Sentences((say("Nothing was found to be wrong with the data."),))
    return Findings([_finding(one) for one in found])


def _finding(one: Any) -> Finding:
    if not isinstance(one, Mapping):
        return Finding("info", str(one), "", "")
    level = str(one.get("level", "info"))
    return Finding(
        level=level if level in LEVELS else "info",
        what=show.sentence(str(one.get("what", ""))).rstrip("."),
        why=str(one.get("why") or "").rstrip("."),
        hint=str(one.get("try") or "").rstrip("."),
        examples=[_example(example) for example in (one.get("examples") or [])[:5]],
    )


def _example(found: Any) -> str:
    """One row, or the rows that belong together, on one line."""
    if isinstance(found, list):
        return "  ↔  ".join(map(_example, found))
    if not isinstance(found, Mapping):
        return str(found)
    text = " | ".join(str(found[key]) for key in ("text", "pair") if found.get(key) is not None)
    return f"{found.get('split', '')} {found.get('id', '')} [{found.get('target')}] {text}"


def _labels(labels: Sequence[Json]) -> Table | None:
    if not labels:
        return None
    rows = [
        (str(one["label"]), *(show.count(one.get(s)) for s in SPLITS), show.share(one.get("share"))) for one in labels
    ]
    return Table(
        caption=say("How often each label comes."),
        columns=(say("label"), *(f"#{say(split)}" for split in SPLITS), f"#{say('share of all')}"),
        rows=rows,
        fold=say("The {count} labels and their rows", count=len(rows)) if len(rows) > FEW_LABELS else "",
    )


def _lengths(files: Files) -> Figure | None:
    """Histogram of the texts' lengths: in tokens where check.json has one, else in characters of the kept rows."""
    found = files.check.get("lengths") or {}
    tokens = found.get("tokens") or {}
    limit = files.artifact.get("max_length")
    histogram, unit = tokens.get("histogram"), say("tokens")
    if not histogram:
        histogram, unit, limit = (
            _characters([row for split in SPLITS for row in files.rows(split)]),
            say("characters"),
            None,
        )
    if not histogram:
        return None
    edges, counts = histogram["edges"], histogram["counts"]
    inside = limit if limit and edges[0] < limit < edges[-1] else None
    chart = plots.lengths(edges, counts, title=say("Length of the texts"), unit=unit, limit=inside)
    return Figure((chart,), _lengths_told(tokens, files.artifact.get("max_length")), _quantiles(found))


def _characters(rows: Sequence[Row]) -> dict[str, list[float]] | None:
    """Counts by length in characters, a pair's texts together; the longest hundredth shares the last bin."""
    if not rows:
        return None
    length_N = np.array([len(row.text) + len(row.pair or "") for row in rows])
    top = max(float(np.quantile(length_N, 0.99)), 1.0)
    counts, edges = np.histogram(np.minimum(length_N, top), bins=BINS, range=(0, top))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _lengths_told(tokens: Json, limit: float | None) -> str:
    parts = []
    if tokens.get("p50") is not None:
        text = say("Half of the texts have up to {p50} tokens, 95 in 100 up to {p95}, the longest {max}.")
        parts.append(text.format(**{k: show.count(tokens[k]) for k in ("p50", "p95", "max")}))
    if limit:
        parts.append(say("The chosen model reads {limit} tokens of a text.", limit=show.count(limit)))
    if tokens.get("truncated_share"):
        cut = say("{share} of the texts are longer than the {limit} tokens the pretrained model takes.")
        parts.append(
            cut.format(share=show.share(tokens["truncated_share"]), limit=show.count(tokens.get("max_length")))
        )
    return " ".join(parts)


def _quantiles(found: Json) -> Table | None:
    names = ("p50", "p95", "p99", "max")
    rows = [
        (say(unit), *(show.count(found[unit].get(n)) for n in names))
        for unit in ("tokens", "characters")
        if found.get(unit)
    ]
    if not rows:
        return None
    heads = (say("half up to"), say("95 % up to"), say("99 % up to"), say("longest"))
    return Table(caption=say("Length of a row."), columns=(say("in"), *(f"#{h}" for h in heads)), rows=rows)


def _counted(check: Json) -> Facts | None:
    shown = ("findings", "schema_version", "labels", "lengths", "task")
    items = _flat({k: v for k, v in check.items() if k not in shown})
    return Facts(items, fold=say("Everything that was counted")) if items else None


def _flat(found: Json, prefix: str = "", most: int = 60) -> list[tuple[str, str]]:
    """Nested counts as lines `duplicates › exact`: 3. Rows that serve as examples are left to the findings."""
    lines: list[tuple[str, str]] = []
    for key, value in found.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            lines += _flat(value, f"{name} › ", most)
        elif isinstance(value, list | tuple):
            lines.append((name, "" if key == "examples" else show.plain(value)))
        else:
            lines.append((name, show.plain(value)))
    return [line for line in lines if line[1]][:most]
