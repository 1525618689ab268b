"""Mentions by type: those of the training rows, those of the user's own lists, and drawing another one.

A list is a text file, one `TYPE<tab>mention` a line, where `#` begins a comment; or a .csv of two columns, whose first
line may be `type,mention`.
"""

import bisect
import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from burnish.augment._tags import spans_of
from burnish.core import Rng, Rows
from burnish.errors import DataError, UsageError, nearest, problem
from burnish.words import say

__all__ = ["Pool", "lists", "mentions", "plain", "pools"]

HEADS = (("type", "mention"), ("label", "mention"), ("label", "text"), ("slot", "filler"))


def plain(mention: str) -> str:
    """The mention with single spaces."""
    return " ".join(mention.split())


def mentions(rows: Rows) -> dict[str, Counter[str]]:
    """How often each mention stands in the rows, by type."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for span in spans_of(row):
            found[span.label][plain(row.text[span.start : span.end])] += 1
    return found


@dataclass(frozen=True, slots=True)
class Pool:
    """The mentions of a type that differ in more than case, in the order of `keys`."""

    names: tuple[str, ...]
    keys: tuple[str, ...]  # the names case-folded, sorted

    def other(self, mention: str, rng: Rng) -> str | None:
        """One of them that is not `mention`, each as likely; None when there is no other."""
        key = plain(mention).casefold()
        at = bisect.bisect_left(self.keys, key)
        known = at < len(self.keys) and self.keys[at] == key
        if len(self.keys) - known < 1:
            return None
        drawn = rng.randrange(len(self.keys) - known)
        return self.names[drawn + 1 if known and drawn >= at else drawn]


def pools(found: Mapping[str, Mapping[str, int]]) -> dict[str, Pool]:
    """A pool for each type; of spellings that differ in case only the most frequent stands for all."""
    made = {}
    for label in sorted(found):
        best: dict[str, str] = {}
        for name in sorted(found[label], key=lambda n: (-found[label][n], n)):
            best.setdefault(name.casefold(), name)
        keys = tuple(sorted(best))
        made[label] = Pool(tuple(best[key] for key in keys), keys)
    return made


def lists(file: str, known: Iterable[str] = ()) -> dict[str, Counter[str]]:
    """Read the user's own mentions by type; `known` are the types there may be, if any are.

    Raises UsageError when there is no such file, DataError with the line for what cannot be read, and for a file
    without mentions.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        given = say("there is no file {path}", path=path)
        raise UsageError(problem(given, say("a file of mentions"), say("its path from the folder you are in")))
    types = tuple(known)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for line, label, mention in _entries(path):
        if types and label not in types:
            given = say("{path}:{line}: there is no type '{label}'", path=path, line=line, label=label)
            close = nearest(label, types)
            hint = say("did you mean '{close}'?", close=close) if close else say("the types as the rows have them")
            raise DataError(problem(given, say("one of: {known}", known=", ".join(types)), hint))
        found[label][mention] += 1
    if not found:
        raise DataError(problem(say("{path} holds no mention", path=path), _form(), "LOC\tBerlin"))
    return found


def _entries(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line, type, mention) for each line that holds one."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        given = say("{path} is not UTF-8: {error}", path=path, error=error)
        raise DataError(problem(given, say("a text file"), say("save it as UTF-8"))) from error
    table = path.suffix.lower() == ".csv"
    lines = list(csv.reader(text.splitlines())) if table else [line.split("\t") for line in text.splitlines()]
    for number, cells in enumerate(lines, 1):
        parts = [plain(cell) for cell in cells]
        comment = not table and parts[0].startswith("#")
        if comment or not any(parts) or (table and number == 1 and tuple(p.lower() for p in parts) in HEADS):
            continue
        if len(parts) != 2 or not all(parts):
            given = say("{path}:{line} is '{text}'", path=path, line=number, text=" | ".join(cells))
            raise DataError(problem(given, _form(), "LOC\tBerlin"))
        yield number, parts[0], parts[1]


def _form() -> str:
    return say("TYPE<tab>mention on each line, or the two columns type,mention in a .csv")
