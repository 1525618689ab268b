"""Which part of speech an English word is where it stands: a guess, good enough to pick WordNet's meaning by.

How often WordNet's tagged texts have the word as a noun, verb, adjective or adverb, times what the word before it and
the one after it speak for. It is no tagger; where two readings are about as likely the word has none, and is left
alone. The factors below are ours, set by hand.
"""

from collections.abc import Mapping, Sequence

from burnish.augment._wordnet import Reading, WordNet
from burnish.augment._words import STOP, Word

__all__ = ["CLASS", "is_name", "previous", "read"]

# A reading must be this many times as likely as the next one, or the word is left alone.
SURE = 2.0

_CLASSES = {
    "article": "a an the my your his her its our their this that these those some any each every another which whose",
    "to": "to",
    "modal": "will would shall should can could may might must do does did 'll let",
    "pronoun": "i you he she it we they who",
    "be": "am is are was were be been being",
    "have": "have has had having",
    "degree": "very so too quite rather really more most less least extremely pretty fairly truly",
    "preposition": "in on at of for with by from about into through over under between during after before against",
}
CLASS = {word: name for name, members in _CLASSES.items() for word in members.split()}
# How much likelier a part of speech becomes after a word of a class; verbs by form: "v" (also with s), "ed", "ing".
AFTER: dict[str, dict[str, float]] = {
    "article": {"n": 3, "a": 2, "v": 0.02, "ed": 0.3, "ing": 0.3, "r": 0.3},
    "to": {"v": 20, "n": 0.5, "a": 0.3, "ed": 0.02, "ing": 0.1},
    "modal": {"v": 20, "n": 0.2, "a": 0.2, "ed": 0.1, "ing": 0.1},
    "pronoun": {"v": 5, "ed": 5, "n": 0.05, "a": 0.1},
    "be": {"a": 3, "ed": 3, "ing": 3, "v": 0.02, "n": 0.7},
    "have": {"ed": 10, "v": 0.02},
    "degree": {"a": 5, "r": 3, "v": 0.1, "n": 0.1},
    "preposition": {"n": 3, "a": 1.5, "v": 0.05, "ed": 0.3, "ing": 1.5, "r": 0.3},
}
# The same for the class of the word after it; "" is the end of the phrase, "content" a word of any other kind.
BEFORE: dict[str, dict[str, float]] = {
    "article": {"v": 3, "ed": 3, "ing": 2, "n": 0.5, "a": 0.2},
    "preposition": {"n": 1.5, "a": 0.5},
    "content": {"a": 2, "n": 0.7},
    "": {"n": 1.5, "a": 0.7},
}


def read(table: WordNet, text: str, found: Sequence[Word], i: int) -> Reading | None:
    """The likeliest reading of a word where it stands; None when there is none or it is not sure."""
    readings = table.readings(found[i].text.lower())
    if not readings:
        return None
    after = AFTER.get(CLASS.get(previous(text, found, i), ""), {})
    before = BEFORE.get(_kind(following(text, found, i)), {})
    scored = sorted(((_weight(r, after) * _weight(r, before) * (r.times + 0.5), r) for r in readings), reverse=True)
    best = scored[0][1]
    rival = next((score for score, r in scored if r.pos != best.pos), 0.0)
    return best if scored[0][0] >= SURE * rival else None


def _weight(reading: Reading, odds: Mapping[str, float]) -> float:
    form = {"past": "ed", "part": "ed", "ing": "ing"}.get(reading.form, reading.pos)
    return odds.get(form, 1.0)


def previous(text: str, found: Sequence[Word], i: int) -> str:
    """The word before, in lower case; "" when there is none or more than space is between."""
    if i == 0 or text[found[i - 1].end : found[i].start].strip():
        return ""
    return found[i - 1].text.lower()


def following(text: str, found: Sequence[Word], i: int) -> str:
    """The word after, likewise."""
    if i + 1 == len(found) or text[found[i].end : found[i + 1].start].strip():
        return ""
    return found[i + 1].text.lower()


def _kind(word: str) -> str:
    return CLASS.get(word, "other" if word in STOP else "content") if word else ""


def is_name(text: str, found: Sequence[Word], i: int) -> bool:
    """Whether the word has a capital where a plain word would have none."""
    word = found[i]
    if word.text.islower() or text.isupper():
        return False
    opens = i == 0 or any(c in '.!?"“\n' for c in text[found[i - 1].end : word.start])
    return not (opens and word.text[1:].islower())
