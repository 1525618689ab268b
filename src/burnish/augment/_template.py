"""One line of a template file: a text with slots, and what it is labelled. Read it here, fill it here.

fly from {from:city} to {to:city} | label=book_flight | LOC=from, to
         ╰ slot, list ╯                                 ╰ type=slots whose fillers are spans of that type

text, then parts, each after a bar with spaces around it:
  label=A          the row's label; label=A, B for several; label=2.5 for a number
  pair=TEXT        the second text, or the question; it has the same slots
  answer=SLOT      the answer to the question
  TYPE=SLOT, SLOT  spans of that type
{slot} is filled from the list of its own name, else from that of its type; {slot:list} names the list.
{{ and }} stand for braces. A line that begins with # says nothing.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from burnish.core import Span
from burnish.errors import DataError, UsageError, problem
from burnish.words import say

__all__ = ["Slot", "Template", "load"]

BAR = re.compile(r"\s\|\s")
PIECE = re.compile(r"\{\{|\}\}|\{(\w+)(?::([^{}:|]+))?\}|[{}]")
PARTS = ("label", "pair", "answer")


@dataclass(frozen=True, slots=True)
class Slot:
    name: str
    source: str = ""  # the list it is filled from; "" for that of its own name or type


@dataclass(frozen=True)
class Template:
    """One line of the file. `text` and `pair` are pieces, in their order."""

    at: str  # file:line, for errors
    line: int
    said: str  # the text as it stands there
    text: tuple[str | Slot, ...]
    pair: tuple[str | Slot, ...] | None
    labels: tuple[str, ...]
    answer: str  # a slot of the text; "" for none
    types: Mapping[str, str]  # type of each slot that is a span

    @property
    def slots(self) -> list[Slot]:
        """Each slot once, in the order of the text and then of the pair, with its list wherever that is named."""
        sources: dict[str, str] = {}
        for slot in self._all_slots():
            sources[slot.name] = sources.get(slot.name) or slot.source
        return [Slot(name, source) for name, source in sources.items()]

    def _all_slots(self) -> Iterator[Slot]:
        yield from (piece for piece in (*self.text, *(self.pair or ())) if isinstance(piece, Slot))

    def check(self, spanned: list[str]) -> None:
        """Raises DataError where `spanned`, the slots of all parts, or the answer are not in the text, or twice."""
        inside = [piece.name for piece in self.text if isinstance(piece, Slot)]
        for name in (*spanned, *([self.answer] if self.answer else ())):
            given = say("the text has no slot '{name}'", name=name)
            if name not in inside:
                raise _wrong(self.at, given, ", ".join(inside) or say("a slot"), f"{{{name}}}")
            if inside.count(name) > 1 or spanned.count(name) > 1:
                given = say("'{name}' stands there twice", name=name)
                raise _wrong(self.at, given, say("each slot that is a span once"), f"{{{name}2:{name}}}")
        lists = {(slot.name, slot.source) for slot in self._all_slots() if slot.source}
        for name in inside:
            if sum(1 for slot, _ in lists if slot == name) > 1:
                raise _wrong(self.at, say("slot '{name}' has two lists", name=name), say("one list a slot"), "{a:x}")

    def fill(self, fillers: Mapping[str, str]) -> tuple[str, str | None, tuple[Span, ...]]:
        """Text, pair and the spans of the text, given what stands in each slot. An answer is a span without a type."""
        text, spans = "", []
        for piece in self.text:
            if isinstance(piece, str):
                text += piece
                continue
            start, text = len(text), text + fillers[piece.name]
            if piece.name in self.types or piece.name == self.answer:
                spans.append(Span(start, len(text), self.types.get(piece.name, "")))
        return text, None if self.pair is None else _filled(self.pair, fillers), tuple(spans)


def _filled(pieces: tuple[str | Slot, ...], fillers: Mapping[str, str]) -> str:
    return "".join(piece if isinstance(piece, str) else fillers[piece.name] for piece in pieces)


def load(file: str) -> list[Template]:
    """Read a template file. Raises UsageError when there is none, DataError with the line of the first thing wrong."""
    path = Path(file).expanduser()
    if not path.is_file():
        given = say("there is no file {path}", path=path)
        raise UsageError(problem(given, say("a file of templates"), say("its path from the folder you are in")))
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        given = say("{path} is not UTF-8: {error}", path=path, error=error)
        raise DataError(problem(given, say("a text file"), say("save it as UTF-8"))) from error
    found = [_read(line, path, n) for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not found:
        given = say("{path} holds no template", path=path)
        raise DataError(problem(given, say("one template a line"), "fly to {city} | label=book_flight"))
    return found


def _read(line: str, path: Path, number: int) -> Template:
    at = f"{path}:{number}"
    said, *parts = (part.strip() for part in BAR.split(line.strip()))
    found: dict[str, str] = {}
    for part in parts:
        key, equals, value = (bit.strip() for bit in part.partition("="))
        if not equals or not key or not value or key in found:
            raise _wrong(at, say("'{part}' is no part, or is given twice", part=part), "TYPE=SLOT, label=A", part)
        found[key] = value
    types = {slot: key for key, value in found.items() if key not in PARTS for slot in _names(value)}
    pair = tuple(_pieces(found["pair"], at)) if "pair" in found else None
    labels = tuple(_names(found.get("label", "")))
    made = Template(at, number, said, tuple(_pieces(said, at)), pair, labels, found.get("answer", ""), types)
    made.check([name for key, value in found.items() if key not in PARTS for name in _names(value)])
    return made


def _names(value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


def _pieces(said: str, at: str) -> Iterator[str | Slot]:
    start = 0
    for match in PIECE.finditer(said):
        yield said[start : match.start()]
        start = match.end()
        if match.group() in ("{{", "}}"):
            yield match.group()[0]
        elif match.group(1):
            yield Slot(match.group(1), (match.group(2) or "").strip())
        else:
            raise _wrong(at, say("a brace stands alone"), "{slot}", say("write {{ or }} for a brace"))
    yield said[start:]


def _wrong(at: str, given: str, expected: str, hint: str) -> DataError:
    return DataError(problem(f"{at}: {given}", expected, hint))
