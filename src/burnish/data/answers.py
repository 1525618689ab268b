"""Questions and answers, in any of the forms they are kept in -> where each answer stands in its context.

SQuAD, v1 and v2      {"data": [{"paragraphs": [{"context", "qas": [{"question", "answers", "is_impossible"}]}]}]}
rows                  context, question, and answers as {"text": [...], "answer_start": [...]}
                      or [{"text", "answer_start"}], or answer and answer_start, or answer alone
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.core import Span
from burnish.data.kind import number_of
from burnish.data.spans import Faults, placed
from burnish.data.table import is_missing
from burnish.errors import DataError, problem
from burnish.words import say

__all__ = ["answers_in", "flattened", "is_nested", "pairs_of", "places_of", "says_yes"]

MOST_PLACES = 20  # of an answer without a place; beyond this it is too common a word to learn from

Pair = tuple[str, int | None]  # an answer and where it begins, if that is said


def is_nested(row: Any) -> bool:
    """Whether it is an article or a paragraph of SQuAD, with questions inside."""
    return isinstance(row, Mapping) and (isinstance(row.get("paragraphs"), list) or isinstance(row.get("qas"), list))


def flattened(articles: Sequence[Any], source: str) -> list[dict[str, Any]]:
    """One row a question, with what its paragraph and its article say of it. Raises DataError where a part lacks."""
    rows = []
    for a, article in enumerate(articles):
        for p, paragraph in enumerate(article.get("paragraphs", [article]) if isinstance(article, Mapping) else [None]):
            if not (isinstance(paragraph, Mapping) and isinstance(paragraph.get("qas"), list)):
                given = say("{source}: paragraph {p} of article {a} has no questions", source=source, p=p + 1, a=a + 1)
                expected = say('"context" and "qas" in every paragraph, as in SQuAD')
                raise DataError(problem(given, expected, say('take it out, or give it "qas": []')))
            shared = {"title": article.get("title"), "context": paragraph.get("context")}
            rows += [
                {**{k: v for k, v in shared.items() if v is not None}, **question} for question in paragraph["qas"]
            ]
    return rows


def pairs_of(value: Any, start: Any = None) -> list[Pair] | None:
    """The answers of one value, each with its start where one is said; None for what is no answer at all."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        value = _from_json(value)
    if isinstance(value, Mapping):
        texts, starts = value.get("text"), value.get("answer_start", value.get("start"))
        return _zipped([texts] if isinstance(texts, str) else texts, starts)
    if isinstance(value, list | tuple):
        if start is not None and not any(isinstance(part, Mapping) for part in value):
            return _zipped(value, start)
        found = [pairs_of(part) if isinstance(part, Mapping) else _zipped([part], None) for part in value]
        return None if any(part is None for part in found) else [pair for part in found for pair in part or ()]
    return _zipped([value], start) if isinstance(value, str) else None


def _from_json(value: str) -> Any:
    """A list or an object where the text is JSON of answers; an answer may also just begin with a bracket."""
    try:
        found = json.loads(value)
    except ValueError:
        return value
    parts = found if isinstance(found, list) else [found]
    return found if all(isinstance(part, dict | str) for part in parts) else value


def _zipped(texts: Any, starts: Any) -> list[Pair] | None:
    """Answers with their starts; empty ones, which some sets write for 'no answer', are none."""
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        return None
    if starts is None:
        return [(text, None) for text in texts if text.strip()]
    starts = list(starts) if isinstance(starts, list | tuple) else [starts]
    numbers = [number_of(start) for start in starts]
    if len(numbers) != len(texts) or any(n is None or not n.is_integer() for n in numbers):
        return None
    return [(text, int(n)) for text, n in zip(texts, numbers, strict=True) if text.strip() and n is not None]


def answers_in(pairs: Sequence[Pair] | None, context: str, where: str, faults: Faults) -> tuple[Span, ...]:
    """The places of the answers, each once: the one most people gave first, since training takes the first."""
    if pairs is None:
        faults.refuse(where, say("its answers have another form"), _form())
        return ()
    found: Counter[Span] = Counter()
    for answer, start in pairs:
        bare = answer.strip()
        shift = len(answer) - len(answer.lstrip())
        starts = _anywhere(bare, context, where, faults) if start is None else _at(bare, start + shift, context)
        if start is not None and starts and starts[0] != start + shift:
            faults.mend("moved", say("{where}: '{answer}'", where=where, answer=bare))
        if not starts:
            faults.refuse(where, _lost(bare, start, context), _hint(start))
        found.update(Span(begin, begin + len(bare)) for begin in starts)
    return tuple(span for span, _ in found.most_common())  # of equals the first given


def _at(answer: str, start: int, context: str) -> list[int]:
    at = placed(context, answer, start)
    return [] if at is None else [at]


def _anywhere(answer: str, context: str, where: str, faults: Faults) -> list[int]:
    starts = places_of(answer, context)
    if len(starts) > 1:
        faults.mend("several places", say("{where}: '{answer}'", where=where, answer=answer))
    return starts[:MOST_PLACES]


def places_of(answer: str, context: str) -> list[int]:
    """Where an answer stands: as whole words, or where it never does, as in Chinese, at all."""
    words = [found.start() for found in re.finditer(rf"(?<!\w){re.escape(answer)}(?!\w)", context)]
    return words or [found.start() for found in re.finditer(re.escape(answer), context)]


def _lost(answer: str, start: int | None, context: str) -> str:
    if start is None:
        return say("'{answer}' does not stand in its context", answer=answer)
    there = context[max(start, 0) : max(start, 0) + len(answer)]
    return say("'{answer}' does not stand at {start}, where '{there}' is", answer=answer, start=start, there=there)


def _hint(start: int | None) -> str:
    if start is None:
        return say("answers must be copied from the context letter by letter; or leave such questions out")
    return say("count characters (code points) of the context from 0; not bytes, and not UTF-16 units as JavaScript")


def _form() -> str:
    return say("{example}", example='"answers": {"text": ["Paris"], "answer_start": [17]}')


def says_yes(value: Any) -> bool:
    """Whether an `is_impossible` is true, in JSON or as a word."""
    return str(value).strip().lower() in ("true", "1", "1.0", "yes") if not is_missing(value) else False
