"""The few shapes a page is made of: sections of tables, figures, facts and sentences. They hold text, never HTML.

`kind` names the macro of templates/parts.html that draws the shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "Cell",
    "Commands",
    "Fact",
    "Facts",
    "Figure",
    "Finding",
    "Findings",
    "Heat",
    "Mistake",
    "Part",
    "Section",
    "Sentences",
    "Strip",
    "Table",
    "Wrong",
    "scale",
]

Fact = tuple[str, str]  # a name and what is known about it


@dataclass(frozen=True)
class Strip:
    """An interval drawn inside a table cell; all three in percent of the cell's width."""

    low: float
    value: float
    high: float


Cell = str | Strip


@dataclass(frozen=True)
class Table:
    """`columns` are headings; one that starts with '#' holds numbers, which stand right-aligned under it.

    `notes` are full-width lines under a row (empty for none), `marks` are CSS classes of rows. A `fold` is the line
    to click on before the table shows; printed, it is always open.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    marks: Sequence[str] = ()
    foot: str = ""
    fold: str = ""
    hashes: bool = False  # long hexadecimal cells, which may break anywhere

    def note(self, row: int) -> str:
        return self.notes[row] if self.notes else ""

    def mark(self, row: int) -> str:
        return self.marks[row] if self.marks else ""


@dataclass(frozen=True)
class Figure:
    """Charts side by side (SVG made by plots.py), a caption, and the numbers they are drawn from."""

    kind: ClassVar[str] = "figure"
    charts: Sequence[str]
    caption: str
    table: Table | None = None
    title: str = ""
    fold: str = ""  # the line to click on before it shows


@dataclass(frozen=True)
class Heat:
    """A confusion matrix: counts [true][said], and each count as a share of its row, 0 to 1."""

    kind: ClassVar[str] = "heat"
    labels: Sequence[str]
    counts: Sequence[Sequence[int]]
    shares: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Facts:
    """Names and values in two columns, behind a `fold` where one is given."""

    kind: ClassVar[str] = "facts"
    items: Sequence[Fact]
    fold: str = ""


@dataclass(frozen=True)
class Commands:
    """What to type, each with what it is for."""

    kind: ClassVar[str] = "commands"
    items: Sequence[Fact]


@dataclass(frozen=True)
class Sentences:
    """One paragraph each, or a list where `listed`."""

    kind: ClassVar[str] = "sentences"
    items: Sequence[str]
    listed: bool = False


@dataclass(frozen=True)
class Mistake:
    """One row: its texts, what is true, what the model said and what the float reference had said."""

    id: str
    text: str
    pair: str | None
    true: str
    said: str
    before: str


@dataclass(frozen=True)
class Wrong:
    """The worst rows, worst first."""

    kind: ClassVar[str] = "wrong"
    items: Sequence[Mistake]


@dataclass(frozen=True)
class Finding:
    """One thing worth knowing about the data: how grave, what, why it matters, what to try, rows that show it."""

    level: str  # 'error', 'warn' or 'info'
    what: str
    why: str
    hint: str
    examples: Sequence[str] = ()


@dataclass(frozen=True)
class Findings:
    """The gravest first."""

    kind: ClassVar[str] = "findings"
    items: Sequence[Finding]


Part = Findings | Table | Figure | Heat | Facts | Commands | Sentences | Wrong


@dataclass(frozen=True)
class Section:
    """A numbered part of the page; `id` is its anchor."""

    id: str
    title: str
    parts: Sequence[Part]


def scale(intervals: Sequence[tuple[float, float, float] | None]) -> list[Cell]:
    """(low, value, high) of several rows as strips on one common scale; a row without one gets an empty cell."""
    known = [i for i in intervals if i]
    if not known:
        return ["" for _ in intervals]
    low, high = min(i[0] for i in known), max(i[2] for i in known)
    room = (high - low) or 1.0
    return [Strip(*(round(4 + 92 * (v - low) / room, 2) for v in i)) if i else "" for i in intervals]
