"""Whether a table's labels stand on words, or answer questions; and in which columns, and why.

Tags and spans are known by their form, whatever the column is called; its name decides between several. Answers are
known by the columns beside them, and by standing in their context. Where a table could as well be meant for
classification burnish asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.answers import pairs_of
from burnish.data.kind import ANSWERS, CLASSIFY, SEQUENCE, label_of
from burnish.data.names import (
    ANSWER_NAMES,
    CONTEXT_NAMES,
    IMPOSSIBLE_NAMES,
    QUESTION_NAMES,
    SPAN_NAMES,
    START_NAMES,
    TARGET_NAMES,
    TEXT_NAMES,
    TOKEN_NAMES,
    by_name,
)
from burnish.data.spans import is_span, parts_of_spans
from burnish.data.table import Columns, Table, is_missing
from burnish.data.tags import parsed, scheme_of
from burnish.errors import DataError, UsageError, problem
from burnish.words import say

__all__ = ["holds_spans", "marked"]

LOOKED_AT = 1000  # rows from which a column's form is judged
MOST = 0.9  # of the rows have that form; the others are named when they are read
FOUND = 0.8  # of the answers without a place stand in their context
DIFFERENT = 20  # so many different answers at least, or they are labels such as yes and no


@dataclass(frozen=True)
class Given:
    """What the user said."""

    text: str | None
    pair: str | None
    target: str | None
    task: str | None


def marked(
    table: Table,
    *,
    text: str | None = None,
    pair: str | None = None,
    target: str | None = None,
    task: str | None = None,
) -> Columns | None:
    """The columns of a table of tags, spans or answers; None where it is none, or another task is asked for.

    Raises UsageError where such a task is asked for and the columns are not there, or where a column of labels stands
    beside; DataError where nothing is labelled.
    """
    if task not in (None, SEQUENCE, ANSWERS):
        return None
    given = Given(text, pair, target, task)
    found = (_answers(table, given) if task != SEQUENCE else None) or (
        _sequence(table, given) if task != ANSWERS else None
    )
    if found is None:
        if task is not None:
            raise _nothing(table, task)
        return None
    if task is None and target is None:
        _ask_beside_labels(table, found)
    _refuse_nothing_labelled(table, found)
    return found


def _looked_at(table: Table, column: str) -> list[Any]:
    return table.values(column)[:LOOKED_AT]


def _mostly(hits: Sequence[bool], share: float = MOST) -> bool:
    return bool(hits) and sum(hits) >= share * len(hits)


# Tags and spans


def _sequence(table: Table, given: Given) -> Columns | None:
    columns = [given.target] if given.target else [c for c in table.columns if c not in (given.text, given.pair)]
    fits = {c: fit for c in columns if (fit := _tokens_of(table, c, given) or _text_of(table, c, given))}
    target = by_name(list(fits), SPAN_NAMES) or next(iter(fits), None)
    if target is None:
        return None
    text, form = fits[target]
    named = say("as given") if given.target else say("by what is in it")
    reasons = (
        say("text: '{text}', {why}", text=text, why=say("as given") if given.text else say("beside its labels")),
        say("target: '{target}', {why}", target=target, why=named),
        say("task: {kind}, since '{target}' holds {form}", kind=SEQUENCE, target=target, form=form),
    )
    return Columns(text, None, target, SEQUENCE, reasons)


def _tokens_of(table: Table, tags: str, given: Given) -> tuple[str, str] | None:
    """(column of the tokens that these are the tags of, what they are)."""
    values = [value for value in _looked_at(table, tags) if value is not None]
    if not _mostly([isinstance(value, list) for value in values]):
        return None
    said = [[label_of(tag) for tag in value] for value in values if isinstance(value, list)]
    columns = [given.text] if given.text else [column for column in table.columns if column != tags]
    fitting = [column for column in columns if _are_tokens(table, column, tags)]
    tokens = given.text if fitting and given.text else by_name(fitting, TOKEN_NAMES)
    if tokens is None and len(fitting) == 1 and all(parsed(tag) for own in said for tag in own):
        tokens = fitting[0]
    return None if tokens is None else (tokens, say("a tag for each token ({scheme})", scheme=scheme_of(said)))


def _are_tokens(table: Table, column: str, tags: str) -> bool:
    """Whether it holds lists of texts, most of them as long as the tags: the others are named when they are read."""
    both = [(row.get(column), row[tags]) for row in table.rows[:LOOKED_AT] if isinstance(row.get(tags), list)]
    lists = [isinstance(a, list) and all(isinstance(token, str) or token is None for token in a) for a, _ in both]
    return _mostly(lists) and _mostly([isinstance(a, list) and len(a) == len(b) for a, b in both], 0.5)


def _text_of(table: Table, spans: str, given: Given) -> tuple[str, str] | None:
    """(column of the text that these are the spans of, what they are)."""
    if not holds_spans(_looked_at(table, spans)):
        return None
    columns = [c for c in table.columns if c not in (spans, given.pair) and _is_text(table, c)]
    text = given.text or by_name(columns, TEXT_NAMES) or max(columns, key=lambda c: _length(table, c), default=None)
    return None if text is None else (text, say("spans of the text"))


def holds_spans(values: Sequence[Any]) -> bool:
    """Whether these are lists of spans, most of them at least; empty lists alone are not."""
    lists = [parts_of_spans(value) for value in values if not is_missing(value)]
    parts = [part for found in lists if found for part in found]
    return _mostly([found is not None for found in lists]) and _mostly([is_span(part) for part in parts], 0.5)


def _is_text(table: Table, column: str) -> bool:
    return _mostly([isinstance(value, str) for value in _looked_at(table, column) if value is not None])


def _length(table: Table, column: str) -> int:
    return sum(len(value) for value in _looked_at(table, column) if isinstance(value, str))


# Answers


def _answers(table: Table, given: Given) -> Columns | None:
    free = [c for c in table.columns if c not in (given.target, given.pair, given.text)]
    question = given.pair or by_name(free, QUESTION_NAMES)
    context = given.text or by_name([c for c in free if c != question], CONTEXT_NAMES)
    target = given.target or by_name([c for c in free if c not in (question, context)], ANSWER_NAMES)
    if question is None or context is None or target is None:
        return None
    start = by_name([c for c in free if c not in (question, context, target)], START_NAMES)
    found = Columns(context, question, target, ANSWERS, (), None, start, by_name(free, IMPOSSIBLE_NAMES))
    form = _form_of_answers(table, found, sure=given.task == ANSWERS)
    if form is None:
        return None
    reasons = (
        say("text: '{text}', {why}", text=context, why=say("as given") if given.text else say("by its name")),
        say("pair: '{pair}', {why}", pair=question, why=say("as given") if given.pair else say("by its name")),
        say("target: '{target}', {why}", target=target, why=say("as given") if given.target else say("by its name")),
        say("task: {kind}, since '{target}' holds {form}", kind=ANSWERS, target=target, form=form),
    )
    return Columns(context, question, target, ANSWERS, reasons, None, start, found.impossible)


def _form_of_answers(table: Table, columns: Columns, *, sure: bool) -> str | None:
    """What the target holds, if answers; without places they must stand in the context, and be more than yes and no.

    `sure`: the user says that they are answers, so their form is enough.
    """
    rows = [row for row in table.rows[:LOOKED_AT] if not is_missing(row.get(columns.target))]
    starts = [row.get(columns.start) if columns.start else None for row in rows]
    pairs = [pairs_of(row[columns.target], None if is_missing(s) else s) for row, s in zip(rows, starts, strict=True)]
    contexts = [str(row.get(columns.text) or "") for row in rows]
    if not _mostly([own is not None for own in pairs]):
        return None
    placed = [(text, start) for own in pairs for text, start in own or () if start is not None]
    bare = [
        (text, context) for own, context in zip(pairs, contexts, strict=True) for text, at in own or () if at is None
    ]
    if len(placed) >= len(bare):
        return say("answers and where they begin") if placed or sure else None
    stands = _mostly([text.strip() in context for text, context in bare], FOUND)
    many = len({text.strip() for text, _ in bare}) >= min(DIFFERENT, len(bare) / 2)
    return say("answers that stand in the context") if sure or (stands and many) else None


# Refusals


def _nothing(table: Table, task: str) -> UsageError:
    columns = ", ".join(table.columns)
    given = say("{source} has no columns for {task}: {columns}", source=table.source, task=task, columns=columns)
    if task == SEQUENCE:
        expected = say("tokens and tags as long as they, or text and spans of it: [start, end, label]")
        return UsageError(problem(given, expected, "--text tokens --target tags"))
    expected = say('context, question, and answers: {{"text": ["Paris"], "answer_start": [17]}}')
    return UsageError(problem(given, expected, "--text context --pair question --target answers"))


def _ask_beside_labels(table: Table, found: Columns) -> None:
    """A column of labels beside the spans could be what is meant just as well."""
    taken = (found.text, found.pair, found.target, found.start, found.impossible)
    other = by_name([c for c in table.columns if c not in taken and _is_label(_looked_at(table, c))], TARGET_NAMES)
    if other:
        values = {"source": table.source, "target": found.target, "other": other}
        given = say("{source} has '{target}' and '{other}', which could both be the target", **values)
        expected = say("--task {kind} for the first, --task {other} for the second", kind=found.kind, other=CLASSIFY)
        raise UsageError(problem(given, expected, f"--task {found.kind}"))


def _is_label(values: Sequence[Any]) -> bool:
    """Whether a column holds few different values, as labels are."""
    there = [value for value in values if not is_missing(value)]
    if any(isinstance(value, list | tuple | dict) for value in there):
        return False
    return 1 < len({label_of(value) for value in there}) <= len(there) / 2


def _refuse_nothing_labelled(table: Table, found: Columns) -> None:
    values = [value for value in table.values(found.target) if not is_missing(value)]
    if found.kind == ANSWERS:
        if any(pairs_of(value) != [] for value in values):
            return
        given = say("no question of {source} has an answer", source=table.source)
        raise DataError(problem(given, say("answers for some of them"), say("label more questions")))
    if any(set(map(str, v)) - {"O"} if isinstance(v, list) and v and isinstance(v[0], str) else v for v in values):
        return
    given = say("nothing in '{target}' of {source} is labelled", target=found.target, source=table.source)
    raise DataError(problem(given, say("entities in some of the rows"), say("label more rows")))
