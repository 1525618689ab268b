"""Texts to token ids from tokenizer.json alone, the same ids that transformers gives, without transformers.

The library below is Rust. It lets other threads run only in its batch calls, so those are used for all but one brief
text; and it can panic on a hostile pattern, which reaches Python as a BaseException and is caught here as such.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from burnish import tasks
from burnish.errors import DataError, problem
from burnish.serve.files import inside
from burnish.tasks.windows import Layout, cut
from burnish.words import say

__all__ = ["Encoded", "Encoder", "Text", "Unreadable"]

Text = str | tuple[str, str]  # one text, or a pair of texts

# Short inputs on which patterns that backtrack take long: a sound tokenizer needs some microseconds for each.
PROBES = ("a" * 40 + "!", " " * 40 + "a", "1" * 40 + "x", "'" * 40, "ab" * 20 + "\n" * 20)
SLOW = 0.005  # seconds for one of them
# Characters. Below, giving way to other threads and coming back takes as long as the tokenising itself.
BRIEF = 500


class Unreadable(DataError):
    """A text that has no tokens: it is not valid Unicode, or the tokenizer gave up on it."""


@dataclass(frozen=True)
class Encoded:
    """`rows`: int64 [L_i] by input name, not padded. `lengths`: tokens before any cut. `truncated`: which were cut.

    For a task about words no text is cut: it has as many rows as it fills windows, and its layout says which.
    """

    rows: list[dict[str, np.ndarray]]
    lengths: list[int]
    truncated: list[bool]
    layouts: list[Layout] = field(default_factory=list)


class Encoder:
    """Reads `folder`/tokenizer.json. `inputs` are the names the model takes, in its order; long texts lose tokens at
    `cut_side`, "right" or "left".

    Safe to call from many threads. Raises DataError when the file is damaged.
    """

    def __init__(
        self, folder: Path, *, inputs: Sequence[str], max_length: int, cut_side: str = "right", reads: str = "rows"
    ):
        path = inside(folder, "tokenizer.json")
        self._reads = reads
        self._inputs, self.max_length = tuple(inputs), max_length
        self._whole = _open(path)
        self._whole.no_truncation()
        self._path, self._side = path, cut_side
        self._cut: Any = None  # a second tokenizer that cuts, made when the first text is too long
        self._making = threading.Lock()

    def encode(self, texts: Sequence[Text], *, truncate: bool) -> Encoded:
        """Rows in the order of `texts`. Without `truncate` a row may be longer than `max_length`: look at `lengths`.

        Raises Unreadable when a text is not valid Unicode, or the tokenizer fails on it.
        """
        found = _run(self._whole, texts, places=self._reads != "rows")
        if self._reads != "rows":
            return self._windows(texts, found)
        lengths = [len(encoding.ids) for encoding in found]
        long = [i for i, length in enumerate(lengths) if length > self.max_length] if truncate else []
        if long:
            for i, encoding in zip(long, _run(self._cutting(), [texts[i] for i in long]), strict=True):
                found[i] = encoding
        return Encoded([self._row(e) for e in found], lengths, [i in set(long) for i in range(len(found))])

    def _windows(self, texts: Sequence[Text], found: Sequence[Any]) -> Encoded:
        """A question is the first text of a pair, and what it asks about the second."""
        rows, layouts, lengths = [], [], []
        for text, encoding in zip(texts, found, strict=True):
            whole, which = (text, 0) if isinstance(text, str) else (text[1], 1)
            windows, layout = cut(whole, encoding, self.max_length, which)
            layouts.append(layout)
            lengths.append(max(len(window.ids) for window in windows))
            rows += [self._row(window) for window in windows]
        return Encoded(rows, lengths, [False] * len(texts), layouts)

    def slowest_probe(self) -> float:
        """Seconds for the worst of some short texts that make a badly built tokenizer hang."""
        seconds = []
        for text in PROBES:
            start = time.perf_counter()
            try:
                _run(self._whole, [text])
            except Unreadable:
                return float("inf")
            seconds.append(time.perf_counter() - start)
        return max(seconds)

    @classmethod
    def of(cls, folder: Path, facts: Mapping[str, Any]) -> "Encoder":
        """The encoder that burnish.json (`facts`) describes."""
        return cls(
            folder,
            inputs=facts["inputs"],
            max_length=facts["max_length"],
            cut_side=facts["cut_side"],
            reads=tasks.from_json(facts["task"]).reads,
        )

    def _cutting(self) -> Any:
        with self._making:
            if self._cut is None:
                cut = _open(self._path)
                cut.enable_truncation(self.max_length, strategy="longest_first", direction=self._side)
                self._cut = cut
            return self._cut

    def _row(self, encoding: Any) -> dict[str, np.ndarray]:
        ids = encoding.ids
        made = {}
        for name in self._inputs:
            if name == "input_ids":
                made[name] = np.array(ids, dtype=np.int64)
            elif name == "attention_mask":
                made[name] = np.ones(len(ids), dtype=np.int64)
            else:
                made[name] = np.array(encoding.type_ids, dtype=np.int64)
        return made


def _open(path: Path) -> Any:
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        given = say("{path} is damaged: {error}", path=path, error=error)
        raise DataError(problem(given, say("a tokenizer.json"), say("copy the artifact again"))) from error
    tokenizer.no_padding()
    return tokenizer


def _run(tokenizer: Any, texts: Sequence[Text], *, places: bool = False) -> list[Any]:
    """Encodings; with `places` they know which characters each token stands for."""
    try:
        if places:
            return list(tokenizer.encode_batch(list(texts)))
        if len(texts) == 1 and isinstance(texts[0], str) and len(texts[0]) < BRIEF:
            return [tokenizer.encode(texts[0])]
        return list(tokenizer.encode_batch_fast(list(texts)))
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a Rust panic is not an Exception
        given = say("a text cannot be tokenised: {kind}", kind=type(error).__name__)
        hint = say("give the texts one by one to find it")
        raise Unreadable(problem(given, say("valid Unicode, without lone surrogates"), hint)) from None
