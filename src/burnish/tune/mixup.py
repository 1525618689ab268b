"""Mixup: rows of a batch are blended two by two, inside the model, and so are their labels.

Papers: Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018, arXiv:1710.09412;
with `layers`, TMix: Chen, Yang, Yang, "MixText: Linguistically-Informed Interpolation of Hidden Space for
Semi-Supervised Text Classification", ACL 2020, arXiv:2004.12239, section 3.1, which draws one of several layers a step
and takes the larger of lambda and 1 - lambda, so that a row stays more itself than its partner.
Differs from them: the embeddings that are blended are those that enter the first layer, positions included; up to the
blend each row attends to its own tokens, after it to those of both; every row has another one for a partner. Where
micro-batches are cut, partners come from the same one: the result then depends on the cut.

    h = lambda h_i + (1 - lambda) h_j      loss = lambda loss(h, y_i) + (1 - lambda) loss(h, y_j)

Numbers are blended themselves. For words, each token's label is one of the two.

When it helps: few rows a label: 0.4 to 5 points are reported for 10 to 2,500 a label, most where rows are fewest;
layers=7,9,12 of 12 is TMix's choice. Put it first among the tweaks: nobody outside it may read the outputs, which are
of no row alone.
What it costs: no time to speak of. Probabilities come out less extreme. Its notes tell the mean lambda.

Shapes: B = rows, S = tokens.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from burnish import models
from burnish.core import name_of
from burnish.errors import UsageError, problem
from burnish.train.parts import Facts
from burnish.train.tweak import NOT_INPUTS, Batch, Loss, Remember, Tweak
from burnish.tune._blend import blending
from burnish.tune._passes import bare
from burnish.tune._require import require, within
from burnish.words import say

__all__ = ["Mixup", "both", "partners"]


@dataclass(frozen=True)
class Mixup(Tweak):
    alpha: float = 0.75  # a of lambda ~ Beta(a, a), 0 or more; towards 0 rows stay pure, 16 blends nearly halves
    layers: tuple[int, ...] = ()  # after which layer to blend, one drawn a step; none is 0, the embeddings

    def __post_init__(self) -> None:
        within("alpha", self.alpha, 0)
        good = all(n >= 0 for n in self.layers)
        require(good, say("layers {x}", x=self.layers), say("numbers of layers, 0 for the embeddings"), "layers=7,9,12")

    def begin(self, facts: Facts) -> Tweak:
        if getattr(facts.task, "reads", "rows") == "answers":
            given = say("mixup of answers that stand in a text: there is no place between two places")
            raise UsageError(problem(given, say("a task with labels or numbers"), say("leave tune/mixup out")))
        return _Live(self.alpha, self.layers or (0,), facts, name_of(self)) if self.alpha else Tweak()


class _Live(Tweak):
    def __init__(self, alpha: float, layers: Sequence[int], facts: Facts, name: str):
        self.alpha, self.layers, self.seed, self.name = alpha, layers, facts.seed, name
        self.numbers = facts.task.objective == "mean_squared_error"
        self.step = 0
        # Sum of lambda, times it was drawn, rows without a partner, rows.
        self.seen = torch.zeros(4, dtype=torch.float64)

    def prepare(self, model: nn.Module) -> nn.Module:
        layers = models.layers(model)
        most = len(layers)
        if len({id(layer) for layer in layers}) < most:
            given = say("mixup in a model whose layers are shared: none stands at one depth only")
            raise UsageError(problem(given, say("a model with layers of its own"), say("leave tune/mixup out")))
        good = max(self.layers) <= most
        require(good, say("layers {x}", x=self.layers), say("0..{most} for this model", most=most), f"layers={most}")
        return model

    def before_step(self, model: nn.Module, step: int) -> None:
        self.step = step

    def loss(self, model: nn.Module, batch: Batch, inner: Loss) -> Tensor:
        if not torch.is_grad_enabled():
            return inner(model, batch)
        if isinstance(model, Remember):
            given = say("{name} within a tweak or a lesson that reads the outputs of each row", name=self.name)
            expected = say("tweaks=({name}, ...): blended rows have no outputs of their own", name=self.name)
            raise UsageError(problem(given, expected, say("put it first, or leave it out")))
        rows = len(batch["targets"])
        rng = random.Random(f"{self.seed}/mixup/{self.step}")
        share, layer = rng.betavariate(self.alpha, self.alpha), rng.choice(self.layers)
        share = max(share, 1 - share)
        self.seen += torch.tensor([share, 1.0, float(rows == 1), rows], dtype=torch.float64)
        if rows == 1:
            return inner(model, batch)
        partner_B = partners(rows, rng).to(batch["targets"].device)
        if self.numbers:
            return inner(_Blended(model, layer, share, partner_B, 1), between(batch, partner_B, share))
        return inner(_Blended(model, layer, share, partner_B, 2), both(batch, partner_B, share))

    def state(self) -> Mapping[str, Tensor]:
        return {"seen": self.seen}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.seen = state["seen"].cpu().clone() if state else torch.zeros_like(self.seen)

    def notes(self) -> dict[str, Any]:
        share, times, alone, rows = self.seen.tolist()
        found: dict[str, Any] = {"mixup_lambda": round(share / times, 6) if times else 1.0}
        if rows and alone == rows:
            found["mixup"] = say("every micro-batch held a single row, so nothing was blended: set accumulate lower")
        return found


class _Blended(nn.Module):
    """Takes rows that stand there `copies` times, blends each with its partner and answers for every copy.

    A tweak further in may send all of them several times; each time they are a group.
    """

    def __init__(self, model: nn.Module, layer: int, share: float, partner_B: Tensor, copies: int):
        super().__init__()
        self.model, self.layer, self.share, self.partner_B, self.copies = model, layer, share, partner_B, copies

    def forward(self, **inputs: Tensor) -> Any:  # a model takes what its tokenizer gives
        rows = len(self.partner_B)
        groups = len(inputs["input_ids"]) // (rows * self.copies)
        at_GB = torch.arange(groups * rows, device=self.partner_B.device).view(groups, rows)
        first_GB = at_GB + at_GB[:, :1] * (self.copies - 1)
        partner_GB = self.partner_B + at_GB[:, :1]
        with blending(bare(self.model), self.layer, self.share, partner_GB.flatten()):
            answer = self.model(**{name: value[first_GB.flatten()] for name, value in inputs.items()})
        return SimpleNamespace(logits=answer.logits[at_GB.repeat(1, self.copies).flatten()])


def partners(rows: int, rng: random.Random) -> Tensor:
    """The partner of each row, int64 [B]: all in one circle, so that none is its own."""
    circle = rng.sample(range(rows), rows)
    found = dict(zip(circle, [*circle[1:], circle[0]], strict=True))
    return torch.tensor([found[i] for i in range(rows)])


def both(batch: Batch, partner_B: Tensor, share: float) -> Batch:
    """Every row twice: with its own target at `share` of its weight, with its partner's at the rest of that one's."""
    made = {}
    for name, value in batch.items():
        other = value[partner_B] if name in NOT_INPUTS else value
        if name == "weights":
            value, other = share * value, (1 - share) * other
        made[name] = torch.cat([value, other])
    return made


def between(batch: Batch, partner_B: Tensor, share: float) -> Batch:
    """Every row with a target between its own and its partner's."""
    blended = {name: torch.lerp(batch[name][partner_B], batch[name], share) for name in ("targets", "weights")}
    return {**batch, **blended}
