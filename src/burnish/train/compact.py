"""Train only the rows of the embedding table that the data uses.

no paper: an identity. A token that never occurs has a zero gradient in every step, so leaving its row out of
the optimizer changes nothing but weight decay on rows that learn nothing, which would only harm them. With
a few thousand rows of text most of a 30,000-row table is never read, and zeroing its gradient and stepping
its moments is a fifth of a CPU training step (docs/LOG.md).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["CompactEmbedding", "compact", "expand"]


class CompactEmbedding(nn.Module):
    """Looks up full-vocabulary ids in a table that holds only the `kept` rows [K]."""

    def __init__(self, full: nn.Embedding, kept_K: Tensor):
        super().__init__()
        self.full_VH = full.weight.data  # a plain attribute: neither trained nor saved
        self.padding_idx = full.padding_idx
        self.kept_K = kept_K
        self.place_V = torch.zeros(full.num_embeddings, dtype=torch.long, device=kept_K.device)
        self.place_V[kept_K] = torch.arange(len(kept_K), device=kept_K.device)
        self.weight = nn.Parameter(full.weight.data[kept_K].clone())

    def forward(self, ids_BS: Tensor) -> Tensor:
        pad = None if self.padding_idx is None else int(self.place_V[self.padding_idx])
        return nn.functional.embedding(self.place_V[ids_BS], self.weight, padding_idx=pad)

    def expanded(self) -> Tensor:
        """The full table [V, H] with the trained rows put back."""
        full_VH = self.full_VH.clone()
        full_VH[self.kept_K] = self.weight.data
        return full_VH


def compact(model: nn.Module, ids: Iterable[int]) -> None:
    """Exchange the word embeddings of `model`, in place. Ids outside `ids` must not be looked up afterwards."""
    full = model.get_input_embeddings()  # type: ignore[operator]
    if type(full) is not nn.Embedding or _is_tied(model, full):
        return
    kept = sorted({*ids, *([] if full.padding_idx is None else [full.padding_idx])})
    model.set_input_embeddings(CompactEmbedding(full, torch.tensor(kept, device=full.weight.device)))  # type: ignore[operator]


def expand(model: nn.Module) -> None:
    """Put the full table back, in place."""
    small = model.get_input_embeddings()  # type: ignore[operator]
    if isinstance(small, CompactEmbedding):
        table_VH = small.expanded()
        full = nn.Embedding.from_pretrained(table_VH, freeze=False, padding_idx=small.padding_idx)
        model.set_input_embeddings(full)  # type: ignore[operator]


def _is_tied(model: nn.Module, table: nn.Embedding) -> bool:
    return sum(p is table.weight for m in model.modules() for p in m.parameters(recurse=False)) > 1
