import math

import pytest
import torch

from burnish.tune.fgm import Fgm, along
from tests.tune.test_attack import Linear, linear_batch, linear_loss, live


def test_a_step_worked_out_by_hand() -> None:
    """3 and 4 have length 5 together; a row without a gradient stays."""
    gradient = torch.tensor([[[3.0], [4.0]], [[0.0], [0.0]]])
    assert along(gradient, 2.0).flatten(1).tolist() == [[pytest.approx(1.2), pytest.approx(1.6)], [0.0, 0.0]]


def test_one_step_of_fgm_on_a_linear_model_is_epsilon_times_the_unit_gradient() -> None:
    """Row 0 has two real tokens, one of them unknown: w / (5 sqrt(2)) at each. Row 1 has one: w / 5 at it."""
    model = Linear()
    live(Fgm(epsilon=2.0)).loss(model, linear_batch([1, 2, 5], [3, 1, 0]), linear_loss)
    plain, moved = model.passes
    assert not plain.any()
    two, one = [2 * 0.6 / math.sqrt(2), 2 * 0.8 / math.sqrt(2)], [2 * 0.6, 2 * 0.8]
    flat = [two[0], two[1], two[0], two[1], one[0], one[1]]
    assert moved[0, 0].tolist() == moved[1, 1].tolist() == moved[1, 2].tolist() == [0.0, 0.0]
    assert [*moved[0, 1:].flatten().tolist(), *moved[1, 0].tolist()] == pytest.approx(flat)


def test_the_loss_and_the_gradient_are_the_mixture_of_both_passes() -> None:
    """Of one real token: w . e + epsilon |w|, with the slope e + epsilon w / |w|, since the step is fixed."""
    model = Linear()
    batch = linear_batch([3, 0], weights=[2.0])
    e = model.table.weight[3].detach() * 2 + model.table.weight[0].detach() * 2
    loss = live(Fgm(epsilon=2.0, share=0.25)).loss(model, batch, linear_loss)
    assert float(loss.detach()) == pytest.approx(float((e @ model.w).detach()) + 0.25 * 2 * (2 * 5))
    loss.backward()
    assert model.w.grad.tolist() == pytest.approx((e + 0.25 * 2 * 2 * torch.tensor([0.6, 0.8])).tolist())
