from random import Random

import numpy as np
import onnxruntime as ort
import pytest
import torch

from burnish import models
from burnish.compress._coded import CodedLinear
from burnish.compress._codes import Grid
from burnish.compress._hessian import Inputs
from burnish.compress._weights import layers_of
from burnish.compress.awq import Awq, candidates, error_of, searched
from burnish.errors import UsageError
from burnish.serve.engines.onnx import export
from burnish.train.evaluate import outputs_of_rows
from tests.families import KINDS, family_work
from tests.tiny import tiny_work


def inputs_with(sizes_K: torch.Tensor, seed: int = 0) -> Inputs:
    make = torch.Generator().manual_seed(seed)
    x_TK = torch.randn(500, len(sizes_K), generator=make, dtype=torch.float64) * sizes_K
    return Inputs(2 / 500 * x_TK.T @ x_TK, x_TK.abs().mean(0), 500)


def weights(rows: int, columns: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_scales_by_hand() -> None:
    w = torch.tensor([[1.0, 2.0, 4.0, 4.0]], dtype=torch.float64)
    x = torch.tensor([4.0, 1.0, 1.0, 0.25], dtype=torch.float64)
    (half, scale_half), (whole, scale_whole) = candidates(w, x, 0, 2)
    assert (half, whole) == (0.5, 1.0)
    assert scale_whole.tolist() == pytest.approx([4, 1, 1, 0.25], rel=1e-3)
    expected = torch.tensor([2 / 0.5, 1 / 0.5**0.5, 1, 0.5])  # sqrt(x) / sqrt(w / 4)
    assert scale_half.tolist() == pytest.approx((expected / 2**0.5).tolist(), rel=1e-3)


def test_busy_inputs_are_protected() -> None:
    sizes = torch.ones(64, dtype=torch.float64)
    sizes[5] = sizes[40] = 30
    inputs, w, grid = inputs_with(sizes), weights(32, 64), Grid(3, 0)
    strength, scale = searched(w, inputs.hessian_KK, inputs.mean_K, grid, 10)
    assert strength > 0
    assert scale is not None
    assert scale[[5, 40]].min() > 2 * scale.median()
    assert error_of(w, inputs.hessian_KK, grid, scale) < 0.5 * error_of(w, inputs.hessian_KK, grid)


def test_an_input_that_never_came_is_not_scaled() -> None:
    sizes = torch.ones(16, dtype=torch.float64)
    sizes[3] = 0
    for _, scale in candidates(weights(4, 16), inputs_with(sizes).mean_K, 0, 4):
        assert torch.isfinite(scale).all()
        assert scale[3] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_no_layer_of_any_family_is_worse_than_rounded(kind: str) -> None:
    work = family_work(kind, valid=8)
    made = Awq(bits=3, group=16, rows=16, search=False, tries=5)(work, Random(0))
    errors = made.notes["error"]
    assert set(errors) == set(layers_of(work.model)[0])
    first = [e for name, e in errors.items() if "layers.0" in name or "layer.0" in name]
    assert first
    assert sum(e["awq"] for e in errors.values()) < sum(e["rounding"] for e in errors.values())


def test_a_scaled_model_exports_and_comes_back_as_float() -> None:
    made = Awq(bits=4, group=16, rows=32, activations="float", tries=4)(tiny_work(layers=1), Random(0))
    assert any(m.factors is not None for m in made.model.modules() if isinstance(m, CodedLinear))
    expected = outputs_of_rows(made.model, made.tokenizer, made.valid, 64)
    plain = models.as_float(made.model)
    assert np.allclose(expected, outputs_of_rows(plain, made.tokenizer, made.valid, 64), atol=1e-5)
    session = ort.InferenceSession(export(made.model, made.tokenizer, max_length=64).model_proto.SerializeToString())
    row = made.tokenizer(made.valid[0].text, return_tensors="np")
    feed = {i.name: row[i.name].astype(np.int64) for i in session.get_inputs()}
    assert np.abs(session.run(None, feed)[0] - expected[:1]).max() < 1e-4


def test_what_it_refuses() -> None:
    for wrong in ({"rows": 0}, {"tries": 0}, {"group": 1}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            Awq(**wrong)
