"""A feed-forward block in experts: groups of its columns, of which a router lets each token use a few.

The family's own code stays: the layer that widens asks the router and computes only the chosen columns, the others
stay 0; the activation of 0 is 0 in every family; the layer that narrows skips them. With all experts active every
number is the one before.

Shapes: T = tokens, K = inputs, F = columns, E = experts, W = outputs.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Chosen", "Narrow", "Widen", "balance_loss", "balanced_clusters", "carried", "router_of"]


class Chosen:
    """What the router of a layer said last, for the layer that narrows and for the balance of experts.

    A copy of the model begins empty.
    """

    def __init__(self) -> None:
        self.logits: Tensor | None = None
        self.active: Tensor | None = None  # [..., E], 1 or 0; gradients reach the router through it

    def __deepcopy__(self, memo: dict[int, Any]) -> "Chosen":
        made = memo[id(self)] = Chosen()
        return made


class Widen(nn.Module):
    """Stands where the widening layer was. A gated one holds the columns of the activation, then those of the gate."""

    def __init__(self, linear: nn.Module, experts: int, active: int, gated: bool, inputs: int, chosen: Chosen):
        super().__init__()
        self.linear, self.chosen = linear, chosen
        self.router = nn.Linear(inputs, experts)
        self.experts, self.active, self.halves = experts, active, 2 if gated else 1

    def forward(self, x: Tensor) -> Tensor:
        logits = self.router(x)
        chosen = top(logits, self.active)
        if self.training:
            p = logits.softmax(-1)
            chosen = chosen + (p - p.detach())
        self.chosen.logits, self.chosen.active = logits, chosen
        if not sparse(self.linear, self.training):
            wide: Tensor = self.linear(x)
            return (wide.unflatten(-1, (self.halves, self.experts, -1)) * chosen[..., None, :, None]).flatten(-3)
        return self.some(x, chosen)

    def some(self, x: Tensor, chosen: Tensor) -> Tensor:
        assert isinstance(self.linear, nn.Linear)
        x_TK, chosen_TE = x.flatten(0, -2), chosen.flatten(0, -2)
        weight_PEFK = self.linear.weight.unflatten(0, (self.halves, self.experts, -1))
        bias = self.linear.bias
        bias_PEF = None if bias is None else bias.unflatten(0, (self.halves, self.experts, -1))
        wide_TPEF = x.new_zeros(len(x_TK), *weight_PEFK.shape[:3])
        for e in range(self.experts):
            who_t = chosen_TE[:, e].nonzero()[:, 0]
            own = None if bias_PEF is None else bias_PEF[:, e].flatten()
            if len(who_t):
                found = F.linear(x_TK[who_t], weight_PEFK[:, e].flatten(0, 1), own)
                wide_TPEF[who_t, :, e] = found.unflatten(-1, (self.halves, -1))
        return wide_TPEF.view(*x.shape[:-1], -1)


class Narrow(nn.Module):
    """Stands where the narrowing layer was."""

    def __init__(self, linear: nn.Module, experts: int, chosen: Chosen):
        super().__init__()
        self.linear, self.experts, self.chosen = linear, experts, chosen

    def forward(self, h: Tensor) -> Tensor:
        if not sparse(self.linear, self.training) or self.chosen.active is None:
            found: Tensor = self.linear(h)  # what is not chosen is 0
            return found
        assert isinstance(self.linear, nn.Linear)
        h_TF, chosen_TE = h.flatten(0, -2), self.chosen.active.flatten(0, -2)
        weight_WEF, h_TEF = (v.unflatten(-1, (self.experts, -1)) for v in (self.linear.weight, h_TF))
        y_TW = h.new_zeros(len(h_TF), len(weight_WEF))
        for e in range(self.experts):
            who_t = chosen_TE[:, e].nonzero()[:, 0]
            if len(who_t):
                y_TW.index_add_(0, who_t, F.linear(h_TEF[who_t, e], weight_WEF[:, e]))
        y = y_TW.view(*h.shape[:-1], -1)
        return y if self.linear.bias is None else y + self.linear.bias


def sparse(linear: nn.Module, training: bool) -> bool:
    """Whether to compute the chosen columns only: not where the graph must be the same for every token."""
    plain = type(linear) is nn.Linear and not torch.is_autocast_enabled("cpu")
    return plain and not training and not torch.compiler.is_compiling() and not torch.is_grad_enabled()


# -- the maths -----------------------------------------------------------------------------------------


def top(logits: Tensor, active: int) -> Tensor:
    """1 at the `active` largest of each token [..., E], 0 elsewhere."""
    return torch.zeros_like(logits).scatter(-1, logits.topk(active, -1).indices, 1.0)


def balanced_clusters(x_FT: Tensor, clusters: int, seed: int, rounds: int = 20) -> Tensor:
    """A cluster for each of the F rows, int64 [F], all clusters of one size: k-means with places counted.

    Near pairs of row and centre are served first; who comes when a cluster is full takes the next nearest.
    """
    size = len(x_FT) // clusters
    generator = torch.Generator().manual_seed(seed)
    centre_ET = x_FT[torch.randperm(len(x_FT), generator=generator)[:clusters]].clone()
    cluster_F = torch.full((len(x_FT),), -1)
    for _ in range(rounds):
        before, cluster_F = cluster_F, torch.full((len(x_FT),), -1)
        room = [size] * clusters
        for pair in torch.cdist(x_FT, centre_ET).flatten().argsort(stable=True).tolist():
            f, e = divmod(pair, clusters)
            if cluster_F[f] < 0 and room[e]:
                cluster_F[f], room[e] = e, room[e] - 1
        if torch.equal(before, cluster_F):
            break
        centre_ET = torch.stack([x_FT[cluster_F == e].mean(0) for e in range(clusters)])
    return cluster_F


def carried(h_TF: Tensor, down_WF: Tensor, cluster_F: Tensor, experts: int) -> Tensor:
    """Which share of what a token gets comes from each expert, [T, E].

    A column gives its size times the norm of the weights [W] that it goes out with.
    """
    weight_TF = h_TF.abs() * down_WF.norm(dim=0)
    sum_TE = torch.zeros(len(h_TF), experts, dtype=h_TF.dtype).index_add_(1, cluster_F, weight_TF)
    return sum_TE / sum_TE.sum(1, keepdim=True).clamp(min=torch.finfo(h_TF.dtype).tiny)


def router_of(x_TK: Tensor, share_TE: Tensor, damping: float = 1e-2) -> tuple[Tensor, Tensor]:
    """Weights [E, K] and biases [E] that predict the shares best: least squares in float64, damped."""
    x, mean_K, mean_E = x_TK.double(), x_TK.double().mean(0), share_TE.double().mean(0)
    x = x - mean_K
    gram_KK = x.T @ x
    gram_KK.diagonal().add_(damping * gram_KK.diagonal().mean() + 1e-12)
    weight_EK = torch.linalg.solve(gram_KK, x.T @ (share_TE.double() - mean_E)).T
    return weight_EK.float(), (mean_E - weight_EK @ mean_K).float()


def balance_loss(logits_TE: Tensor, active: int) -> Tensor:
    """Switch Transformer's E Σ_e f_e P_e, 1 when all are used alike; f: share of choices, P: mean probability."""
    used_E = top(logits_TE, active).mean(0) / active
    return logits_TE.shape[-1] * (used_E * logits_TE.softmax(-1).mean(0)).sum()
