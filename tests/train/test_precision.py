"""16-bit floats: the weights stay fp32, an overflow costs a step and nothing else, and 8 bits are refused in time."""

import importlib.util
import itertools
from pathlib import Path
from random import Random

import pytest
import torch

from burnish.core import Desk, lend
from burnish.errors import BurnishError, Missing, UsageError
from burnish.train import checkpoint, fp8, loop, moments
from burnish.train.objective import loss_rows
from burnish.train.parts import Objective
from burnish.train.prepare import precision_for
from burnish.train.tweak import Tweak
from burnish.train.watch import Act, Watch
from burnish.tune.finetune import FineTune
from tests.tiny import tiny_model, tiny_work


def calm(work):
    for module in work.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    work.model.config.attention_probs_dropout_prob = 0.0
    return work


def tuned(precision: str, work=None, **settings):
    step = FineTune(**{"epochs": 2, "batch_size": 12, "lr": 1e-3, "precision": precision, "doctor": "off", **settings})
    return step(work or calm(tiny_work()), Random(0))


def losses(made) -> list[float]:
    return [point["loss"] for point in made.notes["curve"]]


@pytest.fixture
def scaler(monkeypatch):
    """Give the loop a loss scale of other settings; `made` then holds the live ones, the newest last."""
    real, made = torch.amp.GradScaler, []

    def use(**settings):
        def make(device: str, enabled: bool):
            made.append(real(device, enabled=enabled, **settings))
            return made[-1]

        monkeypatch.setattr(torch.amp, "GradScaler", make)
        return made

    return use


# --- training in 16 bits


@pytest.mark.parametrize(("precision", "near"), [("bf16", 0.02), ("fp16", 0.005)])
def test_the_loss_follows_that_of_fp32_and_the_weights_stay_fp32(precision: str, near: float) -> None:
    full, half = tuned("fp32", epochs=4), tuned(precision, epochs=4)
    assert losses(half) != losses(full)  # or it would not have been used
    for a, b in zip(losses(full), losses(half), strict=True):
        assert b == pytest.approx(a, abs=near)
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}
    assert half.notes["skipped_steps"] == 0


def test_fp16_learns_with_dropout() -> None:
    made = tuned("fp16", tiny_work(train=200), epochs=8, lr=3e-3)
    assert made.notes["evals"][-1]["score"] > 0.9


def test_the_norm_is_taken_and_cut_after_the_loss_scale_is_taken_out() -> None:
    """Under a scale of 65,536 every step would be cut, and the norms be that many times too large."""
    norms = sorted(p["grad_norm"] for p in tuned("fp32", clip=0.0).notes["curve"])
    limit = (norms[4] + norms[5]) / 2
    full, half = tuned("fp32", clip=limit, lr=1e-9), tuned("fp16", clip=limit, lr=1e-9)
    for a, b in zip(full.notes["curve"], half.notes["curve"], strict=True):
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=0.02)
    assert 0 < half.notes["clipped_share"] == full.notes["clipped_share"] < 1


def test_micro_batches_change_nothing_in_fp16() -> None:
    whole, parts = tuned("fp16"), tuned("fp16", accumulate=3)
    for a, b in zip(losses(whole), losses(parts), strict=True):
        assert b == pytest.approx(a, abs=2e-3)


# --- what does not fit


class Spy(Tweak):
    def __init__(self):
        self.weights: list[torch.Tensor] = []
        self.scales: list[float] = []
        self.scalers: list = []

    def before_step(self, model, step) -> None:
        self.scales.append(self.scalers[-1].get_scale())
        self.weights.append(torch.cat([p.detach().flatten().clone() for p in model.parameters()]))


def test_an_overflow_halves_the_scale_and_leaves_the_weights_to_the_bit(scaler) -> None:
    spy = Spy()
    spy.scalers = scaler(init_scale=2.0**30)
    made = tuned("fp16", epochs=4, tweaks=(spy,))
    after = list(itertools.pairwise(zip(spy.scales, spy.weights, strict=True)))
    halved = [b[0] == a[0] / 2 for a, b in after]
    assert [torch.equal(a[1], b[1]) for a, b in after] == halved
    assert 3 <= sum(halved) == made.notes["skipped_steps"] < 20
    assert halved[:3] == [True] * 3
    # what was skipped is not in the curve, and counts as read: the schedule goes on and ends where it should
    steps = [step for step, skipped in enumerate(halved, 1) if not skipped]
    assert [p["step"] for p in made.notes["curve"]] == [*steps, made.notes["steps"]]
    assert made.notes["curve"][-1]["lr"] == tuned("fp32", epochs=4).notes["curve"][-1]["lr"]


class Bad(Objective):
    """Finite losses; from the `at`-th call on, gradients that are not, or the `at`-th loss itself."""

    suits = ("cross_entropy",)

    def __init__(self, at: int, what: str):
        self.at, self.what, self.calls = at, what, 0

    def rows(self, outputs_BC, targets):
        self.calls += 1
        loss_B = loss_rows("cross_entropy", outputs_BC, targets)
        if self.what == "gradient" and self.calls >= self.at:
            # sqrt has an infinite slope at 0
            return loss_B + (outputs_BC[:, 0] - outputs_BC[:, 0].detach()).abs().add(0).sqrt()
        return loss_B * float("nan") if self.what == "loss" and self.calls == self.at else loss_B


def test_a_gradient_that_is_itself_infinite_ends_the_run_instead_of_being_skipped_for_ever() -> None:
    with pytest.raises(BurnishError, match="nothing was updated"):
        tuned("fp16", epochs=9, objective=Bad(3, "gradient"))


def test_a_loss_that_is_not_a_number_is_no_overflow() -> None:
    with pytest.raises(BurnishError, match="step 2 gave loss nan"):
        tuned("fp16", objective=Bad(2, "loss"))


class Patient(Watch):
    """Lets a broken step pass with half the rate."""

    def broke(self, diary, loss, norm, rows):
        return Act("rate", "broken", "half the rate from here on", factor=0.5)


def test_a_run_that_someone_lets_go_on_after_a_broken_step_goes_on(monkeypatch) -> None:
    real = loop.Run.__init__

    def watched(self, model, facts, learn, valid, settings, *rest):
        object.__setattr__(settings, "watch", Patient())
        real(self, model, facts, learn, valid, settings, *rest)

    monkeypatch.setattr(loop.Run, "__init__", watched)
    made = tuned("fp16", objective=Bad(2, "loss"))
    assert made.notes["steps"] == 11  # one of twelve is missing
    assert all(p["loss"] == p["loss"] for p in made.notes["curve"])


# --- a kill


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", [2, 6, 9])
def test_the_loss_scale_survives_a_kill_to_the_bit(at: int, tmp_path: Path, monkeypatch, scaler) -> None:
    """It falls in the first steps and grows every third one after, so a lost count would show."""
    made = scaler(init_scale=2.0**22, growth_interval=3)
    settings = {"epochs": 3, "patience": 0}
    whole = tuned("fp16", tiny_work(), **settings)
    state = made[-1].state_dict()
    monkeypatch.setattr(loop, "MIN_GAP", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)

    def save_then_die(folder, step, tensors, state):
        checkpoint.save(folder, step, tensors, state)
        if step >= at:
            raise Killed

    monkeypatch.setattr(moments, "write_checkpoint", save_then_die)
    with lend(Desk(folder=tmp_path)):
        with pytest.raises(Killed):
            tuned("fp16", tiny_work(), **settings)
        monkeypatch.setattr(moments, "write_checkpoint", checkpoint.save)
        resumed = tuned("fp16", tiny_work(), **settings)
    assert made[-1].state_dict() == state
    assert whole.notes["skipped_steps"] == resumed.notes["skipped_steps"] > 0
    assert resumed.notes["curve"] == whole.notes["curve"]
    for a, b in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


# --- what is said, and what is refused


def test_fp16_on_a_cpu_is_said_to_be_slow() -> None:
    assert "slow on a CPU" in precision_for("fp16")[1]
    assert any("slow on a CPU" in reason for reason in tuned("fp16", epochs=1).notes["reasons"])
    assert "slow" not in precision_for("bf16")[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_fp8_is_refused_before_anything_is_trained(monkeypatch) -> None:
    monkeypatch.setattr(loop, "train", lambda *a, **k: pytest.fail("it began to train"))
    with pytest.raises(Missing, match=r"without a GPU(.|\n)*8\.9(.|\n)*torchao(.|\n)*precision=auto"):
        tuned("fp8")


def test_fp8_wants_a_new_gpu_the_model_on_it_and_torchao(monkeypatch) -> None:
    gpu, find = torch.device("cuda"), importlib.util.find_spec
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UsageError, match="on the cpu"):
        fp8.refuse(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    with pytest.raises(Missing, match=r"capability 8\.0"):
        fp8.refuse(gpu)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torchao" else find(name))
    with pytest.raises(Missing, match="pip install torchao"):
        fp8.refuse(gpu)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    fp8.refuse(gpu)


@pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="torchao is not installed")
@pytest.mark.filterwarnings("ignore")  # torchao has some of its own
def test_layers_compute_in_fp8_and_come_back_with_the_same_parameters() -> None:
    model, ids = tiny_model(), torch.tensor([[2, 7, 9, 3]])
    before, parameters = model(input_ids=ids).logits, dict(model.named_parameters())
    names = [n for n, m in model.named_modules() if type(m) is torch.nn.Linear]
    fp8.convert(model, 2, emulate=True)
    assert [n for n, m in model.named_modules() if type(m) is torch.nn.Linear] == ["classifier"]
    rounded = model(input_ids=ids).logits
    assert not torch.equal(rounded, before)
    assert torch.allclose(rounded, before, atol=0.1)
    rounded.sum().backward()
    fp8.revert(model)
    assert [n for n, m in model.named_modules() if type(m) is torch.nn.Linear] == names
    assert all(p is parameters[n] and p.grad is not None for n, p in model.named_parameters() if "classifier" in n)
    assert all(p is parameters[n] for n, p in model.named_parameters())
    assert torch.equal(model(input_ids=ids).logits, before)
