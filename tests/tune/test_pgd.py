import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.tune._attack import lengths
from burnish.tune.pgd import Pgd, ascended
from tests.tune.test_attack import Linear, linear_batch, linear_loss, live


def test_steps_worked_out_by_hand() -> None:
    """Along (3, 4) / 5: to 0.6, to 1.2, and no further than 1.5 the third time."""
    moved, gradient = torch.zeros(1, 1, 2), torch.tensor([[[3.0, 4.0]]])
    found = []
    for _ in range(3):
        moved = ascended(moved, gradient, 0.6, 1.5)
        found.append(float(lengths(moved)))
    assert found == pytest.approx([0.6, 1.2, 1.5])
    assert moved.flatten().tolist() == pytest.approx([0.9, 1.2])


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=4, max_size=4), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_whatever_the_gradients_it_stays_in_the_ball_and_finite(steps: list[list[float]]) -> None:
    moved = torch.zeros(1, 2, 2)
    for gradient in steps:
        moved = ascended(moved, torch.tensor(gradient).reshape(1, 2, 2), 0.7, 1.0)
        assert torch.isfinite(moved).all()
        assert float(lengths(moved)) <= 1 + 1e-5


def test_the_passes_between_count_for_nothing() -> None:
    """On a linear model the loss is (1 - share) of the clean one and share of that after three steps of 0.5 |w|."""
    model = Linear()
    run = live(Pgd(epsilon=10.0, alpha=0.5, steps=3, share=0.25))
    loss = run.loss(model, linear_batch([2, 0]), linear_loss)
    plain = float((model.table.weight[[2, 0]].detach() @ model.w.detach()).sum())
    assert float(loss.detach()) == pytest.approx(plain + 0.25 * 3 * 0.5 * 5, rel=1e-5)
    loss.backward()
    own = model.table.weight[[2, 0]].detach().sum(0)
    assert model.w.grad.tolist() == pytest.approx((own + 0.25 * 1.5 * torch.tensor([0.6, 0.8])).tolist(), rel=1e-4)
