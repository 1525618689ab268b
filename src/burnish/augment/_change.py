"""A new row beside the one it was made from: what differs between the two, for filters and for people.

old text, new text ──edits_between──► [Edit(6, 13, "neighbourhood")]     also where no edits were kept
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from burnish.augment._edits import Edit, marked
from burnish.core import Row, Span

__all__ = ["Change", "edits_between", "shown", "words_of"]

HAN = "㐀-䶿一-鿿"
# Words with their apostrophes, single Chinese characters, single marks.
WORD = re.compile(rf"[^\W_{HAN}]+(?:['’][^\W_{HAN}]+)*|[{HAN}]|[^\w\s]|_+")
PIECE = re.compile(rf"\s+|{WORD.pattern}")
LETTER = re.compile(r"[^\W_]")


@dataclass(frozen=True)
class Change:
    """The side that changed, before and after; labelled spans are cut out of both, for they are not language."""

    parent: Row
    child: Row
    old: str
    new: str

    @classmethod
    def of(cls, parent: Row, child: Row) -> "Change":
        if parent.pair == child.pair:
            return cls(parent, child, _outside(parent), _outside(child))
        if parent.text == child.text:
            return cls(parent, child, parent.pair or "", child.pair or "")
        both = [f"{_outside(row)}\n{row.pair or ''}" for row in (parent, child)]
        return cls(parent, child, both[0], both[1])


def _outside(row: Row) -> str:
    spans = [part for part in row.target if isinstance(part, Span)] if isinstance(row.target, tuple) else []
    parts, at = [], 0
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        parts.append(row.text[at : max(at, span.start)])
        at = max(at, span.end)
    return " ".join([*parts, row.text[at:]]) if spans else row.text


@lru_cache(maxsize=4096)
def words_of(text: str) -> tuple[str, ...]:
    """Words, Chinese characters and marks in their order, case folded."""
    return tuple(WORD.findall(text.casefold()))


def lost_and_won(old: str, new: str) -> tuple[Counter[str], Counter[str]]:
    """Words that only one of the two has, with how many more it has of them; marks are left out."""
    before, after = (Counter(word for word in words_of(text) if LETTER.match(word)) for text in (old, new))
    return before - after, after - before


def edits_between(old: str, new: str) -> list[Edit]:
    """Edits that make `new` of `old`, word by word; `apply(old, them)` is `new`."""
    a, b = PIECE.findall(old), PIECE.findall(new)
    if "".join(a) != old or "".join(b) != new:  # an odd character between words: the whole text then
        return [Edit(0, len(old), new)] if old != new else []
    starts = [0]
    for piece in a:
        starts.append(starts[-1] + len(piece))
    matcher = SequenceMatcher(str.isspace, a, b, autojunk=False)
    return [
        Edit(starts[i1], starts[i2], "".join(b[j1:j2]))
        for tag, i1, i2, j1, j2 in matcher.get_opcodes()
        if tag != "equal"
    ]


def shown(parent: Row, child: Row) -> str:
    """The change as people read it; of a pair both sides."""
    sides: Sequence[tuple[str | None, str | None]] = ((parent.text, child.text), (parent.pair, child.pair))
    return " / ".join(marked(a, edits_between(a, b)) for a, b in sides if a is not None and b is not None)
