"""FGM: each row is also learned with its embeddings moved a fixed length in the direction in which the loss rises.

Paper: Miyato, Dai, Goodfellow, "Adversarial Training Methods for Semi-Supervised Text Classification", ICLR 2017,
arXiv:1605.07725, eq. (2) and (6), for labelled rows.
Differs from it: the two losses are averaged, not added, so that clipping sees their usual size; embeddings are not
brought to unit variance, which would change a pretrained model, and those of padding and special tokens stay; both
passes draw the same dropout. The much-copied version that moves rows of the embedding matrix needs weights to put back,
and one length is shared by the whole batch; here each row has its own, the matrix may be frozen or shared, and
how a step is cut into micro-batches changes nothing.

When it helps: small and middle-sized sets; half a point to a point is reported, on GLUE and on Chinese sets. Try
epsilon of 0.1 to 1.
What it costs: twice the time of a plain step, and one more copy of the gradients in memory: compare with a run of twice
the epochs. Its notes tell by how much the attack raised the loss a row (`attack_rise`).

Shapes: B = rows, S = tokens, H = width of the word embeddings.
"""

from dataclasses import dataclass

from torch import Tensor

from burnish.core import name_of
from burnish.train.parts import Facts
from burnish.train.tweak import Need, Tweak
from burnish.tune._attack import Attack, Course, unit
from burnish.tune._require import within

__all__ = ["Fgm", "along"]


@dataclass(frozen=True)
class Fgm(Tweak):
    epsilon: float = 1.0  # how far a row is moved, over all its real tokens together, 0 or more
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
        return along(gradient_BSH, self.epsilon)


def along(gradient_BSH: Tensor, epsilon: float) -> Tensor:
    """epsilon g / ||g|| of each row: the step of that length that raises a linear loss most; 0 where g is."""
    return epsilon * unit(gradient_BSH)
