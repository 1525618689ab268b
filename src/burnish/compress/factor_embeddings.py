"""The word-embedding table becomes a product of a narrow table and one matrix.

Paper: Lan, Chen, Goodman, Gimpel, Sharma, Soricut, "ALBERT: A Lite BERT for Self-supervised Learning of Language
Representations", ICLR 2020, arXiv:1909.11942 (the factors); Chen, Si, Li, Chelba, Hsieh, "GroupReduce: Block-Wise
Low-Rank Approximation for Neural Language Model Shrinking", NeurIPS 2018, arXiv:1806.06950 (weights by frequency).
Differs from them: not pre-trained, but the best factors for the table that is there, each token weighted by how often
the training rows use it (and `unseen` more, so that no token is forgotten); one block of tokens, not several.

    E [V, H] ~ table [V, R] x up [R, H],    least  sum over tokens of (count + unseen) |row of E - its row|²

When it helps: size. In a small encoder half of the bytes are this table. compress/vocabulary first, then this.
What it costs: tokens that the training rows lack come out rougher than those they have; a small product for each
token. Nothing gets faster.

Shapes: V = tokens of the vocabulary, H = width of the table, R = rank.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from burnish.compress._recover import recovered, wanted
from burnish.compress.student import lesson_of
from burnish.core import Rng, Work
from burnish.errors import UsageError, problem
from burnish.models import add_structure
from burnish.train.batches import encode
from burnish.train.tweak import Tweak
from burnish.words import say

__all__ = ["FactorEmbeddings", "FactoredEmbedding", "factor", "factors"]


@dataclass(frozen=True)
class FactorEmbeddings:
    share: float = 0.5  # of the table's parameters left, 0..1
    rank: int | None = None  # the width of the narrow table; None follows from `share`
    unseen: float = 0.1  # what each token counts besides how often it is used, above 0
    epochs: int | None = 0  # of training afterwards, with the model before as teacher; none is the usual number
    alpha: float = 0.3  # weight of the labels in it; the model before has the rest
    temperature: float = 2.0  # softens both sides of the comparison
    lr: float | None = None
    batch_size: int | None = None
    tweaks: tuple[Tweak, ...] = ()
    max_length: int | None = None
    precision: str = "auto"
    patience: int = 6
    doctor: Literal["act", "advise", "off"] = "act"

    def __post_init__(self) -> None:
        example = "--with compress/factor_embeddings:share=0.5"
        wanted("share", self.share, 0 < self.share < 1, say("between 0 and 1"), example)
        wanted("rank", self.rank, self.rank is None or self.rank >= 1, say("1 or more"), example)
        wanted("unseen", self.unseen, self.unseen > 0, say("above 0"), example)

    def __call__(self, work: Work, rng: Rng) -> Work:
        model = copy.deepcopy(work.model)
        table = _table_of(model)
        v, h = table.weight.shape
        rank = self.rank or max(1, int(self.share * v * h / (v + h)))
        if rank * (v + h) >= v * h:
            given = say("rank {rank} for a table of {v} x {h}", rank=rank, v=v, h=h)
            raise UsageError(
                problem(given, f"1..{(v * h - 1) // (v + h)}", "--with compress/factor_embeddings:share=0.5")
            )
        counts_V = torch.zeros(v, dtype=torch.float64)
        for row in encode(work.tokenizer, work.train, work.tokenizer.model_max_length):
            counts_V += torch.bincount(torch.tensor(row["input_ids"]), minlength=v)
        weight_V = counts_V + self.unseen
        facts, error = factor(model, weight_V, rank)
        add_structure(model, "compress/factor_embeddings", facts)
        model, tokenizer, notes = recovered(work, model, lesson_of(self), rng)
        sizes = {"weights_before": v * h, "weights": rank * (v + h)}
        return replace(work, model=model, tokenizer=tokenizer, notes={**notes, "rank": rank, "error": error, **sizes})


def restore(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Give a freshly built float model the factors that this step left, in place; weights are loaded after."""
    table = model.get_submodule(facts["table"])
    assert isinstance(table, nn.Embedding)
    made = FactoredEmbedding(table.num_embeddings, table.embedding_dim, facts["rank"], table.padding_idx)
    _exchange(model, made, facts["table"], facts["tied"])


def to_float(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """One table again, in place; what was tied to it is tied to it again."""
    parts = model.get_submodule(facts["table"])
    assert isinstance(parts, FactoredEmbedding)
    weight_VH = parts.table.weight.data @ parts.up.weight.data.T
    made = nn.Embedding.from_pretrained(weight_VH, freeze=False, padding_idx=parts.table.padding_idx)
    _put(model, facts["table"], made)
    for name in facts["tied"]:
        head = model.get_submodule(name)
        assert isinstance(head, TiedOutput)
        plain = nn.Linear(weight_VH.shape[1], weight_VH.shape[0], bias=head.bias is not None)
        plain.weight, plain.bias = made.weight, head.bias  # type: ignore[assignment]
        _put(model, name, plain)


# -- the maths -----------------------------------------------------------------------------------------


def factors(e_VH: Tensor, weight_V: Tensor, rank: int) -> tuple[Tensor, Tensor, float]:
    """table [V, R] and up [R, H] with the least weighted squared error, and that error as a share of the whole.

    In float64: root(weight) E = U sigma V', table = U sigma / root(weight), up = V'. Only V' needs the decomposition:
    the best row of a token is then its own row in those directions.
    """
    e_VH = e_VH.double()
    root_V1 = weight_V.double().sqrt()[:, None]
    gram_HH = (root_V1 * e_VH).T @ (root_V1 * e_VH)
    energy_H, v_HH = torch.linalg.eigh(gram_HH)
    up_RH = v_HH[:, -rank:].T
    lost = float(energy_H[:-rank].clamp(min=0).sum() / energy_H.sum())
    return e_VH @ up_RH.T, up_RH, lost


# -- the modules ---------------------------------------------------------------------------------------


class FactoredEmbedding(nn.Module):
    """A narrow table and the matrix that widens its rows."""

    def __init__(self, rows: int, width: int, rank: int, padding_idx: int | None):
        super().__init__()
        self.table = nn.Embedding(rows, rank, padding_idx=padding_idx)
        self.up = nn.Linear(rank, width, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.up(self.table(ids))


class TiedOutput(nn.Module):
    """An output layer whose weights are those of a factored table: H inputs to R, R to V outputs."""

    def __init__(self, of: FactoredEmbedding, bias: nn.Parameter | None):
        super().__init__()
        self.of, self.bias = of, bias

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.of.up.weight.T), self.of.table.weight, self.bias)


def factor(model: Any, weight_V: Tensor, rank: int) -> tuple[dict[str, Any], float]:
    """Exchange the word embeddings of `model` and what is tied to them, in place; the facts and the error."""
    table = _table_of(model)
    table_VR, up_RH, error = factors(table.weight.data, weight_V, rank)
    made = FactoredEmbedding(table.num_embeddings, table.embedding_dim, rank, table.padding_idx)
    made.table.weight.data, made.up.weight.data = table_VR.float().contiguous(), up_RH.T.float().contiguous()
    place = next(name for name, module in model.named_modules() if module is table)
    tied = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and m.weight is table.weight]
    _exchange(model, made, place, tied)
    return {"table": place, "rank": rank, "tied": tied}, error


def _exchange(model: nn.Module, made: FactoredEmbedding, place: str, tied: Sequence[str]) -> None:
    for name in tied:
        head = model.get_submodule(name)
        assert isinstance(head, nn.Linear)
        _put(model, name, TiedOutput(made, head.bias))
    _put(model, place, made)


def _put(model: nn.Module, name: str, made: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, made.train(model.training))


def _table_of(model: Any) -> nn.Embedding:
    table = model.get_input_embeddings()
    if type(table) is not nn.Embedding:
        given = say("the embedding table of this model is quantized or factored already")
        hint = say("put compress/factor_embeddings before compress/int8")
        raise UsageError(problem(given, say("a float table"), hint))
    return table
