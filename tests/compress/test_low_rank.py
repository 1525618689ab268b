"""Decompositions by hand, weighted against plain, ranks under one budget, and what comes after."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from torch import nn

from burnish import models
from burnish.compress._gram import calibration, grams, output_error
from burnish.compress.int8 import Int8
from burnish.compress.low_rank import Factored, LowRank, even_ranks, factors, ranks_by_energy, whitener
from burnish.core import Work
from burnish.errors import UsageError
from burnish.serve.engines import onnx
from burnish.train.evaluate import outputs_of_rows
from burnish.tune.finetune import FineTune
from tests.families import KINDS, family_work
from tests.tiny import tiny_work

HALF = {"share": 0.6, "multiple": 4}


def said(work: Work) -> np.ndarray:
    return outputs_of_rows(work.model, work.tokenizer, work.valid, 64)


def product(made: nn.Module, name: str) -> torch.Tensor:
    layer = made.get_submodule(name)
    return layer.outer.weight.data @ layer.inner.weight.data if isinstance(layer, Factored) else layer.weight.data


def test_the_inputs_decide_what_is_kept_worked_out_by_hand() -> None:
    """3 is the larger weight, but the second input is twice as loud: 2 x 2 > 3 x 1."""
    w, gram = torch.diag(torch.tensor([3.0, 2.0])).double(), torch.diag(torch.tensor([1.0, 4.0])).double()
    outer, inner, energy = factors(w, whitener(gram, 0.0), 1)
    assert torch.allclose(outer @ inner, torch.diag(torch.tensor([0.0, 2.0])).double())
    assert energy.tolist() == pytest.approx([16.0, 9.0])
    outer, inner, energy = factors(w, torch.eye(2).double(), 1)
    assert torch.allclose(outer @ inner, torch.diag(torch.tensor([3.0, 0.0])).double())


def test_full_rank_is_exact_and_the_energy_is_the_error() -> None:
    torch.manual_seed(0)
    w, x = torch.randn(5, 7).double(), torch.randn(40, 7).double()
    gram = x.T @ x
    for rank in range(1, 6):
        outer, inner, energy = factors(w, whitener(gram, 0.0), rank)
        lost = float((x @ (outer @ inner - w).T).square().sum())
        assert lost == pytest.approx(float(energy[rank:].sum()), abs=1e-8)
    assert torch.allclose(outer @ inner, w)


def test_few_tokens_are_damped_until_it_works() -> None:
    x = torch.randn(2, 6).double()
    s = whitener(x.T @ x, 0.0)
    assert torch.isfinite(s).all()
    assert torch.allclose(s @ s.T, x.T @ x, atol=1e-3)
    assert torch.isfinite(whitener(torch.zeros(3, 3).double(), 0.0)).all()


def test_ranks_go_where_they_bring_most() -> None:
    """a has all its energy in two ranks, b spreads it over eight; 32 of 128 parameters, 16 a rank and 2 at a time."""
    shapes = {"a": (8, 8), "b": (8, 8)}
    energies = {"a": torch.tensor([4.0, 4, 0, 0, 0, 0, 0, 0]), "b": torch.ones(8)}
    assert ranks_by_energy(energies, shapes, 0.625, 1) == {"a": 2, "b": 3}
    assert even_ranks(shapes, 0.625, 1) == {"a": 2, "b": 2}
    # With room for all but a little, the one that needs all its ranks is left whole.
    assert ranks_by_energy(energies, shapes, 0.9, 1) == {"a": 2} | {"a": 3}
    with pytest.raises(UsageError, match="too little"):
        ranks_by_energy(energies, shapes, 0.1, 1)


@pytest.mark.parametrize("spread", ["energy", "even"])
def test_weighted_errors_are_below_plain_ones_on_every_layer(spread: str) -> None:
    work = FineTune(epochs=2, lr=3e-3, precision="fp32")(tiny_work(), Random(0))
    weighted, plain = (LowRank(spread="even", weighted=w, **HALF)(work, Random(0)) for w in (True, False))
    names = list(weighted.notes["ranks"])
    assert len(names) == 12
    gram = grams(work.model, names, calibration(work, list(work.train)))
    for name in names:
        w = work.model.get_submodule(name).weight.data
        gram_KK = gram[name][: w.shape[1], : w.shape[1]]
        errors = [output_error(product(m.model, name) - w, w, gram_KK) for m in (weighted, plain)]
        assert errors[0] <= errors[1] * (1 + 1e-6)
        assert errors[0] == pytest.approx(weighted.notes["error"][name], rel=1e-2, abs=1e-5)
    made = LowRank(spread=spread, **HALF)(work, Random(0))
    assert made.notes["weights"] <= 0.6 * made.notes["weights_before"]
    assert np.abs(said(weighted) - said(work)).mean() < np.abs(said(plain) - said(work)).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_is_smaller_and_reloads(kind: str, tmp_path: Path) -> None:
    work = family_work(kind)
    made = LowRank(**HALF)(work, Random(0))
    models.save(made.model, made.tokenizer, tmp_path)
    again, tokenizer = models.load_saved(tmp_path)
    assert np.array_equal(said(made), outputs_of_rows(again, tokenizer, made.valid, 64))
    plain = models.as_float(made.model)
    assert np.allclose(said(made), outputs_of_rows(plain, tokenizer, made.valid, 64), atol=1e-5)
    assert {n: p.shape for n, p in plain.named_parameters()} == {n: p.shape for n, p in work.model.named_parameters()}
    small, large = (sum(p.numel() for p in m.parameters()) for m in (made.model, work.model))
    assert small < large


def test_the_graph_says_the_same_and_int8_follows(tmp_path: Path) -> None:
    made = LowRank(share=0.9, multiple=16, spread="energy")(tiny_work(layers=1), Random(0))
    onnx.build(made.model, made.tokenizer, tmp_path, precision="fp32", max_length=64)
    ids = np.array([made.tokenizer(made.valid[0].text)["input_ids"]])
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    assert np.abs(onnx.load(tmp_path, threads=1)(inputs)[0] - said(made)[0]).max() < 1e-4
    small = Int8()(made, Random(0))
    assert np.abs(said(small) - said(made)).max() < 0.1
    models.save(small.model, small.tokenizer, tmp_path / "int8")
    again, tokenizer = models.load_saved(tmp_path / "int8")
    assert np.array_equal(said(small), outputs_of_rows(again, tokenizer, small.valid, 64))
    with pytest.raises(UsageError, match="before compress/int8"):
        LowRank()(small, Random(0))


def test_training_afterwards_moves_the_parts_and_keeps_what_the_model_says() -> None:
    work = FineTune(epochs=8, lr=3e-3, precision="fp32")(tiny_work(train=200), Random(0))
    rough = LowRank(**HALF)(work, Random(0))
    made = LowRank(**HALF, lr=1e-3, precision="fp32", epochs=1, alpha=0.0)(work, Random(0))
    before, after = rough.model.state_dict(), made.model.state_dict()
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert before.keys() == after.keys()
    assert {f"bert.encoder.layer.1.output.dense.{part}.weight" for part in ("inner", "outer")} <= set(moved)
    assert (said(made).argmax(1) == said(work).argmax(1)).mean() > 0.9
    assert made.notes["curve"]


@pytest.mark.parametrize("wrong", [{"share": 1.0}, {"rows": 0}, {"damping": -1.0}, {"multiple": 0}])
def test_a_setting_that_cannot_be_meant_is_refused(wrong: dict) -> None:
    with pytest.raises(UsageError, match="try:"):
        LowRank(**wrong)
