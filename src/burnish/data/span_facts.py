"""Numbers about entities and answers: how many, where they stand, and where the same words are labelled otherwise."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from burnish.core import Row, Span
from burnish.data.answers import places_of
from burnish.data.facts import quantiles
from burnish.data.kind import labels_of
from burnish.data.overlap import EXAMPLES, SIDES, example
from burnish.data.split import Splits
from burnish.data.tags import joined

__all__ = ["Words", "answer_facts", "entity_counts", "entity_facts"]

Words = Callable[[str], Sequence[tuple[int, int]]]  # a text's words, in characters
Mention = tuple[str, ...]  # the words of it
Placed = tuple[Row, str]  # and the side it is on


def _placed(splits: Splits) -> list[Placed]:
    return [(row, side) for side in SIDES for row in getattr(splits, side)]


def _spans(row: Row) -> list[Span]:
    return [part for part in row.target if isinstance(part, Span)] if isinstance(row.target, tuple) else []


def entity_counts(splits: Splits) -> list[dict[str, Any]]:
    """[{"label", "train", "valid", "test", "share", "rows"}]: entities a side, share of all, rows that have one."""
    counts = {side: Counter(s.label for row in getattr(splits, side) for s in _spans(row)) for side in SIDES}
    rows = Counter(label for row, _ in _placed(splits) for label in {s.label for s in _spans(row)})
    total = sum(sum(found.values()) for found in counts.values())
    return [
        {
            "label": label,
            **{side: counts[side][label] for side in SIDES},
            "share": sum(counts[side][label] for side in SIDES) / max(total, 1),
            "rows": rows[label],
        }
        for label in labels_of([row.target for row, _ in _placed(splits)])
    ]


def entity_facts(splits: Splits, words: Words | None) -> dict[str, Any]:
    """{"entities": {side: n}, "rows_without": {side: n}, "inside_words", "mentions"}; the last two need `words`."""
    placed = _placed(splits)
    return {
        "entities": {side: sum(len(_spans(row)) for row in getattr(splits, side)) for side in SIDES},
        "rows_without": {side: sum(not row.target for row in getattr(splits, side)) for side in SIDES},
        "inside_words": None if words is None else _inside_words(placed, words),
        "mentions": None if words is None else _mentions([row for row, _ in placed], words),
    }


def _inside_words(placed: Sequence[Placed], words: Words) -> dict[str, Any]:
    """Spans that begin or end within a word: labels stand on whole words, so these grow to the word's ends."""
    count, rows = 0, []
    for row, side in placed:
        where = words(row.text)
        begins, ends = {start for start, _ in where}, {end for _, end in where}
        cut = [span for span in _spans(row) if span.start not in begins or span.end not in ends]
        count += len(cut)
        rows += [(row, side, cut[0])] if cut else []
    return {"spans": count, "rows": len(rows), "examples": [_around(*found) for found in rows[:EXAMPLES]]}


def _around(row: Row, side: str, span: Span) -> dict[str, Any]:
    """An example that shows the letters on both sides of a span, which is what is wrong with it."""
    low, high = max(0, span.start - 20), span.end + 20
    shown = f"{row.text[low : span.start]}[{row.text[span.start : span.end]}]{row.text[span.end : high]}"
    return {**example(row, side), "text": " ".join(shown.split()), "target": [span.label] if span.label else []}


def _mentions(rows: Sequence[Row], words: Words) -> dict[str, Any]:
    """{"different", "conflicting", "against", "examples"}: the same words with several labels, or also with none.

    `against` counts the occurrences that go against what most of the same words are. Case counts; a single character
    is no mention here, since where no blanks are it is a part of other words.
    """
    said: dict[Mention, Counter[str]] = defaultdict(Counter)
    texts = [[row.text[start:end] for start, end in words(row.text)] for row in rows]
    taken = []
    for row, own in zip(rows, texts, strict=True):
        places = list(_in_words(row, words))
        taken.append({i for first, after, _ in places for i in range(first, after)})
        for first, after, label in places:
            said[tuple(own[first:after])][label] += 1
    known = {mention: found for mention, found in said.items() if sum(map(len, mention)) > 1}
    without = _unlabelled(texts, taken, known)
    found = {m: _against(labels, without[m]) for m, labels in known.items()}
    order = sorted((m for m in found if found[m]), key=lambda m: (-found[m], m))
    return {
        "different": len(said),
        "conflicting": len(order),
        "against": sum(found.values()),
        "examples": [_mention_example(m, known[m], without[m]) for m in order[:EXAMPLES]],
    }


def _in_words(row: Row, words: Words) -> Iterator[tuple[int, int, str]]:
    """The spans in words: first, after the last, label."""
    where = words(row.text)
    for span in _spans(row):
        inside = [i for i, (start, end) in enumerate(where) if start < span.end and span.start < end]
        if inside:
            yield inside[0], inside[-1] + 1, span.label


def _unlabelled(
    texts: Sequence[Sequence[str]], taken: Sequence[set[int]], known: Mapping[Mention, Any]
) -> Counter[Mention]:
    """How often each known mention stands outside all labels."""
    lengths: dict[str, set[int]] = defaultdict(set)
    for mention in known:
        lengths[mention[0]].add(len(mention))
    found: Counter[Mention] = Counter()
    for own, labelled in zip(texts, taken, strict=True):
        for i, word in enumerate(own):
            for length in sorted(lengths.get(word, ())):
                mention = tuple(own[i : i + length])
                if mention in known and labelled.isdisjoint(range(i, i + length)):
                    found[mention] += 1
    return found


def _against(labels: Mapping[str, int], without: int) -> int:
    counts = [*labels.values(), without]
    return sum(counts) - max(counts)


def _mention_example(mention: Mention, labels: Counter[str], without: int) -> dict[str, Any]:
    counts = {label: labels[label] for label in sorted(labels, key=lambda label: (-labels[label], label))}
    return {"mention": joined(mention)[0], "labels": counts, "unlabelled": without}


def answer_facts(splits: Splits, words: Words | None) -> dict[str, Any]:
    """{"contexts", "unanswerable": {side: n}, "several": rows with more than one answer, "repeated", "characters",
    "inside_words"}. `repeated`: the answer stands elsewhere in its context too, where it may answer nothing."""
    placed = _placed(splits)
    again = [(row, side) for row, side in placed if _stands_again(row)]
    lengths = [span.end - span.start for row, _ in placed for span in _spans(row)[:1]]
    return {
        "contexts": len({row.text for row, _ in placed}),
        "unanswerable": {side: sum(not row.target for row in getattr(splits, side)) for side in SIDES},
        "several": sum(len(_spans(row)) > 1 for row, _ in placed),
        "repeated": {"rows": len(again), "examples": [example(*found) for found in again[:EXAMPLES]]},
        "characters": quantiles(np.array(lengths, dtype=np.int64)),
        "inside_words": None if words is None else _inside_words(placed, words),
    }


def _stands_again(row: Row) -> bool:
    """Whether the first answer's words stand at a place that no true answer covers."""
    spans = _spans(row)
    if not spans:
        return False
    answer = row.text[spans[0].start : spans[0].end]
    places = ((start, start + len(answer)) for start in places_of(answer, row.text))
    return any(not any(s.start <= a and b <= s.end for s in spans) for a, b in places)
