"""Which column is the text, which the target, what task they ask for, and why.

What the user names is taken and checked. The rest is found by the columns' names first and by what is in them
second; where two columns fit equally well burnish asks instead of guessing.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.family import plain
from burnish.data.infer_spans import holds_spans, marked
from burnish.data.kind import (
    CLASSIFY,
    MULTI_LABEL,
    REGRESS,
    SEQUENCE,
    checked_kind,
    joined_by,
    kind_of,
    label_of,
    number_of,
    parts_of,
)
from burnish.data.names import NEVER_TARGETS, PAIR_NAMES, TARGET_NAMES, TEXT_NAMES, by_name
from burnish.data.table import Columns, Table, is_missing
from burnish.errors import DataError, UsageError, nearest, problem
from burnish.words import say

__all__ = ["Columns", "infer"]

LOOKED_AT = 1000  # rows from which a column's nature is judged
FEWEST_ROWS = 10  # below this there is nothing to split, let alone to measure


@dataclass(frozen=True)
class _Nature:
    """What a column holds, judged from its first rows."""

    words: float  # mean number of words; of characters halved where words are not set apart by blanks
    distinct: float  # share of values that are different from each other
    letters: float  # share of characters that are letters

    @property
    def is_text(self) -> bool:
        return self.words >= 2 and self.distinct >= 0.5 and self.letters >= 0.4


def infer(
    table: Table,
    *,
    text: str | None = None,
    pair: str | None = None,
    target: str | None = None,
    task: str | None = None,
) -> Columns:
    """Find the columns and the task of a table; names given are taken as they are.

    Raises UsageError for a column or task that is not there (the nearest name is offered) and where the user
    has to say which column is meant; DataError for too few rows, one class, or values unfit for the task.
    """
    table = plain(table)
    _check_given(table, {"--text": text, "--pair": pair, "--target": target})
    if len(table.rows) < FEWEST_ROWS:
        given = say("{source} has {count} rows", source=table.source, count=len(table.rows))
        expected = say("at least {count}, better some hundreds", count=FEWEST_ROWS)
        raise DataError(problem(given, expected, say("label more rows")))
    with_spans = marked(table, text=text, pair=pair, target=target, task=task)
    if with_spans:
        return with_spans
    natures = {column: _nature(table.values(column)[:LOOKED_AT]) for column in table.columns}
    text, pair, text_reasons = _find_texts(table, natures, text, pair, target)
    target, target_reason = _find_target(table, natures, target, (text, pair))
    _refuse_missing_header(table, target)
    kind, separator, kind_reason = _find_kind(table, target, task)
    _check_values(table, target, kind, separator)
    return Columns(text, pair, target, kind, (*text_reasons, target_reason, kind_reason), separator)


def _check_given(table: Table, given: dict[str, str | None]) -> None:
    named = {flag: name for flag, name in given.items() if name is not None}
    for flag, name in named.items():
        if name not in table.columns:
            close = nearest(name, table.columns)
            hint = f"{flag} {close}" if close else say("head '{source}'", source=table.source)
            raise UsageError(
                problem(
                    say("column '{name}' is not in {source}", name=name, source=table.source),
                    say("one of: {columns}", columns=", ".join(table.columns)),
                    hint,
                )
            )
    for (flag, name), (other, same) in itertools.combinations(named.items(), 2):
        if name == same:
            given_twice = say("column '{name}' is given for {flag} and for {other}", name=name, flag=flag, other=other)
            raise UsageError(problem(given_twice, say("a column of its own for each"), say("leave one of them out")))


def _nature(values: Sequence[Any]) -> _Nature:
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    if not texts or len(texts) < len(values) / 2:
        return _Nature(0, 0, 0)
    whole = "".join(texts)
    wide = sum(character > "\u2e80" for character in whole)  # Han, kana, hangul: two characters make about a word
    words = (sum(len(text.split()) for text in texts) + wide / 2) / len(texts)
    return _Nature(words, len(set(texts)) / len(texts), sum(map(str.isalpha, whole)) / len(whole))


def _find_texts(
    table: Table, natures: dict[str, _Nature], text: str | None, pair: str | None, target: str | None
) -> tuple[str, str | None, list[str]]:
    """(text, pair, reasons)."""
    free = [column for column in table.columns if column not in (target, pair)]
    if pair is None and text is None:
        both = _find_pair(free, natures)
        if both:
            return both
    reasons = [say("pair: '{pair}', as given", pair=pair)] if pair else []
    if text is not None:
        return text, pair, [say("text: '{text}', as given", text=text), *reasons]
    named = by_name(free, TEXT_NAMES)
    if named:
        return named, pair, [say("text: '{text}', by its name", text=named), *reasons]
    likely = max(free, key=lambda column: natures[column].words, default=None)
    if likely and natures[likely].is_text:
        why = say("text: '{text}', with about {words} words a row", text=likely, words=round(natures[likely].words))
        return likely, pair, [why, *reasons]
    return _only_one_left(table, free), pair, [say("text: the only column left"), *reasons]


def _find_pair(free: Sequence[str], natures: dict[str, _Nature]) -> tuple[str, str, list[str]] | None:
    """Two columns with the names of a pair, or exactly two of sentences where no name tells the text."""
    known = _known_pair(free)
    if known:
        return *known, [
            say("texts: the pair '{a}' and '{b}', by their names; --text to use one", a=known[0], b=known[1])
        ]
    likely = [column for column in free if natures[column].is_text]
    if by_name(free, TEXT_NAMES) or len(likely) != 2 or min(natures[column].words for column in likely) < 4:
        return None
    a, b = likely
    return a, b, [say("texts: the pair '{a}' and '{b}', since both hold sentences; --text to use one", a=a, b=b)]


def _only_one_left(table: Table, free: list[str]) -> str:
    target = by_name(free, TARGET_NAMES)
    left = [column for column in free if column != target]
    if len(left) == 1 and (target or len(free) < len(table.columns)):
        return left[0]
    raise UsageError(
        problem(
            say("no column of {source} looks like text", source=table.source),
            say("one of: {columns}", columns=", ".join(table.columns)),
            f"--text {left[0] if left else table.columns[0]}",
        )
    )


def _known_pair(columns: Sequence[str]) -> tuple[str, str] | None:
    lowered = {column.lower(): column for column in columns}
    return next(((lowered[a], lowered[b]) for a, b in PAIR_NAMES if a in lowered and b in lowered), None)


def _find_target(
    table: Table, natures: dict[str, _Nature], target: str | None, texts: tuple[str, str | None]
) -> tuple[str, str]:
    """(target, reason)."""
    if target is not None:
        return target, say("target: '{target}', as given", target=target)
    free = [column for column in table.columns if column not in texts]
    named = by_name(free, TARGET_NAMES)
    if named:
        return named, say("target: '{target}', by its name", target=named)
    likely = [column for column in free if _may_be_target(table, column, natures[column])]
    if len(likely) == 1:
        return likely[0], say("target: '{target}', the only column that could be one", target=likely[0])
    known = likely or free or list(table.columns)
    given = say("{source} has no column that is clearly the target", source=table.source)
    if likely:
        given = say("{source} has several columns that could be the target", source=table.source)
    raise UsageError(problem(given, say("one of: {columns}", columns=", ".join(known)), f"--target {known[-1]}"))


def _may_be_target(table: Table, column: str, nature: _Nature) -> bool:
    values = [value for value in table.values(column) if not is_missing(value)]
    if nature.is_text or not values or column.lower() in NEVER_TARGETS:
        return False
    if any(isinstance(value, list) for value in values):
        return True
    different = {str(value) for value in values}
    numbers = [number_of(value) for value in values]
    if None not in numbers:
        fractions = any(number % 1 for number in numbers if number is not None)
        return fractions or len(different) < len(values)  # all different and whole: a row number
    return 2 * len(different) <= len(values)


def _refuse_missing_header(table: Table, target: str) -> None:
    """A first line that is a row would silently become column names, and be lost."""
    values = [str(value).strip() for value in table.values(target)]
    if table.lines and values.count(target) > 1 and 2 * len(set(values)) <= len(values):
        given = say(
            "the first line of {source} looks like a row: '{target}' is a label",
            source=table.source,
            target=target,
        )
        hint = say("add a first line such as: text,label")
        raise DataError(problem(given, say("a line of column names, then rows"), hint))


def _find_kind(table: Table, target: str, task: str | None) -> tuple[str, str | None, str]:
    """(kind, separator, reason)."""
    values = table.values(target)
    if task is None:
        kind, separator, why = kind_of(values)
        reason = say("task: {kind}, since '{target}' {why}", kind=kind, target=target, why=why)
        return kind, separator, reason
    texts = [value for value in values if isinstance(value, str)]
    separator = joined_by(texts, ("|", ";", ",")) if task == MULTI_LABEL else None
    return checked_kind(task), separator, say("task: {kind}, as given", kind=task)


def _check_values(table: Table, target: str, kind: str, separator: str | None) -> None:
    """Raises DataError when the values cannot be what the task needs: numbers, or two classes and more."""
    values = [(i, value) for i, value in enumerate(table.values(target)) if not is_missing(value)]
    if not values:
        given = say("column '{target}' of {source} is empty", target=target, source=table.source)
        raise DataError(problem(given, say("a target in every row"), say("--target with another column")))
    if kind == REGRESS:
        odd = [f"{table.where(i)}: {value!r}" for i, value in values if number_of(value) is None]
        if odd:
            given = say("'{target}' has values that are not numbers ({odd})", target=target, odd="; ".join(odd[:3]))
            raise DataError(problem(given, say("a number in every row, with a decimal point"), f"--task {CLASSIFY}"))
        different = {str(number_of(value)) for _, value in values}
    elif kind == MULTI_LABEL:
        if holds_spans([value for _, value in values]):
            given = say("'{target}' holds spans", target=target)
            raise DataError(problem(given, say("lists of labels"), f"--task {SEQUENCE}"))
        different = {part for _, value in values for part in parts_of(value, separator)}
    else:
        different = _labels(table, target, [value for _, value in values])
    if len(different) < 2:
        only = next(iter(different), say("nothing"))
        given = say("every row of '{target}' is '{only}'", target=target, only=only)
        raise DataError(problem(given, say("at least two different values"), say("add rows of another class")))


def _labels(table: Table, target: str, values: list[Any]) -> set[str]:
    if any(isinstance(value, list | tuple | dict) for value in values):
        given = say("'{target}' holds lists", target=target)
        raise DataError(problem(given, say("one label a row"), f"--task {MULTI_LABEL}"))
    different = {label_of(value) for value in values}
    if 2 * len(different) > len(values):
        given = say(
            "'{target}' has {count} different values in {rows} rows",
            target=target,
            count=len(different),
            rows=len(values),
        )
        others = [column for column in table.columns if column != target]
        hint = say("--target with another of: {others}", others=", ".join(others))
        raise DataError(problem(given, say("labels, each with two rows or more"), hint))
    return different
