"""Labels of words as tags (BIO, BIOES), the entities they spell, and the best legal tags for some outputs.

Papers: Ramshaw, Marcus, "Text Chunking using Transformation-Based Learning", VLC 1995 (BIO); Viterbi, "Error Bounds
for Convolutional Codes", IEEE Transactions on Information Theory 1967, in its max-marginal form: each tag's score is
that of the best legal path through it, so the best tag of each word alone spells the best path.

numpy only. Shapes: N = texts, W = words, C = tags.
"""

from collections.abc import Sequence

import numpy as np

from burnish.core import FILL, Span
from burnish.units import covered

__all__ = ["Entity", "entities", "rules", "tag_ids", "tags_of", "through", "types_of"]

Entity = tuple[int, int, str]  # first word, last word, type
SCHEMES = ("BIO", "BIOES")
NEVER = -1e4  # a step that the scheme does not allow


def tags_of(types: Sequence[str], scheme: str = "BIO") -> tuple[str, ...]:
    """("O", "B-loc", "I-loc", ...) in the order of the types."""
    letters = [letter for letter in scheme if letter != "O"]
    return ("O", *(f"{letter}-{name}" for name in types for letter in letters))


def types_of(tags: Sequence[str]) -> tuple[str, ...]:
    """The entity types of a list of tags, in its order."""
    return tuple(dict.fromkeys(tag[2:] for tag in tags if tag != "O"))


def tag_ids(where: Sequence[tuple[int, int]], spans: Sequence[Span], tags: Sequence[str]) -> np.ndarray:
    """The tag of each word, int64 [W]. A span that begins or ends inside a word takes the whole word."""
    index = {tag: i for i, tag in enumerate(tags)}
    ids_W = np.zeros(len(where), dtype=np.int64)
    ends = "E-" in {tag[:2] for tag in tags}
    for span in spans:
        first, last = covered(where, span)
        if first > last:
            continue
        ids_W[first : last + 1] = index[f"I-{span.label}"]
        ids_W[first] = index[f"B-{span.label}"]
        if ends:
            ids_W[last] = index[f"E-{span.label}"]
        if ends and first == last:
            ids_W[first] = index[f"S-{span.label}"]
    return ids_W


def entities(ids_W: Sequence[int], tags: Sequence[str]) -> list[Entity]:
    """What the tags spell, read as leniently as seqeval does: I- after something else begins an entity too."""
    found: list[Entity] = []
    begin, name, letter = 0, "", "O"
    for w, i in enumerate([*ids_W, 0]):
        now, kind = (tags[i][0], tags[i][2:]) if i > 0 else ("O", "")
        if name and (kind != name or now in "BS" or letter in "ES"):
            found.append((begin, w - 1, name))
            name = ""
        if kind and not name:
            begin, name = w, kind
        letter = now
    return found


def rules(tags: Sequence[str]) -> np.ndarray:
    """What may follow what, [C + 1, C + 1]: 0 or NEVER from the row's tag to the column's; the last is the border."""
    allowed = np.full((len(tags) + 1, len(tags) + 1), NEVER)
    names = [*tags, "O"]
    ends = "E-" in {tag[:2] for tag in tags}
    for i, before in enumerate(names):
        for j, after in enumerate(names):
            if _follows(before, after, ends):
                allowed[i, j] = 0.0
    return allowed


def _follows(before: str, after: str, ends: bool) -> bool:
    inside = after[0] in "IE"
    within = before[0] in "BI"  # after these an entity may go on, and in BIOES must
    if inside:
        return within and before[2:] == after[2:]
    return not (ends and within)


def through(outputs_NWC: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """For each word and tag the score of the best path through it, less that of the best path of all: 0 is on it.

    `steps` [C + 1, C + 1] as `rules` gives them, plus what a CRF has learned. Words that are FILL stay so.
    """
    if outputs_NWC.shape[1] == 0:
        return outputs_NWC
    there_NW = outputs_NWC[:, :, 0] != FILL
    own = np.where(there_NW[:, :, None], outputs_NWC, 0).astype(np.float64)
    between_CC, begin_C, end_C = steps[:-1, :-1], steps[-1, :-1], steps[:-1, -1]
    width = own.shape[1]
    before, after = np.empty_like(own), np.empty_like(own)
    before[:, 0] = begin_C
    for w in range(1, width):
        reached_NC = before[:, w - 1] + own[:, w - 1]
        before[:, w] = (reached_NC[:, :, None] + between_CC).max(1)
    after[:, -1] = end_C
    for w in range(width - 2, -1, -1):
        rest_NC = (own[:, w + 1] + after[:, w + 1])[:, None, :] + between_CC
        after[:, w] = np.where(there_NW[:, w + 1, None], rest_NC.max(2), end_C)
    total = before + own + after
    total -= total.max(2, keepdims=True)
    return np.where(there_NW[:, :, None], total, FILL).astype(np.float32)
