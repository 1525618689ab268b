"""What homophones and lookalikes share: some Chinese characters of a text give way to others, about as common."""

from collections.abc import Callable, Sequence

from burnish.augment._chinese import characters, close
from burnish.augment._edits import Edit
from burnish.augment._own import own
from burnish.augment._words import Word, free, how_many, is_han, kept, words
from burnish.core import Rng, Row
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Others", "check_band", "exchanged", "near", "own_exchanged"]

# The characters that each character of a word may become.
Others = Callable[[str], Sequence[Sequence[str]]]


def check_band(band: float) -> None:
    """Raises UsageError for a band below 1."""
    if band < 1:
        raise UsageError(problem(say("band {x}", x=band), say("1 or more"), "band=10"))


def near(char: str, others: Sequence[str], band: float) -> list[str]:
    """Those of the others that are about as common as `char`."""
    shares = characters()
    return [c for c in others if c != char and close(shares.get(char, 0.0), shares.get(c, 0.0), band)]


def exchanged(
    row: Row, rng: Rng, others: Others, why: str, *, alpha: float, keep: tuple[str, ...], whole: bool
) -> list[Edit]:
    """`alpha` of the Chinese characters exchanged, as far as they have others.

    Those of a word are asked together; with `whole` off each is asked alone, and the text need not be cut into words.
    """
    chinese = [word for word in words(row.text, whole=whole) if is_han(word.text[0])]
    count = how_many(alpha, sum(len(word.text) for word in chinese), rng)
    if not count:
        return []
    made: list[Edit] = []
    loose = [(word, i) for word in free(row, chinese, kept(keep)) for i in range(len(word.text))]
    for word, i in rng.sample(loose, len(loose)):
        found = others(word.text)[i]
        if found:
            made.append(Edit(word.start + i, word.start + i + 1, rng.choice(found), why))
        if len(made) == count:
            break
    return sorted(made)


def own_exchanged(row: Row, rng: Rng, path: str, why: str, *, alpha: float, keep: tuple[str, ...]) -> list[Edit]:
    """The same with the user's own list, whatever its entries are."""
    total = sum(1 for word in words(row.text, whole=False) if is_han(word.text[0]))
    count = how_many(alpha, total, rng)
    places: list[Word] = own(path).places(row, keep) if count else []
    chosen = sorted(rng.sample(places, min(count, len(places))))
    return [Edit(word.start, word.end, own(path).other(word.text, rng), why) for word in chosen]
