import dataclasses
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from torch import nn

from burnish import models
from burnish.compress._experts import Widen, balance_loss, balanced_clusters, carried, router_of, top
from burnish.compress.experts import Experts
from burnish.compress.int8 import Int8
from burnish.core import Work
from burnish.errors import UsageError
from burnish.serve.engines import engine
from burnish.train.evaluate import outputs_of_rows
from burnish.tune.finetune import FineTune
from tests.families import KINDS, family_work
from tests.tiny import tiny_work


def work_of(kind: str) -> Work:
    work = family_work(kind, train=24, valid=12)
    for parameter in work.model.parameters():
        parameter.data *= 3
    return work


def outputs(work: Work) -> np.ndarray:
    return outputs_of_rows(work.model, work.tokenizer, work.valid, 64)


@pytest.mark.parametrize("kind", KINDS)
def test_all_experts_together_are_the_model_it_was(kind: str) -> None:
    work = work_of(kind)
    made = Experts(experts=4, active=4, epochs=0)(work, Random(0))
    assert np.abs(outputs(made) - outputs(work)).max() < 1e-4
    plain = dataclasses.replace(made, model=models.as_float(made.model))
    assert np.abs(outputs(plain) - outputs(work)).max() < 1e-4
    assert set(plain.model.state_dict()) == set(work.model.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_computing_the_chosen_alone_is_computing_all_and_masking(kind: str) -> None:
    work = work_of(kind)
    made = Experts(experts=4, active=1, epochs=0)(work, Random(0))
    some = outputs(made)  # without gradients only the chosen are computed
    batch = {k: torch.tensor(v)[None] for k, v in made.tokenizer(made.valid[0].text).items()}
    if "token_type_ids" in batch and kind in ("distilbert", "roberta", "mpnet", "modernbert"):
        del batch["token_type_ids"]
    dense = made.model(**batch).logits.detach().numpy()
    assert np.abs(outputs_of_rows(made.model, made.tokenizer, made.valid[:1], 64) - dense).max() < 1e-4
    assert np.abs(some - outputs(work)).max() > 1e-4  # and it is not the model it was


def test_columns_that_fire_together_share_an_expert() -> None:
    torch.manual_seed(0)
    cause_T4 = torch.rand(200, 4)
    kind_F = torch.arange(32) % 4
    fires_FT = cause_T4.T[kind_F] + 0.01 * torch.rand(32, 200)
    cluster_F = balanced_clusters(fires_FT / fires_FT.norm(dim=1, keepdim=True), 4, seed=1)
    assert torch.bincount(cluster_F).tolist() == [8, 8, 8, 8]
    pairs = {(int(a), int(b)) for a, b in zip(kind_F, cluster_F, strict=True)}
    assert len(pairs) == 4


def test_what_is_carried_counts_the_weights_on_the_way_out() -> None:
    h = torch.tensor([[1.0, -2.0, 3.0, 0.0]])
    down = torch.tensor([[3.0, 1.0, 0.0, 9.0], [4.0, 0.0, 2.0, 9.0]])  # norms 5, 1, 2
    share = carried(h, down, torch.tensor([0, 1, 1, 0]), 2)  # 5 | 2 + 6
    assert share.tolist() == [[pytest.approx(5 / 13), pytest.approx(8 / 13)]]


def test_the_router_finds_a_linear_rule() -> None:
    torch.manual_seed(0)
    x, rule = torch.randn(500, 6) + 1, torch.randn(3, 6)
    weight, bias = router_of(x, x @ rule.T + 0.5, damping=1e-9)
    assert torch.allclose(weight, rule, atol=1e-4)
    assert torch.allclose(bias, torch.full((3,), 0.5), atol=1e-3)


def test_balance_is_1_when_all_are_used_alike_and_more_otherwise() -> None:
    alike = torch.eye(4).repeat(5, 1) * 3
    assert float(balance_loss(alike, 1)) == pytest.approx(1.0)
    assert float(balance_loss(torch.tensor([[9.0, 0, 0, 0]] * 5), 1)) > 3.9
    assert top(torch.tensor([[1.0, 3.0, 2.0]]), 2).tolist() == [[0, 1, 1]]


def test_the_notes_say_what_is_carried_and_promise_no_speed() -> None:
    made = Experts(experts=4, active=2, epochs=0)(work_of("bert"), Random(0))
    for layer in made.notes["by_layer"]:
        assert 0.5 < layer["carried"] <= layer["carried_at_best"] + 1e-6 <= 1 + 1e-5
    assert made.notes["feed_forward_multiplications"] == 0.5
    assert "measure" in made.notes["speed"]


def test_recovery_trains_experts_and_routers_and_brings_quality_back() -> None:
    work = FineTune(epochs=6, lr=3e-3, precision="fp32")(tiny_work(train=160, valid=60), Random(0))
    torn = Experts(experts=8, active=1, epochs=0)(work, Random(0))
    made = Experts(experts=8, active=1, epochs=4, lr=2e-3, precision="fp32")(work, Random(0))
    targets = work.task.encode(work.valid)
    full, before, after = (work.task.score(outputs(w), targets) for w in (work, torn, made))
    assert after >= max(before, full - 0.1)
    router = "bert.encoder.layer.0.intermediate.dense.router.weight"
    assert not torch.equal(made.model.state_dict()[router], torn.model.state_dict()[router])


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_it_is_quantized_saved_loaded_and_exported(kind: str, tmp_path: Path) -> None:
    made = Experts(experts=4, active=2, epochs=0)(work_of(kind), Random(0))
    if kind == "bert":
        (tmp_path / "onnx").mkdir()
        engine("onnx").build(made.model, made.tokenizer, tmp_path / "onnx", precision="fp32", max_length=64)
        predict = engine("onnx").load(tmp_path / "onnx", threads=1)
        rows = [{k: np.array([v]) for k, v in made.tokenizer(row.text).items()} for row in made.valid]
        found = [predict(row) for row in rows]
        assert np.abs(np.concatenate(found) - outputs(made)).max() < 1e-4
    made = Int8(smallest=16)(made, Random(0))
    models.save(made.model, made.tokenizer, tmp_path)
    model, tokenizer = models.load_saved(tmp_path)
    assert np.array_equal(outputs(dataclasses.replace(made, model=model, tokenizer=tokenizer)), outputs(made))
    assert sum(isinstance(m, Widen) for m in model.modules()) == 3


def test_fewer_columns_are_computed() -> None:
    made = Experts(experts=4, active=1, epochs=0)(work_of("bert"), Random(0))
    counted: list[int] = []
    widen = made.model.bert.encoder.layer[0].intermediate.dense
    plain = nn.functional.linear

    def count(x, weight, bias=None):
        counted.append(x.numel() // x.shape[-1] * weight.numel())
        return plain(x, weight, bias)

    with pytest.MonkeyPatch.context() as patched, torch.inference_mode():
        patched.setattr("burnish.compress._experts.F.linear", count)
        widen(torch.randn(1, 10, 32))
    assert sum(counted) - 10 * 32 * 4 == 10 * 32 * 64 // 4  # but for the router's own


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(UsageError, match="64 columns in 7 experts"):
        Experts(experts=7, epochs=0)(work_of("bert"), Random(0))
    with pytest.raises(UsageError, match="before the step"):
        Experts(epochs=0)(Int8(smallest=16)(work_of("bert"), Random(0)), Random(0))
    for settings in ({"experts": 1}, {"active": 9}, {"cluster": "x"}, {"balance": -1}):
        with pytest.raises(UsageError, match=next(iter(settings))):
            Experts(**settings)
