"""What models that write have in common: batches of prompts in, one text each out, drawn with the row's own numbers.

Drawing is done by noise: the token with the largest `logit / temperature + Gumbel noise` is a draw from the softmax
(Gumbel 1954; Maddison et al. 2014, arXiv:1411.0030). The noise of a row comes from a generator of its own, so what is
drawn for it does not hang on who shares its batch.

Shapes: B = rows of a batch, V = vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, StoppingCriteria

from burnish.core import Rng

__all__ = ["EndOfLine", "OwnNoise", "by_length"]


class OwnNoise(LogitsProcessor):
    """Leaves one token for each row: the drawn one. Keeps the log-probability the model gave to each."""

    def __init__(self, rngs: Sequence[Rng], temperature: float, top_k: int = 0):
        self._generators = [torch.Generator().manual_seed(rng.getrandbits(63)) for rng in rngs]
        self._temperature, self._top_k = temperature, top_k
        self.log_probability: list[Tensor] = []  # [B] of each step

    def __call__(self, input_ids: Tensor, scores_BV: Tensor) -> Tensor:
        logits_BV = scores_BV / self._temperature if self._temperature else scores_BV
        if self._top_k:
            least_B1 = logits_BV.topk(min(self._top_k, logits_BV.shape[1]), dim=1).values[:, -1:]
            logits_BV = logits_BV.masked_fill(logits_BV < least_B1, -torch.inf)
        if self._temperature:
            uniform = [torch.rand(logits_BV.shape[1], generator=g).clamp_(1e-20, 1 - 1e-7) for g in self._generators]
            logits_BV = logits_BV - torch.log(-torch.log(torch.stack(uniform)))
        drawn_B1 = logits_BV.argmax(dim=1, keepdim=True)
        self.log_probability.append(scores_BV.log_softmax(dim=1).gather(1, drawn_B1)[:, 0])
        return torch.full_like(scores_BV, -torch.inf).scatter(1, drawn_B1, 0.0)


class EndOfLine(StoppingCriteria):
    """A row is done when its last token ends a line."""

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        lasts = self._tokenizer.batch_decode(input_ids[:, -1:])
        return torch.tensor(["\n" in last for last in lasts], device=input_ids.device)


def by_length(texts: Sequence[str], size: int, do: Callable[[list[int]], Sequence[Any]]) -> list[Any]:
    """`do` for batches of texts of like length, given as positions; what it gives in the order of the texts."""
    found: list[Any] = [None] * len(texts)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        for i, one in zip(batch, do(batch), strict=True):
            found[i] = one
    return found
