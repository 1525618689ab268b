"""Where the other words of an attack come from: WordNet, a masked language model, or the user's own list.

Each gives, for every word of every row that may change, all words that could stand there, the likeliest first. That
they are of the same part of speech is seen to here: WordNet's by the reading of the word where it stands, the model's
by what it finds likely in that very gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from burnish.augment._mlm import Gaps, filler, like_case, likeliest
from burnish.augment._own import own
from burnish.augment._reading import is_name, read
from burnish.augment._wordnet import wordnet
from burnish.augment._words import STOP, Word, free, kept, like, words
from burnish.core import Row
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Choice", "Place", "Source", "source_of"]

Choice = Literal["wordnet", "masked_lm", "own"]


@dataclass(frozen=True)
class Place:
    """A word that may change, and what into."""

    word: Word
    others: tuple[str, ...]


class Source(Protocol):
    def __call__(self, rows: Sequence[Row]) -> list[list[Place]]:
        """The places of each row, in the order of its text."""


def source_of(choice: Choice, place: str, keep: tuple[str, ...], most: int) -> Source:
    """The source of that name, ready. `place` is WordNet's folder or empty, the model's folder, or the list's file.

    Raises Missing or UsageError for what is not there.
    """
    if choice == "wordnet":
        wordnet(place)
        return _WordNet(place, keep, most)
    if choice == "masked_lm":
        filler(place)
        return _Model(place, keep, most)
    if not place:
        given = say("an own list, and no file with it")
        raise UsageError(problem(given, say("interchangeable words a line, commas between"), "place=synonyms.txt"))
    own(place)
    return _Own(place, keep, most)


def _open(row: Row, keep: tuple[str, ...]) -> tuple[list[Word], list[Word]]:
    """All words of a row, and those that carry its content and may change."""
    found = words(row.text, whole=False)
    places = free(row, found, kept(keep))
    plain = [w for w in places if len(w.text) > 2 and w.text.lower() not in STOP and w.text.isalpha()]
    return found, [w for w in plain if not is_name(row.text, found, found.index(w))]


@dataclass(frozen=True)
class _WordNet:
    folder: str
    keep: tuple[str, ...]
    most: int

    def __call__(self, rows: Sequence[Row]) -> list[list[Place]]:
        return [self._places(row) for row in rows]

    def _places(self, row: Row) -> list[Place]:
        found, places = _open(row, self.keep)
        made = [Place(w, self._others(row.text, found, w)) for w in places]
        return [place for place in made if place.others]

    def _others(self, text: str, found: Sequence[Word], word: Word) -> tuple[str, ...]:
        table = wordnet(self.folder)
        reading = read(table, text, found, found.index(word))
        if reading is None:
            return ()
        lemmas = [w for sense in table.senses(reading.lemma, reading.pos) for w, _ in sense.words]
        forms = [like(table.inflected(lemma, reading.pos, reading.form), word.text) for lemma in dict.fromkeys(lemmas)]
        return tuple(form for form in dict.fromkeys(forms) if form.lower() != word.text.lower())[: self.most]


@dataclass(frozen=True)
class _Model:
    folder: str
    keep: tuple[str, ...]
    most: int

    def __call__(self, rows: Sequence[Row]) -> list[list[Place]]:
        """Every word is hidden once, by itself, with the others in sight; all rows share the batches."""
        asked = [(i, word) for i, row in enumerate(rows) for word in _open(row, self.keep)[1]]
        gaps = [Gaps(rows[i].text, ((word.start, word.end),)) for i, word in asked]
        source = filler(self.folder)
        found: dict[int, list[str]] = {}
        for batch, seen, logits_MW in source.logits(gaps, 64):
            seen_gaps = [g for g, numbers in zip(batch, seen, strict=True) for _ in numbers]
            likely, _ = likeliest(logits_MW, [asked[g][1].text for g in seen_gaps], source, self.most)
            found.update(zip(seen_gaps, likely, strict=True))
        made: list[list[Place]] = [[] for _ in rows]
        for g, (i, word) in enumerate(asked):
            if g in found:
                made[i].append(Place(word, tuple(like_case(other, word.text) for other in found[g])))
        return made


@dataclass(frozen=True)
class _Own:
    path: str
    keep: tuple[str, ...]
    most: int

    def __call__(self, rows: Sequence[Row]) -> list[list[Place]]:
        listed = own(self.path)
        return [
            [Place(w, listed.others(w.text)[: self.most]) for w in listed.places(row, kept(self.keep))] for row in rows
        ]
