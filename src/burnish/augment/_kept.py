"""Filters for what must still be there: numbers, negations, names.

Each compares what it finds in the old text with what it finds in the new one, so a mistake in finding, made twice,
does no harm. Languages: English and Chinese; digits, quotes and capitals elsewhere too.
"""

import importlib
import importlib.util
import logging
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from burnish.augment._change import HAN, Change, words_of
from burnish.core import Row, Span, Work
from burnish.data.stopwords import STOP_WORDS
from burnish.data.text import language_of
from burnish.words import say

__all__ = ["Entities", "Negations", "Numbers", "names_in", "negations_in", "numbers_in"]

# -- numbers ---------------------------------------------------------------------------------------------------------

# A digit between two letters is a slip of the pen, as in 'l0ve'.
DIGITS = r"(?<![A-Za-z]\d)(?:(?<![\w.,])-)?(?:(?<![A-Za-z])\d[\d,]*(?:\.\d+)?|\d+(?![\dA-Za-z]))"
UNITS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18,
    "nineteen": 19,
}  # fmt: skip
TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
# Not 'one', 'first' and 'second', which are more often no numbers.
ORDINALS = {
    "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
}  # fmt: skip
WORTH = {**UNITS, **TENS, **ORDINALS, "dozen": 12}
HAN_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
HAN_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "亿": 10**8}
HAN_NUMBER = "".join([*HAN_DIGITS, *HAN_SCALES])
# Words that are spelled with numerals and count nothing.
IDLE = re.compile(r"十分(?!钟|之)|万分(?!之)|千万(?=[别不要记])|万一|一[^\d十百千万亿]|百分之")
NUMBER = re.compile(
    rf"(?P<digits>{DIGITS})|(?P<word>[a-z]+)|(?P<idle>{IDLE.pattern})|(?P<han>[{HAN_NUMBER}]+)", re.IGNORECASE
)
ANY_NUMBER = re.compile(rf"\d|[{HAN_NUMBER}]")
NUMBER_WORDS = frozenset([*WORTH, *SCALES])


@lru_cache(maxsize=4096)
def numbers_in(text: str) -> Counter[float]:
    """The numbers of a text by value: '3,200', '3200' and '3.2 thousand' are one, 'two' and 两 are 2.

    >>> sorted(numbers_in("Around 3,200 workers, twenty-five of them for 12.5 million"))
    [25.0, 3200.0, 12500000.0]
    """
    if not ANY_NUMBER.search(text) and NUMBER_WORDS.isdisjoint(words_of(text)):
        return Counter()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    found: list[float] = []
    growing = 0.0  # what the next word may still multiply or add to; 0 when nothing is open
    for match in NUMBER.finditer(text):
        kind, said = match.lastgroup, match.group().lower()
        scale = SCALES.get(said, HAN_SCALES.get(said, 0)) if kind in ("word", "han") else 0
        if scale and growing:
            found[-1] = growing = growing * scale
        elif kind == "word" and said in UNITS and growing in TENS.values() and UNITS[said] < 10:
            found[-1], growing = growing + UNITS[said], 0.0
        else:
            value = float(scale) if scale else _value(kind, said)
            if value is not None:
                found.append(value)
            growing = value or 0.0
    return Counter(found)


def _value(kind: str | None, said: str) -> float | None:
    if kind == "digits":
        plain = re.sub(r",(?=\d{3}(?!\d))", "", said.rstrip(",")).replace(",", ".")
        return float(plain) if plain.count(".") < 2 else float(plain.replace(".", "", plain.count(".") - 1))
    if kind == "word":
        return float(WORTH[said]) if said in WORTH else None
    return float(_han_value(said)) if kind == "han" else None


def _han_value(said: str) -> int:
    """'三百二十' is 320; digits in a row are read one by one, as in years."""
    if not any(c in HAN_SCALES for c in said):
        return int("".join(str(HAN_DIGITS[c]) for c in said))
    total = part = digit = 0
    for c in said:
        if c in HAN_DIGITS:
            digit = HAN_DIGITS[c]
        elif HAN_SCALES[c] < 10**4:
            part, digit = part + (digit or 1) * HAN_SCALES[c], 0
        else:
            total, part, digit = (total + part + digit or 1) * HAN_SCALES[c], 0, 0
    return total + part + digit


@dataclass(frozen=True)
class Numbers:
    def fitted(self, work: Work) -> "Numbers":
        return self

    def why(self, change: Change) -> str:
        return "" if numbers_in(change.old) == numbers_in(change.new) else say("a number changed")


# -- negations -------------------------------------------------------------------------------------------------------

# Any text with a negation has one of these: looking for them takes a tenth of the time.
SIGNS = re.compile(r"n[o'’]|neve|neit|withou|unable|hardl|bare|scarc|rare|seldo|lack|fail|refus|den[iy]|[^\x00-\x7f]")
NEGATIONS = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|nowhere|neither|nor|without|cannot|unable|hardly|barely|scarcely|rarely|"
    r"seldom|lack(?:s|ed|ing)?|fail(?:s|ed|ing)?|refus(?:e|es|ed|ing)|den(?:y|ies|ied|ying))\b|n['’]t\b"
    r"|[不没无非未尚否勿莫甭毋]|拒绝|缺乏"
)
# Written with a sign of negation, and none; and two signs that make one.
NO_NEGATION = re.compile(
    r"\bnot only\b|\bno doubt\b|\bnothing but\b|非常|不仅|不但|不过|不管|不论|无论|不断|不错|不少|不久|不禁|不愧|"
    r"不妨|不同|未来|除非|是非|莫名|无限|无线|无穷|无比|尚(?=[未无不没])|尚可|时尚|高尚|是否|能否|差不多|要不"
)
NEVER_BOTH = re.compile(r"\bneither\b(.*?)\bnor\b", re.DOTALL)
PREFIXES, SUFFIX = ("un", "in", "im", "ir", "il", "dis", "non"), "less"
STEM = 4  # letters that must be left for a prefix to be one: 'under' is no denial of 'der'


@lru_cache(maxsize=4096)
def negations_in(text: str) -> int:
    """How many words and signs of the text deny something."""
    text = text.lower()
    if not SIGNS.search(text):
        return 0
    if NO_NEGATION.search(text):
        text = NO_NEGATION.sub(" ", text)
    if "neither" in text:
        text = NEVER_BOTH.sub(r"neither\1", text)
    return sum(1 for _ in NEGATIONS.finditer(text))


@dataclass(frozen=True)
class Negations:
    def fitted(self, work: Work) -> "Negations":
        return self

    def why(self, change: Change) -> str:
        if negations_in(change.old) != negations_in(change.new):
            return say("a negation more or less")
        old, new = (frozenset(words_of(text)) for text in (change.old, change.new))
        if any(_denied(word) & (new - old) for word in sorted(old - new)):
            return say("a word turned into its opposite")
        return say("a word turned into its opposite") if any(_denied(w) & (old - new) for w in new - old) else ""


@lru_cache(maxsize=65_536)
def _denied(word: str) -> frozenset[str]:
    """What a word denies, going by its form: 'unhappy' denies 'happy', 'useless' denies 'useful'."""
    found = [word[len(p) :].lstrip("-") for p in PREFIXES if word.startswith(p) and len(word) >= len(p) + STEM]
    if word.endswith(SUFFIX) and len(word) > len(SUFFIX) + 2:
        stem = word[: -len(SUFFIX)]
        found += [stem, f"{stem}ful", f"{stem}ed"]
    return frozenset(found)


# -- names -----------------------------------------------------------------------------------------------------------

QUOTED = re.compile(r"“([^”]{1,60})”|\"([^\"]{1,60})\"|《([^》]{1,60})》|「([^」]{1,60})」|‘([^’]{1,60})’(?!\w)")
CAPITAL = re.compile(rf"[^\W\d_{HAN}][^\W_{HAN}]*(?:['’-][^\W_{HAN}]+)*")
# Before these a new sentence begins, or something that is written as one.
BEGINS = re.compile(r"(?:^|[.!?:。！？：;\n]\s*|[\"'“‘(\[《「-]\s*|\s[–—-]\s)$")
POSSESSIVE = re.compile(r"['’]s?$")
# From this share of capitalised words on, capitals say nothing: a headline.
HEADLINE = 0.75


@lru_cache(maxsize=4096)
def names_in(text: str) -> frozenset[str]:
    """What looks like a name: quoted, or with a capital where no sentence begins; case folded, word by word.

    In German every noun has a capital, so there only quotes count; in Chinese quotes, Latin words and, where the
    package jieba is installed, what it takes for the name of a person, a place or a body.
    """
    found = {part.casefold() for groups in QUOTED.findall(text) for part in groups if part}
    words = list(CAPITAL.finditer(text))
    capitals = [m for m in words if m.group()[0].isupper()]
    any_ = any(c.isupper() for c in text)
    # Of at least five words: shorter texts have too few to tell a headline from a list of names.
    headline = len(words) >= 5 and len(capitals) > HEADLINE * len(words)
    if any_ and not headline and language_of(text) != "de":
        found |= {POSSESSIVE.sub("", m.group()).casefold() for i, m in enumerate(words) if _is_name(text, words, i)}
    return frozenset(found | _chinese_names(text))


def _is_name(text: str, words: list[re.Match[str]], i: int) -> bool:
    word = words[i].group()
    plain = word.casefold()
    if plain in STOP_WORDS["en"] or plain.split("'")[0] in STOP_WORDS["en"]:
        return False
    if any(c.isupper() for c in word[1:]):
        return True
    if not word[0].isupper():
        return False
    if not BEGINS.search(text, 0, words[i].start()):
        return True
    after = words[i + 1] if i + 1 < len(words) else None  # 'Angela Merkel said': the capital that follows tells
    return after is not None and after.group()[0].isupper() and text[words[i].end() : after.start()] == " "


def _chinese_names(text: str) -> set[str]:
    if not re.search(f"[{HAN}]", text):
        return set()
    found = {m.group().casefold() for m in re.finditer(r"[A-Za-z][A-Za-z0-9]+", text)}
    tagger = _tagger()
    if tagger is not None:
        found |= {word for word, flag in tagger(text) if flag in ("nr", "nrfg", "nrt", "ns", "nt") and len(word) > 1}
    return found


@lru_cache(maxsize=1)
def _tagger() -> Any:
    """jieba's tagger, where it is installed."""
    if importlib.util.find_spec("jieba") is None:
        return None
    importlib.import_module("jieba").setLogLevel(logging.WARNING)
    return importlib.import_module("jieba.posseg").lcut


@dataclass(frozen=True)
class Entities:
    def fitted(self, work: Work) -> "Entities":
        return self

    def why(self, change: Change) -> str:
        if _labels(change.parent) != _labels(change.child):
            return say("a labelled span is gone")
        new, plain = change.new.casefold(), words_of(change.new)
        for name in sorted(names_in(change.old)):
            if not (name in plain if name.isascii() and name.isalnum() else name in new):
                return say("a name is gone")
        old = change.old.casefold()
        return say("a name is new") if any(name not in old for name in names_in(change.new)) else ""


def _labels(row: Row) -> list[str]:
    """Labels of the spans that do hold text."""
    if not isinstance(row.target, tuple):
        return []
    return sorted(s.label for s in row.target if isinstance(s, Span) and row.text[s.start : s.end].strip())
