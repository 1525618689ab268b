"""R-Drop: each row goes through twice with different dropout, and the two answers are pulled together.

Paper: Liang, Wu, Li, Wang, Meng, Qin, Chen, Zhang, Liu, "R-Drop: Regularized Dropout for Neural Networks",
NeurIPS 2021, arXiv:2106.14448, eq. (4).
Differs from it: the two losses on the labels are averaged, as in the authors' code, where eq. (4) adds them: its alpha
is twice the one here. Both passes are one call on the batch doubled. For tasks the paper has no divergence for: that of
each yes or no, averaged over labels, where a row has many; the squared difference, in standard units, for numbers.

When it helps: few rows, long training; it steadies the answers at the cost of a little certainty. Put it first among
the tweaks, so that all of them see the two passes.
What it costs: a training step takes twice the time and memory: compare with a run of twice the epochs. It does nothing
in a model without dropout (ModernBERT as published): add tune/dropout there. Its notes tell how far apart the two
answers were.

Shapes: B = rows of a batch, C = outputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from burnish.train.parts import Facts
from burnish.train.tweak import Batch, Loss, Need, Remember, Tweak
from burnish.tune._require import require
from burnish.units import IGNORE
from burnish.words import say

__all__ = ["RDrop", "divergence"]

# A divergence a row below this is rounding.
NOISE = 1e-10


@dataclass(frozen=True)
class RDrop(Tweak):
    alpha: float = 1.0  # weight of the divergence, 0 or more; 0.1 to 1 for encoders, 5 in the paper's translation

    need = Need(rows=2.0)

    def __post_init__(self) -> None:
        require(self.alpha >= 0, say("alpha {x}", x=self.alpha), say("0 or more"), "alpha=1")

    def begin(self, facts: Facts) -> Tweak:
        return _Live(self.alpha, facts.task.objective, facts.device)


class _Live(Tweak):
    def __init__(self, alpha: float, objective: str, device: torch.device):
        self.alpha, self.objective = alpha, objective
        self.seen = torch.zeros(2, dtype=torch.float64, device=device)  # divergence and weight of all rows so far

    def loss(self, model: nn.Module, batch: Batch, inner: Loss) -> Tensor:
        said = Remember(model)
        labels = inner(said, {name: torch.cat([value, value]) for name, value in batch.items()}) / 2
        first_BC, second_BC = said.outputs_BC.float().chunk(2)
        _answer_once(model, len(batch["targets"]))
        apart = (divergence(self.objective, first_BC, second_BC, batch["targets"]) * batch["weights"]).sum()
        self.seen += torch.stack([apart.detach(), batch["weights"].sum()]).double()
        return labels + self.alpha * apart

    def state(self) -> Mapping[str, Tensor]:
        return {"seen": self.seen}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.seen = state["seen"].to(self.seen.device, copy=True) if state else torch.zeros_like(self.seen)

    def notes(self) -> dict[str, Any]:
        apart, weight = self.seen.tolist()
        found: dict[str, Any] = {"rdrop_divergence": round(apart / weight, 8) if weight else 0.0}
        if weight and apart < NOISE * weight:
            found["rdrop"] = say(
                "both passes always gave the same answer: this model has no dropout, so R-Drop is idle"
            )
        return found


def divergence(objective: str, a_BC: Tensor, b_BC: Tensor, targets: Tensor | None = None) -> Tensor:
    """How far two outputs for the same rows are apart, [B]: the mean of KL(a || b) and KL(b || a).

    Written as sum (p - q) (ln p - ln q) / 2, which is that mean; for a two-way label ln p - ln q becomes the
    difference of the outputs. Of outputs a token [B, S, C], the mean over those that have a label in `targets`; of the
    two ends of an answer [B, S, 2], over places.
    """
    if objective == "span_cross_entropy":
        return divergence("word", a_BC.transpose(1, 2), b_BC.transpose(1, 2)).mean(1)
    if objective == "word_cross_entropy":
        assert targets is not None
        there_BS = targets[:, : a_BC.shape[1]] != IGNORE
        apart_BS = divergence("word", a_BC, b_BC) * there_BS
        return apart_BS.sum(1) / there_BS.sum(1).clamp(min=1)
    if objective == "mean_squared_error":
        return (a_BC - b_BC).square().mean(1)
    if objective == "binary_cross_entropy":
        return ((a_BC.sigmoid() - b_BC.sigmoid()) * (a_BC - b_BC)).mean(1) / 2
    log_p_BC, log_q_BC = F.log_softmax(a_BC, -1), F.log_softmax(b_BC, -1)
    return ((log_p_BC.exp() - log_q_BC.exp()) * (log_p_BC - log_q_BC)).sum(-1) / 2


def _answer_once(model: nn.Module, rows: int) -> None:
    """Whoever remembers further out expects one answer a row: leave them the first."""
    while isinstance(model, Remember):
        model.outputs_BC = model.outputs_BC[:rows]
        model = model.model
