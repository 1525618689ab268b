"""Rows from templates: your own sentences with slots, filled from lists and from the mentions of the training rows.

no paper: as data generators of dialogue systems do it (Chatito, RASA's forms), with a limit for each template.

    # lines of `file`; see _template.py for every part
    fly from {from:city} to {to:city} | label=book_flight
    {PER} lives in {LOC} now | PER=PER | LOC=LOC

`fillers` holds city<tab>Berlin a line. A slot without a list there is filled with mentions of its type. The templates
take turns, and so do the fillers of each slot; no two slots of a row that share a list say the same.

When it helps: an intent or an entity type of which there are almost no rows.
What it costs: microseconds a row, and the time to write the templates. A model learns the templates too: keep `each`
low and the sentences many.

Shapes: none.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from burnish.augment._form import Form
from burnish.augment._mentions import lists, mentions, pools
from burnish.augment._rows import Admission, check, originals
from burnish.augment._tags import learned, tagged
from burnish.augment._template import Slot, Template, load
from burnish.core import Rng, Row, Rows, Work, name_of
from burnish.errors import DataError, UsageError, nearest, problem
from burnish.words import say

__all__ = ["Templates"]

# Rows in a row that were there already: the template has no more to give.
PATIENCE = 50


@dataclass(frozen=True)
class Templates:
    file: str  # the templates, one a line
    fillers: str = ""  # lists for slots: NAME<tab>filler a line, or a .csv of these two columns
    ratio: float = 0.5  # new rows as a share of the original ones, 0.2 to 2 as a rule
    each: int = 50  # most rows of one template, 1 or more
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1
    filters: tuple[str, ...] = ("near",)  # what no new row may be, such as near, length, numbers

    def __post_init__(self) -> None:
        if self.each < 1:
            raise UsageError(problem(say("each {x}", x=self.each), say("1 or more"), "each=50"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        check(self)
        rows, found = originals(work.train), load(self.file)
        form = Form.of(rows)
        known = {label: pool.names for label, pool in pools(_lists(work.train, self.fillers)).items()}
        for template in found:
            form.check(template, work)
        key = f"{rng.getrandbits(64):016x}"
        writers = [_Writer(t, _sources(t, known), Random(f"{key}/{t.said}")) for t in found]
        admission = Admission(work, round(self.ratio * len(rows)))
        self._in_turn(writers, form, admission)
        try:
            made = admission.work(name_of(self))
        except DataError as error:
            given = say("the templates of {file} gave no new row", file=self.file)
            hint = say("more slots, or longer lists")
            raise DataError(problem(given, say("rows that are not there yet"), hint)) from error
        used = Counter(row.parent for row in admission.new)
        counts = {f"{t.line}: {t.said}": used[f"template:{t.line}"] for t in found}
        return replace(made, notes={**made.notes, "templates": counts})

    def _in_turn(self, writers: Sequence["_Writer"], form: Form, admission: Admission) -> None:
        """A row of each template after the other, until there are enough or none has more."""
        used: Counter[int] = Counter()
        while writers and not admission.full:
            for writer in writers:
                if admission.full:
                    break
                template = writer.template
                parent = Row(f"template:{template.line}", template.said)
                taken = admission.offer(parent, writer.write(form), name_of(self), self)
                used[template.line] += taken
                writer.missed = 0 if taken else writer.missed + 1
            for writer in writers:
                if used[writer.template.line] >= self.each:
                    admission.short[say("most of a template")] += 1
            writers = [w for w in writers if used[w.template.line] < self.each and w.missed < PATIENCE]


def _lists(rows: Rows, file: str) -> dict[str, Mapping[str, int]]:
    """Mentions of the rows by type, and the user's lists by name."""
    found = mentions([row for row in learned(rows) if tagged(row)])
    added = lists(file) if file else {}
    return {name: {**added.get(name, {}), **found.get(name, {})} for name in sorted({*found, *added})}


def _sources(template: Template, known: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, Sequence[str]]]:
    """Name and fillers of the list of each slot. Raises DataError when there is none, or it is too short."""
    found = {slot.name: _list_of(slot, template, known) for slot in template.slots}
    needed = Counter(name for name, _ in found.values())
    for name, count in needed.items():
        if len(known[name]) < count:
            given = say("{at}: list '{name}' has {n} fillers", at=template.at, name=name, n=len(known[name]))
            raise DataError(problem(given, say("{n} at least, one a slot", n=count), "fillers=FILE"))
    return found


def _list_of(slot: Slot, template: Template, known: Mapping[str, Sequence[str]]) -> tuple[str, Sequence[str]]:
    wanted = [slot.source] if slot.source else [slot.name, template.types.get(slot.name, "")]
    for name in wanted:
        if name in known:
            return name, known[name]
    given = say("{at}: slot '{name}' has no fillers", at=template.at, name=slot.name)
    expected = say("a list called {names}, or mentions of that type", names=wanted[0])
    close = nearest(wanted[0], known)
    hint = say("did you mean '{close}'?", close=close) if close else f"fillers=FILE: {wanted[0]}\tBerlin"
    raise DataError(problem(given, expected, hint))


class _Writer:
    """Writes one row of its template after the other; each filler comes as often as the others of its list."""

    def __init__(self, template: Template, sources: Mapping[str, tuple[str, Sequence[str]]], rng: Rng):
        self.template, self.missed = template, 0
        self._lists = {slot: name for slot, (name, _) in sources.items()}
        self._decks = {slot: _Deck(fillers, rng) for slot, (_, fillers) in sources.items()}

    def write(self, form: Form) -> tuple[str, str | None, Any]:
        fillers: dict[str, str] = {}
        for slot, deck in self._decks.items():
            fillers[slot] = deck.draw([said for other, said in fillers.items() if self._same(slot, other)])
        text, pair, spans = self.template.fill(fillers)
        return text, pair, form.target(self.template, spans)

    def _same(self, slot: str, other: str) -> bool:
        return self._lists[slot] == self._lists[other]


class _Deck:
    """Deals its cards in random order, all of them before any comes again."""

    def __init__(self, cards: Sequence[str], rng: Rng):
        self._cards, self._rng = cards, rng
        self._left: list[str] = []

    def draw(self, but: Sequence[str]) -> str:
        """The next card that is not in `but`; there must be one."""
        while not any(card not in but for card in self._left):
            self._left = self._rng.sample(self._cards, len(self._cards)) + self._left
        at = max(i for i, card in enumerate(self._left) if card not in but)
        return self._left.pop(at)
