"""PGD: each row is also learned where several small steps of rising loss have led its embeddings, within a ball.

Paper: Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning Models Resistant to Adversarial Attacks",
ICLR 2018, arXiv:1706.06083, section 2.1, with a Euclidean ball.
Differs from it: the clean pass counts as well, as in tune/fgm (share=1 is the paper's); the steps begin at the row
itself, not at a random point of the ball; word embeddings are moved, those of padding and special tokens stay; all
passes draw the same dropout.

When it helps: where tune/fgm does and its single step is too crude: large epsilon, loss far from linear. On text the
two are mostly alike, and this one costs twice as much.
What it costs: steps + 1 times the time of a plain step, a little less where the steps between need no gradients of
weights, and one more copy of the gradients in memory: compare with a run of 4 times the epochs. Its notes tell by how
much the attack raised the loss a row (`attack_rise`).

Shapes: B = rows, S = tokens, H = width of the word embeddings.
"""

from dataclasses import dataclass

from torch import Tensor

from burnish.core import name_of
from burnish.train.parts import Facts
from burnish.train.tweak import Need, Tweak
from burnish.tune._attack import Attack, Course, pulled_in, unit
from burnish.tune._require import within

__all__ = ["Pgd", "ascended"]


@dataclass(frozen=True)
class Pgd(Tweak):
    epsilon: float = 1.0  # radius of the ball: how far a row is moved at most, over all its real tokens, 0 or more
    alpha: float = 0.3  # length of a step, above 0
    steps: int = 3  # K, 1 or more
    share: float = 0.5  # of the attacked pass in the loss, 0..1; the clean one has the rest

    need = Need(copies=1.0)

    def __post_init__(self) -> None:
        within("epsilon", self.epsilon, 0)
        within("alpha", self.alpha, 0, ends="(]")
        within("steps", self.steps, 1)
        within("share", self.share, 0, 1)

    def begin(self, facts: Facts) -> Tweak:
        if not self.epsilon or not self.share:
            return Tweak()
        between = (0.0,) * (self.steps - 1)
        return Attack(name_of(self), facts, Course((1 - self.share, *between, self.share), self.move))

    def move(self, moved_BSH: Tensor, gradient_BSH: Tensor, real_BS: Tensor) -> Tensor:
        return ascended(moved_BSH, gradient_BSH, self.alpha, self.epsilon)


def ascended(moved_BSH: Tensor, gradient_BSH: Tensor, alpha: float, epsilon: float) -> Tensor:
    """A step of length `alpha` up the gradient of each row, and back to the ball of radius `epsilon` where it left."""
    return pulled_in(moved_BSH + alpha * unit(gradient_BSH), epsilon)
