import numpy as np
import pytest
import torch

from burnish.tune._attack import lengths
from burnish.tune.freelb import FreeLb, climbed, noise
from tests.tune.test_attack import Linear, linear_batch, linear_loss, live


def test_steps_worked_out_by_hand() -> None:
    moved, gradient = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[3.0, 4.0]]])
    assert climbed(moved, gradient, 0.5, 0.0).flatten().tolist() == pytest.approx([0.3, 1.4])
    assert float(lengths(climbed(moved, gradient, 0.5, 0.7))) == pytest.approx(0.7)


def test_the_loss_is_the_mean_over_all_passes_and_so_is_the_gradient() -> None:
    """On a linear model, from the row itself: 0, 2.5 and 5 above the clean loss, 2.5 on average."""
    model = Linear()
    loss = live(FreeLb(step=0.5, init=0.0, steps=3)).loss(model, linear_batch([2, 0]), linear_loss)
    own = model.table.weight[[2, 0]].detach().sum(0)
    assert float(loss.detach()) == pytest.approx(float(own @ model.w.detach()) + 2.5, rel=1e-5)
    loss.backward()
    assert model.w.grad.tolist() == pytest.approx((own + 0.5 * torch.tensor([0.6, 0.8])).tolist(), rel=1e-4)
    assert len(model.passes) == 3


def test_how_long_the_rows_are_changes_nothing_for_a_random_start() -> None:
    """The start of a row is a function of the seed, the step and its own tokens."""

    def start(ids, step=3, seed=1):
        ids = torch.tensor(ids)
        return noise(ids, ids > 1, 4, step, size=0.5, seed=seed)

    alone, among = start([[1, 7, 8]]), start([[1, 9, 9, 9], [1, 7, 8, 0]])
    assert torch.equal(alone[0], among[1, :3])
    assert not among[1, 3].any()
    assert 0 < float(lengths(alone)) <= 0.5
    assert not torch.equal(alone, start([[1, 7, 8]], step=4))
    assert not torch.equal(alone, start([[1, 7, 8]], seed=2))
    assert np.isfinite(alone.numpy()).all()
