"""GPTQ against a reference without any of its shortcuts, and as a step."""

from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from burnish import models
from burnish.compress._codes import Codes, Grid, decode, nearest, round_weights
from burnish.compress._hessian import calibration, sweep
from burnish.compress._weights import Solved, layers_of, relative_error
from burnish.compress.gptq import Gptq, gptq, inverse_factor, ordered
from burnish.errors import UsageError
from burnish.train.evaluate import outputs_of_rows
from tests.families import KINDS, family_work
from tests.tiny import tiny_work


def by_least_squares(w_NK: Tensor, h_KK: Tensor, grid: Grid) -> Tensor:
    """What GPTQ must give: fix one column after the other, and solve for the best of all the others from scratch."""
    start = round_weights(w_NK, grid)
    fixed_NK = torch.empty_like(w_NK)
    for k in range(w_NK.shape[1]):
        done, left = slice(0, k), slice(k, None)
        gap = w_NK[:, done] - fixed_NK[:, done]
        now = w_NK[:, left] + gap @ h_KK[done, left] @ torch.linalg.inv(h_KK[left, left])
        code_N = nearest(now[:, 0], start.scale[:, 0], start.zero[:, 0], grid.top)
        fixed_NK[:, k] = (code_N - start.zero[:, 0]) * start.scale[:, 0]
    return fixed_NK


def correlated(rows: int, columns: int, seed: int) -> tuple[Tensor, Tensor]:
    """Inputs [T, K] that vary together, as a network's do, and their Hessian."""
    make = torch.Generator().manual_seed(seed)
    mix = torch.randn(columns, columns, generator=make, dtype=torch.float64)
    x = torch.randn(rows, columns, generator=make, dtype=torch.float64) @ (mix + torch.eye(columns))
    return x, 2 / rows * x.T @ x


def solved(w: Tensor, h: Tensor, grid: Grid, *, damp: float = 0.01, order: bool = True) -> Codes:
    found = gptq(w, h, grid, damp=damp, order=order)
    assert found is not None
    return found[0]


# -- the maths -----------------------------------------------------------------------------------------


def test_two_inputs_by_hand() -> None:
    # Steps of 1 from -1 to 2. The first weight goes to 0; 0.9 of its error moves the second: 0.3 + 0.405 -> 1.
    w = torch.tensor([[0.45, 0.3, -1.0, 2.0]], dtype=torch.float64)
    h = torch.eye(4, dtype=torch.float64)
    h[0, 1] = h[1, 0] = 0.9
    plain, ours = round_weights(w, Grid(2)), solved(w, h, Grid(2), damp=0, order=False)
    assert decode(plain, 0).tolist() == [[0, 0, -1, 2]]
    assert decode(ours, 0).tolist() == [[0, 1, -1, 2]]
    size = float(0.45**2 + 0.3**2 + 2 * 0.9 * 0.45 * 0.3) + 5
    assert relative_error(w, decode(plain, 0), h) == pytest.approx((size - 5) / size)
    assert relative_error(w, decode(ours, 0), h) == pytest.approx((0.45**2 + 0.7**2 - 1.8 * 0.45 * 0.7) / size)


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 4]), st.booleans(), st.sampled_from([2, 3, 9]))
def test_it_equals_solving_for_the_rest_from_scratch(seed: int, bits: int, symmetric: bool, columns: int) -> None:
    _, h = correlated(64, columns, seed)
    w = torch.randn(5, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    grid = Grid(bits, 0, symmetric)
    ours = decode(solved(w, h, grid, damp=0, order=False), 0)
    reference = by_least_squares(w, h, grid)
    same = (ours - reference).abs().amax(1) < 1e-6
    assert same.float().mean() >= 0.8  # a tie within rounding may fall either way, and then all that follows differs


def test_blocks_of_columns_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _, h = correlated(300, 150, 0)
    w = torch.randn(8, 150, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = solved(w, h, Grid(4, 0))
    monkeypatch.setattr("burnish.compress.gptq.BLOCK", 7)
    assert torch.equal(whole.codes, solved(w, h, Grid(4, 0)).codes)


@pytest.mark.parametrize("group", [0, 16, 64])
@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("symmetric", [False, True])
def test_it_is_far_below_rounding(bits: int, group: int, symmetric: bool) -> None:
    x, h = correlated(400, 80, 3)
    w = torch.randn(16, 80, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    grid = Grid(bits, group, symmetric, 10)
    errors = [relative_error(w, decode(c, group), h) for c in (round_weights(w, grid), solved(w, h, grid))]
    assert errors[1] < 0.6 * errors[0]
    gap = x @ (w - decode(solved(w, h, grid), group)).T
    assert float(gap.pow(2).sum() / (x @ w.T).pow(2).sum()) == pytest.approx(errors[1])


def test_a_codes_scale_is_that_of_its_group_whatever_the_order() -> None:
    _, h = correlated(200, 40, 5)
    h *= torch.linspace(1, 9, 40)[:, None] * torch.linspace(1, 9, 40)  # so that the last columns come first
    w = torch.randn(4, 40, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    w[:, :16] *= 100
    found = solved(w, h, Grid(8, 16), order=True)
    assert [s.tolist()[0] // 16 for s in ordered(h.diagonal(), 16)] == [2, 1, 0]
    assert (found.scale[:, 0] > 20 * found.scale[:, 1:].amax(1)).all()
    assert (decode(found, 16) - w).abs().max() < 3


def test_inputs_that_never_came_get_zero_and_a_singular_hessian_gets_damped() -> None:
    x, _ = correlated(6, 20, 7)  # fewer rows than columns
    x[:, 3] = 0
    h = x.T @ x
    w = torch.randn(4, 20, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    found = gptq(w, h, Grid(4), damp=0, order=True)
    assert found is not None
    assert found[1] > 0
    assert (decode(found[0], 0)[:, 3] == 0).all()
    assert inverse_factor(torch.full((3, 3), float("nan"), dtype=torch.float64), 0.01) is None


# -- calibration ---------------------------------------------------------------------------------------


def test_the_hessian_is_that_of_each_row_alone_and_queries_keys_and_values_share_it() -> None:
    work = tiny_work()
    batches = calibration(work, 12, Random(0))
    assert sum(len(b["input_ids"]) for b in batches) == 12
    assert all(b["attention_mask"].all() for b in batches)
    groups: list[list[str]] = []
    seen = []

    def look(weights, inputs):
        groups.append([name.split("encoder.layer.")[1] for name in weights])
        seen.append(inputs)
        return {name: Solved(round_weights(w, Grid(8))) for name, w in weights.items()}

    found = sweep(work.model, batches, look, 0)
    assert groups[:4] == [
        ["0.attention.self.query", "0.attention.self.key", "0.attention.self.value"],
        ["0.attention.output.dense"],
        ["0.intermediate.dense"],
        ["0.output.dense"],
    ]
    assert set(found) == set(layers_of(work.model)[0])
    assert all(i.hessian_KK.abs().sum() > 0 for i in seen)
    x = [work.model.bert.embeddings(row[None]).flatten(0, 1).double() for b in batches for row in b["input_ids"]]
    x = torch.cat(x).detach()
    assert torch.allclose(seen[0].hessian_KK, 2 / len(x) * x.T @ x, atol=1e-6)
    assert torch.allclose(seen[0].mean_K, x.abs().mean(0), atol=1e-6)


# -- the step ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_of_every_family_is_below_rounding(kind: str) -> None:
    work = family_work(kind, valid=8)
    made = Gptq(bits=3, group=16, rows=32, search=False)(work, Random(0))
    errors = made.notes["error"]
    assert set(errors) == set(layers_of(work.model)[0])
    assert all(0 < e["gptq"] < e["rounding"] for e in errors.values()), errors
    assert models.precision(made.model) == "int3"


def test_the_whole_model_is_nearer_to_the_float_one_than_rounded() -> None:
    from burnish.compress.round_weights import RoundWeights

    work = tiny_work()
    settings = {"bits": 2, "group": 16, "rest": 0, "embeddings": 0, "activations": "float"}
    whole = outputs_of_rows(work.model, work.tokenizer, work.valid, 64)
    far = [
        np.abs(outputs_of_rows(step(work, Random(0)).model, work.tokenizer, work.valid, 64) - whole).mean()
        for step in (RoundWeights(**settings), Gptq(**settings))
    ]
    assert far[1] < far[0]


def test_what_it_refuses() -> None:
    for wrong in ({"rows": 0}, {"damp": 1.0}, {"bits": 1}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            Gptq(**wrong)
