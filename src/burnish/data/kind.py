"""What kind of task the values of a target column ask for, and how one value becomes a target.

tags of tokens, spans                sequence-labelling    (see `infer_spans`)
answers in a context                 question-answering    (see `infer_spans`)
lists, or labels joined by | or ;    multi-label-classification
many different numbers               regression
anything else with few values        text-classification
"""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

from burnish.core import Row, Span
from burnish.data.table import is_missing
from burnish.errors import UsageError, nearest, problem
from burnish.words import say

__all__ = [
    "ANSWERS",
    "CLASSIFY",
    "KINDS",
    "MULTI_LABEL",
    "REGRESS",
    "SEQUENCE",
    "are_answers",
    "checked_kind",
    "kind_of",
    "label_of",
    "labels_of",
    "number_of",
]

# The names under which `burnish.tasks` knows them. Data and tasks share a floor and do not import each other;
# a test keeps the two lists equal.
CLASSIFY, MULTI_LABEL, REGRESS = "text-classification", "multi-label-classification", "regression"
SEQUENCE, ANSWERS = "sequence-labelling", "question-answering"
KINDS = (CLASSIFY, MULTI_LABEL, REGRESS, SEQUENCE, ANSWERS)

FEW_NUMBERS = 20  # up to so many different whole numbers are read as labels: stars, grades, class numbers
FEW_FRACTIONS = 10  # and so many different fractions
ROWS_A_CLASS = 5  # class numbers 0, 1, 2, ... of a larger set have at least so many rows each on average
LONGEST_LABEL = 60  # characters; a longer part of a joined value is prose


def checked_kind(task: str) -> str:
    """`task` itself. Raises UsageError, with the nearest name, when there is no such task."""
    if task in KINDS:
        return task
    close = nearest(task, KINDS)
    hint = f"--task {close}" if close else say("leave --task out and let burnish infer it")
    known = ", ".join(KINDS)
    raise UsageError(problem(say("there is no task '{task}'", task=task), say("one of: {known}", known=known), hint))


def kind_of(values: Sequence[Any]) -> tuple[str, str | None, str]:
    """(task, separator of joined labels or None, why) for the values of a target column, gaps aside."""
    given = [value for value in values if not is_missing(value)]
    if any(isinstance(value, list | tuple | set) for value in given):
        return MULTI_LABEL, None, say("holds lists of labels")
    separator = joined_by([value for value in given if isinstance(value, str)])
    if separator:
        return (
            MULTI_LABEL,
            separator,
            say("holds labels joined by '{separator}'", separator=separator),
        )
    numbers = [number_of(value) for value in given]
    whole = [number for number in numbers if number is not None]
    if given and len(whole) == len(given) and not any(isinstance(value, bool) for value in given):
        return _kind_of_numbers(whole)
    return (
        CLASSIFY,
        None,
        say("has {count} different values", count=len({label_of(value) for value in given})),
    )


def _kind_of_numbers(numbers: Sequence[float]) -> tuple[str, str | None, str]:
    different = set(numbers)
    count, change = len(different), say("give --task to have it otherwise")
    if any(number % 1 for number in different):
        if count > FEW_FRACTIONS:
            return (
                REGRESS,
                None,
                say("has {count} different numbers, with fractions; {change}", count=count, change=change),
            )
        return (
            CLASSIFY,
            None,
            say("has only {count} different numbers; {change}", count=count, change=change),
        )
    in_a_row = min(different) in (0, 1) and max(different) - min(different) + 1 == count
    if count <= FEW_NUMBERS or (in_a_row and len(numbers) >= ROWS_A_CLASS * count):
        return (
            CLASSIFY,
            None,
            say("has {count} different whole numbers; {change}", count=count, change=change),
        )
    return REGRESS, None, say("has {count} different whole numbers; {change}", count=count, change=change)


def joined_by(values: Sequence[str], separators: Sequence[str] = ("|", ";")) -> str | None:
    """The separator that joins labels in these values, or None.

    Careful on purpose: the parts must be few and short, and at least one of them must stand in two different
    combinations, else 'rock|pop' is just the name of one label.
    """
    for separator in separators:
        combined = {value for value in values if separator in value}
        parts = Counter(part for value in values for part in _parts(value, separator))
        if not combined or max(map(len, parts), default=0) > LONGEST_LABEL:
            continue
        inside = Counter(part for value in set(values) for part in set(_parts(value, separator)))
        shared = any(count > 1 for part, count in inside.items())
        often = sum(count > 1 for count in parts.values())
        if shared and often >= 2 / 3 * len(parts) and len(parts) <= max(10, len(values) / 5):
            return separator
    return None


def _parts(value: str, separator: str) -> list[str]:
    return [part.strip() for part in value.split(separator) if part.strip()]


def parts_of(value: Any, separator: str | None) -> tuple[str, ...]:
    """The labels of one multi-label value, sorted, each once."""
    if isinstance(value, list | tuple | set):
        return tuple(sorted({label_of(part) for part in value}))
    return tuple(sorted(set(_parts(str(value), separator) if separator else [label_of(value)])))


def label_of(value: Any) -> str:
    """A label as text: the numbers 1 and 1.0 are both '1'; text is only stripped."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def number_of(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool):
        return float(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def labels_of(targets: Sequence[Any]) -> tuple[str, ...]:
    """The labels in the order of a model's outputs, from parsed targets (text, or tuples of text or of spans).

    Answers have none. Numbers are ordered as numbers, text by the alphabet; but of two labels where one denies the
    other ('not_spam', 'spam'), the denial comes first, since the second of two labels counts as positive.
    """
    parts = chain.from_iterable(t if isinstance(t, tuple) else (t,) for t in targets)
    ordered = sorted({_name(part) for part in parts if not isinstance(part, Span) or part.label})
    if all(number_of(label) is not None for label in ordered):
        return tuple(sorted(ordered, key=lambda label: (float(label), label)))
    if len(ordered) == 2 and _denies(ordered[1], ordered[0]):
        ordered.reverse()
    return tuple(ordered)


def _name(part: Any) -> Any:
    return part.label if isinstance(part, Span) else part


def are_answers(rows: Sequence[Row]) -> bool:
    """Whether the spans of these rows answer the question that is their pair."""
    return any(row.pair is not None and isinstance(part, Span) for row in rows for part in _tuple(row.target))


def _tuple(target: Any) -> tuple[Any, ...]:
    return target if isinstance(target, tuple) else ()


def _denies(label: str, other: str) -> bool:
    """Whether `label` is 'not', 'non', 'no', 'in' or 'un' and then `other`."""
    plain, base = (text.casefold().replace("_", "").replace("-", "").replace(" ", "") for text in (label, other))
    return any(plain == before + base for before in ("not", "non", "no", "un", "in", "ir"))
