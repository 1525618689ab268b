"""An attack on a classifier in its four parts, after Morris et al., "TextAttack", EMNLP 2020, arXiv:2005.05909.

    transformation   which other words: `Place.others`, see _sources.py
    constraints      is it the same text still: `Limits`, share of changed words and cosine of the two texts
    search           which word first, and what into: an `Order`, then `greedy`
    goal             has the answer left the label: `lost`

A search is a generator: it gives texts to be judged, and is sent their probabilities. So many of them run side by
side, and what they ask in a round goes to the model in one batch. None knows of another, so none changes another.

Shapes: N = texts of a question, C = labels, D = width of a text's vector.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from burnish.augment._edits import Edit, apply
from burnish.augment._sources import Place

__all__ = ["Asked", "Case", "Limits", "Order", "Result", "greedy", "lost", "side_by_side", "with_changes", "without"]

Asked = tuple[Literal["odds", "vectors"], list[str]]
Search = Generator[Asked, np.ndarray, Any]
Changes = dict[int, str]  # place -> the word that stands there now


@dataclass
class Case:
    """A text under attack."""

    text: str
    label: int
    places: Sequence[Place]
    words: int  # in all, those that may not change too
    queries: int = 0  # texts that the victim has judged

    def ask(self, texts: list[str]) -> Search:
        """Probabilities [N, C] of the texts."""
        self.queries += len(texts)
        found_NC = yield "odds", texts
        return found_NC


@dataclass(frozen=True)
class Limits:
    """The constraints: what a text may lose, and what an attack may cost."""

    share: float  # changed words, of all
    similarity: float  # least cosine of the new text with the old; 0: not asked
    queries: int  # texts judged in all


@dataclass(frozen=True)
class Result:
    """What came of it. `why` says why not: "wrong already", "not fooled", "queries"; "" is success."""

    edits: list[Edit] = field(default_factory=list)
    why: str = ""
    queries: int = 0
    changed: float = 0.0  # share of the words


# Which places in which order, and what each may change into; it may ask the victim.
Order = Callable[[Case, np.ndarray], Generator[Asked, np.ndarray, list[tuple[int, tuple[str, ...]]]]]


def lost(odds_C: np.ndarray, label: int) -> bool:
    """The goal: any answer but the label."""
    return int(odds_C.argmax()) != label


def greedy(case: Case, order: Order, limits: Limits) -> Generator[Asked, np.ndarray, Result]:
    """Place by place the word that costs the label most, until it is lost; of those that lose it, the most similar."""
    start_C = (yield from case.ask([case.text]))[0]
    if lost(start_C, case.label):
        return Result(why="wrong already", queries=case.queries)
    ranked = yield from order(case, start_C)
    changes: Changes = {}
    current = float(start_C[case.label])
    for place, options in ranked:
        if len(changes) >= max(1, int(limits.share * case.words)):
            break
        room = limits.queries - case.queries
        if room <= 0:
            return Result(why="queries", queries=case.queries)
        options, cosine_N = yield from _similar(case, changes, place, options[:room], limits.similarity)
        if not options:
            continue
        odds_NC = yield from case.ask([with_changes(case, {**changes, place: word}) for word in options])
        fooled = [k for k, odds_C in enumerate(odds_NC) if lost(odds_C, case.label)]
        if fooled:
            best = max(fooled, key=lambda k: cosine_N[k])
            return _success(case, {**changes, place: options[best]})
        best = int(odds_NC[:, case.label].argmin())
        if odds_NC[best, case.label] < current:
            changes, current = {**changes, place: options[best]}, float(odds_NC[best, case.label])
    return Result(why="not fooled", queries=case.queries)


def _similar(
    case: Case, changes: Changes, place: int, options: tuple[str, ...], least: float
) -> Generator[Asked, np.ndarray, tuple[tuple[str, ...], np.ndarray]]:
    """The options with which the text stays near what it was, and the cosines [N]; likeliest first without a limit."""
    if not least or not options:
        return options, -np.arange(len(options), dtype=float)
    texts = [with_changes(case, {**changes, place: word}) for word in options]
    vectors_ND = yield "vectors", [case.text, *texts]
    cosine_N = vectors_ND[1:] @ vectors_ND[0]
    near = [k for k in range(len(options)) if cosine_N[k] >= least]
    return tuple(options[k] for k in near), cosine_N[near]


def _success(case: Case, changes: Changes) -> Result:
    return Result(_edits(case, changes), "", case.queries, len(changes) / max(case.words, 1))


def _edits(case: Case, changes: Changes) -> list[Edit]:
    found = [(case.places[i].word, word) for i, word in sorted(changes.items())]
    return [Edit(old.start, old.end, new, "attack") for old, new in found]


def with_changes(case: Case, changes: Changes) -> str:
    return apply(case.text, _edits(case, changes))


def without(case: Case, place: int) -> str:
    """The text with a word deleted, and the space before it."""
    word = case.places[place].word
    start = word.start - 1 if word.start and case.text[word.start - 1] == " " else word.start
    return case.text[:start] + case.text[word.end :]


def side_by_side(
    searches: Sequence[Generator[Asked, np.ndarray, Result]],
    odds: Callable[[list[tuple[int, str]]], np.ndarray],
    vectors: Callable[[Sequence[str]], np.ndarray],
) -> list[Result]:
    """Run all searches to their end, one question of each a round. `odds` is told whose text it judges."""
    results: list[Result] = [Result()] * len(searches)
    waiting: dict[int, Asked] = {}

    def go_on(i: int, reply: np.ndarray | None) -> None:
        try:
            waiting[i] = next(searches[i]) if reply is None else searches[i].send(reply)
        except StopIteration as end:
            results[i] = end.value
            waiting.pop(i, None)

    for i in range(len(searches)):
        go_on(i, None)
    while waiting:
        for kind in ("odds", "vectors"):
            asking = [(i, texts) for i, (asked, texts) in sorted(waiting.items()) if asked == kind]
            if not asking:
                continue
            if kind == "odds":
                found = odds([(i, text) for i, texts in asking for text in texts])
            else:
                found = vectors([text for _, texts in asking for text in texts])
            at = 0
            for i, texts in asking:
                go_on(i, found[at : at + len(texts)])
                at += len(texts)
    return results
