import dataclasses
from random import Random

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from burnish import models
from burnish.compress.int8 import Int8, dynamic_quantize, quantize_rows
from burnish.errors import UsageError
from burnish.train.evaluate import outputs_of_rows
from tests.families import KINDS, family_work
from tests.tiny import tiny_model, tiny_work


def as_onnx_does(x: np.ndarray) -> list[np.ndarray]:
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
    outputs = [helper.make_tensor_value_info(n, t, None) for n, t in (("q", 2), ("s", 1), ("z", 2))]
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", 1, None)], outputs)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return ort.InferenceSession(made.SerializeToString()).run(None, {"x": x})


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 1.0, 1e4]), st.floats(-3, 3))
def test_activations_get_the_codes_that_onnx_gives_them(seed: int, size: float, shift: float) -> None:
    x = (np.random.default_rng(seed).normal(shift, 1, (1, 5, 9)) * size).astype(np.float32)
    codes, scale, zero = (t.numpy() for t in dynamic_quantize(torch.from_numpy(x)))
    q, s, z = as_onnx_does(x)
    assert np.array_equal(codes, q)
    assert np.float32(scale.item()) == s
    assert zero.item() == z


def test_constant_zero_rows_do_not_divide_by_zero() -> None:
    codes, scale, zero = dynamic_quantize(torch.zeros(2, 3))
    assert torch.equal((codes.float() - zero) * scale, torch.zeros(2, 3))


@given(st.integers(0, 2**32 - 1))
def test_weights_are_within_half_a_step(seed: int) -> None:
    w = torch.randn(6, 11, generator=torch.Generator().manual_seed(seed))
    codes, scale = quantize_rows(w)
    assert codes.abs().max() <= 127
    assert ((codes * scale[:, None] - w).abs() <= scale[:, None] / 2 + 1e-7).all()


def test_who_shares_a_batch_changes_no_answer() -> None:
    made = Int8(smallest=16)(tiny_work(), Random(0))
    together = outputs_of_rows(made.model, made.tokenizer, made.valid, 64)
    alone = np.concatenate([outputs_of_rows(made.model, made.tokenizer, [row], 64) for row in made.valid])
    assert np.abs(together - alone).max() < 1e-6


def test_it_is_a_quarter_of_the_size_and_says_how_far_the_weights_moved() -> None:
    work = tiny_work()
    made = Int8(smallest=16)(work, Random(0))

    def size(model) -> int:
        return sum(t.numel() * t.element_size() for t in model.state_dict().values())

    assert size(made.model) < 0.45 * size(work.model)
    assert 0 < made.notes["weight_error"] < 0.02


def test_floats_on_the_grid_come_back() -> None:
    made = Int8(smallest=16)(tiny_work(), Random(0))
    plain = models.as_float(made.model)
    assert not any(type(m).__name__.startswith("Int8") for m in plain.modules())
    again = Int8(smallest=16)(dataclasses.replace(made, model=plain), Random(0))
    for a, b in zip(made.model.state_dict().values(), again.model.state_dict().values(), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=1e-6)


def test_a_model_that_is_integer_already_is_refused() -> None:
    made = Int8(smallest=16)(tiny_work(), Random(0))
    with pytest.raises(UsageError, match="leave compress/int8 out"):
        Int8(smallest=16)(made, Random(0))
    assert tiny_model()


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_answers_nearly_as_before(kind: str) -> None:
    work = family_work(kind)
    made = Int8()(work, Random(0))
    before, after = (outputs_of_rows(w.model, w.tokenizer, w.valid, 60) for w in (work, made))
    assert made.notes["layers"] >= 12
    assert 0 < np.abs(before - after).max() < 0.2 * np.abs(before).max()
