"""What the loop asks of every optimizer: rates by group, state in a checkpoint, a run that is cut and goes on."""

from pathlib import Path
from random import Random

import pytest
import torch
from torch import nn

from burnish import catalog
from burnish.core import Desk, lend
from burnish.errors import UsageError
from burnish.train import checkpoint, loop, moments
from burnish.train.checkpoint import pack_optimizer, unpack_optimizer
from burnish.train.judge import Judge
from burnish.train.optimizer import grouped
from burnish.train.parts import Group
from burnish.train.prepare import settings_for
from burnish.tune.adamw import AdamW
from burnish.tune.cosine import Cosine
from burnish.tune.finetune import FineTune
from burnish.tune.lion import Lion
from burnish.tune.schedule_free import ScheduleFree
from burnish.tune.sgd import Sgd
from tests.tiny import tiny_work
from tests.tune.test_optimizers import EVERY, Two, learn, pair
from tests.tune.works import calm


@EVERY
def test_rates_go_by_the_scale_of_the_group(optimizer) -> None:
    """Two groups with the same gradients: the one at half the scale moves half as far."""
    full, half = (nn.Parameter(torch.ones(3, 3)) for _ in range(2))
    made = optimizer.make([Group(("l.0.a",), (full,), 1.0, 0.0), Group(("l.0.b",), (half,), 0.5, 0.0)], 7.0)
    for group in made.param_groups:
        assert group["lr"] == 7.0 * group["scale"]
        group["lr"] = 1e-3 * group["scale"]  # as the loop does
    full.grad = half.grad = torch.tensor([[1.0, -2.0, 0.5], [0.3, 1.0, 1.0], [2.0, 0.1, -1.0]])
    made.step()
    assert torch.allclose(2 * (half - 1), full - 1, rtol=1e-3)
    assert (full.detach() - 1).abs().max().item() > 1e-4


@EVERY
def test_state_goes_into_a_checkpoint_and_comes_back_to_the_bit(optimizer) -> None:
    one, other = pair()
    whole = optimizer.make(grouped(one, 0.1), 1e-2)
    learn(one, whole, 5)
    packed = {name: value.clone() for name, value in pack_optimizer(whole).items()}
    assert packed
    other.load_state_dict(one.state_dict())
    resumed = optimizer.make(grouped(other, 0.1), 1e-2)
    unpack_optimizer(resumed, packed)
    again = pack_optimizer(resumed)
    assert packed.keys() == again.keys()
    assert all(torch.equal(v, again[k]) and v.dtype == again[k].dtype for k, v in packed.items())
    for model, made in ((one, whole), (other, resumed)):
        learn(model, made, 4, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@EVERY
def test_a_parameter_without_gradient_stays_and_joins_later(optimizer) -> None:
    one, _ = pair()
    made = optimizer.make(grouped(one, 0.1), 1e-2)
    one.layer[0].requires_grad_(False)
    before = one.layer[0].weight.clone()
    learn(one, made, 3)
    assert torch.equal(one.layer[0].weight, before)
    one.layer[0].requires_grad_(True)
    learn(one, made, 3)
    assert not torch.equal(one.layer[0].weight, before)


def tuned(work, optimizer, **settings):
    usual = {"epochs": 2, "batch_size": 12, "precision": "fp32", "lr": 1e-3 * optimizer.relative_rate, "doctor": "off"}
    return FineTune(optimizer=optimizer, **(usual | settings))(work, Random(0))


class Killed(BaseException):
    pass


@EVERY
def test_a_cut_run_ends_in_the_same_bits(optimizer, tmp_path: Path, monkeypatch) -> None:
    """Six steps in two epochs, with dropout and four evaluations, cut after the fourth."""
    whole = tuned(tiny_work(train=36, valid=8), optimizer)
    monkeypatch.setattr(loop, "MIN_GAP", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)

    def save_then_die(folder, step, tensors, state):
        checkpoint.save(folder, step, tensors, state)
        if step == 4:
            raise Killed

    monkeypatch.setattr(moments, "write_checkpoint", save_then_die)
    with lend(Desk(folder=tmp_path)):
        with pytest.raises(Killed):
            tuned(tiny_work(train=36, valid=8), optimizer)
        monkeypatch.setattr(moments, "write_checkpoint", checkpoint.save)
        resumed = tuned(tiny_work(train=36, valid=8), optimizer)
    assert resumed.notes["curve"] == whole.notes["curve"]
    assert resumed.notes["evals"] == whole.notes["evals"]
    for (name, a), b in zip(whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@EVERY
def test_accumulation_changes_nothing(optimizer) -> None:
    whole, cut = (tuned(calm(tiny_work(train=48, valid=4)), optimizer, epochs=1, accumulate=n) for n in (1, 3))
    for a, b in zip(whole.notes["curve"], cut.notes["curve"], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=1e-4)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-3)


@EVERY
def test_it_learns_at_its_own_multiple_of_the_rate(optimizer) -> None:
    """One net learns a near one: the error falls to a tenth, at a rate that is good for AdamW times `relative_rate`."""
    student, teacher = Two(), Two()
    torch.manual_seed(2)
    with torch.no_grad():
        for one, other in zip(teacher.parameters(), student.parameters(), strict=True):
            one.normal_()
            other.copy_(one + 0.3 * torch.randn_like(one))
    # So small a net has larger gradients than a Transformer, and of all these only SGD minds.
    made = optimizer.make(grouped(student, 0.0), 1e-2 * min(100.0, optimizer.relative_rate))
    x = torch.randn(64, 6)
    y, errors = teacher(x).detach(), []
    for _ in range(200):
        made.zero_grad()
        error = (student(x) - y).square().mean()
        error.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        made.step()
        errors.append(error.item())
    assert errors[-1] < 0.1 * errors[0]


@EVERY
def test_a_run_goes_another_way_than_with_another(optimizer) -> None:
    other = Lion() if optimizer == AdamW() else AdamW()
    curves = [tuned(calm(tiny_work(train=24, valid=4)), o, lr=1e-3).notes["curve"] for o in (optimizer, other)]
    losses = [[point["loss"] for point in curve] for curve in curves]
    assert losses[0][0] == losses[1][0]  # nothing has moved before the first step
    assert abs(losses[0][-1] - losses[1][-1]) > 1e-5


@EVERY
def test_the_page_says_its_rate_and_an_open_rate_uses_it(optimizer) -> None:
    name = "tune/" + type(optimizer).__module__.split(".")[-1]
    page = " ".join(catalog.page(name).text.split())
    assert "Rate: the unit" in page if name == "tune/adamw" else f"Rate: {optimizer.relative_rate:g} x AdamW's" in page
    plain, _, _ = settings_for(tiny_work(), FineTune())
    found, _, reasons = settings_for(tiny_work(), FineTune(optimizer=optimizer))
    assert found.lr == pytest.approx(plain.lr * optimizer.relative_rate)
    assert optimizer.relative_rate == 1 or any(f"{optimizer.relative_rate:g} times" in r for r in reasons)


@pytest.mark.parametrize("optimizer", [AdamW(), Lion(), Sgd(momentum=0.9)], ids=lambda o: type(o).__name__)
def test_weights_shrink_alike_at_the_rate_of_each(optimizer) -> None:
    """Without gradients, rate x decay is all there is; momentum needs some steps to reach its full reach."""
    w = nn.Parameter(torch.ones(1))
    lr = 1e-4 * optimizer.relative_rate
    made = optimizer.make([Group(("w",), (w,), 1.0, 0.1)], lr)
    for _ in range(300):
        w.grad = torch.zeros(1)
        made.step()
    assert 1 - w.item() == pytest.approx(300 * 1e-4 * 0.1, rel=0.15)


def test_schedule_free_gives_back_the_average_and_more_looks_change_nothing() -> None:
    few, many = (tuned(tiny_work(train=36), ScheduleFree(), evals_per_epoch=n, patience=0) for n in (1, 3))
    assert few.notes["curve"] == many.notes["curve"]
    seen = []
    real = Judge.look

    def look(judge):
        seen.append({k: v.clone() for k, v in judge.model.state_dict().items()})
        return real(judge)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Judge, "look", look)
        made = tuned(tiny_work(train=36), ScheduleFree(), evals_per_epoch=1, patience=0)
    looks = [e["step"] for e in made.notes["evals"]]
    best = seen[looks.index(made.notes["best_step"])]
    assert torch.equal(made.model.classifier.weight, best["classifier.weight"])


def test_schedule_free_wants_a_constant_rate_and_says_so() -> None:
    found, _, reasons = settings_for(tiny_work(), FineTune(optimizer=ScheduleFree()))
    assert {found.schedule.multiple(t / 10) for t in range(11)} == {1.0}
    assert any("tune/constant" in r for r in reasons)
    chosen = catalog.build("tune/finetune", {"optimizer": "schedule_free", "schedule": "constant"})
    assert settings_for(tiny_work(), chosen)[0].schedule == found.schedule
    with pytest.raises(UsageError, match=r"tune/cosine with optimizer tune/schedule_free\n.*tune/constant"):
        FineTune(optimizer=ScheduleFree(), schedule=Cosine())(tiny_work(), Random(0))
