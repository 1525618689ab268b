"""LoRA and its variants: nothing at first, a low-rank step then, and a plain model in the end."""

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from burnish import catalog, models
from burnish.core import Desk, lend
from burnish.errors import Missing, UsageError
from burnish.tasks import make
from burnish.train import checkpoint, loop, moments
from burnish.train.dropout import CheapDropout, cheap_dropout, plain_dropout
from burnish.train.evaluate import outputs_of_rows
from burnish.train.optimizer import FusedAdamW, grouped
from burnish.tune.finetune import FineTune
from burnish.tune.layer_decay import LayerDecay
from burnish.tune.lora import LoRA
from tests.tiny import tiny_model, tiny_work
from tests.tune.test_adapter import IDS, facts, said
from tests.tune.works import curve, tuned, work_for

QUERY = "bert.encoder.layer.0.attention.self.query"
VARIANTS = ("lora", "dora", "rslora")


def moved(settings: LoRA):
    """A tiny model with an adapter that is no longer zero, and the adapter."""
    torch.manual_seed(0)
    live = settings.begin(facts())
    model = live.prepare(tiny_model())
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.05)
        if "magnitude" in name:
            parameter.data.mul_(1.1)
    return model.eval(), live


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_fresh_adapter_changes_no_answer(variant) -> None:
    before = said(tiny_model())
    assert torch.allclose(said(LoRA(variant=variant).begin(facts()).prepare(tiny_model()).eval()), before, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_merged_it_is_the_plain_model_with_the_answers_of_the_adapter(variant) -> None:
    model, live = moved(LoRA(rank=4, variant=variant))
    before, plain = said(model), tiny_model()
    assert (before - said(plain)).abs().max() > 1e-3
    made = live.finish(model)
    plain_dropout(made)
    assert torch.allclose(said(made), before, atol=1e-5)
    assert [(n, type(m)) for n, m in made.named_modules()] == [(n, type(m)) for n, m in plain.named_modules()]
    assert list(made.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_merged_weight_is_the_formula_of_the_paper(variant) -> None:
    """W + s B A with s = 12 / 4, or 12 / sqrt(4); with dora each row then has the learned length."""
    model, live = moved(LoRA(rank=4, alpha=12, variant=variant))
    layer = model.get_submodule(QUERY)
    a_RI, b_OR = layer.lora_A["default"].weight.detach(), layer.lora_B["default"].weight.detach()
    step_OI = (12 / math.sqrt(4) if variant == "rslora" else 12 / 4) * b_OR @ a_RI
    expected_OI = tiny_model().get_submodule(QUERY).weight + step_OI
    if variant == "dora":
        length_O = layer.lora_magnitude_vector["default"].weight.detach()
        expected_OI = expected_OI * (length_O / expected_OI.norm(dim=1))[:, None]
    assert torch.allclose(live.finish(model).get_submodule(QUERY).weight, expected_OI, atol=1e-6)


def test_only_the_adapter_and_the_head_learn_and_have_optimizer_state() -> None:
    live = LoRA(rank=2).begin(facts())
    model = live.prepare(tiny_model())
    groups = grouped(model, 0.01)
    names = {n for g in groups for n in g.names}
    assert all("lora_" in n or "classifier" in n for n in names)
    # A and B of 2 layers: 4 square ones of 32 and two of 32 x 64 each; the pooler; the head.
    expected = 2 * (2 * (4 * 64 + 2 * 96) + 64) + 2 * 32 + 2
    assert sum(p.numel() for g in groups for p in g.parameters) == expected == live.notes()["trained_parameters"]
    optimizer = FusedAdamW().make(groups, 1e-3)
    model(input_ids=IDS).logits.sum().backward()
    optimizer.step()
    assert sum(s["exp_avg"].numel() for s in optimizer.state.values()) == expected


def test_a_run_moves_the_targets_and_the_head_and_nothing_else() -> None:
    work = tiny_work()
    made = tuned(work, tweaks=(LoRA(targets=("query", "value")),), lr=3e-2)
    before, after = work.model.state_dict(), made.model.state_dict()
    assert list(before) == list(after)
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    assert {n for n in changed if "classifier" not in n} == {
        f"bert.encoder.layer.{i}.attention.self.{name}.weight" for i in (0, 1) for name in ("query", "value")
    }
    assert {n for n in before if "classifier" in n} <= changed
    assert all(p.requires_grad for p in made.model.parameters())


def test_it_learns_and_saves_as_a_plain_model(tmp_path: Path) -> None:
    made = tuned(tiny_work(train=200), tweaks=(LoRA(),), epochs=10, lr=1e-2, patience=0)
    assert max(e["score"] for e in made.notes["evals"]) > 0.85
    models.save(made.model, made.tokenizer, tmp_path)
    model, tokenizer = models.load_saved(tmp_path)
    again = outputs_of_rows(model, tokenizer, made.valid, 64)
    assert np.array_equal(again, outputs_of_rows(made.model, made.tokenizer, made.valid, 64))


@pytest.mark.parametrize("rank", [1, 8])
def test_a_regression_head_gets_its_scale_back(rank) -> None:
    """rank 1 has linear layers as wide as the head."""
    work = replace(work_for("mean_squared_error"), task=make("regression", metric="rmse"))
    made = tuned(work, tweaks=(LoRA(rank=rank),), epochs=2, lr=1e-2)
    best = max(made.notes["evals"], key=lambda e: e["score"])
    outputs = outputs_of_rows(made.model, made.tokenizer, work.valid, 64)
    assert work.task.score(outputs, work.task.encode(work.valid)) == pytest.approx(best["score"], rel=1e-4)
    targets = work.task.encode(work.train)
    assert outputs.mean() == pytest.approx(targets.mean(), abs=float(targets.std()))


def test_accumulation_changes_nothing() -> None:
    whole, cut = (curve(tiny_work(), tweaks=(LoRA(),), lr=1e-2, accumulate=n) for n in (1, 3))
    assert np.allclose(whole, cut, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("at", [2, 9])
def test_a_cut_ends_in_the_same_bits(at, tmp_path: Path, monkeypatch) -> None:
    """With dropout in the adapter too, and the compact embedding table."""

    class Killed(BaseException):
        pass

    def run():
        return tuned(tiny_work(), tweaks=(LoRA(dropout=0.1, variant="dora"),), epochs=2, lr=1e-2, patience=0)

    whole = run()
    monkeypatch.setattr(loop, "MIN_GAP", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)

    def save_then_die(folder, step, tensors, state):
        checkpoint.save(folder, step, tensors, state)
        if step >= at:
            raise Killed

    with lend(Desk(folder=tmp_path)):
        with monkeypatch.context() as patch:
            patch.setattr(moments, "write_checkpoint", save_then_die)
            with pytest.raises(Killed):
                run()
        resumed = run()
    assert resumed.notes["curve"] == whole.notes["curve"]
    for (name, a), b in zip(whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_dropout_is_the_cheap_one_while_it_trains_and_gone_after() -> None:
    model = tiny_model()
    cheap_dropout(model)
    before = sum(type(m) is CheapDropout for m in model.modules())
    live = LoRA(dropout=0.1).begin(facts())
    model = live.prepare(model)
    assert not any(type(m) is nn.Dropout for m in model.modules())
    assert sum(type(m) is CheapDropout for m in model.modules()) == before + 13  # a layer each
    made = live.finish(model)
    plain_dropout(made)
    assert sum(type(m) is nn.Dropout for m in made.modules()) == before


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_trains_in_bf16(variant) -> None:
    made = tuned(tiny_work(), tweaks=(LoRA(variant=variant),), lr=1e-2, precision="bf16")
    assert all(v.dtype == torch.float32 for v in made.model.state_dict().values() if v.is_floating_point())
    assert np.isfinite(outputs_of_rows(made.model, made.tokenizer, made.valid, 64)).all()


def test_ten_times_the_rate_of_full_tuning_and_a_word_about_the_other_ones() -> None:
    def reasons(**settings):
        return " ".join(tuned(tiny_work(train=24), **{"lr": None, **settings}).notes["reasons"])

    assert "lr 0.001: 10 times that" in reasons(tweaks=(LoRA(),))  # the table's rate for a small encoder is 1e-4
    assert "tune/lora takes about 10 times that, 0.001 here" in reasons(tweaks=(LoRA(),), lr=2e-5)
    assert "is high for tuning all weights" in reasons(lr=1e-3)
    assert "all weights" not in reasons(lr=2e-4) + reasons(tweaks=(LoRA(),), lr=5e-4)


def test_without_peft_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Missing, match=r"pip install .burnish\[lora\]"):
        LoRA()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rank": 0}, "1 or more"),
        ({"alpha": 0.0}, "above 0"),
        ({"dropout": 1.0}, "below 1"),
        ({"variant": "qlora"}, "rslora"),
    ],
)
def test_bad_settings_say_what_would_be_good(settings, words) -> None:
    with pytest.raises(UsageError, match=words):
        LoRA(**settings)


def test_what_cannot_work_is_refused_before_the_first_step() -> None:
    with pytest.raises(UsageError, match="key"):
        tuned(tiny_work(), tweaks=(LoRA(targets=("q_proj",)),))
    with pytest.raises(UsageError, match="second adapter"):
        tuned(tiny_work(), tweaks=(LoRA(), LoRA()))
    with pytest.raises(UsageError, match="folder"):
        tuned(tiny_work(), tweaks=(LoRA(merge=False),))


def test_it_is_the_same_from_the_command_line_and_from_python() -> None:
    name, settings = catalog.parse("tune/lora:rank=8,variant=rslora,targets=query,value")
    assert catalog.build(name, settings) == LoRA(rank=8, variant="rslora", targets=("query", "value"))
    step = catalog.build("tune/finetune", {"tweaks": [{"use": "tune/lora", "rank": 8}]})
    assert step == FineTune(tweaks=(LoRA(rank=8),))


def test_rates_by_layer_hold_for_the_adapter_too() -> None:
    live = LoRA(rank=2).begin(facts())
    groups = grouped(live.prepare(tiny_model()), 0.0, (LayerDecay(factor=0.5),))
    scale = {name: g.scale for g in groups for name in g.names}
    layer = "bert.encoder.layer.{}.attention.self.query.lora_A.default.weight"
    assert scale[layer.format(0)] == scale[layer.format(1)] / 2
    assert scale["classifier.modules_to_save.default.weight"] == 1
