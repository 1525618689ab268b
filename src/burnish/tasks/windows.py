"""Texts longer than the model takes, cut into windows that overlap, and outputs a token read as outputs a word.

    text ──► tokens ──► windows ──model──► outputs a token ──read──► one line of outputs a word of the text
                 └── where each word's first and last token are: the window that shows most around them

numpy only: the server does the same as the training loop, on the same arrays.
Shapes: S = tokens of a window, C = outputs a token, W = words of a text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from burnish.errors import DataError, problem
from burnish.units import IGNORE, padded, units
from burnish.words import say

__all__ = ["Layout", "Window", "answer_targets", "cut", "of_rows", "word_targets"]

OVERLAP = 0.25  # of a window's room; every word then has that much text on one side at least
QUESTION = 64  # tokens of a question that are kept, as in SQuAD's reference code
NEVER = -1e4  # output of a word without a token: it starts and ends no answer


class Encoding(Protocol):
    """What `tokenizers` gives for a text, or for a question and a text."""

    ids: list[int]
    type_ids: list[int]
    offsets: list[tuple[int, int]]
    sequence_ids: list[int | None]


@dataclass(frozen=True)
class Window:
    """One row of the model's input."""

    ids: list[int]
    type_ids: list[int]


@dataclass(frozen=True)
class Layout:
    """Where the words of one text are: in tokens of the text, counted from 0, and where those are in its windows."""

    units: list[tuple[int, int]]  # the words, in characters
    first_W: np.ndarray  # the first token of each word, -1 where it has none of its own and goes with the word before
    last_W: np.ndarray  # its last token, -1 where it has none at all
    starts_K: np.ndarray  # the text's token with which each window begins
    ends_K: np.ndarray  # and the one before which it ends
    before: int  # tokens of a window before those of the text

    @property
    def windows(self) -> int:
        return len(self.starts_K)

    def placed(self, token_W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(window, token in it) for tokens of the text: the window that shows most around it; -1 stays -1."""
        whole, token_W1 = self.ends_K[-1] + 1, token_W[:, None]
        left_WK = np.where(self.starts_K == 0, whole, token_W1 - self.starts_K)
        right_WK = np.where(self.ends_K == self.ends_K[-1], whole, self.ends_K - 1 - token_W1)
        inside_WK = (token_W1 >= self.starts_K) & (token_W1 < self.ends_K)
        window_W = np.where(inside_WK, np.minimum(left_WK, right_WK), -1).argmax(1)
        return window_W, np.where(token_W < 0, -1, self.before + token_W - self.starts_K[window_W])


def cut(text: str, encoding: Encoding, max_length: int, which: int = 0) -> tuple[list[Window], Layout]:
    """Windows of at most `max_length` tokens over the text that is sequence `which` of `encoding`.

    What stands before and after the text (special tokens, a question) is in every window. Raises DataError when that
    leaves no room.
    """
    body = [i for i, sequence in enumerate(encoding.sequence_ids) if sequence == which]
    start, end = (body[0], body[-1] + 1) if body else _nowhere(encoding)
    head, tail = _short_question(encoding, start), list(range(end, len(encoding.ids)))
    room = max_length - len(head) - len(tail)
    if room < 1:
        given = say("{n} tokens, {m} of them a question and special ones", n=max_length, m=len(head) + len(tail))
        raise DataError(problem(given, say("room for some text"), say("a larger max_length, or a shorter question")))
    starts_K = np.array(_starts(end - start, room))
    ends_K = np.minimum(starts_K + room, end - start)
    windows = []
    for low, high in zip(starts_K.tolist(), ends_K.tolist(), strict=True):
        kept = [*head, *range(start + low, start + high), *tail]
        windows.append(Window([encoding.ids[i] for i in kept], [encoding.type_ids[i] for i in kept]))
    where = units(text)
    tokens = _tokens_of(where, encoding.offsets[start:end])
    return windows, Layout(where, *tokens, starts_K, ends_K, len(head))


def _nowhere(encoding: Encoding) -> tuple[int, int]:
    """Where a text without tokens would stand: before the last special token."""
    at = max(1, len(encoding.ids) - 1) if encoding.ids else 0
    return at, at


def _short_question(encoding: Encoding, start: int) -> list[int]:
    """What is before the text, of a question no more than its first QUESTION tokens."""
    kept, seen = [], 0
    for i in range(start):
        seen += encoding.sequence_ids[i] is not None
        if encoding.sequence_ids[i] is None or seen <= QUESTION:
            kept.append(i)
    return kept


def _starts(length: int, room: int) -> list[int]:
    if length <= room:
        return [0]
    step = max(1, room - int(OVERLAP * room))
    return [*range(0, length - room, step), length - room]


def _tokens_of(where: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last token that touch each word, -1 where there is none of its own, int [W] each."""
    first_W, last_W = np.full(len(where), -1), np.full(len(where), -1)
    token, taken = 0, -1
    for w, (start, end) in enumerate(where):
        while token < len(offsets) and offsets[token][1] <= start:
            token += 1
        at = token
        while at < len(offsets) and offsets[at][0] < end:
            if offsets[at][1] > offsets[at][0]:  # an empty one, such as a blank that was trimmed, is nobody's
                if first_W[w] < 0 and at > taken:
                    first_W[w] = at
                last_W[w] = at
            at += 1
        taken = max(taken, last_W[w])
    return first_W, last_W


def read(reads: str, outputs: Sequence[np.ndarray], layouts: Sequence[Layout]) -> list[np.ndarray]:
    """Outputs [S, C] of the windows of some texts, in their order, as outputs of each text's words: [W, C] a text.

    For answers: a line [start, end] of no answer comes first, that of the window that is least sure of none; then for
    each word the start at its first token and the end at its last.
    """
    found, at = [], 0
    for layout in layouts:
        own = outputs[at : at + layout.windows]
        at += layout.windows
        found.append(_answers(own, layout) if reads == "answers" else _words(own, layout))
    return found


def _words(own: Sequence[np.ndarray], layout: Layout) -> np.ndarray:
    """A word without a token of its own repeats the outputs of the word before it; nobody knows better."""
    lines: list[np.ndarray] = []
    nothing = np.zeros(own[0].shape[-1], dtype=np.float32)
    for window, token in zip(*layout.placed(layout.first_W), strict=True):
        lines.append(own[window][token] if token >= 0 else lines[-1] if lines else nothing)
    return np.stack(lines).astype(np.float32) if lines else np.zeros((0, own[0].shape[-1]), np.float32)


def _answers(own: Sequence[np.ndarray], layout: Layout) -> np.ndarray:
    lines = [min((window_SC[0] for window_SC in own), key=lambda pair: float(pair.sum()))]
    begins, ends = layout.placed(layout.first_W), layout.placed(layout.last_W)
    for a, start, b, end in zip(*begins, *ends, strict=True):
        first = own[a][start, 0] if start >= 0 else NEVER
        last = own[b][end, 1] if end >= 0 else NEVER
        lines.append(np.array([first, last], dtype=np.float32))
    return np.stack(lines).astype(np.float32)


def of_rows(reads: str, outputs: Iterable[np.ndarray], layouts: Sequence[Layout]) -> np.ndarray:
    """As `read`, in one array [N, W, C]."""
    return padded(read(reads, list(outputs), layouts))


def word_targets(layouts: Sequence[Layout], targets_NW: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
    """Targets of words as targets of tokens, int64 [windows, S]: of each word's first token, where most is round it."""
    made = np.full((len(lengths), max(lengths, default=0)), IGNORE, dtype=np.int64)
    at = 0
    for layout, target_W in zip(layouts, targets_NW, strict=True):
        window_W, token_W = layout.placed(layout.first_W)
        own = token_W >= 0
        made[at + window_W[own], token_W[own]] = target_W[: len(own)][own]
        at += layout.windows
    return made


def answer_targets(layouts: Sequence[Layout], ranges: Sequence[Sequence[tuple[int, int]]]) -> np.ndarray:
    """First and last token of the first true answer that a window shows whole, int64 [windows, 2]; else 0 for both.

    Token 0 is special in every model here, and stands for no answer.
    """
    made = []
    for layout, words in zip(layouts, ranges, strict=True):
        tokens = [(int(layout.first_W[a]), int(layout.last_W[b])) for a, b in words]
        for start, end in zip(layout.starts_K, layout.ends_K, strict=True):
            inside = [(a, b) for a, b in tokens if start <= a <= b < end]
            shift = layout.before - start
            made.append([inside[0][0] + shift, inside[0][1] + shift] if inside else [0, 0])
    return np.array(made, dtype=np.int64).reshape(len(made), 2)
