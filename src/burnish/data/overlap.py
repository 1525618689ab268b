"""Rows that say the same: exact and near duplicates inside and across splits, and texts with two labels."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from burnish.core import Row
from burnish.data.split import Splits, group_key
from burnish.data.text import near_duplicates, normalise

__all__ = ["SIDES", "conflicts", "exact_overlap", "example", "near_overlap"]

SIDES = ("train", "valid", "test")
ACROSS = (("train", "valid"), ("train", "test"), ("valid", "test"))
EXAMPLES = 5
EACH = 3  # examples for each combination of sides
SHORTENED = 120  # characters of a text that an example shows


def example(row: Row, side: str) -> dict[str, Any]:
    """A row as reports show it: where it is, the start of its texts, its target."""
    target = list(row.target) if isinstance(row.target, tuple) else row.target
    return {
        "id": row.id,
        "split": side,
        "text": _short(row.text),
        "pair": None if row.pair is None else _short(row.pair),
        "target": target,
    }


def _short(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= SHORTENED else one_line[: SHORTENED - 1] + "…"


def exact_overlap(splits: Splits) -> dict[str, Any]:
    """Rows equal after normalising: `inside` counts all but the first, `across` those of the later side.

    {"inside": {"train": n, ...}, "across": {"train-test": n, ...}, "examples": [[row, row], ...]}
    """
    groups = {side: _grouped(getattr(splits, side)) for side in SIDES}
    inside = {side: sum(len(rows) - 1 for rows in found.values()) for side, found in groups.items()}
    across = {f"{a}-{b}": sum(len(rows) for key, rows in groups[b].items() if key in groups[a]) for a, b in ACROSS}
    crossing = [
        (groups[a][key][0], a, groups[b][key][0], b) for a, b in ACROSS for key in groups[b] if key in groups[a]
    ]
    same = [(rows[0], side, rows[1], side) for side in SIDES for rows in groups[side].values() if len(rows) > 1]
    return {"inside": inside, "across": across, "examples": _pairs([*crossing, *same])}


def _grouped(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[group_key(row)].append(row)
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
    earlier. Equal rows count as one text here, and each pair's two texts are compared as one.
    """
    first: dict[str, tuple[Row, str]] = {}
    copies: Counter[tuple[str, str]] = Counter()
    for side in SIDES:
        for row in getattr(splits, side):
            key = group_key(row)
            first.setdefault(key, (row, side))
            copies[key, side] += 1
    keys = list(first)
    texts = [f"{row.text} {row.pair or ''}" for row, _ in first.values()]
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
    lost = sum(len(rows) - max(Counter(row.target for row, _ in rows).values()) for rows, _ in found)
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
    return next(((a, b) for a, b in pairwise(rows) if a[0].target != b[0].target), None)
