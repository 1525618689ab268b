"""What may stand in for a word where it stands: WordNet for English texts, Cilin for Chinese ones, or the user's list.

A text is English or Chinese as a whole (see _words.chinese), so what is needed for it does not depend on what happens
to be installed: in an English text only English words change, in a Chinese one only Chinese ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from burnish.augment import _chinese
from burnish.augment._own import own
from burnish.augment._reading import CLASS, is_name, previous, read
from burnish.augment._wordnet import Reading, WordNet, wordnet
from burnish.augment._words import CHINESE_STOP, STOP, Word, chinese, free, is_han, kept, like
from burnish.core import Rng, Row, Rows
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Language", "Thesaurus"]

Language = Literal["auto", "en", "zh"]

# Senses tagged less often than this share of the first one's count are not what a writer meant.
RARE_SENSE = 0.1
# What a word that was never tagged with the sense weighs against one tagged once.
UNTAGGED = 0.25


@dataclass(frozen=True)
class Thesaurus:
    """Where to look, as the steps' settings say it."""

    language: Language
    own: str
    wordnet: str
    senses: int
    band: float

    def __post_init__(self) -> None:
        if self.senses < 1 or self.band < 1:
            given = say("senses {n}, band {x}", n=self.senses, x=self.band)
            raise UsageError(problem(given, say("both 1 or more"), "senses=2, band=10"))

    def ready(self, rows: Rows) -> None:
        """Load what these rows need. Raises Missing, with what to install, or DataError for an empty own list."""
        if self.own:
            own(self.own)
            return
        wanted = {self._language(text) for row in rows for text in (row.text, row.pair) if text and text.strip()}
        if "en" in wanted:
            wordnet(self.wordnet)
        if "zh" in wanted:
            _chinese.synonyms()
            _chinese.jieba()

    def _language(self, text: str) -> str:
        """en, zh, or "" for a text in the language that is not asked for."""
        spoken = "zh" if chinese(text) else "en"
        return spoken if self.language in ("auto", spoken) else ""

    def places(self, row: Row, found: Sequence[Word], keep: tuple[str, ...]) -> list[Word]:
        """The words of the row that may have another."""
        if self.own:
            return own(self.own).places(row, kept(keep))
        spoken = self._language(row.text)
        if spoken == "zh":
            return [w for w in free(row, found, kept(keep)) if is_han(w.text[0]) and w.text not in CHINESE_STOP]
        if spoken == "en":
            return [w for w in free(row, found, kept(keep)) if len(w.text) > 2 and w.text.lower() not in STOP]
        return []

    def other(self, text: str, found: Sequence[Word], word: Word, rng: Rng) -> str | None:
        """Something else for `word`, one of `places`, in its form and case; None when nothing fits."""
        if self.own:
            return own(self.own).other(word.text, rng)
        if is_han(word.text[0]):
            return self._chinese(word.text, rng)
        return self._english(text, found, found.index(word), rng)

    def _chinese(self, word: str, rng: Rng) -> str | None:
        counts = _chinese.word_counts()
        near = [
            other
            for other in _chinese.synonyms().get(word, ())
            if _chinese.close(counts.get(word, 0), counts.get(other, 0), self.band)
        ]
        return rng.choice(near) if near else None

    def _english(self, text: str, found: Sequence[Word], i: int, rng: Rng) -> str | None:
        table = wordnet(self.wordnet)
        word = found[i].text
        if is_name(text, found, i):
            return None
        reading = read(table, text, found, i)
        choices = _choices(table, reading, self.senses) if reading else {}
        before = previous(text, found, i)
        if before in ("a", "an"):
            choices = {w: n for w, n in choices.items() if (w[0] in "aeiou") == (before == "an")}
        if not choices or reading is None:
            return None
        form = "part" if reading.form == "past" and CLASS.get(before) in ("be", "have") else reading.form
        lemma = rng.choices(list(choices), list(choices.values()))[0]
        other = like(table.inflected(lemma, reading.pos, form), word)
        return other if other.lower() != word.lower() else None


def _choices(table: WordNet, reading: Reading, senses: int) -> dict[str, float]:
    """Words of the first senses, weighed by how often they were tagged with them."""
    found: dict[str, float] = {}
    listed = table.senses(reading.lemma, reading.pos)[:senses]
    for sense in listed:
        if sense.times >= RARE_SENSE * listed[0].times:
            for word, count in sense.words:
                found[word] = found.get(word, 0.0) + count + UNTAGGED
    return found
