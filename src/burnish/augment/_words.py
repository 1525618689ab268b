"""Text to words with their places, and what every word-level technique asks of them.

    "Don't stop, 别停下来!" ──words──► Don't(0,5) stop(6,10) 别(12,13) 停下来(13,16)

English and other scripts with spaces: a run of letters and digits, with apostrophes and hyphens inside. Chinese: cut by
jieba where the text is mostly Chinese, character by character otherwise. Scripts without spaces other than Chinese
(Thai, Khmer, Japanese kana) are not cut: a run of theirs is one word.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from burnish.augment._chinese import cut, jieba
from burnish.augment._edits import Range, protected
from burnish.core import Rng, Row, Rows
from burnish.data.stopwords import STOP_WORDS
from burnish.errors import DataError, UsageError, problem
from burnish.words import say

__all__ = ["STOP", "Word", "check_share", "chinese", "free", "how_many", "is_han", "kept", "like", "ready", "words"]


class Word(NamedTuple):
    """A word at characters `start`..`end` (excluded) of its text."""

    start: int
    end: int
    text: str


_new = tuple.__new__
HAN = "〇㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff"
HAN_RUN = re.compile(f"[{HAN}]+")
# Signs that belong to the letter before them: accents, Hebrew and Arabic vowels, Indic vowel signs, joiners.
MARKS = "\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0966-\u0e4e"
MARKS += "\u200c\u200d"
_IN = f"(?:[^\\W{HAN}]|[{MARKS}])"
PIECES = re.compile(f"[{HAN}]+|[^\\W_{HAN}]{_IN}*(?:['’-]{_IN}+)*")
PLAIN = re.compile(r"[A-Za-z0-9]\w*(?:['-]\w+)*")

# Words that hold a sentence together; no synonym of theirs is any good. Beside the commonest ones of burnish.data.
STOP = STOP_WORDS["en"] | frozenset(
    [
        "am",
        "being",
        "having",
        "does",
        "doing",
        "done",
        "did",
        "should",
        "might",
        "must",
        "ought",
        "may",
        "shall",
        "cannot",
        "let",
        "us",
        "our",
        "ours",
        "yours",
        "hers",
        "its",
        "theirs",
        "myself",
        "yourself",
        "himself",
        "herself",
        "itself",
        "ourselves",
        "themselves",
        "him",
        "whom",
        "whose",
        "these",
        "those",
        "another",
        "any",
        "anybody",
        "anyone",
        "anything",
        "both",
        "each",
        "either",
        "every",
        "everybody",
        "everyone",
        "everything",
        "few",
        "many",
        "more",
        "most",
        "much",
        "several",
        "some",
        "somebody",
        "someone",
        "something",
        "such",
        "than",
        "that's",
        "it's",
        "i'm",
        "i've",
        "i'd",
        "i'll",
        "you're",
        "you've",
        "you'll",
        "he's",
        "she's",
        "we're",
        "we've",
        "they're",
        "they've",
        "there's",
        "what's",
        "let's",
        "about",
        "above",
        "across",
        "after",
        "against",
        "along",
        "among",
        "around",
        "because",
        "before",
        "behind",
        "below",
        "beneath",
        "beside",
        "between",
        "beyond",
        "during",
        "except",
        "inside",
        "into",
        "like",
        "near",
        "off",
        "onto",
        "over",
        "past",
        "per",
        "since",
        "through",
        "throughout",
        "till",
        "toward",
        "towards",
        "under",
        "until",
        "upon",
        "via",
        "within",
        "although",
        "though",
        "unless",
        "whereas",
        "whether",
        "while",
        "why",
        "where",
        "how",
        "again",
        "ever",
        "further",
        "here",
        "now",
        "once",
        "only",
        "just",
        "also",
        "even",
        "still",
        "yet",
        "too",
        "very",
        "quite",
        "rather",
        "almost",
        "already",
        "always",
        "often",
        "sometimes",
        "then",
        "thus",
        "therefore",
        "however",
        "moreover",
        "indeed",
        "perhaps",
        "maybe",
        "please",
        "yes",
        "ok",
        "okay",
        "oh",
        "well",
        "mr",
        "mrs",
        "ms",
        "dr",
        "one",
        "two",
        "three",
        "first",
        "second",
        "own",
        "same",
        "other",
        "others",
        "else",
        "able",
        "get",
        "got",
        "gets",
        "getting",
        "go",
        "goes",
        "going",
        "went",
        "gone",
    ]
)
CHINESE_STOP = frozenset(
    [
        "的",
        "了",
        "是",
        "在",
        "和",
        "与",
        "或",
        "也",
        "都",
        "就",
        "而",
        "及",
        "着",
        "过",
        "把",
        "被",
        "给",
        "对",
        "从",
        "到",
        "很",
        "我",
        "你",
        "他",
        "她",
        "它",
        "们",
        "这",
        "那",
        "吗",
        "呢",
        "吧",
        "啊",
        "我们",
        "你们",
        "他们",
        "她们",
        "它们",
        "自己",
        "大家",
        "这个",
        "那个",
        "哪个",
        "这些",
        "那些",
        "这样",
        "那样",
        "这里",
        "那里",
        "什么",
        "怎么",
        "怎样",
        "为什么",
        "哪里",
        "多少",
        "几个",
        "一个",
        "一些",
        "或者",
        "但是",
        "可是",
        "不过",
        "然而",
        "因为",
        "所以",
        "如果",
        "虽然",
        "而且",
        "并且",
        "因此",
        "于是",
        "只是",
        "就是",
        "还是",
        "只有",
        "只要",
        "无论",
        "以及",
        "关于",
        "对于",
        "由于",
        "为了",
        "已经",
        "可以",
        "可能",
        "应该",
        "能够",
        "必须",
        "非常",
        "比较",
        "特别",
        "十分",
        "有点",
        "起来",
        "出来",
        "出去",
        "下来",
        "下去",
        "上去",
        "进去",
        "回来",
        "没有",
        "之后",
        "之前",
        "以后",
        "以前",
        "时候",
        "开始",
    ]
)


def chinese(text: str) -> bool:
    """Whether a text is mostly Chinese: more Chinese characters than other words."""
    if text.isascii():
        return False
    runs = [len(m.group()) if is_han(m.group()[0]) else -1 for m in PIECES.finditer(text)]
    return sum(runs) > 0


def ready(rows: Rows) -> None:
    """Load what cuts these rows into words. Raises Missing when some are Chinese and jieba is not there."""
    if any(chinese(text) for row in rows for text in (row.text, row.pair) if text):
        jieba()


def is_han(char: str) -> bool:
    return "㐀" <= char <= "鿿" or HAN_RUN.match(char) is not None


def words(text: str, *, whole: bool = True) -> list[Word]:
    """The words of a text, in order. Chinese ones need jieba; with `whole` off, each character stands alone instead."""
    if text.isascii():
        # What Word(...) does, without its Python call: this line is a third of the time of a character-level edit.
        return [_new(Word, (m.start(), m.end(), m.group())) for m in PLAIN.finditer(text)]
    whole = whole and chinese(text)
    found: list[Word] = []
    for match in PIECES.finditer(text):
        at, piece = match.start(), match.group()
        if not is_han(piece[0]):
            found.append(Word(at, match.end(), piece))
            continue
        for part in cut(piece) if whole else piece:
            found.append(Word(at, at + len(part), part))
            at += len(part)
    return found


def free(row: Row, found: Sequence[Word], keep: Sequence[str] = ()) -> list[Word]:
    """Those of the words that may change: clear of what is protected. The ranges and the words are both in order."""
    ranges = protected(row, keep)
    return outside(ranges, found) if ranges else list(found)


def outside(ranges: Sequence[Range], found: Sequence[Word]) -> list[Word]:
    kept_words, i = [], 0
    for word in found:
        while i < len(ranges) and ranges[i][1] <= word.start:
            i += 1
        if i == len(ranges) or word.end <= ranges[i][0]:
            kept_words.append(word)
    return kept_words


def how_many(share: float, total: int, rng: Rng) -> int:
    """`share` of `total`, rounded up or down at random, so that over many texts the share is met exactly.

    The usual max(1, int(share * total)) takes a third of a text of three words, whatever the share.
    """
    exact = share * total
    return int(exact) + (rng.random() < exact - int(exact))


def like(word: str, model: str) -> str:
    """`word` in the case of `model`: MODEL, Model or, as it is, model."""
    if model[:1].islower() or not model[:1].isalpha():
        return word
    if len(model) > 1 and model.isupper():
        return word.upper()
    return word[:1].upper() + word[1:]


@lru_cache(maxsize=32)
def kept(keep: tuple[str, ...]) -> tuple[str, ...]:
    """The words that must never change: as given, or those of a file, one a line, where an entry is a path."""
    return tuple(word for entry in keep for word in (_lines(entry) if entry.endswith(".txt") else (entry,)) if word)


def _lines(path: str) -> tuple[str, ...]:
    if not Path(path).is_file():
        raise DataError(problem(say("no file {path}", path=path), say("words to keep, one a line"), "keep=Acme,Bob"))
    return tuple(line for line in map(str.strip, Path(path).read_text("utf-8-sig").splitlines()) if line)


def check_share(name: str, value: float) -> None:
    """Raises UsageError for a share of words outside 0..1."""
    if not 0 < value <= 1:
        given = say("{name} {value}", name=name, value=value)
        raise UsageError(problem(given, say("above 0 up to 1"), f"{name}=0.1"))
