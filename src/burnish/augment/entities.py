"""Mention replacement: an entity gives way to another of its type, from the training rows or your own lists.

Paper: Dai and Adel, "An Analysis of Simple Data Augmentation for Named Entity Recognition", COLING 2020,
arXiv:2010.11683, section 3 (MR).
Differs from it: one mention at least is replaced, and never by itself in other case; every mention of a type is as
likely, however rare; small letters and capitals follow the mention that goes; lists of your own may be added.

Rows without labelled entities (question answering, classification) change where a mention of your lists stands, at
every place the same way. What an answer says stays everywhere, and so does what the question or the other text says.

When it helps: sequence labelling with few rows, or with types of which the rows show only a few names.
What it costs: below a millisecond a short row. The context may not suit the new name ("fly to Germany", "fly to Bob").

Shapes: none; see _edits.py and _tags.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from burnish.augment._draw import some
from burnish.augment._edits import Edit
from burnish.augment._mentions import Pool, lists, mentions, plain, pools
from burnish.augment._rows import grown
from burnish.augment._tags import LETTER, learned, letter, spans_of, tagged, tagged_rows
from burnish.core import Rng, Row, Rows, Span, Work, name_of
from burnish.errors import DataError, UsageError, problem
from burnish.words import say

__all__ = ["Entities"]


@dataclass(frozen=True)
class Entities:
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    p: float = 0.3  # chance of each mention to be replaced, above 0 up to 1; the paper tries 0.1 to 0.7
    own: str = ""  # a file of further mentions: TYPE<tab>mention a line, or a .csv of these two columns
    keep: tuple[str, ...] = ()  # mentions that stay
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1
    filters: tuple[str, ...] = ("usual",)  # what no new row may be, such as near, length, numbers
    workers: int = 1  # processes

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise UsageError(problem(say("p {x}", x=self.p), say("above 0 up to 1"), "p=0.3"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        found = pools(_known(work.train, self.own, name_of(self)))
        counts = {label: len(pool.names) for label, pool in found.items()}
        if max(counts.values()) < 2:
            given = say("no entity type has two mentions: {counts}", counts=_listed(counts))
            expected = say("two different mentions of one type")
            raise DataError(problem(given, expected, say("own=FILE with more of them")))
        types = tuple((name, label) for label, pool in found.items() for name in pool.names)
        keep = tuple(plain(word).casefold() for word in self.keep)
        made = grown(work, self, _Replacing(found, dict(types[::-1]), self.p, keep), name_of(self), rng, self.workers)
        return replace(made, notes={**made.notes, "mentions": counts})


def _known(rows: Rows, own: str, name: str) -> dict[str, Mapping[str, int]]:
    """All mentions there are to choose from, by type."""
    labelled = any(span.label for row in learned(rows) if tagged(row) for span in spans_of(row))
    if not labelled and not own:
        given = say("{name} was given {n} rows without labelled spans", name=name, n=len(rows))
        hint = say("own=FILE with mentions to look for: TYPE<tab>mention a line")
        raise DataError(problem(given, say("rows whose entities are spans, or lists of your own"), hint))
    found = mentions(tagged_rows(rows, name)) if labelled else {}
    added = lists(own, sorted(found)) if own else {}
    return {label: {**added.get(label, {}), **found.get(label, {})} for label in sorted({*found, *added})}


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {n}" for label, n in counts.items())


@dataclass(frozen=True)
class _Replacing:
    pools: Mapping[str, Pool]
    types: Mapping[str, str]  # of every mention, for rows that do not say where entities are
    p: float
    keep: tuple[str, ...]

    def edits(self, row: Row, rng: Rng) -> list[Edit]:
        """For each mention chosen, one edit in each of its places."""
        places = _labelled(row) if tagged(row) else self._looked_up(row)
        found = [at for at in places if self._changes(row.text, at[0])]
        edits = []
        for spans in some(found, self.p, rng):
            old = row.text[spans[0].start : spans[0].end]
            new = self.pools[spans[0].label].other(old, rng)
            assert new is not None  # `_changes` looked
            edits += [Edit(span.start, span.end, cased(new, like=old), say("mention")) for span in spans]
        return sorted(edits)

    def _changes(self, text: str, span: Span) -> bool:
        """Whether there is another mention for this one, and no letter beside it that would grow together with it."""
        pool, key = self.pools.get(span.label), plain(text[span.start : span.end]).casefold()
        if pool is None or not pool.keys or pool.keys == (key,) or key in self.keep:
            return False
        return not letter(text, span.start - 1) and not letter(text, span.end)

    def _looked_up(self, row: Row) -> list[list[Span]]:
        """The places of each listed mention that the text has, outside what answers and what the pair says."""
        fixed = spans_of(row)
        answers = [row.text[s.start : s.end].casefold() for s in fixed]
        said = " ".join([*answers, (row.pair or "").casefold()])
        found: dict[str, list[Span]] = {}
        for match in _any_of(tuple(self.types)).finditer(row.text):
            name, (start, end) = match.group(), match.span()
            answering = any(s.start < end and start < s.end for s in fixed) or any(
                a in name.casefold() for a in answers
            )
            if not answering and name.casefold() not in said:
                found.setdefault(name, []).append(Span(start, end, self.types[name]))
        return list(found.values())


def _labelled(row: Row) -> list[list[Span]]:
    """Each span by itself, without the spaces at its ends."""
    return [[_trimmed(row.text, span)] for span in spans_of(row)]


def _trimmed(text: str, span: Span) -> Span:
    said = text[span.start : span.end]
    start = span.start + len(said) - len(said.lstrip())
    return Span(start, start + len(said.strip()), span.label)


@lru_cache(maxsize=8)
def _any_of(names: tuple[str, ...]) -> re.Pattern[str]:
    """One of the names as a whole word, the longest that fits; anywhere where the script has no spaces."""
    return re.compile("|".join(_whole(name) for name in sorted(names, key=len, reverse=True)))


def _whole(name: str) -> str:
    before, after = (LETTER.pattern if letter(name, at) else "" for at in (0, len(name) - 1))
    return (f"(?<!{before})" if before else "") + re.escape(name) + (f"(?!{after})" if after else "")


def cased(new: str, like: str) -> str:
    """`new` in small letters, capitals, or with a capital first, as `like` has it; as it is when `like` is neither.

    >>> cased("New York", like="PARIS"), cased("New York", like="paris"), cased("berlin", like="Paris")
    ('NEW YORK', 'new york', 'Berlin')
    """
    if like.islower():
        return new.lower()
    if like.isupper() and len(like) > 1:
        return new.upper()
    if like[:1].isupper() and new.islower():
        return " ".join(word[:1].upper() + word[1:] for word in new.split(" "))
    return new
