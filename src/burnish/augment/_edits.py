"""The edit list: what a technique changes in a text, said in characters of the text as it was.

    edits(row) ──► [Edit(12, 17, "great")] ──apply──► new text
                              └──────────────carried──► the row's spans, where they now stand

A technique never returns a new text, so that everything that must hold for all of them holds here, once: labelled
spans move along, what is protected stays, and whoever asks is shown what was changed.
"""

import bisect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from burnish.core import Row, Span

__all__ = ["Edit", "apply", "carried", "clear_of", "marked", "moved", "protected"]


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Put `text` in place of characters `start`..`end` (excluded); an insertion where they are equal."""

    start: int
    end: int
    text: str
    why: str = ""  # what was done, such as "synonym"


Range = tuple[int, int]

# What carries meaning that no word-level change may touch: links, addresses, numbers with their signs and units,
# placeholders, user names and hash tags.
FIXED = re.compile(
    r"https?://\S+|www\.\S+|[\w.+-]+@[\w-]+\.[\w.-]+"
    r"|\{[^{}\s]*\}|<[^<>\s]*>|\[[A-Z_]+\]|__\w+__|%[sd]"
    r"|[@#]\w+"
    r"|[$€£¥+-]?\d+(?:[.,:：/-]\d+)*(?:%|[a-zA-Z]{1,3}\b)?"
)
# A text without any of these has nothing FIXED in it; to look for them takes a tenth of the time.
HINT = re.compile(r"[\d@#{<\[%_]|://|www\.")
# Without them a sentence says its opposite. For texts in lower case: ignoring case takes three times as long.
NEGATIONS = re.compile(
    r"\b(?:n(?:o(?:t|ne|body|thing|where|r)?|e(?:ver|ither))|without|cannot|hardly|barely|scarcely|lacks?|"
    r"fail(?:s|ed)?)\b|[不没无非未别勿莫甭]"
)
CONTRACTED = re.compile(r"\b\w*n['’]t\b")


def apply(text: str, edits: Sequence[Edit]) -> str:
    """`text` with the edits made. They must be sorted and must not overlap: ValueError otherwise."""
    parts, at = [], 0
    for edit in edits:
        if edit.start < at or edit.end < edit.start or edit.end > len(text):
            raise ValueError(f"edits must be sorted, apart and within the text, got {edits}")
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    parts.append(text[at:])
    return "".join(parts)


def moved(spans: Iterable[Span], edits: Sequence[Edit]) -> tuple[Span, ...]:
    """Where the spans stand after the edits; one that was deleted whole is gone.

    What is inserted at the border of a span stays outside it. Raises ValueError for an edit across a border, since
    nobody can say which of its characters belong to the span.
    """
    found = []
    for span in spans:
        before = within = 0
        for edit in edits:
            grown = len(edit.text) - (edit.end - edit.start)
            if edit.end <= span.start:
                before += grown
            elif edit.start >= span.end:
                break
            elif _inside(edit, span):
                within += grown
            else:
                raise ValueError(f"{edit} cuts {span}")
        start, end = span.start + before, span.end + before + within
        if end > start:
            found.append(Span(start, end, span.label))
    return tuple(found)


def _inside(edit: Edit, span: Span) -> bool:
    """Insertions must be strictly inside: at a border they are not the span's."""
    if edit.start == edit.end:
        return span.start < edit.start < span.end
    return span.start <= edit.start and edit.end <= span.end


def carried(row: Row, edits: Sequence[Edit]) -> tuple[str, object]:
    """The text and the target of `row` after the edits."""
    target = row.target
    if isinstance(target, tuple) and target and isinstance(target[0], Span):
        target = moved(target, edits)
    return apply(row.text, edits), target


def protected(row: Row, words: Iterable[str] = ()) -> list[Range]:
    """What of the row's text must stay, sorted and apart: its spans, what is FIXED or negates, `words`."""
    found = [m.span() for m in FIXED.finditer(row.text)] if HINT.search(row.text) else []
    lower = _lower(row.text)
    found += [m.span() for m in NEGATIONS.finditer(lower)]
    if "n't" in lower or "n’t" in lower:
        found += [m.span() for m in CONTRACTED.finditer(lower)]
    if words:
        found += [(m.start(), m.end()) for m in _any_of(tuple(words)).finditer(row.text)]
    if isinstance(row.target, tuple):
        found += [(span.start, span.end) for span in row.target if isinstance(span, Span)]
    return _joined(sorted(found))


def _lower(text: str) -> str:
    """In lower case, each character at its place: a few, such as İ, would become two."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


@lru_cache(maxsize=32)
def _any_of(words: tuple[str, ...]) -> re.Pattern[str]:
    """Whole words, in any case; Chinese ones anywhere, since nothing sets words apart there."""
    ordered = sorted(set(words), key=len, reverse=True)
    return re.compile("|".join(rf"(?<![A-Za-z0-9_]){re.escape(w)}(?![A-Za-z0-9_])" for w in ordered), re.IGNORECASE)


def _joined(ranges: Sequence[Range]) -> list[Range]:
    kept: list[Range] = []
    for start, end in ranges:
        if kept and start < kept[-1][1]:
            kept[-1] = (kept[-1][0], max(end, kept[-1][1]))
        else:
            kept.append((start, end))
    return kept


def clear_of(ranges: Sequence[Range], start: int, end: int) -> bool:
    """Whether characters `start`..`end`, or the point between two of them, lie outside all `ranges`."""
    if not ranges:
        return True
    i = bisect.bisect_right(ranges, (start, end)) - 1
    near = ranges[max(i, 0) : i + 2]
    if start == end:
        return not any(low < start < high for low, high in near)
    return not any(low < end and start < high for low, high in near)


def marked(text: str, edits: Sequence[Edit]) -> str:
    """The change as people read it: 'a [-good-]{+great+} film'."""
    parts, at = [], 0
    for edit in edits:
        parts.append(text[at : edit.start])
        if edit.end > edit.start:
            parts.append(f"[-{text[edit.start : edit.end]}-]")
        if edit.text:
            parts.append(f"{{+{edit.text}+}}")
        at = edit.end
    return "".join([*parts, text[at:]])
