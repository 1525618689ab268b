"""FreeLB: several steps of rising loss on each row's embeddings, and the weights learn from every one of them.

Paper: Zhu, Cheng, Gan, Sun, Goldstein, Liu, "FreeLB: Enhanced Adversarial Training for Natural Language
Understanding", ICLR 2020, arXiv:1909.11764, algorithm 1, with the same dropout in all passes (its section 3.3).
Differs from it: dropout of the attention stays as the model has it, where the authors mostly take it out
(tune/dropout does that); special tokens stay where they are; the random start of a row depends on the seed, the step
and its tokens alone, so that neither padding nor micro-batches change it.

When it helps: encoders on GLUE-like tasks: +1.1 points on its test set for BERT-base, +0.3 for RoBERTa-large in the
paper. The authors' settings by task lie around the defaults: step 0.03 to 0.2, init 0 to 0.6, 2 to 4 steps, max_norm
only for QQP (0.7).
What it costs: `steps` times the time of a plain step, and one more copy of the gradients in memory: compare with a run
of as many times the epochs. Its notes tell by how much the attack raised the loss a row (`attack_rise`).

Shapes: B = rows, S = tokens, H = width of the word embeddings.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from burnish.core import name_of
from burnish.train.parts import Facts
from burnish.train.tweak import Need, Tweak
from burnish.tune._attack import Attack, Course, pulled_in, unit
from burnish.tune._require import within

__all__ = ["FreeLb", "climbed", "noise"]


@dataclass(frozen=True)
class FreeLb(Tweak):
    step: float = 0.1  # length of a step, 0 or more
    init: float = 0.1  # size of the random start, 0 or more: a row's length is at most this
    max_norm: float = 0.0  # how far a row is moved at most, over all its real tokens; 0 is without limit
    steps: int = 3  # K, passes; 1 or more

    need = Need(copies=1.0)

    def __post_init__(self) -> None:
        within("step", self.step, 0)
        within("init", self.init, 0)
        within("max_norm", self.max_norm, 0)
        within("steps", self.steps, 1)

    def begin(self, facts: Facts) -> Tweak:
        if not self.init and (not self.step or self.steps == 1):
            return Tweak()
        start = partial(noise, size=self.init, seed=facts.seed) if self.init else None
        return Attack(name_of(self), facts, Course((1 / self.steps,) * self.steps, self.move, start))

    def move(self, moved_BSH: Tensor, gradient_BSH: Tensor, real_BS: Tensor) -> Tensor:
        return climbed(moved_BSH, gradient_BSH, self.step, self.max_norm)


def climbed(moved_BSH: Tensor, gradient_BSH: Tensor, step: float, max_norm: float) -> Tensor:
    """A step up the gradient of each row, then, unless `max_norm` is 0, back into the ball of that radius."""
    far_BSH = moved_BSH + step * unit(gradient_BSH)
    return pulled_in(far_BSH, max_norm) if max_norm else far_BSH


def noise(ids_BS: Tensor, real_BS: Tensor, width: int, step: int, *, size: float, seed: int) -> Tensor:
    """Uniform in -1..1, times size / sqrt(numbers of the row), at real tokens; 0 elsewhere. [B, S, H]."""
    made_BSH = torch.zeros(*ids_BS.shape, width)
    real_BS = real_BS.cpu()
    for made_SH, real_S, ids_S in zip(made_BSH, real_BS, ids_BS.cpu(), strict=True):
        tokens = tuple(ids_S[real_S].tolist())
        if tokens:
            generator = torch.Generator().manual_seed(hash((seed, step, tokens)) & (2**63 - 1))
            drawn = torch.rand(len(tokens), width, generator=generator) * 2 - 1
            made_SH[real_S] = drawn * (size / (len(tokens) * width) ** 0.5)
    return made_BSH.to(ids_BS.device)
