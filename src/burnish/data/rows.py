"""A table whose columns are known -> rows: every value checked, what was mended counted, nothing left out."""

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.core import Row, Span
from burnish.data.answers import answers_in, pairs_of, says_yes
from burnish.data.family import adopted
from burnish.data.kind import ANSWERS, CLASSIFY, REGRESS, SEQUENCE, label_of, number_of, parts_of
from burnish.data.spans import Faults, spans_in, trimmed
from burnish.data.table import Columns, Table, is_missing
from burnish.data.tags import parsed, scheme_of, spans_of
from burnish.errors import DataError, nearest, problem
from burnish.words import say

__all__ = ["Mended", "all_mended", "notes_of", "rows_and_mended", "rows_of"]

SHOWN = 5

Mended = Mapping[str, Mapping[str, Any]]  # kind -> {"count": n, "places": the first few}


def rows_of(table: Table, columns: Columns, role: str = "data") -> list[Row]:
    """Every row of the table as a Row with id 'role:number'; none is left out.

    A text that is missing becomes "": such rows reach a served model too, so they stay in, and `check` counts
    them. A target that is missing cannot be learned or scored: DataError names the first lines.
    Raises DataError also when the table lacks one of the columns, has a target that is no number, tags or spans
    that fit no text, or an answer that does not stand where it is said to.
    """
    return rows_and_mended(table, columns, role)[0]


def rows_and_mended(table: Table, columns: Columns, role: str = "data") -> tuple[list[Row], Mended]:
    """As `rows_of`, with what had to be mended in the spans: {"tag breaks": {"count": 3, "places": [...]}, ...}."""
    _need_columns(table, columns)
    _need_targets(table, columns)
    faults = Faults(table.source)
    found: Sequence[tuple[str, Any]]
    if columns.kind == SEQUENCE:
        found = _labelled(table, columns, faults)
    elif columns.kind == ANSWERS:
        found = [_answered(table, i, columns, faults) for i in range(len(table.rows))]
    else:
        found = [(_text(table, i, columns.text), _target(table, i, columns)) for i in range(len(table.rows))]
    mended = faults.settle(_expected(columns.kind))
    pairs = [None if columns.pair is None else _text(table, i, columns.pair) for i in range(len(table.rows))]
    made = zip(found, pairs, strict=True)
    rows = [Row(f"{role}:{i}", text, pair, target) for i, ((text, target), pair) in enumerate(made)]
    return adopted(table, rows), mended


def _need_columns(table: Table, columns: Columns) -> None:
    for name in filter(None, (columns.text, columns.pair, columns.target)):
        if name not in table.columns:
            close = nearest(name, table.columns)
            given = say("{source} has no column '{name}'", source=table.source, name=name)
            expected = say("the columns of the training data; here: {columns}", columns=", ".join(table.columns))
            hint = say("rename '{close}' to '{name}'", close=close, name=name) if close else say("add the column")
            raise DataError(problem(given, expected, hint))


def _need_targets(table: Table, columns: Columns) -> None:
    values = enumerate(table.values(columns.target))
    gaps = [table.where(i) for i, value in values if is_missing(value) and not _is_impossible(table, i, columns)]
    if not gaps:
        return
    more = say(" and {count} more", count=len(gaps) - SHOWN) if len(gaps) > SHOWN else ""
    place = {"source": table.source, "target": columns.target, "first": ", ".join(gaps[:SHOWN]), "more": more}
    hint = say("fill them in, or remove those rows")
    if columns.kind == SEQUENCE:
        hint = say("write [] where a text has none, or remove those rows")
    elif columns.kind == ANSWERS:
        hint = say('write "answers": [] or "is_impossible": true where there is none, or remove those rows')
    given = say("{source} lacks '{target}' on {first}{more}", **place)
    raise DataError(problem(given, say("a target in every row"), hint))


def _text(table: Table, index: int, column: str) -> str:
    value = table.rows[index].get(column)
    return _whole("" if is_missing(value) else str(value), table, index)


def _whole(text: str, table: Table, index: int) -> str:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        where = table.where(index)
        given = say("{source}, {where}: half of a character (a lone surrogate)", source=table.source, where=where)
        raise DataError(problem(given, say("whole characters"), say("write that text again; an emoji was cut in two")))
    return text


def _target(table: Table, index: int, columns: Columns) -> str | float | tuple[str, ...]:
    value = table.rows[index][columns.target]
    if columns.kind == CLASSIFY:
        return label_of(value)
    if columns.kind != REGRESS:
        return parts_of(value, columns.separator)
    number = number_of(value)
    if number is None:
        where = table.where(index)
        given = say("{source}, {where}: '{value}' is not a number", source=table.source, where=where, value=value)
        raise DataError(problem(given, say("a finite number with a decimal point"), f"--task {CLASSIFY}"))
    return number


# Labels on words and spans

Marked = tuple[str, tuple[Span, ...]]


def _labelled(table: Table, columns: Columns, faults: Faults) -> list[Marked]:
    """Text and spans of each row: tags where the text is a list of tokens, else spans."""
    tagged = [row for row in table.rows if isinstance(row.get(columns.text), list)]
    scheme = scheme_of(_tags(row[columns.target]) for row in tagged)
    found: list[Marked] = []
    for i, row in enumerate(table.rows):
        if isinstance(row.get(columns.text), list):
            text, spans = _from_tags(table, i, columns, scheme, faults)
            found.append((_whole(text, table, i), spans))
        else:
            text = _text(table, i, columns.text)
            found.append((text, spans_in(row[columns.target], text, table.where(i), faults)))
    return found


def _tags(value: Any) -> list[str]:
    return [label_of(tag) for tag in value] if isinstance(value, list | tuple) else []


def _from_tags(table: Table, index: int, columns: Columns, scheme: str, faults: Faults) -> Marked:
    row, where = table.rows[index], table.where(index)
    tokens, tags = ["" if is_missing(t) else str(t) for t in row[columns.text]], _tags(row[columns.target])
    if len(tokens) != len(tags):
        counts = say("{tokens} tokens and {tags} tags", tokens=len(tokens), tags=len(tags))
        faults.refuse(where, counts, say("give each token of '{text}' its tag", text=columns.text))
        return "", ()
    strange = [tag for tag in tags if not parsed(tag)]
    if strange:
        faults.refuse(where, say("'{tag}' is no tag", tag=strange[0]), _tag_hint(strange[0], columns.target))
        return "", ()
    text, spans, breaks = spans_of(tokens, tags, scheme)
    for i in breaks:
        faults.mend("tag breaks", say("{where}: {tag} at '{token}'", where=where, tag=tags[i], token=tokens[i]))
    checked = [trimmed(span, text, where, faults) for span in spans]
    return text, tuple(span for span in checked if span is not None)


def _tag_hint(tag: str, column: str) -> str:
    if number_of(tag) is not None:
        return say(
            "replace the numbers of '{column}' by the names they stand for, such as names[i] for i in {column}; a set "
            "that `datasets` saved with save_to_disk brings its names along",
            column=column,
        )
    return say("where types have no B- or I- before them, write B- at each first token and I- at those after it")


# Answers to questions


def _is_impossible(table: Table, index: int, columns: Columns) -> bool:
    return columns.impossible is not None and says_yes(table.rows[index].get(columns.impossible))


def _answered(table: Table, index: int, columns: Columns, faults: Faults) -> Marked:
    """The context and its answers, none where the row says that there is none."""
    row, context = table.rows[index], _text(table, index, columns.text)
    question = " ".join(str(row.get(columns.pair or "")).split())[:80]
    where = say("{where}, '{question}'", where=table.where(index), question=question)
    if row.get("id") is not None:
        where = say("{where} (id {id})", where=where, id=row["id"])
    start = row.get(columns.start) if columns.start else None
    pairs = pairs_of(row[columns.target], None if is_missing(start) else start)
    if _is_impossible(table, index, columns):
        if pairs:
            faults.mend("impossible", where)
        return context, ()
    return context, answers_in(pairs, context, where, faults)


def _expected(kind: str) -> str:
    if kind == SEQUENCE:
        return say("a tag for each token, or spans inside their text that do not overlap")
    return say("answers that stand in their context, at their place")


# What was mended, in sentences

_NOTES = {
    "tag breaks": "{count} tags break their scheme and were read as the beginning of an entity ({places})",
    "trimmed": "{count} spans began or ended in blanks, which were taken off ({places})",
    "moved": "{count} spans were not at their place but near it, and were moved there ({places})",
    "repeated": "in {count} rows a span was there twice and counts once ({places})",
    "several places": "{count} answers without a place occur several times; each counts as right ({places})",
    "impossible": "{count} questions have answers and are marked as impossible; they count as such ({places})",
}


def notes_of(mended: Mended) -> list[str]:
    """A sentence for each kind, with the first places."""
    return [
        say(_NOTES[kind], count=found["count"], places="; ".join(found["places"][:2])) for kind, found in mended.items()
    ]


def all_mended(parts: Sequence[Mended]) -> dict[str, dict[str, Any]]:
    """What was mended in several sources, as one."""
    found: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(kind for part in parts for kind in part):
        have = [part[kind] for part in parts if kind in part]
        places = [place for one in have for place in one["places"]]
        found[kind] = {"count": sum(one["count"] for one in have), "places": places[:SHOWN]}
    return found
