"""Rows that say the same: exact and near duplicates inside and across splits, and texts with two labels."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from burnish.core import Row, Span
from burnish.data.split import Splits, group_key, grouping
from burnish.data.text import near_duplicates, normalise

__all__ = ["SIDES", "conflicts", "exact_overlap", "example", "near_overlap"]

SIDES = ("train", "valid", "test")
ACROSS = (("train", "valid"), ("train", "test"), ("valid", "test"))
EXAMPLES = 5
EACH = 3  # examples for each combination of sides
SHORTENED = 120  # characters of a text that an example shows


def example(row: Row, side: str) -> dict[str, Any]:
    """A row as reports show it: where it is, the start of its texts, its target."""
    target = [_shown(row, part) for part in row.target] if isinstance(row.target, tuple) else row.target
    return {
        "id": row.id,
        "split": side,
        "text": _short(row.text),
        "pair": None if row.pair is None else _short(row.pair),
        "target": target,
    }


def _shown(row: Row, part: str | Span) -> str:
    """A label; 'person: Ada' for a span, of an answer the answer alone."""
    if not isinstance(part, Span):
        return part
    return (f"{part.label}: " if part.label else "") + _short(row.text[part.start : part.end])


def _short(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= SHORTENED else one_line[: SHORTENED - 1] + "…"


def exact_overlap(splits: Splits) -> dict[str, Any]:
    """Rows equal after normalising: `inside` counts all but the first, `across` those of the later side.

    Questions about one context are equal across sides by the context alone, which is what a model would know by heart.

    {"inside": {"train": n, ...}, "across": {"train-test": n, ...}, "examples": [[row, row], ...]}
    """
    same_groups = {side: _grouped(getattr(splits, side), group_key) for side in SIDES}
    inside = {side: sum(len(rows) - 1 for rows in found.values()) for side, found in same_groups.items()}
    key_of = grouping([row for side in SIDES for row in getattr(splits, side)])
    groups = {side: _grouped(getattr(splits, side), key_of) for side in SIDES}
    across = {f"{a}-{b}": sum(len(rows) for key, rows in groups[b].items() if key in groups[a]) for a, b in ACROSS}
    crossing = [
        (groups[a][key][0], a, groups[b][key][0], b) for a, b in ACROSS for key in groups[b] if key in groups[a]
    ]
    same = [(rows[0], side, rows[1], side) for side in SIDES for rows in same_groups[side].values() if len(rows) > 1]
    return {"inside": inside, "across": across, "examples": _pairs([*crossing, *same])}


def _grouped(rows: Iterable[Row], key_of: Callable[[Row], str]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[key_of(row)].append(row)
    return found


def _pairs(found: Sequence[tuple[Row, str, Row, str]]) -> list[list[dict[str, Any]]]:
    """The first few of each combination of sides, so that a common kind does not crowd out a grave one."""
    shown: Counter[frozenset[str]] = Counter()
    pairs = []
    for a, x, b, y in found:
        shown[frozenset((x, y))] += 1
        if shown[frozenset((x, y))] <= EACH:
            pairs.append([example(a, x), example(b, y)])
    return pairs


def near_overlap(splits: Splits, threshold: float = 0.7) -> dict[str, Any]:
    """Rows that are nearly, not fully, like another one; counts and examples as in `exact_overlap`.

    `inside` counts rows with such a twin on their own side, `across` those of the later side with one on the
    earlier. Equal rows count as one text here, and each pair's two texts are compared as one; of questions and a
    context, the contexts.
    """
    key_of = grouping([row for side in SIDES for row in getattr(splits, side)])
    is_pair = key_of is group_key
    first: dict[str, tuple[Row, str]] = {}
    copies: Counter[tuple[str, str]] = Counter()
    for side in SIDES:
        for row in getattr(splits, side):
            key = key_of(row)
            first.setdefault(key, (row, side))
            copies[key, side] += 1
    keys = list(first)
    texts = [f"{row.text} {row.pair or ''}" if is_pair else row.text for row, _ in first.values()]
    found = [(keys[i], keys[j], s) for i, j, s in near_duplicates(texts, threshold)]
    found.sort(key=lambda pair: (first[pair[0]][1] == first[pair[1]][1], -pair[2], pair[0]))  # across first
    twins: dict[tuple[str, str], set[str]] = defaultdict(set)
    for a, b, _ in found:
        for key, other in ((a, b), (b, a)):
            twins[first[key][1], first[other][1]].add(key)
    return {
        "inside": {side: _rows(twins[side, side], side, copies) for side in SIDES},
        "across": {f"{a}-{b}": _rows(twins[b, a], b, copies) for a, b in ACROSS},
        "threshold": threshold,
        "examples": _pairs([(*first[a], *first[b]) for a, b, _ in found]),
    }


def _rows(keys: Iterable[str], side: str, copies: Mapping[tuple[str, str], int]) -> int:
    return sum(copies[key, side] for key in keys)


def conflicts(splits: Splits) -> dict[str, Any]:
    """The same text (pairs: in the same order) with different targets; numbers: more than a spread apart.

    {"texts": n, "rows": n, "lost": n, "examples": [[row, row], ...]}. Any model must answer `lost` rows
    wrongly, since it gives one text one answer; None for numbers.
    """
    groups: dict[str, list[tuple[Row, str]]] = defaultdict(list)
    for side in SIDES:
        for row in getattr(splits, side):
            groups[f"{normalise(row.text)}\x1f{normalise(row.pair or '')}"].append((row, side))
    numbers = [row.target for rows in groups.values() for row, _ in rows if isinstance(row.target, float)]
    spread = float(np.std(numbers)) if numbers else 0.0
    found = [pair for pair in ((rows, _disagreeing(rows, spread)) for rows in groups.values()) if pair[1]]
    lost = sum(len(rows) - max(Counter(_said(row) for row, _ in rows).values()) for rows, _ in found)
    return {
        "texts": len(found),
        "rows": sum(len(rows) for rows, _ in found),
        "lost": None if numbers else lost,
        "examples": _pairs([(*a, *b) for _, pair in found if pair for a, b in [pair]]),
    }


def _disagreeing(rows: list[tuple[Row, str]], spread: float) -> tuple[tuple[Row, str], tuple[Row, str]] | None:
    """Two rows of one text whose targets differ, the widest gap for numbers; None when all agree."""
    if isinstance(rows[0][0].target, float):
        ordered = sorted(rows, key=lambda pair: float(pair[0].target))  # type: ignore[arg-type]
        low, high = ordered[0], ordered[-1]
        gap = float(high[0].target) - float(low[0].target)  # type: ignore[arg-type]
        return (low, high) if gap > spread else None
    return next(((a, b) for a, b in pairwise(rows) if _said(a[0]) != _said(b[0])), None)


def _said(row: Row) -> Any:
    """The target, of spans what they cover: their places move with blanks and marks that do not make another text."""
    if isinstance(row.target, tuple) and any(isinstance(part, Span) for part in row.target):
        spans = [part for part in row.target if isinstance(part, Span)]
        return tuple(sorted((part.label, normalise(row.text[part.start : part.end])) for part in spans))
    return row.target
