"""New rows made a batch at a time: whole new texts, and edits that a model proposes for many rows at once.

    tries ──chunk──► [Try] ──make──► [Offer] ──in the order of the tries──► Admission
                       │
    whole texts:  hide ▼ "__PER0__ lives in __LOC1__" ──rewrite──► "in __LOC1__ lives __PER0__" ──shown──► spans again

Each try has a generator of its own, and what a row becomes depends on that alone: on no other row of its batch. A
rewritten text has no edit list, so what must come through whole, labelled spans above all, travels as a mark. A row
whose mark is lost is left out, and counted.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice, takewhile
from typing import Any

from burnish.augment._edits import FIXED, Edit, carried
from burnish.augment._rows import Admission, Made, Wishes, check, originals, own_rng, tries
from burnish.core import Rng, Row, Span, Work
from burnish.words import say

__all__ = ["Hidden", "Offer", "Try", "grown_in_batches", "hide", "offers_of_edits", "offers_of_texts", "shown"]

# Tries handed over at once: enough to sort them by length, few enough that little is made for nothing at the end.
CHUNK, FEWEST = 512, 8


@dataclass(frozen=True)
class Try:
    """One attempt: `row.text` is what is changed of `origin`; in half of the tries of a pair, its other side."""

    origin: Row
    row: Row
    rng: Rng

    def made(self, text: str, target: Any) -> Made:
        return (text, self.origin.pair, target) if self.row is self.origin else (self.origin.text, text, target)


@dataclass(frozen=True)
class Offer:
    """What came of a try: a child, or the reason why there is none."""

    made: Made = None
    reason: str = ""


Make = Callable[[Sequence[Try]], Sequence[Offer]]
Rewrite = Callable[[Sequence[str], Sequence[Try]], Sequence[str | None]]


def grown_in_batches(work: Work, wishes: Wishes, make: Make, name: str, rng: Rng, *, again: bool = True) -> Work:
    """`work` with `ratio` times as many new rows, made by `make`; the counterpart of `_rows.grown`.

    Notes are those of `Admission`, and "left_out": {reason: tries}. Without `again` every row is tried once, since
    trying it again would give the same.
    """
    check(wishes)
    key = f"{rng.getrandbits(64):016x}"
    rows = originals(work.train)
    admission = Admission(work, round(wishes.ratio * len(rows)))
    for chunk in _chunks(rows, wishes, key, admission, again):
        for one, offer in zip(chunk, make(chunk), strict=True):
            if admission.full:
                break
            if offer.reason:
                admission.short[offer.reason] += 1
            else:
                admission.offer(one.origin, offer.made, name, wishes)
    if not again and not admission.full:
        admission.short[say("a row gives one new row only")] += admission.asked - len(admission.new)
    made = admission.work(name)
    return replace(made, notes={**made.notes, "left_out": dict(admission.short)})


def _chunks(rows: Sequence[Row], wishes: Wishes, key: str, admission: Admission, again: bool) -> Iterator[list[Try]]:
    pairs = tries(rows, wishes.ratio, key)
    if not again:
        pairs = takewhile(lambda pair: pair[1] == 0, pairs)
    while not admission.full:
        wanted = max(FEWEST, min(CHUNK, admission.asked - len(admission.new)))
        chunk = [_one(row, own_rng(key, row, copy)) for row, copy in islice(pairs, wanted)]
        if not chunk:
            return
        yield chunk


def _one(row: Row, rng: Rng) -> Try:
    """Of a pair one side is changed, drawn anew for each copy; spans are those of the text, which then is the side."""
    if row.pair is not None and not _spans(row) and rng.random() < 0.5:
        return Try(row, replace(row, text=row.pair), rng)
    return Try(row, row, rng)


def offers_of_edits(batch: Sequence[Try], edits: Sequence[Sequence[Edit]]) -> list[Offer]:
    """Children of a batch by the edits that a model proposed for each."""
    return [Offer(one.made(*carried(one.row, made)) if made else None) for one, made in zip(batch, edits, strict=True)]


def offers_of_texts(batch: Sequence[Try], rewrite: Rewrite, *, fixed: bool, why: str = "") -> list[Offer]:
    """Children of a batch by whole new texts, with the spans (and, with `fixed`, numbers and links) carried as marks.

    `rewrite` gives None for a text that it cannot do, such as one too long for its model; `why` is then the reason.
    """
    hidden = [hide(one.row, fixed) for one in batch]
    texts = rewrite([h.text for h in hidden], batch)
    return [_offer(*parts, why or say("not rewritten")) for parts in zip(batch, hidden, texts, strict=True)]


def _offer(one: Try, hidden: "Hidden", text: str | None, why: str) -> Offer:
    if text is None:
        return Offer(reason=why)
    if _plain(text) == _plain(hidden.text):
        return Offer(reason=say("unchanged"))
    found = shown(text.strip(), hidden)
    return Offer(one.made(*found)) if found else Offer(reason=say("a mark was lost"))


def _plain(text: str) -> list[str]:
    """Case, spaces and the mark at the end make no new text."""
    return text.casefold().rstrip(" .!?。！？").split()


# -- marks -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """What a mark stands for: a stretch of the text, and the spans in it, counted from its start."""

    mark: str
    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Hidden:
    """A text with marks in place of what must come through, and what each stands for."""

    text: str
    kept: tuple[Kept, ...]
    target: Any


def hide(row: Row, fixed: bool) -> Hidden:
    """The row's text with a mark for each labelled span, and with `fixed` for each number, link and placeholder.

    Overlapping spans share a mark.
    """
    spans = _spans(row)
    stretches = [(span.start, span.end) for span in spans]
    if fixed:
        stretches += [m.span() for m in FIXED.finditer(row.text)]
    parts, kept, at, numbers = [], [], 0, count()
    for start, end in _merged(sorted(stretches)):
        inside = tuple(
            Span(s.start - start, s.end - start, s.label) for s in spans if start <= s.start and s.end <= end
        )
        mark = _mark(inside, row.text, numbers)
        kept.append(Kept(mark, row.text[start:end], inside))
        parts += [row.text[at:start], mark]
        at = end
    return Hidden("".join([*parts, row.text[at:]]), tuple(kept), row.target)


def shown(text: str, hidden: Hidden) -> tuple[str, Any] | None:
    """The text with what the marks stand for, and the target; None unless every mark stands in it just once."""
    places = []
    for kept in hidden.kept:
        # Translators set marks apart, and lower their letters.
        found = list(re.finditer(rf"_{{1,2}}\s?{kept.mark.strip('_')}\s?_{{1,2}}", text, re.IGNORECASE))
        if len(found) != 1:
            return None
        places.append((found[0].start(), found[0].end(), kept))
    parts, spans, at, length = [], [], 0, 0
    for start, end, kept in sorted(places, key=lambda place: place[0]):
        before = text[at:start]
        length += len(before)
        spans += [Span(length + s.start, length + s.end, s.label) for s in kept.spans]
        parts += [before, kept.text]
        length += len(kept.text)
        at = end
    target = tuple(sorted(spans, key=lambda s: (s.start, s.end))) if spans else hidden.target
    return "".join([*parts, text[at:]]), target


def _spans(row: Row) -> list[Span]:
    return [part for part in row.target if isinstance(part, Span)] if isinstance(row.target, tuple) else []


def _merged(stretches: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for start, end in stretches:
        if kept and start < kept[-1][1]:
            kept[-1] = (kept[-1][0], max(end, kept[-1][1]))
        else:
            kept.append((start, end))
    return kept


def _mark(spans: Sequence[Span], text: str, numbers: Iterator[int]) -> str:
    """`__PER0__`: of the forms tried, the one that came through a small translation model unharmed every time."""
    label = re.sub(r"[^A-Z]", "", spans[0].label.upper())[:6] if spans else ""
    return next(m for m in (f"__{label or 'X'}{n}__" for n in numbers) if m not in text)
