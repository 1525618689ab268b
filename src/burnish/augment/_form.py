"""What the training rows look like, which rows from templates must look like too."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from burnish.augment._template import Template
from burnish.core import Row, Span, Work
from burnish.errors import DataError, nearest, problem
from burnish.words import say

__all__ = ["Form"]


@dataclass(frozen=True)
class Form:
    kind: str  # label, labels, number, spans, answers
    pair: bool
    labels: tuple[str, ...]  # types or labels that rows have

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Form":
        """Raises DataError for rows without anything to learn."""
        kinds = {_kind(row): row for row in rows}
        named = [kind for kind in ("answers", "spans", "labels", "label", "number") if kind in kinds]
        if not named:
            given = say("templates need labelled rows to go by, and there are {n} without", n=len(rows))
            raise DataError(problem(given, say("rows with labels or spans"), say("give a few rows of your own")))
        labels = {label for row in rows for label in _labels(row)}
        return cls(named[0], any(row.pair is not None for row in rows), tuple(sorted(labels)))

    def check(self, template: Template, work: Work) -> None:
        """Raises DataError, with file and line, for a template that makes rows of another form."""
        wanted = {
            "label": (len(template.labels) == 1 and not template.types, "label=LABEL"),
            "number": (len(template.labels) == 1 and _number(template) is not None, "label=2.5"),
            "labels": (not template.types, "label=LABEL, LABEL"),
            "spans": (not template.labels, "TYPE=SLOT"),
            "answers": (not template.labels and not template.types, "pair=QUESTION | answer=SLOT"),
        }
        good, form = wanted[self.kind]
        if self.kind != "answers" and template.answer:
            good = False
        if not good or (template.pair is not None) != self.pair:
            given = say("{at} makes another kind of row than the training rows are", at=template.at)
            raise DataError(problem(given, f"TEXT | {'pair=TEXT | ' if self.pair else ''}{form}", template.said))
        known = {*self.labels, *(work.task.labels if self.kind in ("label", "labels") else ())}
        for name in (*template.types.values(), *(template.labels if self.kind in ("label", "labels") else ())):
            if name not in known:
                given = say("{at}: no row is labelled '{name}'", at=template.at, name=name)
                close = nearest(name, sorted(known))
                hint = say("did you mean '{close}'?", close=close) if close else say("spell it as the rows do")
                raise DataError(problem(given, say("one of: {known}", known=", ".join(sorted(known))), hint))

    def target(self, template: Template, spans: tuple[Span, ...]) -> Any:
        if self.kind in ("spans", "answers"):
            return spans
        if self.kind == "labels":
            return template.labels
        return template.labels[0] if self.kind == "label" else _number(template)


def _kind(row: Row) -> str:
    target = row.target
    if isinstance(target, tuple):
        if not target:
            return ""
        return "labels" if not isinstance(target[0], Span) else "spans" if row.pair is None else "answers"
    return "" if target is None else "label" if isinstance(target, str) else "number"


def _labels(row: Row) -> list[str]:
    target = row.target
    if isinstance(target, tuple):
        return [part.label if isinstance(part, Span) else part for part in target]
    return [target] if isinstance(target, str) else []


def _number(template: Template) -> float | None:
    try:
        found = float(template.labels[0])
    except ValueError:
        return None
    return found if math.isfinite(found) else None
