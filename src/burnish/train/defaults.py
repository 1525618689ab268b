"""Defaults by model size, task and number of rows, each with the reason it prints.

The table is the field's common ground for fine-tuning encoders (Mosbach et al. 2021, arXiv:2006.04884;
Zhang et al. 2021, arXiv:2006.05987; Devlin et al. 2019, arXiv:1810.04805), with larger rates for small and
distilled encoders. Every value can be given instead.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from burnish.words import say

__all__ = ["Defaults", "choose", "choose_length"]


@dataclass(frozen=True)
class Defaults:
    lr: float
    batch_size: int
    epochs: int
    warmup: float
    reasons: tuple[str, ...]


# (largest number of parameters, rate by rows: under 1k, 1k-10k, 10k-100k, above), encoders, AdamW.
RATES: Sequence[tuple[float, tuple[float, float, float, float]]] = (
    (30e6, (1e-4, 1e-4, 1e-4, 1e-4)),  # MiniLM, BERT-small: see docs/LOG.md for the sweep behind it
    (70e6, (5e-5, 5e-5, 5e-5, 5e-5)),  # DistilBERT
    (200e6, (2e-5, 3e-5, 3e-5, 3e-5)),  # base
    (math.inf, (1e-5, 1e-5, 2e-5, 2e-5)),  # large
)
ROWS = (1_000, 10_000, 100_000)
BATCH = (16, 32, 32, 32)
EPOCHS = (20, 5, 3, 2)
SIZES = ("up to 1k rows", "1k-10k rows", "10k-100k rows", "over 100k rows")
# A run shorter than this many steps leaves AdamW's moments half warm (Mosbach et al., section 6).
FEWEST_STEPS = 300


def choose(parameters: int, rows: int, *, pair: bool = False) -> Defaults:
    """Rate, batch and epochs for an encoder of `parameters` weights and `rows` rows to learn from."""
    column = sum(rows > limit for limit in ROWS)
    size = next(i for i, (limit, _) in enumerate(RATES) if parameters <= limit)
    lr, batch = RATES[size][1][column], BATCH[column]
    epochs = max(EPOCHS[column], min(20, math.ceil(FEWEST_STEPS * batch / max(1, rows))))
    where = say("{size}, encoder of {m:.0f}M parameters", size=SIZES[column], m=parameters / 1e6)
    return Defaults(
        lr,
        batch,
        epochs,
        0.1,
        (
            say("lr {lr:g}: {where}", lr=lr, where=where),
            say("batch {batch}, {epochs} epochs: {where}", batch=batch, epochs=epochs, where=SIZES[column]),
        ),
    )


def choose_length(lengths_N: np.ndarray, longest: int) -> tuple[int, str]:
    """The maximum length in tokens: enough for 99 of 100 rows, in steps of 8, at most what the model takes."""
    wanted = math.ceil(float(np.quantile(lengths_N, 0.99)) / 8) * 8
    length = int(min(max(wanted, 16), longest))
    share = float((lengths_N > length).mean())
    return length, say("max_length {n}: {share:.1%} of the rows are longer", n=length, share=share)
