"""Facts about entities and answers -> findings, as `burnish.data.findings` draws them from the other facts."""

from collections.abc import Iterator, Mapping
from typing import Any

from burnish.words import say

__all__ = ["about_spans"]

Finding = dict[str, Any]
Facts = Mapping[str, Any]

UNEVEN = 10.0  # largest type over smallest
AGAINST_SHARE = 0.05  # of the entities: beyond this, scores have a ceiling that shows
ALL_NONE = 0.8


def about_spans(facts: Facts) -> Iterator[Finding]:
    yield from _mended(facts.get("mended") or {})
    if facts.get("entities"):
        yield from _entities(facts)
    if facts.get("answers"):
        yield from _answers(facts)


def _finding(level: str, what: str, why: str, hint: str, examples: Any = ()) -> Finding:
    return {"level": level, "what": what, "why": why, "try": hint, "examples": list(examples)}


# kind -> level, what, why, what to try
_MENDED = {
    "tag breaks": (
        "warn", "{count} tags break their scheme ({places})",
        "each was read as the beginning of an entity of its own, as seqeval reads it; so may an entity have been cut",
        "look at them: I-X goes on with B-X or I-X only",
    ),
    "trimmed": (
        "info", "{count} spans began or ended in blanks ({places})",
        "the blanks were taken off; labels stand on words", "mend the tool that made them",
    ),
    "moved": (
        "warn", "{count} spans did not stand at their place ({places})",
        "each was found near it and moved; one that could be at two places may be wrong",
        "count characters (code points), not bytes or UTF-16 units",
    ),
    "repeated": (
        "info", "in {count} rows a span is there twice ({places})", "it counts once", "mend the tool that made them",
    ),
    "several places": (
        "warn", "{count} answers without a place occur several times in their context ({places})",
        "every place counts as right, and the model may learn from a wrong one", "say where each begins: answer_start",
    ),
    "impossible": (
        "warn", "{count} questions have answers and are marked as impossible ({places})",
        "they count as impossible", "look which of the two is meant",
    ),
}  # fmt: skip


def _mended(mended: Facts) -> Iterator[Finding]:
    for kind, found in mended.items():
        level, what, why, hint = _MENDED[kind]
        yield _finding(
            level, say(what, count=found["count"], places="; ".join(found["places"][:3])), say(why), say(hint)
        )


def _entities(facts: Facts) -> Iterator[Finding]:
    found = facts["entities"]
    yield from _inside_words(found["inside_words"])
    balance = facts["balance"]
    if balance and (balance["ratio"] or 0) >= UNEVEN:
        what = say(
            "'{largest}' is {ratio} times as common as '{smallest}'", **{**balance, "ratio": f"{balance['ratio']:.0f}"}
        )
        yield _finding("warn", what, say("f1 hardly shows how well the rare type is found"), "--metric macro_f1")
    mentions = found["mentions"]
    if mentions and mentions["against"]:
        total = max(1, sum(found["entities"].values()))
        what = say(
            "{count} different mentions are labelled otherwise elsewhere, or not at all: {places:,} places",
            count=mentions["conflicting"],
            places=mentions["against"],
        )
        why = say("some are right, since words mean different things; what is overlooked teaches the model to overlook")
        level = "warn" if mentions["against"] >= AGAINST_SHARE * total else "info"
        shown = [_mention(found) for found in mentions["examples"]]
        yield _finding(level, what, why, say("look at the commonest first"), shown)


def _mention(found: Facts) -> str:
    """'Ada Lovelace': person 3, no label 1."""
    counts = [f"{label} {count}" for label, count in found["labels"].items()]
    counts += [say("no label {count}", count=found["unlabelled"])] if found["unlabelled"] else []
    return f"'{found['mention']}': {', '.join(counts)}"


def _inside_words(found: Facts | None) -> Iterator[Finding]:
    if found and found["spans"]:
        yield _finding(
            "warn",
            say("{count:,} spans begin or end inside a word", count=found["spans"]),
            say("labels and answers stand on whole words, so these grow to the ends of theirs and are scored so"),
            say("mend their places; an end that is counted as inside, not after, shows like this"),
            found["examples"],
        )


def _answers(facts: Facts) -> Iterator[Finding]:
    found, rows = facts["answers"], facts["rows"]
    yield from _inside_words(found["inside_words"])
    none, total = found["unanswerable"], sum(rows.values())
    if sum(none.values()):
        share = sum(none.values()) / total
        what = say("{share:.1f} % of the questions have no answer in their text", share=100 * share)
        why = say("a model that never answers would score that much")
        yield _finding("warn" if share >= ALL_NONE else "info", what, why, say("look at answered_f1 too"))
    for side in ("valid", "test"):
        if none[side] and not none["train"]:
            what = say("questions without an answer in {side}, and none in train", side=side)
            hint = say("add such questions to train")
            yield _finding("error", what, say("the model never sees that not answering can be right"), hint)
    if found["repeated"]["rows"]:
        what = say("the answer stands elsewhere in its text too: {rows:,} rows", **found["repeated"])
        why = say("only the place that is given counts when training; scores compare the words")
        yield _finding(
            "info", what, why, say("look whether it is the place that answers"), found["repeated"]["examples"]
        )
