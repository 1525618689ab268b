"""The words that labels stand on: a pure function of the text, so that training, measuring and serving agree.

A word is a run of letters and digits. Where a script sets no blanks between words each character is one, and so is
every other mark that is not blank. Labels and answers are counted in these; people give and get characters.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from burnish.core import FILL, Span

__all__ = ["IGNORE", "as_one", "covered", "padded", "same_width", "stacked", "trimmed", "units"]

# Kana, Han, Thai, Lao, Burmese and Khmer: written without blanks.
_ALONE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
)
# Accents, vowel signs and points that belong to the letter before them; Python does not count them as letters.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0dff"
_UNIT = re.compile(rf"[^\W{_ALONE}](?:[^\W{_ALONE}]|[{_MARKS}])*|\S")

# The target of a word that has none: padding, and pieces of a word after its first.
IGNORE = -100


def units(text: str) -> list[tuple[int, int]]:
    """The words of `text` as (start, end) in characters."""
    return [match.span() for match in _UNIT.finditer(text)]


def covered(where: Sequence[tuple[int, int]], span: Span) -> tuple[int, int]:
    """The words (first, last) that `span` touches; first > last when it touches none."""
    inside = [i for i, (start, end) in enumerate(where) if start < span.end and span.start < end]
    return (inside[0], inside[-1]) if inside else (0, -1)


def padded(parts: Iterable[np.ndarray], fill: float = FILL) -> np.ndarray:
    """Arrays [W_i, ...] as one [N, W, ...], the shorter ones filled up."""
    found = list(parts)
    width = max((len(part) for part in found), default=0)
    shape = (len(found), width, *found[0].shape[1:]) if found else (0, 0)
    whole = np.full(shape, fill, dtype=found[0].dtype if found else np.float32)
    for row, part in zip(whole, found, strict=True):
        row[: len(part)] = part
    return whole


def same_width(*arrays: np.ndarray) -> list[np.ndarray]:
    """Outputs [N, W_i, C] filled up to the widest: how far padding goes depends on the rows in company."""
    width = max(array.shape[1] for array in arrays)
    return [
        np.pad(a, ((0, 0), (0, width - a.shape[1]), (0, 0)), constant_values=FILL) if a.shape[1] < width else a
        for a in arrays
    ]


def stacked(outputs: Sequence[np.ndarray], lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Outputs a row, [C] or, a token, [S, C], as one array; what a batch padded beyond a row's own tokens is FILL."""
    if not outputs or outputs[0].ndim == 1:
        return np.stack(outputs)
    return padded(own[:length] for own, length in zip(outputs, lengths, strict=True))


def trimmed(own: np.ndarray) -> np.ndarray:
    """Outputs of one row without what is FILL at the end; [C] stays as it is."""
    return own if own.ndim == 1 else own[own[:, 0] != FILL]


def as_one(parts: Sequence[Sequence[object]]) -> np.ndarray:
    """Outputs as JSON has them, a row each, as one float32 array [N, C] or, of words, [N, W, C]."""
    found = [np.array(part, dtype=np.float32) for part in parts]
    if not found or found[0].ndim < 2:
        return np.array(found, dtype=np.float32)
    return padded(found)
