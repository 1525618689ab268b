"""How much of the training rows is made, and a warning where that is more than half.

New rows as a share r of the originals are r / (1 + r) of all: half at r = 1. More than that is allowed, and then a
model sees more of what a technique does than of what people write. Counted after filtering, over all and by label:
rare labels are where it happens unseen.
"""

from collections import Counter
from collections.abc import Iterable

from burnish.core import Row, Rows, Span
from burnish.words import say

__all__ = ["share_made", "shares_by_label", "too_many", "warnings_of"]

HALF = 0.5
NAMED = 5  # labels that a warning names


def share_made(rows: Rows) -> float:
    """Made rows as a share of all, 0..1."""
    return sum(1 for row in rows if row.parent) / max(len(rows), 1)


def shares_by_label(rows: Rows) -> dict[str, float]:
    """The same among the rows of each label; of rows with spans by what the spans are called; none for numbers."""
    whole: Counter[str] = Counter()
    made: Counter[str] = Counter()
    for row in rows:
        labels = sorted(set(_labels(row)))
        whole.update(labels)
        if row.parent:
            made.update(labels)
    return {label: made[label] / whole[label] for label in sorted(whole)}


def _labels(row: Row) -> Iterable[str]:
    if isinstance(row.target, tuple):
        return [part.label if isinstance(part, Span) else part for part in row.target]
    return [row.target] if isinstance(row.target, str) else []


def too_many(share: float) -> list[str]:
    """A sentence, when that share of all rows is more than half."""
    text = "{share:.1%} of the training rows are made, more than half: ratio=1 in all, over all steps, is half"
    return [say(text, share=share)] if share > HALF else []


def warnings_of(rows: Rows) -> list[str]:
    """Sentences, none when at most half of all rows and of each label's is made."""
    share = share_made(rows)
    found = too_many(share)
    over = [(label, s) for label, s in shares_by_label(rows).items() if s > max(HALF, share + 1e-9)]
    if over:
        over.sort(key=lambda one: (-one[1], one[0]))
        listed = ", ".join(f"'{label}' {s:.0%}" for label, s in over[:NAMED])
        more = say(" and {n} more", n=len(over) - NAMED) if len(over) > NAMED else ""
        found.append(
            say("more than half of the rows of these labels are made: {listed}{more}", listed=listed, more=more)
        )
    return found
