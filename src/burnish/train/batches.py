"""Rows to token ids, and the order in which batches of them are seen.

The order is a pure function of (seed, epoch, position): a resumed run needs two integers, not a replay.
Rows of like length share a batch, so that little of a batch is padding; the batches themselves are then
shuffled, which keeps the loss free of the saw that sorted batches draw into it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from burnish.core import Rows
from burnish.tasks.windows import Layout, cut
from burnish.train.parts import Batching

__all__ = [
    "Bucketed",
    "Encoded",
    "batch_order",
    "collate",
    "encode",
    "encode_windows",
    "exact_batches",
    "padding_share",
]

# Rows sorted together, in batches. Large enough that padding nearly vanishes, small enough that
# the make-up of a batch stays random.
POOL = 50

Encoded = list[dict[str, list[int]]]


def encode(tokenizer: Any, rows: Rows, max_length: int) -> Encoded:
    """Token ids of each row, cut at `max_length` tokens, without padding."""
    if not rows:
        return []
    pairs = [row.pair or "" for row in rows] if rows[0].pair is not None else None
    found = tokenizer([row.text for row in rows], pairs, truncation=True, max_length=max_length, padding=False)
    names = [name for name in tokenizer.model_input_names if name in found and name != "attention_mask"]
    return [{name: found[name][i] for name in names} for i in range(len(rows))]


def encode_windows(tokenizer: Any, rows: Rows, max_length: int, reads: str) -> tuple[Encoded, list[Layout]]:
    """Token ids of the windows of all rows, one row's after another's, and where each row's words are in them.

    A question comes before its text.
    """
    if not rows:
        return [], []
    texts = [row.text for row in rows]
    first, second = ([row.pair or "" for row in rows], texts) if reads == "answers" else (texts, None)
    found = tokenizer(first, second, truncation=False, padding=False, verbose=False)
    with_types = "token_type_ids" in found
    encoded: Encoded = []
    layouts = []
    for row, encoding in zip(rows, found.encodings, strict=True):
        windows, layout = cut(row.text, encoding, max_length, which=int(reads == "answers"))
        layouts.append(layout)
        for window in windows:
            types = {"token_type_ids": window.type_ids} if with_types else {}
            encoded.append({"input_ids": window.ids, **types})
    return encoded, layouts


def collate(encoded: Sequence[Mapping[str, list[int]]], pad_id: int) -> dict[str, Tensor]:
    """Stack rows into int64 [B, S] tensors, padded on the right to the longest, with an attention mask."""
    width = max(len(row["input_ids"]) for row in encoded)
    batch: dict[str, Tensor] = {}
    for name in encoded[0]:
        filler = pad_id if name == "input_ids" else 0
        batch[name] = torch.tensor([row[name] + [filler] * (width - len(row[name])) for row in encoded])
    sizes = torch.tensor([len(row["input_ids"]) for row in encoded])
    batch["attention_mask"] = (torch.arange(width)[None, :] < sizes[:, None]).long()
    return batch


def batch_order(lengths_N: np.ndarray, size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of one epoch, as arrays of row numbers; every row comes exactly once."""
    rng = np.random.default_rng([seed, epoch])
    order_N = rng.permutation(len(lengths_N))
    batches = []
    for start in range(0, len(order_N), size * POOL):
        pool = order_N[start : start + size * POOL]
        pool = pool[np.argsort(lengths_N[pool], kind="stable")]
        batches += [pool[i : i + size] for i in range(0, len(pool), size)]
    return [batches[i] for i in rng.permutation(len(batches))]


@dataclass(frozen=True)
class Bucketed(Batching):
    """Rows of like length together, the batching unless another is asked for."""

    def order(self, lengths_N: np.ndarray, size: int, seed: int, epoch: int) -> list[np.ndarray]:
        return batch_order(lengths_N, size, seed, epoch)


def exact_batches(lengths_N: np.ndarray, size: int) -> list[np.ndarray]:
    """Batches in which all rows have the same length: no padding, so no row's answer depends on another's."""
    order_N = np.argsort(lengths_N, kind="stable")
    cuts = np.flatnonzero(np.diff(lengths_N[order_N])) + 1
    groups = np.split(order_N, cuts)
    return [group[i : i + size] for group in groups if len(group) for i in range(0, len(group), size)]


def padding_share(lengths_N: np.ndarray, batches: Sequence[np.ndarray]) -> float:
    """Which share of the tokens in these batches is padding, 0..1."""
    padded = sum(len(batch) * int(lengths_N[batch].max()) for batch in batches)
    return 1 - float(lengths_N.sum()) / padded if padded else 0.0
