"""Class balancing: the smaller classes get new rows, made by another technique, up to a share of the largest one.

no paper: oversampling as in Chawla et al., "SMOTE" (JAIR 2002, arXiv:1106.1813), section 2, with an editing technique
where that one interpolates. On imbalanced sets this is where editing pays (Ren et al., "Text AutoAugment", EMNLP
2021, arXiv:2109.00523: +9.7 % on average).

A class is a label; with several labels a row, or with labelled spans, a row brings up all it has, so rows without
classes that are large already are taken first. Entity types are counted by mention. The smallest class comes first.

When it helps: few rows of some classes, and a measure that asks for them (macro F1).
What it costs: what the technique `by` costs. Answers lean towards small classes; their probabilities no longer mirror
how often a class comes.

Shapes: none.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from random import Random
from typing import Any

from burnish import catalog
from burnish.augment._rows import originals, tries
from burnish.augment._tags import spans_of
from burnish.core import Rng, Row, Rows, Span, Step, Work
from burnish.errors import DataError, UsageError, problem
from burnish.words import say

__all__ = ["Balance"]

NAME = "augment/balance"


@dataclass(frozen=True)
class Balance:
    share: float = 1.0  # of the largest class, to which the others are brought; above 0 up to 1
    by: str = "augment/aeda"  # technique that makes the rows, as after --with; "copy" repeats rows as they are
    copies: int = 10  # most new rows of one row, 1 to 100
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1

    def __post_init__(self) -> None:
        for name, value, good, expected in (
            ("share", self.share, 0 < self.share <= 1, say("above 0 up to 1")),
            ("copies", self.copies, 1 <= self.copies <= 100, say("1 to 100")),
            ("weight", self.weight, 0 < self.weight <= 100, say("above 0")),
            ("smoothing", self.smoothing, 0 <= self.smoothing < 1, say("0 up to 1")),
        ):
            if not good:
                given = say("{name} {value}", name=name, value=value)
                raise UsageError(problem(given, expected, "share=1.0, copies=10"))
        if self.by != "copy":
            inner_of(self.by)

    def __call__(self, work: Work, rng: Rng) -> Work:
        before = counted(work.train)
        growing = _Growing(self, work, before, f"{rng.getrandbits(64):016x}")
        for label in sorted(before, key=lambda name: (before[name], name)):
            growing.bring_up(label)
        return growing.work()


def inner_of(by: str) -> Step:
    """The technique that makes the rows. Raises UsageError for one that cannot."""
    name, settings = catalog.parse(by)
    page = catalog.page(name)
    needed = {"ratio", "weight", "smoothing"}
    makes_others = page.name == "augment/templates"  # rows of any class, made of none
    if not page.name.startswith("augment/") or makes_others or not needed <= {s.name for s in page.settings}:
        given = say("balance by '{by}'", by=by)
        raise UsageError(problem(given, say("a technique that edits rows, or copy"), "by=augment/aeda"))
    return catalog.build(name, settings)


def classes(row: Row) -> Counter[str]:
    """How often the row has each class. Raises DataError for a row whose target is none."""
    target = row.target
    if isinstance(target, str):
        return Counter([target])
    if isinstance(target, tuple) and row.pair is None and any(isinstance(part, Span) for part in target):
        return Counter(span.label for span in spans_of(row))
    if isinstance(target, tuple) and not any(isinstance(part, Span) for part in target):
        return Counter(str(part) for part in target)
    given = say("row {id} has no class: its target is {target}", id=row.id, target=repr(target))
    expected = say("rows with labels, or with entities")
    raise DataError(problem(given, expected, say("leave {name} out", name=NAME)))


def counted(rows: Rows) -> Counter[str]:
    """Rows, or mentions, of each class. Raises DataError with fewer than two classes."""
    found: Counter[str] = Counter()
    for row in rows:
        found.update(classes(row))
    if len(found) < 2:
        given = say("{n} classes in {rows} training rows", n=len(found), rows=len(rows))
        raise DataError(problem(given, say("two or more to balance"), say("leave {name} out", name=NAME)))
    return found


class _Growing:
    """The new rows so far; one class after the other is brought up to the goal."""

    def __init__(self, wish: Balance, work: Work, before: Counter[str], key: str):
        self._wish, self._work, self._before, self._key = wish, work, before, key
        self._goal = math.ceil(wish.share * max(before.values()) - 1e-9)
        self._counts = Counter(before)
        self._rows = originals(work.train)
        self._has = {row.id: classes(row) for row in self._rows}
        self._seen = {row.id: replace(row, parent=row.id) for row in self._rows}  # to learn from, not to change
        self._used: Counter[str] = Counter()  # new rows by parent
        self._new: list[Row] = []
        self._about: dict[str, dict[str, Any]] = {}
        self._refused: DataError | None = None

    def bring_up(self, label: str) -> None:
        """New rows for the class, until there are enough or its rows give no more."""
        first = len(self._new)
        reasons: Counter[str] = Counter()
        done: set[str] = set()
        while self._counts[label] < self._goal and (rows := self._sources(label, done)):
            left = sum(self._wish.copies - self._used[row.id] for row in rows)
            wanted = min(self._goal - self._counts[label], left)
            made, short = self._made(rows, wanted, f"{label}/{len(self._new)}")
            if self._take(made, label, reasons):
                continue
            reasons.update(short)
            done.update(row.id for row in rows)
        missing = self._goal - self._counts[label]
        self._about[label] = {
            "before": self._before[label],
            "rows": len(self._new) - first,
            "short": {say("missing"): missing, **reasons} if missing > 0 else {},
        }

    def _sources(self, label: str, done: Collection[str]) -> list[Row]:
        """The rows of the class to change next: those that bring up fewest of the classes that are large enough."""
        groups: dict[int, list[Row]] = defaultdict(list)
        for row in self._rows:
            has = self._has[row.id]
            if has[label] and row.id not in done and self._used[row.id] < self._wish.copies:
                full = sum(n for c, n in has.items() if self._counts[c] >= self._goal)
                groups[math.ceil(full / has[label])].append(row)
        return groups[min(groups)] if groups else []

    def _made(self, rows: Sequence[Row], wanted: int, key: str) -> tuple[list[Row], dict[str, int]]:
        """As many rows as are wanted, made of `rows`, and why there are fewer."""
        wish, key = self._wish, f"{self._key}/{key}"
        if wish.by == "copy":
            return [_again(row, wish) for row, _ in islice(tries(rows, wish.copies, key), wanted)], {}
        # Every technique here has these three settings; what it learns from the rows, it learns from all of them.
        inner: Any = inner_of(wish.by)
        inner = replace(inner, ratio=wanted / len(rows), weight=wish.weight, smoothing=wish.smoothing)
        mine = {row.id for row in rows}
        looked_at = [row if row.id in mine else self._seen.get(row.id, row) for row in self._work.train]
        view = replace(self._work, train=(*looked_at, *self._new))
        try:
            made = inner(view, Random(key))
        except DataError as error:
            self._refused = error
            return [], {say("refused"): len(rows)}
        return list(made.train[len(view.train) :]), dict(made.notes.get("short", {}))

    def _take(self, made: Sequence[Row], label: str, reasons: Counter[str]) -> bool:
        """Take the rows that may be taken; True when a class is large enough by it, and other rows may suit better."""
        for row in made:
            if self._used[row.parent] >= self._wish.copies:
                reasons[say("copies of a row used up")] += 1
                continue
            self._new.append(replace(row, id=f"{row.parent}+balance.{self._used[row.parent]}"))
            self._used[row.parent] += 1
            has = classes(row)
            self._counts.update(has)
            if any(self._goal <= self._counts[c] < self._goal + n for c, n in has.items()):
                return True
        return False

    def work(self) -> Work:
        """The work with the new rows. Raises DataError when rows were needed, and the technique made none at all."""
        if self._refused and not self._new:
            raise self._refused
        old = self._work
        made = sum(1 for row in old.train if row.parent) + len(self._new)
        texts = {row.id: row.text for row in self._rows}
        table = {label: {**about, "after": self._counts[label]} for label, about in self._about.items()}
        notes = {
            "rows": len(old.train),
            "new": len(self._new),
            "share": round(made / (len(old.train) + len(self._new)), 4),
            "goal": self._goal,
            "classes": table,
            "examples": [[texts[row.parent], row.text] for row in self._new[:5]],
        }
        return replace(old, train=(*old.train, *self._new), notes={**old.notes, **notes})


def _again(row: Row, wish: Balance) -> Row:
    return replace(row, parent=row.id, weight=row.weight * wish.weight, smoothing=max(row.smoothing, wish.smoothing))
