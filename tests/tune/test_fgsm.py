import math

import torch

from burnish.tune.fgsm import Fgsm, signs
from tests.tune.test_attack import Linear, linear_batch, linear_loss, live


def test_a_step_worked_out_by_hand() -> None:
    gradient = torch.tensor([[[3.0, -1e-20], [0.0, -4.0]]])
    assert signs(gradient, 0.5).tolist() == [[[0.5, -0.5], [0.0, -0.5]]]


def test_every_number_of_a_real_token_moves_as_far() -> None:
    """On a linear model with w = (3, 4) the loss of two real tokens rises by 2 epsilon (3 + 4)."""
    model = Linear()
    run = live(Fgsm(epsilon=0.5))
    run.loss(model, linear_batch([1, 2, 3, 0]), linear_loss)
    assert model.passes[1].tolist() == [[[0.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.0, 0.0]]]
    assert math.isclose(run.notes()["attack_rise"], 2 * 0.5 * 7, rel_tol=1e-3)
