"""What is in the rows and what is wrong with them, before an hour is spent on them.

What it does not know: whether a label is right (only that two rows contradict each other), and the language
of a text (it guesses, see `burnish.data.text`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from burnish.core import Row, Rows, Task
from burnish.data import facts, span_facts
from burnish.data.facts import smallest_difference
from burnish.data.findings import findings
from burnish.data.kind import ANSWERS, REGRESS, SEQUENCE
from burnish.data.overlap import SIDES, conflicts, exact_overlap, near_overlap
from burnish.data.split import Splits
from burnish.words import say

__all__ = ["check", "lines", "smallest_difference"]

SCHEMA_VERSION = 1
DISAGREE = 0.10  # share of rows on which two models are taken to differ, before there are two models

Lengths = Callable[[Rows], np.ndarray]


def check(
    splits: Splits,
    task: Task,
    *,
    lengths: Lengths | None = None,
    max_length: int | None = None,
    power: Callable[[int], float] | None = None,
    words: span_facts.Words | None = None,
    notes: Sequence[str] = (),
    mended: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All facts about the rows, and the findings drawn from them, as JSON.

    `lengths` counts tokens a row, special ones included and nothing cut, int [N]; `max_length` is what the
    model takes. `power` says how many points of drop so many rows can show (default: `smallest_difference`,
    and its like for correlations). `words` cuts a text as the task does; without it, nothing is said of labels that
    cut words. `notes` are sentences from reading and splitting, `mended` what `rows_and_mended` gave; both are
    repeated as findings.
    Keys: schema_version, task, rows, labels, balance, targets, entities, answers, mended, lengths, odd, duplicates,
    conflicts, scripts, languages, min_visible_drop, findings. Takes about two seconds for 10,000 sentences.
    """
    rows: list[Row] = [row for side in SIDES for row in getattr(splits, side)]
    labels, given = _labels(splits, task), _without_made(splits)
    found: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "task": task.name,
        "rows": {side: len(getattr(splits, side)) for side in SIDES},
        "labels": labels,
        "balance": _balance(labels),
        "targets": facts.spread_of_targets(splits) if task.name == REGRESS else None,
        "entities": span_facts.entity_facts(splits, words) if task.name == SEQUENCE else None,
        "answers": span_facts.answer_facts(splits, words) if task.name == ANSWERS else None,
        "mended": dict(mended or {}),
        "lengths": {
            "characters": facts.quantiles(facts.characters(rows)),
            "tokens": None if lengths is None else _tokens(lengths(rows), max_length),
        },
        "odd": facts.odd_texts(splits),
        "duplicates": {"exact": exact_overlap(given), "near": near_overlap(given)},
        "conflicts": conflicts(given),
        **facts.shares(rows),
        "min_visible_drop": _visible(splits, task, power),
    }
    return {**found, "findings": findings(found, (*notes, *splits.notes))}


def _labels(splits: Splits, task: Task) -> list[dict[str, Any]]:
    if task.name in (REGRESS, ANSWERS):
        return []
    return span_facts.entity_counts(splits) if task.name == SEQUENCE else facts.label_counts(splits)


def _without_made(splits: Splits) -> Splits:
    """Rows made by augmentation are meant to be like others."""
    sides = {side: tuple(row for row in getattr(splits, side) if not row.parent) for side in SIDES}
    return replace(splits, **sides)


def _balance(labels: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """{"largest", "largest_share", "smallest", "ratio"}; ratio is None where the rarest label has no row."""
    if not labels:
        return None
    ordered = sorted(labels, key=lambda count: float(count["share"]))
    smallest, largest = ordered[0], ordered[-1]
    ratio = largest["share"] / smallest["share"] if smallest["share"] else None
    return {
        "largest": largest["label"],
        "largest_share": largest["share"],
        "smallest": smallest["label"],
        "ratio": ratio,
    }


def _tokens(lengths_N: np.ndarray, max_length: int | None) -> dict[str, Any]:
    share = 0.0 if max_length is None else float((lengths_N > max_length).mean())
    return {**facts.quantiles(lengths_N), "max_length": max_length, "truncated_share": share}


def _visible(splits: Splits, task: Task, power: Callable[[int], float] | None) -> dict[str, Any]:
    """{"test": {"rows", "points", "assumes"}, "valid": ...} for the sides that have rows."""
    assumes = say("at 80 % power, if two models differ on {share:.0f} % of the rows", share=100 * DISAGREE)
    if task.name == REGRESS:
        assumes = say("at 80 % power, of two models that correlate about .7 with the targets and err alike")
        assumes = assumes if power is None else say("at 80 % power")
    elif task.name in (SEQUENCE, ANSWERS):
        assumes = say("of the rows that are answered wholly right, {assumes}", assumes=assumes)
    sides = {side: len(getattr(splits, side)) for side in ("valid", "test")}
    return {
        side: {"rows": rows, "points": round(_points(rows, task, power), 2), "assumes": assumes}
        for side, rows in sides.items()
        if rows
    }


def _points(rows: int, task: Task, power: Callable[[int], float] | None) -> float:
    if power is not None:
        return power(rows)
    if task.name == REGRESS:
        return 100 * facts.smallest_difference_in_correlation(rows)
    return 100 * smallest_difference(rows, DISAGREE)


def lines(found: Mapping[str, Any], examples: int = 2) -> list[str]:
    """The result of `check` for a terminal: facts in a few lines, then each finding with some examples."""
    return [
        *_summary(found),
        "",
        *(line for finding in found["findings"] for line in _finding_lines(finding, examples)),
    ]


def _summary(found: Mapping[str, Any]) -> list[str]:
    rows, lengths = found["rows"], found["lengths"]
    counts = ", ".join(f"{rows[side]:,} {side}" for side in SIDES)
    shown = [say("{task}, {total:,} rows: {counts}", task=found["task"], total=sum(rows.values()), counts=counts)]
    if found["labels"]:
        parts = ", ".join(f"{count['label']} {100 * count['share']:.1f} %" for count in found["labels"][:12])
        more = say(" and {count} more", count=len(found["labels"]) - 12) if len(found["labels"]) > 12 else ""
        shown.append(say("labels: {parts}{more}", parts=parts, more=more))
    shown += _span_lines(found)
    if found["targets"]:
        target = found["targets"]["train"]
        shown.append(say("targets: {min:g} to {max:g}, mean {mean:.2f}, spread {std:.2f}", **target))
    shown.append(_length_line(say("characters"), lengths["characters"]))
    if lengths["tokens"]:
        shown.append(_length_line(say("tokens"), lengths["tokens"]))
    languages = ", ".join(
        f"{name} {100 * share:.1f} %" for name, share in list(found["languages"].items())[:4] if share >= 0.001
    )
    shown.append(say("languages (a guess): {languages}", languages=languages))
    for side, visible in found["min_visible_drop"].items():
        rows_there, points = visible["rows"], visible["points"]
        text = say(
            "{rows:,} {side} rows can show a drop of {points:.1f} points",
            rows=rows_there,
            side=side,
            points=points,
        )
        shown.append(f"{text} ({visible['assumes']})")
    return shown


def _span_lines(found: Mapping[str, Any]) -> list[str]:
    rows = sum(found["rows"].values())
    if found["entities"]:
        total, without = (sum(found["entities"][key].values()) for key in ("entities", "rows_without"))
        return [
            say("{total:,} entities; {without:,} of {rows:,} rows have none", total=total, without=without, rows=rows)
        ]
    if found["answers"]:
        none = sum(found["answers"]["unanswerable"].values())
        counts = {"rows": rows, "contexts": found["answers"]["contexts"], "none": none}
        return [say("{rows:,} questions about {contexts:,} texts; {none:,} have no answer", **counts)]
    return []


def _length_line(unit: str, lengths: Mapping[str, Any]) -> str:
    text = say(
        "{unit} a row: half up to {p50:,}, 95 % up to {p95:,}, the longest {max:,}",
        unit=unit,
        **_picked(lengths),
    )
    if lengths.get("max_length"):
        cut = f"{100 * lengths['truncated_share']:.1f}"
        text += say("; {cut} % are cut at {limit:,}", cut=cut, limit=lengths["max_length"])
    return text


def _picked(lengths: Mapping[str, Any]) -> dict[str, int]:
    return {name: lengths[name] for name in ("p50", "p95", "max")}


def _finding_lines(finding: Mapping[str, Any], examples: int) -> list[str]:
    shown = [f"{say(finding['level']):<5} {finding['what']}"]
    shown += [f"      {finding['why']}"] if finding["why"] else []
    shown += [f"      {say('try:')} {finding['try']}"] if finding["try"] else []
    for found in finding["examples"][:examples]:
        for row in found if isinstance(found, list) else [found]:
            shown.append(f"        {_example_line(row)}")
    return shown


def _example_line(found: Mapping[str, Any] | str) -> str:
    """A row, or a sentence as it is."""
    if isinstance(found, str):
        return found
    pair = "" if found["pair"] is None else f" | {found['pair']}"
    return f"{found['split']} {found['id']} [{found['target']}] {found['text']}{pair}"
