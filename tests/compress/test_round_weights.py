"""The inner form of quantized weights, the modules that hold it, and the step that rounds."""

import dataclasses
from pathlib import Path
from random import Random

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish import models
from burnish.compress._coded import CodedLinear, Form, rounded_blocks
from burnish.compress._codes import Codes, Grid, decode, fit, pack, round_weights, unpack
from burnish.compress.round_weights import ONNX, RoundWeights
from burnish.errors import UsageError
from burnish.serve.engines.onnx import export
from burnish.train.evaluate import outputs_of_rows
from tests.families import KINDS, family_work
from tests.tiny import tiny_work

BITS = (2, 3, 4, 8)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# -- bits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "words"),
    [(4, [0x76543210]), (3, [0x88FAC688, 0xC688FAC6, 0xFAC688FA])],
)
def test_packing_gives_the_published_words(bits: int, words: list[int]) -> None:
    codes = torch.arange(8 if bits == 4 else 32).remainder(8).to(torch.uint8)
    assert pack(codes, bits).numpy().view("<u4").tolist() == words


@given(st.sampled_from(BITS), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_packing_loses_nothing(bits: int, count: int, seed: int) -> None:
    codes = torch.randint(0, 2**bits, (3, count), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    packed = pack(codes, bits)
    assert packed.shape[1] <= count * bits / 8 + 3
    assert torch.equal(unpack(packed, bits, count), codes)


# -- grids ---------------------------------------------------------------------------------------------


def test_a_hand_worked_grid() -> None:
    w = torch.tensor([[-1.0, 0.0, 0.5, 2.0]])
    even = round_weights(w, Grid(2))  # steps of 1 from -1 to 2, and 0 is the second value
    assert (even.scale.item(), even.zero.item(), even.codes.tolist()) == (1.0, 1.0, [[0, 1, 1, 3]])  # 0.5 to even
    signed = round_weights(w, Grid(2, symmetric=True))  # -2..1 times -1, so that the farthest weight is a value
    assert (signed.scale.item(), signed.zero.item(), signed.codes.tolist()) == (-1.0, 2.0, [[3, 2, 2, 0]])
    assert decode(signed, 0).tolist() == [[-1.0, 0.0, 0.0, 2.0]]


@given(
    st.integers(0, 2**32 - 1), st.sampled_from(BITS), st.booleans(), st.sampled_from([0, 16]), st.sampled_from([0, 5])
)
def test_every_weight_takes_the_nearest_value_and_scales_are_exact_in_half(
    seed: int, bits: int, symmetric: bool, group: int, steps: int
) -> None:
    w = noise(4, 40, seed=seed)
    found = round_weights(w, Grid(bits, group, symmetric, steps))
    assert torch.equal(found.scale, found.scale.half().float())
    assert ((found.zero >= 0) & (found.zero < 2**bits)).all()
    values = [decode(Codes(torch.full_like(found.codes, c), found.scale, found.zero), group) for c in range(2**bits)]
    best = (torch.stack(values) - w).abs().amin(0)
    assert torch.allclose((decode(found, group) - w).abs(), best, atol=1e-6)


@pytest.mark.parametrize("symmetric", [False, True])
def test_groups_of_zeros_and_of_hardly_anything_stay_what_they_are(symmetric: bool) -> None:
    w = torch.zeros(2, 32)
    w[1] = 1e-9
    found = decode(round_weights(w, Grid(4, 16, symmetric, 5)), 16)
    assert torch.equal(found[0], w[0])
    assert torch.isfinite(found).all()
    assert found.abs().max() < 1e-6


def test_weights_far_from_zero_do_not_push_the_zero_out_of_range() -> None:
    found = round_weights(torch.full((1, 16), 7.0) + noise(1, 16) / 10, Grid(4))
    assert found.zero.item() == 0
    assert (decode(found, 0) - 7).abs().max() < 0.8


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_search_lowers_the_error_it_minimises(symmetric: bool) -> None:
    w = noise(32, 64)

    def error(steps: int) -> torch.Tensor:
        grid = Grid(3, 0, symmetric, steps)
        scale, zero = fit(w, grid)
        near = ((w / scale[:, None]).round() + zero[:, None]).clamp(0, 7) - zero[:, None]
        return (near * scale[:, None] - w).abs().pow(2.4).sum(1)

    assert (error(40) <= error(0)).all()
    assert error(40).sum() < 0.9 * error(0).sum()


# -- modules -------------------------------------------------------------------------------------------


def coded(bits: int, group: int, symmetric: bool, int8: bool, inputs: int = 48, factors: bool = False) -> CodedLinear:
    w = noise(24, inputs)
    made = CodedLinear(inputs, 24, Form(bits, group, symmetric, int8, factors), bias=True)
    made.fill(
        round_weights(w, Grid(bits, group, symmetric)), noise(24, seed=1), 1 + noise(inputs).abs() if factors else None
    )
    return made.eval()


class Wrapped(torch.nn.Module):
    def __init__(self, *layers: torch.nn.Module):
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [layer(x) for layer in self.layers]


@pytest.mark.filterwarnings("ignore")  # torch's exporter warns of its own deprecations
def test_onnx_runtime_computes_what_torch_does_at_every_width() -> None:
    forms = [(b, (16, 64, 0)[i], s, i != 1) for b in BITS for i, s in enumerate((True, False, b < 4))]
    layers = [coded(*form) for form in forms]
    layers.append(coded(4, 32, False, True, factors=True))
    x = noise(2, 5, 48, seed=3)
    program = torch.onnx.export(
        Wrapped(*layers),
        (x,),
        dynamo=True,
        dynamic_shapes=((torch.export.Dim("b"), torch.export.Dim("s"), None),),
        custom_translation_table=ONNX(),
        opset_version=23,
        verbose=False,
    )
    session = ort.InferenceSession(program.model_proto.SerializeToString())
    for got, layer in zip(session.run(None, {"x": x.numpy()}), layers, strict=True):
        assert np.abs(got - layer(x).numpy()).max() < 1e-4, layer.form
    other = np.concatenate([x[:1].numpy(), 1000 * noise(1, 5, 48, seed=4).numpy()])
    for a, b in zip(session.run(None, {"x": x.numpy()}), session.run(None, {"x": other}), strict=True):
        assert np.array_equal(a[0], b[0])  # who shares a batch changes no bit of an answer
    for a, b in zip(session.run(None, {"x": x[1:, 2:3].numpy()}), layers, strict=True):  # a batch of another shape
        assert np.abs(a - b(x).numpy()[1:, 2:3]).max() < 1e-4, b.form


def test_inputs_that_no_block_divides() -> None:
    layer = coded(3, 0, False, True, inputs=20)
    x = noise(2, 3, 20)
    assert torch.allclose(layer(x), rounded_blocks(x, 32) @ layer.plain().T + layer.bias, atol=1e-5)


def test_a_module_is_as_small_as_its_bits() -> None:
    for bits in BITS:
        state = coded(bits, 64, False, True, inputs=256).state_dict()
        whole = sum(t.numel() * t.element_size() for name, t in state.items() if name != "bias")
        assert whole <= 24 * 256 * bits / 8 * (1 + 0.25 + 0.1)


@given(st.integers(0, 2**32 - 1))
def test_rounded_activations_are_within_half_a_step_of_their_block(seed: int) -> None:
    x = noise(3, 40, seed=seed)
    steps = x[:, :32].abs().amax(1, keepdim=True) / 127
    assert ((rounded_blocks(x, 32) - x)[:, :32].abs() <= steps / 2 + 1e-6).all()


# -- the step ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_is_rounded_reloads_and_comes_back(kind: str, tmp_path: Path) -> None:
    work = family_work(kind)
    made = RoundWeights(bits=4, group=16, embeddings=4, activations="float")(work, Random(0))
    outputs = outputs_of_rows(made.model, made.tokenizer, made.valid, 64)
    assert models.precision(made.model) == "int4"
    assert made.notes["bytes"] < 0.45 * made.notes["bytes_before"]
    models.save(made.model, made.tokenizer, tmp_path)
    again, tokenizer = models.load_saved(tmp_path)
    assert np.array_equal(outputs, outputs_of_rows(again, tokenizer, made.valid, 64))
    plain = models.as_float(made.model)
    assert not any(type(m).__name__.startswith("Coded") for m in plain.modules())
    assert np.allclose(outputs, outputs_of_rows(plain, tokenizer, made.valid, 64), atol=1e-5)


def test_the_exported_graph_equals_torch_in_any_company() -> None:
    made = RoundWeights(bits=3, embeddings=4, activations="float")(tiny_work(layers=1), Random(0))
    program = export(made.model, made.tokenizer, max_length=64)
    session = ort.InferenceSession(program.model_proto.SerializeToString())
    expected = outputs_of_rows(made.model, made.tokenizer, made.valid, 64)
    rows = made.tokenizer([row.text for row in made.valid], padding=True, return_tensors="np")
    feed = {i.name: rows[i.name].astype(np.int64) for i in session.get_inputs()}
    together = session.run(None, feed)[0]
    assert np.abs(together - expected).max() < 1e-4  # padded and in one batch; torch saw no padding
    alone = session.run(None, {k: v[:1] for k, v in feed.items()})[0]
    assert np.abs(alone - together[:1]).max() < 1e-5


def test_fewer_bits_are_smaller_and_less_exact() -> None:
    found = [RoundWeights(bits=b, group=16)(tiny_work(), Random(0)) for b in BITS]
    errors = [max(made.notes["weight_error"].values()) for made in found]
    sizes = [made.notes["bytes"] for made in found]
    assert errors == sorted(errors, reverse=True)
    assert sizes == sorted(sizes)
    assert errors[-1] < 0.01 < 0.05 < errors[1]


def test_layers_that_are_shared_stay_shared(tmp_path: Path) -> None:
    work = tiny_work()
    stack = work.model.bert.encoder.layer
    stack[1] = stack[0]
    made = RoundWeights()(work, Random(0))
    assert made.model.bert.encoder.layer[0] is made.model.bert.encoder.layer[1]
    assert isinstance(made.model.bert.encoder.layer[1].output.dense, CodedLinear)


def test_what_it_refuses() -> None:
    for wrong in ({"bits": 5}, {"group": 48}, {"rest": 2}, {"embeddings": 3}, {"activations": "int4"}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            RoundWeights(**wrong)
    made = RoundWeights()(tiny_work(), Random(0))
    with pytest.raises(UsageError, match="leave compress/round_weights out"):
        RoundWeights()(made, Random(0))
    work = tiny_work()
    work.model.config.model_type = "unheard-of"
    with pytest.raises(UsageError, match="does not know models"):
        RoundWeights()(dataclasses.replace(work), Random(0))
