"""What the character-level techniques for alphabets share: which words they touch, one slip in each."""

from collections.abc import Callable

from burnish.augment._edits import Edit
from burnish.augment._words import free, how_many, kept, words
from burnish.core import Rng, Row

__all__ = ["Slip", "slips"]

# Makes a slip in a word, at or after the character given: (start, end, new) within the word, or None.
Slip = Callable[[str, int, Rng], tuple[int, int, str] | None]


def slips(
    row: Row, rng: Rng, slip: Slip, why: str, *, alpha: float, first: bool, shortest: int, keep: tuple[str, ...]
) -> list[Edit]:
    """One slip in each of `alpha` of the words: those with `shortest` letters or more, clear of what is protected."""
    found = words(row.text, whole=False)
    count = how_many(alpha, len(found), rng)
    if not count:
        return []
    loose = [word for word in free(row, found, kept(keep)) if len(word.text) >= shortest]
    made: list[Edit] = []
    for word in rng.sample(loose, len(loose)):
        change = slip(word.text, 0 if first else 1, rng)
        if change:
            start, end, new = change
            made.append(Edit(word.start + start, word.start + end, new, why))
        if len(made) == count:
            break
    return sorted(made)
