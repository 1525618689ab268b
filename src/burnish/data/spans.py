"""Values of a column -> spans of a text, each checked; what is mended is counted, what cannot be is refused.

    {"start": 0, "end": 5, "label": "PER"}    the usual; also start_offset, end_offset, type, entity, tag
    [0, 5, "PER"]                             doccano, spaCy

Places are characters of the text (code points), the end excluded. Where a span also says what it covers, that is
searched near its place: annotation tools written in JavaScript count an emoji as two.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from burnish.core import Span
from burnish.data.kind import label_of, number_of
from burnish.errors import DataError, problem
from burnish.words import say

__all__ = ["Faults", "is_span", "parts_of_spans", "placed", "shown_span", "spans_in", "trimmed"]

STARTS = ("start", "start_offset", "start_char", "begin", "answer_start")
ENDS = ("end", "end_offset", "end_char", "stop")
LABELS = ("label", "type", "entity", "tag", "entity_type", "entity_group", "labels")
MENTIONS = ("text", "word", "mention", "surface")
NEAR = 10  # characters on either side in which a text that is not at its place is searched
SHOWN = 5


@dataclass
class Faults:
    """What one source's spans have wrong with them. `mended`: kind -> places; `refused`: what cannot be used."""

    source: str
    mended: dict[str, list[str]] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)  # (hint, where and what)

    def mend(self, kind: str, where: str) -> None:
        self.mended.setdefault(kind, []).append(where)

    def refuse(self, where: str, what: str, hint: str) -> None:
        self.refused.append((hint, f"{where}: {what}"))

    def settle(self, expected: str) -> dict[str, dict[str, Any]]:
        """{kind: {"count", "places"}} of what was mended. Raises DataError for what could not be."""
        if not self.refused:
            return {kind: {"count": len(at), "places": at[:SHOWN]} for kind, at in self.mended.items()}
        shown = "; ".join(what for _, what in self.refused[:SHOWN])
        more = say(" and {count} more", count=len(self.refused) - SHOWN) if len(self.refused) > SHOWN else ""
        given = say("{source}, {shown}{more}", source=self.source, shown=shown, more=more)
        raise DataError(problem(given, expected, self.refused[0][0]))


def is_span(part: Any) -> bool:
    """Whether one part of a list has the form of a span."""
    if isinstance(part, Mapping):
        return _first(part, STARTS) is not None and _first(part, ENDS) is not None
    is_triple = isinstance(part, list | tuple) and len(part) == 3
    return is_triple and _whole(part[0]) is not None and _whole(part[1]) is not None and not isinstance(part[0], str)


def parts_of_spans(value: Any) -> list[Any] | None:
    """The parts of one value: a list, {"entities": a list}, or either as JSON text, as CSV files hold it."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if isinstance(value, Mapping) and isinstance(value.get("entities"), list):
        value = value["entities"]
    return list(value) if isinstance(value, list | tuple) else None


def spans_in(value: Any, text: str, where: str, faults: Faults) -> tuple[Span, ...]:
    """The spans of one row, sorted; what is wrong with them goes to `faults`."""
    parts = parts_of_spans(value)
    if parts is None:
        faults.refuse(where, say("{value!r} is no list of spans", value=value), _form())
        return ()
    read = [_one(part, text, where, faults) for part in parts]
    whole = [trimmed(span, text, where, faults) for span in read if span is not None]
    return _apart([span for span in whole if span is not None], text, where, faults)


def _one(part: Any, text: str, where: str, faults: Faults) -> Span | None:
    if not is_span(part):
        faults.refuse(where, say("{value!r} is no span", value=part), _form())
        return None
    if isinstance(part, Mapping):
        start, end, label = _first(part, STARTS), _first(part, ENDS), _first(part, LABELS)
        mention = _first(part, MENTIONS)
    else:
        (start, end, label), mention = part, None
    low, high = _whole(start), _whole(end)
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    if low is None or high is None or label is None or isinstance(label, list) or not label_of(label):
        faults.refuse(where, say("{value!r} lacks a whole number or a label", value=part), _form())
        return None
    if isinstance(mention, str) and mention.strip() and text[low:high].strip() != mention.strip():
        found = placed(text, mention, low)
        if found is None:
            what = say("'{mention}' does not stand at {start}..{end}", mention=mention, start=low, end=high)
            faults.refuse(where, what, _counting())
            return None
        faults.mend("moved", say("{where}: '{mention}'", where=where, mention=mention))
        low, high = found, found + len(mention)
    return Span(low, high, label_of(label))


def trimmed(span: Span, text: str, where: str, faults: Faults) -> Span | None:
    """The span without blanks at its ends; None, and a fault, where nothing is left or it leaves the text."""
    if not 0 <= span.start <= span.end <= len(text):
        what = say("{span} leaves the text, which has {count} characters", span=shown_span(span), count=len(text))
        faults.refuse(where, what, _counting())
        return None
    covered = text[span.start : span.end]
    if not covered.strip():
        hint = say("remove the span, or give it the characters it stands for")
        faults.refuse(where, say("{span} covers nothing", span=shown_span(span)), hint)
        return None
    if covered == covered.strip():
        return span
    faults.mend("trimmed", say("{where}: '{text}'", where=where, text=covered))
    start = span.start + len(covered) - len(covered.lstrip())
    return Span(start, start + len(covered.strip()), span.label)


def _apart(spans: Sequence[Span], text: str, where: str, faults: Faults) -> tuple[Span, ...]:
    """Sorted, each once; a fault where two overlap."""
    ordered = sorted(set(spans), key=lambda span: (span.start, span.end, span.label))
    if len(ordered) < len(spans):
        faults.mend("repeated", where)
    for a, b in pairwise(ordered):
        if b.start < a.end:
            pair = [f"{shown_span(s)} '{text[s.start : s.end]}'" for s in (a, b)]
            what = say("{a} overlaps {b}", a=pair[0], b=pair[1])
            faults.refuse(where, what, say("keep one of the two; a word can have one label only"))
    return tuple(ordered)


def placed(text: str, mention: str, start: int) -> int | None:
    """Where `mention` stands: at `start`, where that is if UTF-16 units were counted, or else near; None if nowhere."""
    if start < 0:
        return None
    units = text.encode("utf-16-le", "surrogatepass")[: 2 * start].decode("utf-16-le", "ignore")
    for guess in (start, len(units)):
        if text.startswith(mention, guess):
            return guess
    low = max(0, start - NEAR)
    near = [i for i in range(low, start + NEAR + 1) if text.startswith(mention, i)]
    return min(near, key=lambda i: (abs(i - start), i), default=None)


def shown_span(span: Span) -> str:
    return f"{span.start}..{span.end} {span.label}".rstrip()


def _first(part: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((part[name] for name in names if part.get(name) is not None), None)


def _whole(value: Any) -> int | None:
    number = None if isinstance(value, bool) else number_of(value)
    return int(number) if number is not None and number.is_integer() else None


def _form() -> str:
    return say("{example}", example='[{"start": 0, "end": 5, "label": "person"}, ...]')


def _counting() -> str:
    return say("count characters (code points) from 0, the end excluded; not bytes, and not UTF-16 units as JavaScript")
