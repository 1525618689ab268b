"""compress/magnitude, compress/wanda and compress/sparsegpt, which differ in how they choose."""

import gzip
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from burnish import models
from burnish.compress import _mask
from burnish.compress._mask import Pattern, kept, pattern_of
from burnish.compress._weights import layers_of, relative_error
from burnish.compress.int8 import Int8, Int8Linear
from burnish.compress.magnitude import Magnitude
from burnish.compress.sparsegpt import SparseGpt, inverse_root, sparsegpt
from burnish.compress.wanda import Wanda, scores
from burnish.errors import UsageError
from burnish.train.evaluate import outputs_of_rows
from tests.families import KINDS, family_work
from tests.tiny import tiny_work

STEPS = (Magnitude, Wanda, SparseGpt)


def case(outputs: int = 24, inputs: int = 64, tokens: int = 256, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Weights, and the Hessian of correlated inputs of unlike size."""
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(inputs, inputs, generator=g, dtype=torch.double) * torch.rand(inputs, generator=g).double()
    x = torch.randn(tokens, inputs, generator=g, dtype=torch.double) @ mix
    return torch.randn(outputs, inputs, generator=g, dtype=torch.double), 2 / tokens * x.T @ x


def by_all(share: float, text: str, seed: int) -> list[float]:
    """Output errors of magnitude, Wanda and SparseGPT."""
    w, h = case(seed=seed)
    pattern = pattern_of(text)
    plain = w * kept(w.square(), share, pattern)
    weighed = w * kept(scores(w, h.diagonal() / 2), share, pattern, by_row=True)
    made = sparsegpt(w, h, share, pattern, 0.01)
    assert made.count_nonzero() == weighed.count_nonzero() == plain.count_nonzero() == round(share * w.numel())
    return [relative_error(w, v, h) for v in (plain, weighed, made)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("share", "text"), [(0.5, ""), (0.25, ""), (0.5, "2:4"), (0.5, "4:8"), (0.5, "4x1"), (0.5, "1x4")]
)
def test_each_is_better_than_the_one_before(share: float, text: str, seed: int) -> None:
    plain, weighed, made = by_all(share, text, seed)
    assert made < 0.95 * weighed < plain


def test_two_inputs_that_are_one_by_hand() -> None:
    """The weight that stays takes over the work of the one that goes."""
    x = torch.randn(100, 1, dtype=torch.double).repeat(1, 2)
    made = sparsegpt(torch.tensor([[1.0, 2.0]]), x.T @ x, 0.5, Pattern(), damp=1e-9)
    assert made[0].tolist() == pytest.approx([0, 3], abs=1e-6) or made[0].tolist() == pytest.approx([3, 0], abs=1e-6)


def test_inputs_apart_lose_the_smallest_and_change_nothing() -> None:
    w = torch.tensor([[3.0, -1.0, 2.0, -4.0], [1.0, 8.0, 0.5, 6.0]])
    made = sparsegpt(w, torch.eye(4), 0.5, Pattern(), damp=0.01)
    assert made.tolist() == [[3, 0, 0, -4], [0, 8, 0, 6]]
    assert sparsegpt(w, torch.eye(4), 0.5, pattern_of("2:4"), 0.01).tolist() == [[3, 0, 0, -4], [0, 8, 0, 6]]


def test_what_is_never_fed_is_never_kept() -> None:
    w, h = case(inputs=8)
    h[3], h[:, 3] = 0, 0
    made = sparsegpt(w, h, 0.5, Pattern(), 0.01)
    assert (made[:, 3] == 0).all()
    assert made.isfinite().all()


def test_a_hessian_that_cannot_be_factored_is_damped_until_it_can() -> None:
    h = torch.ones(6, 6, dtype=torch.double)
    u = inverse_root(h, 1e-18)
    assert u.isfinite().all()
    assert torch.equal(u, u.triu())
    _, h = case()
    u = inverse_root(h, 0.01)
    damped = h + 0.01 * h.diagonal().mean() * torch.eye(len(h))
    assert torch.allclose(u.T @ u @ damped, torch.eye(len(h)).double(), atol=1e-8)


def test_masks_by_hand() -> None:
    score = torch.tensor([[1.0, 2.0, 3.0, 4.0], [8.0, 7.0, 6.0, 5.0]])

    def of(text: str, share: float = 0.5, *, by_row: bool = False) -> list[list[int]]:
        return kept(score, share, pattern_of(text), by_row=by_row).int().tolist()

    assert of("") == [[0, 0, 0, 0], [1, 1, 1, 1]]
    assert of("", by_row=True) == [[0, 0, 1, 1], [1, 1, 0, 0]]
    assert of("1:2") == [[0, 1, 0, 1], [1, 0, 1, 0]]
    assert of("2:4") == [[0, 0, 1, 1], [1, 1, 0, 0]]
    assert of("1x2", 0.25) == [[0, 0, 0, 0], [1, 1, 0, 0]]
    assert of("1x2", by_row=True) == [[0, 0, 1, 1], [1, 1, 0, 0]]
    assert of("2x1", 0.5) == [[1, 1, 0, 0], [1, 1, 0, 0]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("step", "text"), [(Magnitude, "4x1"), (Wanda, "4:8"), (SparseGpt, "2:4")])
def test_the_pattern_is_there_and_stays_through_saving_and_int8(
    kind: str, step: Any, text: str, tmp_path: Path
) -> None:
    work = family_work(kind)
    made = step(pattern=text, **({} if step is Magnitude else {"rows": 16}))(work, Random(0))
    names, pattern = layers_of(made.model)[0], pattern_of(text)
    assert len(names) >= 12
    models.save(made.model, made.tokenizer, tmp_path)
    again = models.load_saved(tmp_path)[0]
    small = Int8(smallest=16)(replace(made, model=again), Random(0)).model
    for name in names:
        w = _mask.weight_of(again, name)
        assert torch.equal(w, _mask.weight_of(made.model, name))
        zero = (w == 0).float()
        if pattern.of:
            assert (zero.unflatten(1, (-1, pattern.of)).sum(2) >= pattern.of - pattern.keep).all()
        else:
            assert (zero.unflatten(0, (-1, 4)).std(1) == 0).all()
            assert float(zero.mean()) == pytest.approx(0.5)
        codes = small.get_submodule(name)
        assert isinstance(codes, Int8Linear)
        assert (codes.codes.T[w == 0] == 0).all()
    assert made.notes["weights_left"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("step", STEPS)
def test_embeddings_and_head_stay_whole(step: Any) -> None:
    work = tiny_work()
    made = step(share=0.3)(work, Random(0))
    inside = set(layers_of(work.model)[0])
    for name, value in work.model.state_dict().items():
        if name.removesuffix(".weight") not in inside and not name.endswith("bias"):
            assert torch.equal(value, made.model.state_dict()[name])
    assert made.notes["weights_left"] == pytest.approx(0.3, abs=0.01)


def test_on_a_model_sparsegpt_keeps_outputs_better_on_every_layer() -> None:
    work = tiny_work(layers=3)
    plain, made = (step(share=0.5)(work, Random(0)).notes["output_error"] for step in (Wanda, SparseGpt))
    assert plain.keys() == made.keys() == set(layers_of(work.model)[0])
    assert all(made[name] < plain[name] for name in plain)


def test_the_outputs_stay_nearer_than_those_of_magnitude() -> None:
    work = tiny_work(train=200, layers=3)
    with torch.no_grad():
        for name in layers_of(work.model)[0]:
            _mask.weight_of(work.model, name).mul_(5)  # so that layers matter beside what goes around them
    whole = outputs_of_rows(work.model, work.tokenizer, work.valid, 64)
    found = [step(share=0.3)(work, Random(0)) for step in STEPS]
    apart = [np.abs(outputs_of_rows(w.model, w.tokenizer, w.valid, 64) - whole).mean() for w in found]
    assert apart[2] < apart[0]


def test_the_size_it_tells_is_about_what_compressing_the_file_gives() -> None:
    made = Magnitude(share=0.1)(tiny_work(), Random(0))
    weights = b"".join(_mask.weight_of(made.model, n).numpy().tobytes() for n in layers_of(made.model)[0])
    assert made.notes["bytes"] == len(weights)
    assert made.notes["bitmask_bytes"] == pytest.approx(len(gzip.compress(weights)), rel=0.25)
    assert "no kernel" in made.notes["speed"]


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        Wanda(share=1.0)
    with pytest.raises(UsageError, match="which is what 1:4 leaves"):
        SparseGpt(pattern="1:4")
    with pytest.raises(UsageError, match="pattern=4-8"):
        Magnitude(pattern="4-8")
    with pytest.raises(UsageError, match="32 outputs and 32 inputs"):
        Magnitude(pattern="3x1")(tiny_work(), Random(0))
    with pytest.raises(UsageError, match="int8 already"):
        Magnitude()(Int8(smallest=16)(tiny_work(), Random(0)), Random(0))
