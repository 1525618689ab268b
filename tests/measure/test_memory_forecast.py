"""The forecast: what each choice saves, against what torch really keeps, and what a run says of it."""

import subprocess
import sys
from random import Random

import pytest
import torch

from burnish import catalog
from burnish.core import Desk, lend
from burnish.measure.memory import BASE_BYTES, forecast
from burnish.train import memory
from burnish.train.given import Settings
from burnish.train.memory import needed, reason, state_bytes
from burnish.train.optimizer import FusedAdamW
from burnish.train.parts import Rates
from burnish.train.tweak import Need, Tweak
from burnish.tune.checkpointing import Checkpointing
from burnish.tune.finetune import FineTune
from tests.tiny import tiny_model, tiny_work

SHAPE = {"batch": 8, "length": 64, "layers": 4, "hidden": 128, "heads": 4}
WEIGHTS = 10_000_000


def test_accumulation_forecasts_the_largest_part() -> None:
    cut = forecast(WEIGHTS, **SHAPE, accumulate=3)  # parts of 3, 3 and 2 rows
    assert cut == forecast(WEIGHTS, **(SHAPE | {"batch": 3}))


def test_checkpointing_keeps_one_layer_whole_and_little_of_the_others() -> None:
    def rows_only(**more) -> int:
        return forecast(0, **(SHAPE | more), base=0)

    one = rows_only(layers=1)
    hidden_state = 8 * 64 * 128 * 4
    assert rows_only(checkpointing=True) == one + 4 * 4 * hidden_state
    assert rows_only() == 4 * one


def test_sixteen_bits_need_less_for_rows_and_a_copy_of_the_weights() -> None:
    for half in ("bf16", "fp16"):
        assert forecast(0, **SHAPE, precision=half) < forecast(0, **SHAPE)
    assert forecast(WEIGHTS, **SHAPE, precision="fp16") - forecast(0, **SHAPE, precision="fp16") == 18 * WEIGHTS


def test_the_state_of_the_optimizer_counts_for_what_is_trained() -> None:
    def weights_only(**more) -> int:
        return forecast(WEIGHTS, **SHAPE, base=0, **more) - forecast(0, **SHAPE, base=0)

    assert weights_only() == 16 * WEIGHTS  # weights, gradients and two moments
    assert weights_only(state=0.0) == 8 * WEIGHTS
    assert weights_only(trainable=0) == 4 * WEIGHTS
    assert weights_only(copies=2) == 24 * WEIGHTS


# --- what the parts of a run need


def test_the_optimizers_state_is_found_by_trying() -> None:
    assert state_bytes(FusedAdamW()) == pytest.approx(8, abs=0.01)


OPTIMIZERS = [name for name in catalog.names("tune") if catalog.page(name).part == "Optimizer"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_says_what_it_needs_and_draws_no_random_number(name: str) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    assert 0 <= state_bytes(catalog.build(name)) <= 12.1
    assert torch.equal(torch.rand(1), expected)


SETTINGS = Settings(lr=1e-4, epochs=1, batch_size=12)


class Ema(Tweak):
    need = Need(copies=1)


class Doubled(Tweak):
    need = Need(rows=2)


class Adapter(Tweak):
    need = Need(trains=0.01)


def test_a_tweak_can_say_what_it_needs() -> None:
    model = tiny_model()
    weights = sum(p.numel() for p in model.parameters())
    plain = needed(model, SETTINGS, 32, ())
    assert needed(model, SETTINGS, 32, (Ema(),)) == plain + 4 * weights
    assert needed(model, SETTINGS, 32, (Adapter(),)) == pytest.approx(plain - 0.99 * 12 * weights, rel=1e-3)
    twice = Settings(lr=1e-4, epochs=1, batch_size=24)
    assert needed(model, SETTINGS, 32, (Doubled(),)) == needed(model, twice, 32, ())
    assert needed(model, SETTINGS, 32, (Checkpointing(),)) < plain


class Frozen(Rates):
    def scale(self, name: str, depth: int, layers: int) -> float:
        return float(depth == layers + 1)


def test_frozen_weights_need_no_gradient_and_no_state_and_are_not_frozen_by_asking() -> None:
    model = tiny_model()
    frozen = Settings(lr=1e-4, epochs=1, batch_size=12, rates=(Frozen(),))
    top = sum(p.numel() for n, p in model.named_parameters() if "pooler" in n or "classifier" in n)
    all_ = sum(p.numel() for p in model.parameters())
    saved = needed(model, SETTINGS, 32, ()) - needed(model, frozen, 32, ())
    assert saved == pytest.approx(12 * (all_ - top), abs=0.02 * 12 * all_)
    assert all(p.requires_grad for p in model.parameters())


# --- what is said


def test_the_reason_names_each_smaller_choice_and_too_little_room(monkeypatch) -> None:
    model = tiny_model(layers=4)
    bytes_, said = reason(model, SETTINGS, 64, ())
    assert bytes_ == needed(model, SETTINGS, 64, ())
    for choice in ("as set", "with tune/checkpointing", "with accumulate=2"):
        assert choice in said
    assert "free" not in said
    monkeypatch.setattr(memory.memory, "available_bytes", lambda: 1000)
    assert "only 0 MB are free" in reason(model, SETTINGS, 64, ())[1]


def test_a_run_says_its_forecast_before_and_what_it_used_after() -> None:
    told = []
    with lend(Desk(report=lambda what, share, facts: told.append(dict(facts)))):
        notes = FineTune(epochs=1, precision="fp32", doctor="off")(tiny_work(), Random(0)).notes
    first = next(i for i, facts in enumerate(told) if "memory" in facts)
    assert not any("loss" in facts for facts in told[:first])
    assert any(reason.startswith("memory: about") for reason in notes["reasons"])
    assert notes["reasons"][-1] == notes["memory"]
    assert notes["memory"].startswith("memory: forecast")
    assert "used" in notes["memory"]
    assert notes["memory_forecast_bytes"] > BASE_BYTES
    assert notes["peak_memory_bytes"] > 100_000_000


# --- against a real process

TRAIN = """
import os, sys, torch
from transformers import BertConfig, BertForSequenceClassification
from burnish.measure.memory import peak_rss_bytes

def train(precision, checkpointing, batch, length, layers, hidden, heads):
    torch.set_num_threads(2)
    model = BertForSequenceClassification(BertConfig(hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=4 * hidden, vocab_size=1000, use_cache=False)).train()
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    ids, labels = torch.randint(0, 1000, (batch, length)), torch.zeros(batch, dtype=torch.long)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        loss.backward(); optimizer.step(); optimizer.zero_grad()
    print(sum(p.numel() for p in model.parameters()), peak_rss_bytes(), flush=True)

for shape in eval(sys.argv[1]):  # a fork each: its peak starts from here, and the imports are paid once
    if os.fork() == 0:
        train(*shape)
        os._exit(0)
    os.wait()
"""


@pytest.mark.slow
def test_the_forecast_with_checkpointing_is_within_30_percent() -> None:
    shapes = [("fp32", True, 16, 128, 8, 256, 4), ("fp32", False, 16, 128, 8, 256, 4)]
    run = [sys.executable, "-W", "ignore", "-c", TRAIN, repr(shapes)]
    lines = subprocess.run(run, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    peaks = []
    for line, (precision, checkpointing, batch, length, layers, hidden, heads) in zip(lines, shapes, strict=True):
        parameters, peak = map(int, line.split())
        peaks.append(peak)
        shape = {"batch": batch, "length": length, "layers": layers, "hidden": hidden, "heads": heads}
        found = forecast(parameters, **shape, precision=precision, checkpointing=checkpointing)
        assert found == pytest.approx(peak, rel=0.3)
    assert peaks[0] < 0.75 * peaks[1]
