"""FGSM: each row is also learned with every number of its embeddings moved a little, all the way the loss rises.

Paper: Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015, arXiv:1412.6572,
section 6: the loss is a (1 - share) and share mixture of the clean and the attacked one.
Differs from it: word embeddings are moved, not pixels, and those of padding and special tokens stay; both passes draw
the same dropout.

When it helps: seldom more than tune/fgm, which moves what matters and leaves the rest; here for comparison, and for
models that should stand small changes everywhere.
What it costs: twice the time of a plain step, and one more copy of the gradients in memory: compare with a run of twice
the epochs. Its notes tell by how much the attack raised the loss a row (`attack_rise`).

Shapes: B = rows, S = tokens, H = width of the word embeddings.
"""

from dataclasses import dataclass

from torch import Tensor

from burnish.core import name_of
from burnish.train.parts import Facts
from burnish.train.tweak import Need, Tweak
from burnish.tune._attack import Attack, Course
from burnish.tune._require import within

__all__ = ["Fgsm", "signs"]


@dataclass(frozen=True)
class Fgsm(Tweak):
    epsilon: float = 0.01  # how far each number is moved, 0 or more; embeddings' own are about 0.05
    share: float = 0.5  # of the attacked pass in the loss, 0..1; the clean one has the rest

    need = Need(copies=1.0)

    def __post_init__(self) -> None:
        within("epsilon", self.epsilon, 0)
        within("share", self.share, 0, 1)

    def begin(self, facts: Facts) -> Tweak:
        if not self.epsilon or not self.share:
            return Tweak()
        return Attack(name_of(self), facts, Course((1 - self.share, self.share), self.move))

    def move(self, moved_BSH: Tensor, gradient_BSH: Tensor, real_BS: Tensor) -> Tensor:
        return signs(gradient_BSH, self.epsilon)


def signs(gradient_BSH: Tensor, epsilon: float) -> Tensor:
    """epsilon sign(g): the step that raises a linear loss most when no number may move further than epsilon."""
    return epsilon * gradient_BSH.sign()
