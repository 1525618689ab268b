"""What no new row may be, as a setting: filters=length,numbers or filters=meaning,label:tau=0.6

    new rows ──length──changed──script──numbers──negations──entities──near──similarity──sense──label──► kept
                 │         │        each counts what it took out and keeps a few to look at

Cheapest first, so that an encoder is only asked about rows that nothing else is wrong with. A row that is filtered
out is tried again with another copy, see _rows.py. Two names stand for several:

    usual     what costs microseconds and is right for any technique
    meaning   `usual`, names, and the filters on meaning: for techniques that write sentences anew
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, Protocol

from burnish.augment._alike import Sense, Similarity
from burnish.augment._change import Change, shown
from burnish.augment._kept import Entities, Negations, Numbers
from burnish.augment._label import Label
from burnish.augment._near import Near
from burnish.augment._shape import Changed, Length, Script
from burnish.catalog import parse
from burnish.core import Row, Work
from burnish.errors import UsageError, nearest, problem
from burnish.settings import admit
from burnish.words import say

__all__ = ["SETS", "Filter", "Sieve", "checked", "filters_of", "names"]

# In the order in which they are asked.
ALL: tuple[type[Any], ...] = (Length, Changed, Script, Numbers, Negations, Entities, Near, Similarity, Sense, Label)
SETS = {
    "usual": ("length", "changed", "script", "numbers", "negations", "near"),
    "meaning": ("length", "changed", "script", "numbers", "negations", "entities", "near", "similarity", "sense"),
}
SAMPLES = 3


class Filter(Protocol):
    """A frozen dataclass of settings; what `fitted` gives has `why(change)`, or `whys(changes)` if many are cheaper."""

    def fitted(self, work: Work) -> Any: ...


def names() -> list[str]:
    return [kind.__name__.lower() for kind in ALL]


def filters_of(texts: Sequence[str]) -> list[Filter]:
    """The filters of a setting, cheapest first. Raises UsageError, with the nearest name, for one that is not there."""
    asked: dict[str, dict[str, str]] = {}
    for text in texts:
        name, settings = parse(text)
        for one in SETS.get(name, (name,)):
            asked[one] = {**asked.get(one, {}), **settings}
    for name in asked:
        if name not in names():
            close = nearest(name, [*names(), *SETS])
            hint = say("did you mean '{close}'?", close=close) if close else "filters=usual"
            known = ", ".join([*SETS, *names()])
            given = say("there is no filter '{name}'", name=name)
            raise UsageError(problem(given, say("one of: {known}", known=known), hint))
    return [_built(kind, asked[name]) for name, kind in zip(names(), ALL, strict=True) if name in asked]


def _built(kind: type[Any], settings: dict[str, str]) -> Filter:
    name, types = kind.__name__.lower(), {f.name: str(f.type) for f in fields(kind)}
    for key in settings:
        if key not in types:
            close = nearest(key, types)
            given = say("the filter '{name}' has no setting '{key}'", name=name, key=key)
            known = say("one of: {known}", known=", ".join(types)) if types else say("no settings: it has none")
            raise UsageError(problem(given, known, f"{name}:{close}=..." if close else name))
    made: Filter = kind(**{k: admit(v, _type(types[k]), f"{name}: {k}", _never) for k, v in settings.items()})
    return made


def _type(written: str) -> str:
    return {"<class 'float'>": "float", "<class 'int'>": "int"}.get(written, written)


def _never(value: Any, where: str) -> dict[str, Any]:
    raise AssertionError(f"{where} takes no technique")


# Checked when a recipe is read, long before the first row: the same texts come again for every step.
@lru_cache(maxsize=64)
def checked(texts: tuple[str, ...]) -> None:
    """Raises UsageError for filters that are none."""
    filters_of(texts)


@dataclass
class Sieve:
    """The filters of one step at work: what they took out, and why."""

    texts: tuple[str, ...]
    work: Work
    removed: Counter[str] = field(default_factory=Counter)  # by filter
    samples: dict[str, list[tuple[str, str]]] = field(
        default_factory=dict
    )  # by filter: the change as shown, the reason

    def __post_init__(self) -> None:
        self.originals = {row.id for row in self.work.train if not row.parent or row.parent == row.id}
        self.fitted = [(type(f).__name__.lower(), f.fitted(self.work)) for f in filters_of(self.texts)]
        self.cheap = [(name, f) for name, f in self.fitted if hasattr(f, "why")]
        self.dear = [(name, f) for name, f in self.fitted if not hasattr(f, "why")]

    def cheaply(self, parent: Row, child: Row) -> str:
        """Why not, going by what costs microseconds; "" when nothing speaks against the row.

        A row that was made of no other, as templates make them, is not compared with one.
        """
        if not self.cheap:
            return ""
        change = Change.of(parent, child)
        for name, one in self.cheap:
            reason: str = one.why(change) if parent.id in self.originals or hasattr(one, "add") else ""
            if reason:
                self._note(name, reason, parent, child)
                return reason
        return ""

    def dearly(self, pairs: Sequence[tuple[Row, Row]]) -> list[str]:
        """The same of many rows at once, going by encoders and classifiers."""
        changes, found = [Change.of(*pair) for pair in pairs], [""] * len(pairs)
        compared = [i for i, (parent, _) in enumerate(pairs) if parent.id in self.originals]
        for name, many in self.dear:
            left = [i for i in compared if not found[i]]
            for i, reason in zip(left, many.whys([changes[i] for i in left]) if left else [], strict=True):
                if reason:
                    found[i] = reason
                    self._note(name, reason, *pairs[i])
        return found

    def admitted(self, child: Row) -> None:
        """The row was taken: later ones must not be nearly it."""
        for _, one in self.cheap:
            if hasattr(one, "add"):
                one.add(child, child.parent)

    def _note(self, name: str, reason: str, parent: Row, child: Row) -> None:
        self.removed[name] += 1
        kept = self.samples.setdefault(name, [])
        if len(kept) < SAMPLES:
            kept.append((shown(parent, child), reason))

    def facts(self) -> dict[str, Any]:
        """JSON: {filter: {"removed", "samples": [[change, reason], ...], "how"}} in the order they were asked in."""
        return {
            name: {
                "removed": self.removed[name],
                "samples": [list(pair) for pair in self.samples.get(name, [])],
                **({"how": one.told} if getattr(one, "told", "") else {}),
            }
            for name, one in self.fitted
        }
