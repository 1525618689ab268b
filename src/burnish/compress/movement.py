"""Soft movement pruning: weights that training moves toward zero go, while the model before teaches.

Paper: Sanh, Wolf, Rush, "Movement Pruning: Adaptive Sparsity by Fine-Tuning", NeurIPS 2020, arXiv:2005.07683.
Differs from it: the threshold stops where fewer weights than `share` would be left, so that the size is known
beforehand; the penalty of one score is the same in encoders of every size; in runs too short for the published rate of
the scores, 1e-2, to carry one across the threshold, the rate is as much higher as that takes; the weights of the last
evaluation win, since earlier ones hold more weights.

    each weight has a score s;  y = (w m(s)) x,  m(s) = 1 where sigmoid(s) > t, else 0
    the gradient of s is that of m, as if m were s (straight through): gradient of the weight in use x w
    the threshold t climbs from 0 by a cubic law between warm-up and cool-down; the loss has a term
    penalty x (t / its last value) x sum of sigmoid(s) / 85 million, the weights of the paper's encoder

When it helps: at 0.15 of the weights and less, where one-shot ways fail, and with enough training: the paper's runs
have 50,000 steps. Size alone, and only where the file is compressed: nothing on a CPU computes faster with scattered
zeros.
What it costs: a training run with twice the encoder's weights. `penalty` decides how near to `share` it comes, and the
published 400 is for long runs: after 150 steps a MiniLM had 0.94 of its weights left with 400, and 0.36 with 10,000.

Shapes: O = outputs, K = inputs.
"""

import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from burnish.compress import _mask
from burnish.compress._inside import LastWeights
from burnish.compress._mask import wanted
from burnish.compress._recover import recovered
from burnish.core import Rng, Work
from burnish.train.parts import Batching, Clip, Facts, Objective, Optimizer, Rates, Schedule, Weighting
from burnish.train.tweak import Batch, Loss, Need, Tweak
from burnish.words import say

__all__ = ["Movement"]

SCORE_RATE = 1e-2  # as published
BASE = 85e6  # weights of a base encoder's layers
SAMPLE = 200_000  # scores that decide where the threshold stops
REACH = 10.0  # how far a score can go in a run at least, if it always goes the same way at the peak rate


@dataclass(frozen=True)
class Movement:
    share: float = 0.15  # of the weights left at the least, between 0 and 1
    threshold: float = 0.1  # of sigmoid(score) at the end, 0..1; 0.5 is where scores begin
    penalty: float = 400.0  # on scores; more leaves fewer weights, and short runs need more
    quiet: float = 0.1  # share of the steps before the threshold climbs
    cooldown: float = 0.2  # share of the steps after it has climbed
    score_lr: float | None = None  # None: 1e-2, or more in short runs
    alpha: float = 0.3  # weight of the labels; the model before has the rest
    temperature: float = 2.0  # softens both sides of the comparison
    lr: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    accumulate: int | Literal["auto"] = 1
    optimizer: Optimizer | None = None
    schedule: Schedule | None = None
    warmup: float | None = None
    weight_decay: float = 0.01
    clip: float | Clip = 1.0
    objective: Objective | None = None
    weighting: Weighting | None = None
    rates: tuple[Rates, ...] = ()
    batching: Batching | None = None
    tweaks: tuple[Tweak, ...] = ()  # inside the lessons: their loss is the labels' side of it
    max_length: int | None = None
    precision: str = "auto"
    evals_per_epoch: int = 1
    patience: int = 0  # the threshold has to reach its end
    min_difference: float = 0.0
    doctor: Literal["advise", "off"] = "off"  # a threshold that climbs looks like trouble, and going back undoes it

    def __post_init__(self) -> None:
        need = partial(wanted, example="--with compress/movement:share=0.15")
        need("share", self.share, 0 < self.share < 1, say("between 0 and 1"))
        need("threshold", self.threshold, 0 < self.threshold < 1, say("between 0 and 1"))
        need("penalty", self.penalty, self.penalty >= 0, say("0 or more"))
        shares = self.quiet >= 0 and self.cooldown >= 0 and self.quiet + self.cooldown < 1
        need("quiet + cooldown", self.quiet + self.cooldown, shares, say("both 0 or more, together below 1"))
        need("score_lr", self.score_lr, self.score_lr is None or self.score_lr > 0, say("above 0"))
        need("epochs", self.epochs, self.epochs != 0, say("1 or more"))
        need("patience", self.patience, self.patience == 0, say("0: the threshold has to reach its end"))
        need("doctor", self.doctor, self.doctor in ("advise", "off"), "advise, off")

    def __call__(self, work: Work, rng: Rng) -> Work:
        names = _mask.thinnable(work.model, _mask.pattern_of(""), "compress/movement")
        move = Move(tuple(names), self.share, self.threshold, self.penalty, self.quiet, self.cooldown, self.score_lr)
        wishes = replace(self, tweaks=(*self.tweaks, move, LastWeights()), rates=(*self.rates, Apart()))
        model, tokenizer, notes = recovered(work, copy.deepcopy(work.model), wishes, rng)
        return replace(work, model=model, tokenizer=tokenizer, notes={**notes, **_mask.sizes(model, names)})


# -- the maths -----------------------------------------------------------------------------------------


def threshold_at(t: float, last: float, quiet: float, cooldown: float) -> float:
    """The threshold when the share `t` of the steps is done: 0, a cubic climb that slows down, then `last`."""
    climbed = min(1.0, max(0.0, (t - quiet) / (1 - quiet - cooldown)))
    return last * (1 - (1 - climbed) ** 3)


def masked(w_OK: Tensor, s_OK: Tensor, threshold: float) -> Tensor:
    """The weights whose score is above; a score has the gradient of its mask."""
    mask_OK = (s_OK.sigmoid() > threshold).to(w_OK.dtype)
    return w_OK * (mask_OK + s_OK - s_OK.detach())


# -- inside training -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Apart(Rates):
    """Embeddings are frozen; scores stand in a group of their own, whose rate `Move` sets."""

    def scale(self, name: str, depth: int, layers: int) -> float:
        if depth == 0:
            return 0.0
        return 2.0 if name.endswith(".scores") else 1.0


@dataclass(frozen=True)
class Move(Tweak):
    names: tuple[str, ...]
    share: float
    threshold: float
    penalty: float
    quiet: float
    cooldown: float
    score_lr: float | None

    need = Need(copies=3.0)

    def begin(self, facts: Facts) -> Tweak:
        return _Live(self, facts)


class _Live(Tweak):
    def __init__(self, own: Move, facts: Facts):
        self.own, self.steps, self.lr = own, facts.steps, facts.lr
        rate = own.score_lr or max(SCORE_RATE, REACH / facts.steps)
        self.scale, self.asked = rate / facts.lr, 0.0
        self.scored: list[tuple[nn.Module, str, _Scored]] = []

    def prepare(self, model: nn.Module) -> nn.Module:
        for name in self.own.names:
            path, _, child = name.rpartition(".")
            parent = model.get_submodule(path)
            plain = getattr(parent, child)
            self.scored.append((parent, child, _Scored(plain)))
            setattr(parent, child, self.scored[-1][2])
        return model

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        ours = {id(layer.scores) for _, _, layer in self.scored}
        for group in optimizer.param_groups:
            if all(id(p) in ours for p in group["params"]):
                group["scale"], group["weight_decay"] = self.scale, 0.0

    def before_step(self, model: nn.Module, step: int) -> None:
        own = self.own
        self.asked = threshold_at(step / max(1, self.steps - 1), own.threshold, own.quiet, own.cooldown)
        threshold = min(self.asked, self.highest())
        for _, _, layer in self.scored:
            layer.threshold = threshold

    def highest(self) -> float:
        """The threshold that leaves the share of the weights, from a sample of all scores."""
        scores = [layer.scores.detach().flatten() for _, _, layer in self.scored]
        sample = torch.cat([s[:: max(1, sum(map(len, scores)) // SAMPLE)] for s in scores])
        return float(sample.kthvalue(max(1, round((1 - self.own.share) * len(sample)))).values.sigmoid())

    def loss(self, model: nn.Module, batch: Batch, inner: Loss) -> Tensor:
        scores = [layer.scores.sigmoid().sum() for _, _, layer in self.scored]
        force = self.own.penalty * self.asked / self.own.threshold
        return inner(model, batch) + force * torch.stack(scores).sum() / BASE * batch["weights"].sum()

    def finish(self, model: nn.Module) -> nn.Module:
        for parent, child, layer in self.scored:
            plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
            gone_OK = layer.scores.detach().sigmoid() <= layer.threshold
            plain.weight = nn.Parameter(layer.weight.detach().masked_fill(gone_OK, 0))
            plain.bias = layer.bias
            setattr(parent, child, plain.train(parent.training))
        return model

    def notes(self) -> dict[str, Any]:
        return {"score_lr": self.scale * self.lr, "threshold": self.scored[0][2].threshold}


class _Scored(nn.Linear):
    """Shares its parameters with the layer it stands in for, and has a score for each weight besides."""

    def __init__(self, plain: nn.Linear):
        nn.Module.__init__(self)  # not nn.Linear's, which would draw new weights
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.weight = plain.weight
        self.register_parameter("bias", plain.bias)
        self.scores = nn.Parameter(torch.zeros_like(plain.weight))
        self.threshold = 0.0
        self.train(plain.training)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, masked(self.weight, self.scores, self.threshold), self.bias)
