"""The tweak that lets a teacher's outputs into the loss.

Paper: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531.

Shapes: B = rows of a batch, N = rows, C = outputs.
"""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from burnish.core import FILL
from burnish.train.tweak import Batch, Loss, Remember, Tweak

__all__ = ["Distill", "distance"]


class Distill(Tweak):
    """Mix the loss on the labels with the distance to the teacher's outputs [N, C], by row number.

    `labelled_N` is 1 where a row has a label and 0 where the teacher alone knows what it is.
    """

    def __init__(
        self, teacher_NC: Tensor, objective: str, alpha: float, temperature: float, labelled_N: Tensor | None = None
    ):
        self.teacher_NC, self.alpha, self.labelled_N = teacher_NC, alpha, labelled_N
        self.distance = partial(distance, objective=objective, temperature=temperature)

    def loss(self, model: nn.Module, batch: Batch, inner: Loss) -> Tensor:
        said = Remember(model)
        if self.labelled_N is not None:
            labelled_B = self.labelled_N.to(batch["rows"].device)[batch["rows"]]
            batch = {**batch, "weights": batch["weights"] * labelled_B}
        labels = inner(said, batch)
        teacher_BC = self.teacher_NC.to(batch["rows"].device)[batch["rows"]]
        if teacher_BC.ndim == 3:
            teacher_BC = teacher_BC[:, : said.outputs_BC.shape[1]]
        return self.alpha * labels + (1 - self.alpha) * self.distance(said.outputs_BC.float(), teacher_BC)


def distance(student_BC: Tensor, teacher_BC: Tensor, *, objective: str, temperature: float) -> Tensor:
    """How far the student's outputs are from the teacher's, summed over the B rows.

    For one label a row: T² KL(teacher || student) of the softened distributions (Hinton et al., section 2;
    T² keeps its gradient of the size of the other loss). For many labels: the same for each yes or no.
    For numbers: squared error. For a label a token [B, S, C]: the first, its mean over a row's tokens; for the two
    ends of an answer [B, S, 2]: the first over places. Where the teacher's outputs are FILL there is no token.
    """
    if objective == "mean_squared_error":
        there_BC = teacher_BC != FILL
        return (
            (F.mse_loss(student_BC, teacher_BC, reduction="none") * there_BC)
            .flatten(1)
            .sum(1)
            .div(there_BC.flatten(1).sum(1).clamp(min=1))
            .sum()
        )
    soft_BC = teacher_BC / temperature
    if objective == "binary_cross_entropy":
        target_BC = soft_BC.sigmoid()
        loss = F.binary_cross_entropy_with_logits(student_BC / temperature, target_BC, reduction="none")
        return loss.mean(1).sum() * temperature**2
    if objective == "word_cross_entropy":
        there_BS = teacher_BC[:, :, 0] != FILL
        p_BSC, q_BSC = F.log_softmax(student_BC / temperature, -1), F.log_softmax(soft_BC, -1)
        apart_BS = F.kl_div(p_BSC, q_BSC, log_target=True, reduction="none").sum(-1) * there_BS
        return (apart_BS.sum(1) / there_BS.sum(1).clamp(min=1)).sum() * temperature**2
    if objective == "span_cross_entropy":
        p_BSC, q_BSC = F.log_softmax(student_BC / temperature, 1), F.log_softmax(soft_BC, 1)
        return F.kl_div(p_BSC, q_BSC, log_target=True, reduction="sum") / 2 * temperature**2
    p_BC, q_BC = F.log_softmax(student_BC / temperature, -1), F.log_softmax(soft_BC, -1)
    return F.kl_div(p_BC, q_BC, log_target=True, reduction="sum") * temperature**2
