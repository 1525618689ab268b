"""From attacks to new rows: what TextFooler and PWWS share besides their order of words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from burnish.augment._alike import reader_of
from burnish.augment._attack import Case, Limits, Order, Result, greedy, side_by_side
from burnish.augment._rewrites import Offer, Try, grown_in_batches, offers_of_edits
from burnish.augment._rows import check
from burnish.augment._sources import Choice, Source, source_of
from burnish.augment._victim import Odds, Victim, victim_of
from burnish.augment._words import words
from burnish.core import Rng, Row, Work
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Attacking", "attacked", "check_attack"]


class Attacking(Protocol):
    """The settings of an attack, beside those that every step here has."""

    @property
    def ratio(self) -> float: ...
    @property
    def weight(self) -> float: ...
    @property
    def smoothing(self) -> float: ...
    @property
    def source(self) -> Choice: ...
    @property
    def place(self) -> str: ...
    @property
    def victim(self) -> Victim: ...
    @property
    def candidates(self) -> int: ...
    @property
    def share(self) -> float: ...
    @property
    def similarity(self) -> float: ...
    @property
    def queries(self) -> int: ...
    @property
    def keep(self) -> tuple[str, ...]: ...


def check_attack(wish: Attacking) -> None:
    """Raises UsageError for a setting out of its range."""
    for name, value, good, expected in (
        ("candidates", wish.candidates, wish.candidates >= 1, say("1 or more")),
        ("share", wish.share, 0 < wish.share <= 1, say("above 0 up to 1")),
        ("similarity", wish.similarity, 0 <= wish.similarity < 1, say("0 up to 1")),
        ("queries", wish.queries, wish.queries >= 2, say("2 or more")),
    ):
        if not good:
            default = {"candidates": 20, "share": 0.2, "similarity": 0.8, "queries": 500}[name]
            raise UsageError(problem(say("{name} {value}", name=name, value=value), expected, f"{name}={default}"))


def attacked(work: Work, wish: Attacking, order: Order, name: str, rng: Rng) -> Work:
    """`work` with the rows that fooled the victim, labels as they were.

    Notes: those of `grown_in_batches`, and "victim", "attacked", "success_rate", "queries" (mean of an attack),
    "changed_share" (mean of those that succeeded).
    """
    check(wish)
    source = source_of(wish.source, wish.place, wish.keep, wish.candidates)
    odds, told = victim_of(work, wish.victim)
    fight = _Fight(work, wish, order, source, odds)
    made = grown_in_batches(work, wish, fight.offers, name, rng, again=False)
    return replace(made, notes={**made.notes, "victim": told, **fight.facts()})


@dataclass
class _Fight:
    work: Work
    wish: Attacking
    order: Order
    source: Source
    odds: Odds
    results: list[Result] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.vectors = reader_of(self.work).vectors if self.wish.similarity else _none

    def offers(self, batch: Sequence[Try]) -> list[Offer]:
        limits = Limits(self.wish.share, self.wish.similarity, self.wish.queries)
        rows = [one.row for one in batch]
        searches = [greedy(case, self.order, limits) for case in self._cases(rows)]

        def judge(asked: list[tuple[int, str]]) -> np.ndarray:
            return self.odds([_as_row(batch[i], text) for i, text in asked])

        results = side_by_side(searches, judge, self.vectors)
        self.results += results
        edited = offers_of_edits(batch, [result.edits for result in results])
        reasons = {
            "wrong already": say("wrong already"),
            "not fooled": say("not fooled"),
            "queries": say("too many queries"),
        }
        return [
            Offer(reason=reasons[result.why]) if result.why else offer
            for offer, result in zip(edited, results, strict=True)
        ]

    def _cases(self, rows: Sequence[Row]) -> list[Case]:
        labels_N = self.work.task.encode(rows)
        return [
            Case(row.text, int(label), places, len(words(row.text, whole=False)))
            for row, label, places in zip(rows, labels_N, self.source(rows), strict=True)
        ]

    def facts(self) -> dict[str, Any]:
        """Rates of the attacks on rows that the victim had right."""
        fair = [result for result in self.results if result.why != "wrong already"]
        won = [result for result in fair if not result.why]
        return {
            "attacked": len(fair),
            "success_rate": round(len(won) / max(len(fair), 1), 4),
            "queries": round(float(np.mean([result.queries for result in fair])), 1) if fair else 0.0,
            "changed_share": round(float(np.mean([result.changed for result in won])), 4) if won else 0.0,
            "ends": dict(Counter(result.why or "fooled" for result in self.results)),
        }


def _as_row(one: Try, text: str) -> Row:
    """The row with this text on the side that is attacked."""
    made = one.made(text, one.origin.target)
    assert made is not None
    return replace(one.origin, text=made[0], pair=made[1])


def _none(texts: Sequence[str]) -> np.ndarray:
    raise AssertionError("without a least similarity nobody asks for vectors")
