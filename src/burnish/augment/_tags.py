"""The BIO view of a row with spans: its text cut to words, each with a tag; and from the tags back to the spans.

    "in New York 了"  ──cut──►  in/O  New/B-LOC  York/I-LOC  了/O  ──joined──►  Span(3, 11, "LOC")

A word is what stands between spaces and punctuation marks, a mark by itself, or one Chinese or Japanese character. No
word crosses the border of a span, so tags and spans always say the same.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from burnish.augment._edits import clear_of, protected
from burnish.core import Row, Rows, Span
from burnish.errors import DataError, problem
from burnish.words import say

__all__ = [
    "OUTSIDE",
    "Word",
    "cut",
    "joined",
    "learned",
    "letter",
    "movable",
    "segments",
    "spans_of",
    "tagged",
    "tagged_rows",
]

OUTSIDE = "O"
HAN = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# All marks but the underscore, in ASCII, Latin-1, general, Chinese and full-width punctuation.
MARKS = (
    "!-/:-@\\[-^`{-~\u00a1-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u2010-\u2027\u2030-\u205e"
    "\u3001-\u3004\u3008-\u3020\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
LETTERS = f"[^\\s{HAN}{MARKS}]+"
WORD = re.compile(
    rf"(?P<clitic>['’](?:s|m|re|ve|ll|d|t)(?![^\s{HAN}{MARKS}]))|(?P<word>{LETTERS}(?:['’.&-]{LETTERS})*)"
    rf"|(?P<han>[{HAN}])|(?P<mark>[{MARKS}])",
    re.IGNORECASE,
)
LETTER = re.compile(f"[^\\s{HAN}{MARKS}]")

Kind = Literal["word", "clitic", "han", "mark"]


class Word(NamedTuple):
    """Characters `start`..`end` of a row's text. Words of one kind may stand in for each other: none grows together."""

    start: int
    end: int
    text: str
    kind: Kind
    tag: str = OUTSIDE


def tagged(row: Row) -> bool:
    """Whether the row is one of sequence labelling; one without entities looks like a row of no labels at all."""
    return row.pair is None and isinstance(row.target, tuple) and all(isinstance(span, Span) for span in row.target)


def tagged_rows(rows: Rows, name: str) -> list[Row]:
    """The rows of sequence labelling among those to learn from, each of them checked.

    Raises DataError when no row has a labelled span, or one of them is wrong.
    """
    found = [row for row in learned(rows) if tagged(row)]
    for row in found:
        spans_of(row)
    if not any(row.target for row in found):
        given = say("{name} was given {n} rows without labelled spans", name=name, n=len(rows))
        hint = say("leave {name} out, or give rows of sequence labelling", name=name)
        raise DataError(problem(given, say("rows whose entities are spans"), hint))
    return found


def learned(rows: Rows) -> list[Row]:
    """The rows to learn words and mentions from: those no augmentation made, and those that are only to be looked at.

    A row that is its own parent is one to look at: it is left out of `originals`, so no technique changes it.
    """
    return [row for row in rows if row.parent in ("", row.id)]


def spans_of(row: Row) -> list[Span]:
    """The row's spans in the order of the text.

    Raises DataError, naming the row, where one lies outside the text, covers no word, has no label though the row is
    one of sequence labelling, or overlaps another.
    """
    spans = sorted((s for s in _parts(row) if isinstance(s, Span)), key=lambda s: (s.start, s.end))
    last = None
    for span in spans:
        if not 0 <= span.start < span.end <= len(row.text):
            raise _wrong(row, span, say("lies outside the text"), f"0 <= start < end <= {len(row.text)}")
        if not row.text[span.start : span.end].strip():
            raise _wrong(row, span, say("covers nothing but spaces"), say("at least one character that is no space"))
        if not span.label and row.pair is None:
            raise _wrong(row, span, say("has no label"), say("the type of the entity, such as PER"))
        if last is not None and span.start < last.end and row.pair is None:
            raise _wrong(row, span, say("overlaps {other}", other=_place(last)), say("spans that stand apart"))
        last = span
    return spans


def _parts(row: Row) -> Iterable[object]:
    return row.target if isinstance(row.target, tuple) else ()


def _place(span: Span) -> str:
    return f"{span.start}..{span.end} {span.label}".rstrip()


def _wrong(row: Row, span: Span, what: str, expected: str) -> DataError:
    given = say("row {id}: span {place} {what}", id=row.id, place=_place(span), what=what)
    return DataError(problem(given, expected, say("mend row {id}, or leave it out", id=row.id)))


def cut(row: Row) -> list[Word]:
    """The row's text as words with tags. Raises DataError as `spans_of` does."""
    words: list[Word] = []
    at = 0
    for span in spans_of(row):
        words += _words(row.text, at, span.start)
        inside = _words(row.text, span.start, span.end)
        words += [w._replace(tag=f"{'I' if i else 'B'}-{span.label}") for i, w in enumerate(inside)]
        at = span.end
    return words + list(_words(row.text, at, len(row.text)))


def _words(text: str, start: int, end: int) -> list[Word]:
    found = WORD.finditer(text, start, end)
    return [Word(m.start(), m.end(), m.group(), m.lastgroup) for m in found]  # type: ignore[arg-type]


def joined(words: Sequence[Word], row_id: str) -> tuple[Span, ...]:
    """The spans that the tags of the words say. Raises DataError, naming the row, where tags are no BIO."""
    spans: list[Span] = []
    before = OUTSIDE
    for word in words:
        mark, _, label = word.tag.partition("-")
        if mark == "B" and label:
            spans.append(Span(word.start, word.end, label))
        elif mark == "I" and before[2:] == label and label:
            spans[-1] = replace(spans[-1], end=word.end)
        elif word.tag != OUTSIDE:
            raise _broken(word, before, row_id)
        before = word.tag
    return tuple(spans)


def _broken(word: Word, before: str, row_id: str) -> DataError:
    tag = word.tag
    given = say("row {id}: '{word}' is tagged {tag} after {before}", id=row_id, word=word.text, tag=tag, before=before)
    if not tag.startswith("I-"):
        return DataError(problem(given, say("O, B-TYPE or I-TYPE"), say("write the tags as BIO")))
    expected = say("{a} or {b} before {tag}", a="B-" + tag[2:], b=tag, tag=tag)
    return DataError(problem(given, expected, say("B-{label} where an entity begins", label=tag[2:])))


def segments(words: Sequence[Word]) -> Iterator[list[Word]]:
    """The words, apart by mention: each mention is a segment, and so is every stretch between two of them."""
    segment: list[Word] = []
    for word in words:
        if segment and (word.tag[0] == "B" or (word.tag == OUTSIDE) != (segment[-1].tag == OUTSIDE)):
            yield segment
            segment = []
        segment.append(word)
    if segment:
        yield segment


def movable(row: Row, words: Sequence[Word], keep: Sequence[str]) -> list[Word]:
    """Those of the words that another may stand in for, entities too: not protected, and no part of a longer word."""
    fixed = protected(replace(row, target=None), keep)
    clear = words if not fixed else [w for w in words if clear_of(fixed, w.start, w.end)]
    return [w for w in clear if not _part(row.text, w)]


def _part(text: str, word: Word) -> bool:
    """Whether it is part of what is written as one: #ParisAttacks with a span's border in it, or the bar of and/or."""
    if word.kind in ("han", "clitic"):
        return False
    before, after = letter(text, word.start - 1), letter(text, word.end)
    return before and after if word.kind == "mark" else before or after


def letter(text: str, at: int) -> bool:
    """Whether a letter or digit stands there, of a script that has words."""
    return 0 <= at < len(text) and LETTER.match(text, at) is not None
