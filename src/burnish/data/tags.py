"""One tag a token -> spans of a text. The schemes are told apart by the tags that occur.

    BIO     B-X begins an entity, I-X goes on with it, O is outside (also called IOB2)
    IOB1    I-X begins one too; B-X only where it touches another entity of its type
    BIOES   E-X ends an entity of several tokens, S-X is one by itself (BMES, BMEWO: M inside, W by itself)
    BILOU   the same with L-X and U-X

Papers: Ramshaw, Marcus, "Text Chunking using Transformation-Based Learning", VLC 1995 (IOB1); Tjong Kim Sang,
Veenstra, "Representing Text Chunks", EACL 1999 (BIO); Ratinov, Roth, "Design Challenges and Misconceptions in Named
Entity Recognition", CoNLL 2009 (BILOU). Tags that break their scheme are read as conlleval and seqeval do: a type
that appears out of nowhere begins an entity.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from burnish.core import Span

__all__ = ["NAMELESS", "entities", "joined", "parsed", "scheme_of", "spans_of"]

Tag = tuple[str, str]  # one of O, B, I, E, S; and the type
Entity = tuple[int, int, str]  # first token, the one after the last, type

OUTSIDE: Tag = ("O", "")
NAMELESS = "span"  # the type of plain B and I, as in sets of key phrases, which know one type only
_TAG = re.compile(r"([BIMELSUW])(?:[-_](.+))?")
_LETTER = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}


@lru_cache(maxsize=10_000)
def parsed(tag: str) -> Tag | None:
    """('B', 'person') for 'B-person', None for what is no tag of any scheme.

    >>> parsed("U-LOC"), parsed("O"), parsed("LOC")
    (('S', 'LOC'), ('O', ''), None)
    """
    if tag == "O":
        return OUTSIDE
    found = _TAG.fullmatch(tag)
    return (_LETTER[found[1]], found[2] or NAMELESS) if found else None


def scheme_of(rows: Iterable[Sequence[str]]) -> str:
    """BIO, IOB1, BIOES or BILOU, from the tags of many sentences."""
    letters: set[str] = set()
    apart = loose = False  # a B-X that touches no X; an I-X that begins
    for tags in rows:
        before = OUTSIDE
        for tag in tags:
            now = parsed(tag) or OUTSIDE
            letters.add(tag[:1])
            apart |= now[0] == "B" and now[1] != before[1]
            loose |= now[0] == "I" and now[1] != before[1]
            before = now
    if letters & set("LU"):
        return "BILOU"
    if letters & set("ESMW"):
        return "BIOES"
    return "IOB1" if loose and not apart else "BIO"


def entities(tags: Sequence[str], scheme: str) -> tuple[list[Entity], list[int]]:
    """(entities, positions of the tags that break the scheme). Every tag must be one that `parsed` knows."""
    found: list[Entity] = []
    breaks: list[int] = []
    begin, before = 0, OUTSIDE  # `before` is the tag of an entity that is still open
    for i, tag in enumerate(tags):
        now = parsed(tag) or OUTSIDE
        goes_on = now[0] in "IE" and now[1] == before[1]
        if _broken(before, now, goes_on, scheme):
            breaks.append(i)
        if not goes_on:
            found += [(begin, i, before[1])] if before != OUTSIDE else []
            begin = i
        before = now
        if now[0] in "ES":
            found.append((begin, i + 1, now[1]))
            before = OUTSIDE
    if before != OUTSIDE:
        found.append((begin, len(tags), before[1]))
        breaks += [len(tags) - 1] if scheme in ("BIOES", "BILOU") and len(tags) - 1 not in breaks else []
    return found, breaks


def _broken(before: Tag, now: Tag, goes_on: bool, scheme: str) -> bool:
    if scheme == "IOB1":
        return False
    unopened = now[0] in "IE" and not goes_on
    unclosed = scheme != "BIO" and before != OUTSIDE and not goes_on
    return unopened or unclosed


def spans_of(tokens: Sequence[str], tags: Sequence[str], scheme: str) -> tuple[str, list[Span], list[int]]:
    """(text, spans, positions of tags that break the scheme); a span of empty tokens alone is empty too."""
    text, where = joined(tokens)
    found, breaks = entities(tags, scheme)
    spans = []
    for first, after, label in found:
        inside = [place for place in where[first:after] if place[0] < place[1]] or [where[first]]
        spans.append(Span(inside[0][0], inside[-1][1], label))
    return text, spans, breaks


def joined(tokens: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The tokens as one text, and where each stands in it; one of nothing but blanks takes no room.

    A blank between two, except between Chinese or Japanese characters, which stand without.

    >>> joined(["in", "北", "京", "“", "好", "”", "!"])[0]
    'in 北京“好” !'
    """
    wide = any(_is_wide(character) and character.isalpha() for token in tokens for character in token)
    parts: list[str] = []
    where: list[tuple[int, int]] = []
    at, last = 0, ""
    for token in map(str.strip, tokens):
        if token:
            blank = last and not (_is_close(last, wide) and _is_close(token[0], wide))
            parts.append(" " + token if blank else token)
            at += bool(blank)
            last = token[-1]
        where.append((at, at + len(token)))
        at += len(token)
    return "".join(parts), where


# Han, kana, bopomofo, their punctuation and the full-width forms. Hangul is not among them: Korean has blanks.
_WIDE = (
    (0x3000, 0x312F), (0x31A0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFE30, 0xFE4F),
    (0xFF01, 0xFF9F), (0x20000, 0x3FFFF),
)  # fmt: skip


@lru_cache(maxsize=70_000)
def _is_wide(character: str) -> bool:
    return character >= "\u3000" and any(low <= ord(character) <= high for low, high in _WIDE)


def _is_close(character: str, wide: bool) -> bool:
    """Whether it takes no blank beside a wide one. Marks such as “ … ● are as wide as the letters around them."""
    if _is_wide(character):
        return True
    return wide and unicodedata.east_asian_width(character) == "A" and not character.isalpha()
