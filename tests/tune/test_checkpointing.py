"""Checkpointing keeps less and changes nothing: not a gradient, not dropout, not the model that comes out."""

from pathlib import Path
from random import Random

import pytest
import torch
from torch import nn

from burnish import catalog
from burnish.core import Desk, lend
from burnish.errors import UsageError
from burnish.tasks import make
from burnish.train import checkpoint, loop, moments
from burnish.train.dropout import CheapDropout, cheap_dropout
from burnish.train.parts import Facts
from burnish.train.tweak import Tweak
from burnish.tune.checkpointing import Checkpointing
from burnish.tune.finetune import FineTune
from tests.tiny import tiny_model, tiny_work

IDS = torch.randint(5, 40, (6, 24), generator=torch.Generator().manual_seed(0))
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 80,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}


def live() -> Tweak:
    facts = Facts(make("text-classification", labels=("a", "b")), None, 1, 1, 1, 1e-3, 0, torch.device("cpu"))
    return Checkpointing().begin(facts)


def family_model(kind: str) -> nn.Module:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(AutoConfig.for_model(kind, **SMALL)).train()


def kept_bytes(model: nn.Module) -> int:
    """Of all that one forward pass keeps for the backward pass, without the parameters, each storage once."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(input_ids=IDS).logits.sum()
        found = sum(storage.nbytes() for storage in kept.values())
        loss.backward()
    return found


def gradients(model: nn.Module, seed: int, dtype: torch.dtype | None = None) -> list[torch.Tensor]:
    model.zero_grad()
    torch.manual_seed(seed)
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        loss = model(input_ids=IDS).logits.float().square().sum()
    loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_gradients_are_the_same_with_dropout_on(dtype: torch.dtype | None) -> None:
    model = tiny_model(layers=3).train()
    cheap_dropout(model)
    assert any(isinstance(m, CheapDropout) and m.p > 0 for m in model.modules())
    plain, other = gradients(model, 1, dtype), gradients(model, 2, dtype)
    assert not torch.allclose(plain[0], other[0], atol=1e-4)  # dropout is really on
    model = live().prepare(model)
    for a, b in zip(plain, gradients(model, 1, dtype), strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-5)


def test_random_numbers_after_a_step_are_those_of_a_plain_one() -> None:
    model = tiny_model(layers=3).train()
    cheap_dropout(model)
    gradients(model, 1)
    plain = torch.rand(3)
    gradients(live().prepare(model), 1)
    assert torch.equal(torch.rand(3), plain)


def test_what_is_kept_grows_by_one_hidden_state_a_layer_only() -> None:
    def kept(layers: int, tweaked: bool) -> int:
        model = tiny_model(layers=layers).train()
        cheap_dropout(model)
        return kept_bytes(live().prepare(model) if tweaked else model)

    hidden_state = IDS.numel() * 32 * 4
    assert kept(5, True) - kept(3, True) == 2 * hidden_state
    assert kept(5, False) - kept(3, False) > 2 * 15 * hidden_state
    assert kept(5, True) < 0.3 * kept(5, False)


@pytest.mark.parametrize("kind", ["roberta", "electra", "deberta-v2", "modernbert"])
def test_other_families_keep_less_and_give_the_same_gradients(kind: str) -> None:
    model = family_model(kind)
    before, plain = kept_bytes(model), gradients(model, 1)
    model = live().prepare(model)
    assert kept_bytes(model) < 0.7 * before
    for a, b in zip(plain, gradients(model, 1), strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_family_that_cannot_is_refused_before_anything_is_trained(monkeypatch) -> None:
    monkeypatch.setattr(loop.Run, "all_steps", lambda self: pytest.fail("it began to train"))
    from dataclasses import replace

    work = replace(tiny_work(), model=family_model("mpnet"))
    with pytest.raises(UsageError, match=r"'mpnet'(.|\n)*accumulate"):
        FineTune(tweaks=(Checkpointing(),), precision="fp32")(work, Random(0))


def test_the_model_is_left_as_it_was() -> None:
    model = tiny_model().train()
    model.config.use_cache = True
    names, hooks = [n for n, _ in model.named_modules()], _hooks(model)
    tweak = live()
    inside = tweak.prepare(model)
    assert any(getattr(m, "gradient_checkpointing", False) for m in inside.modules())
    out = tweak.finish(inside)
    assert out is model
    assert not any(getattr(m, "gradient_checkpointing", False) for m in out.modules())
    assert (_hooks(out), out.config.use_cache, [n for n, _ in out.named_modules()]) == (hooks, True, names)


def _hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


# --- in a run


def tuned(*tweaks: Tweak, work=None, **settings):
    usual = {"epochs": 2, "batch_size": 12, "precision": "fp32", "lr": 1e-3, "doctor": "off"}
    return FineTune(**{**usual, "tweaks": tweaks, **settings})(work or tiny_work(), Random(0))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_with_dropout_ends_in_the_same_weights(precision: str) -> None:
    plain, less = tuned(precision=precision), tuned(Checkpointing(), precision=precision)
    for a, b in zip(plain.notes["curve"], less.notes["curve"], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=1e-5)
    for a, b in zip(plain.model.state_dict().values(), less.model.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_it_works_inside_the_run(monkeypatch) -> None:
    """The number of forward passes of each layer doubles: it does something."""
    from transformers.models.bert.modeling_bert import BertSelfAttention

    calls, real = [0], BertSelfAttention.forward

    def counted(self, *args, **kwargs):
        calls[0] += self.training
        return real(self, *args, **kwargs)

    monkeypatch.setattr(BertSelfAttention, "forward", counted)
    tuned(epochs=1)
    plain, calls[0] = calls[0], 0
    tuned(Checkpointing(), epochs=1)
    assert calls[0] == 2 * plain > 0


def test_micro_batches_change_nothing() -> None:
    def calm():
        work = tiny_work()
        for module in work.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return work

    whole, parts = (tuned(Checkpointing(), work=calm(), accumulate=n) for n in (1, 3))
    for a, b in zip(whole.notes["curve"], parts.notes["curve"], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=1e-4)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-3)


class Killed(BaseException):
    pass


def test_a_kill_changes_nothing(tmp_path: Path, monkeypatch) -> None:
    whole = tuned(Checkpointing(), patience=0)
    monkeypatch.setattr(loop, "MIN_GAP", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)

    def save_then_die(folder, step, tensors, state):
        checkpoint.save(folder, step, tensors, state)
        if step >= 7:
            raise Killed

    monkeypatch.setattr(moments, "write_checkpoint", save_then_die)
    with lend(Desk(folder=tmp_path)):
        with pytest.raises(Killed):
            tuned(Checkpointing(), patience=0)
        monkeypatch.setattr(moments, "write_checkpoint", checkpoint.save)
        resumed = tuned(Checkpointing(), patience=0)
    assert resumed.notes["curve"] == whole.notes["curve"]
    for a, b in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_it_is_reached_by_name_and_forecast_to_need_less() -> None:
    step = catalog.build("tune/finetune", {"tweaks": ["checkpointing"]})
    assert step.tweaks == (Checkpointing(),)
    plain, less = tuned(epochs=1), tuned(Checkpointing(), epochs=1)
    assert less.notes["memory_forecast_bytes"] < plain.notes["memory_forecast_bytes"]
    assert any("with tune/checkpointing" in reason for reason in plain.notes["reasons"])
    assert not any("with tune/checkpointing" in reason for reason in less.notes["reasons"])
