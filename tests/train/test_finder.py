"""The finder's promises: it reads curves right, leaves everything as it was, and says why when it knows nothing."""

import contextlib
import hashlib
import json
import random
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from burnish.core import Desk, lend
from burnish.train import checkpoint, loop, moments
from burnish.train.finder import Bench, auto, find
from burnish.train.finder import find as find_module_function
from burnish.train.finder.curve import diverged_at, plain_steepest, read_curve, smooth, together
from burnish.train.finder.trials import Curve, confirm, sweep, untouched, warm_head
from burnish.train.given import Settings
from burnish.train.optimizer import FusedAdamW
from burnish.train.parts import Optimizer
from burnish.train.prepare import encode_work, settings_for
from burnish.tune.finetune import FineTune
from tests.tiny import tiny_work

finder = sys.modules[find_module_function.__module__]
ROOT = Path(__file__).parents[2]
RATES = np.geomspace(1e-6, 1e-2, 100)


def bench(lr: float = 1e-3, *, epochs: int = 1, train: int = 200) -> Bench:
    work = tiny_work(train=train)
    learn, valid = encode_work(work, 64)
    return Bench(work.model, work.task, learn, valid, Settings(lr=lr, epochs=epochs, batch_size=16), seed=5, pad_id=0)


SMALL = {"PLANS": (finder.Plan(2, 40, 0.5),), "BAND": (0.3, 60.0), "FEWEST_STEPS": 6}


@pytest.fixture
def small(monkeypatch) -> None:
    """Little work, over a band in which the tiny model learns."""
    for name, value in SMALL.items():
        monkeypatch.setattr(finder, name, value)


@pytest.fixture(scope="module")
def looked():
    """What a finder found, and the state before and after it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(finder, name, value)
        b = bench()
        before = state(b)
        return find(b), before, state(b)


# -- reading a curve -----------------------------------------------------------------------------


def falling(rates, centre: float = 1e-4, least: float = 0.2, rise: float = 3e-3) -> np.ndarray:
    """From 1 to `least`, steepest at `centre`, and steeply up from `rise`."""
    fall = least + (1 - least) / (1 + (rates / centre) ** 2)
    return fall + np.maximum(0, np.log(rates / rise)) * 2


def test_smoothing_has_no_bias_at_its_start() -> None:
    assert smooth([2.0] * 9).tolist() == pytest.approx([2.0] * 9)
    assert smooth([1.0, 3.0], keep=0.5).tolist() == pytest.approx([1.0, (0.25 * 1 + 0.5 * 3) / 0.75])


@pytest.mark.parametrize(
    ("losses", "at"),
    [
        ([1.0, 0.9, 0.8, 1.0, 1.04], None),  # exactly 1.3 times the least is not over it
        ([1.0, 0.9, 0.8, 1.0, 1.05], 4),
        ([1.0, 0.9, 0.8, float("nan"), 0.8], 3),
        ([0.1] + [1.0] * 19, None),  # an easy first batch
        ([0.5, 0.5, 0.1] + [0.5] * 17, 3),
    ],
)
def test_divergence_is_a_third_over_the_least_loss_so_far(losses, at) -> None:
    assert diverged_at(losses) == at


def test_the_candidate_is_the_steepest_fall_or_a_tenth_of_the_minimum() -> None:
    early = read_curve(RATES, falling(RATES, centre=2e-5))
    assert early.rate == early.steepest
    assert 2e-5 <= early.steepest <= 4e-5  # the running mean trails by some steps
    assert 3e-3 < early.diverged < 5e-3
    late = read_curve(RATES, falling(RATES, centre=1.5e-3))
    assert late.rate == pytest.approx(late.minimum / 10)
    assert late.rate < late.steepest


@pytest.mark.parametrize("losses", [np.ones(100), 1 + RATES * 100, np.geomspace(1, 0.99, 100)])
def test_a_curve_that_does_not_fall_names_nothing(losses) -> None:
    assert read_curve(RATES, losses).rate is None


def test_noise_moves_the_candidate_little_and_the_plain_rule_much() -> None:
    ours, plain = [], []
    for seed in range(20):
        losses = falling(RATES) + np.random.default_rng(seed).normal(0, 0.1, 100)
        ours.append(read_curve(RATES, losses).rate)
        plain.append(plain_steepest(RATES, losses))
    assert together(ours)[1] < 4
    assert together(plain)[1] > 2 * together(ours)[1]


def test_several_sweeps_meet_in_their_geometric_mean() -> None:
    assert together([1e-4, 4e-4]) == pytest.approx((2e-4, 4.0))
    assert together([3e-5]) == pytest.approx((3e-5, 1.0))


def test_the_plain_rule_reads_differences_of_neighbours() -> None:
    losses = [1.0] * 40 + [0.0] * 60  # the running mean falls most at the first step of the cliff
    assert plain_steepest(RATES, losses) in RATES[39:42]


# -- trials --------------------------------------------------------------------------------------


def state(b: Bench) -> str:
    """Of all that a finder could leave changed."""
    found = hashlib.sha256()
    for name, tensor in b.model.state_dict().items():
        found.update(name.encode() + tensor.numpy().tobytes())
    found.update(repr([(type(m).__name__, m.training) for m in b.model.modules()]).encode())
    found.update(repr([(p.requires_grad, p.grad) for p in b.model.parameters()]).encode())
    found.update(repr((random.getstate(), np.random.get_state()[1].tolist(), b.learn.encoded)).encode())
    found.update(torch.get_rng_state().numpy().tobytes() + b.learn.targets.tobytes())
    return found.hexdigest()


def test_model_and_random_numbers_are_left_bit_for_bit(looked) -> None:
    found, before, after = looked
    assert found.confirm
    assert after == before
    np.random.rand()
    assert state(bench()) != before  # the hash sees a single draw


def test_random_numbers_are_put_back_after_an_error_too() -> None:
    b = bench()
    before = state(b)
    with contextlib.suppress(ZeroDivisionError), untouched():
        random.random(), np.random.rand(), torch.rand(1 // 0)
    assert state(b) == before


def test_a_sweep_climbs_through_the_whole_band_in_equal_ratios_and_each_sees_its_own_rows() -> None:
    b = bench()
    one, two = (sweep(b, b.model, k, 10, (1e-6, 1e-4)) for k in (0, 1))
    ratios = np.diff(np.log(one.rates))
    assert one.rates[0] == pytest.approx(1e-6)
    assert ratios == pytest.approx(np.full(9, np.log(100) / 10))
    assert one.rates == two.rates
    assert one.losses != two.losses
    assert sweep(b, b.model, 0, 10, (1e-6, 1e-4)) == one


def test_a_sweep_ends_soon_after_it_diverged() -> None:
    b = bench()
    made = sweep(replace(b, settings=replace(b.settings, optimizer=Reckless())), b.model, 0, 60, (1e-4, 1e4))
    assert len(made.rates) < 60
    assert np.isfinite(made.losses).all()


@dataclass(frozen=True)
class Reckless(Optimizer):
    """Steps that are too long soon."""

    relative_rate = 0.5

    def make(self, groups, lr):
        return torch.optim.SGD([g.settings(lr) for g in groups], lr=lr)


def test_a_short_run_that_diverges_has_no_loss() -> None:
    b = bench()
    found = confirm(replace(b, settings=replace(b.settings, optimizer=Reckless())), 1e30, 6)
    assert found == {"lr": 1e30, "valid_loss": None, "score": None}
    good = confirm(b, 1e-3, 6)
    assert 0 < good["valid_loss"] < 2


def test_warming_changes_the_head_alone() -> None:
    b = bench()
    warm = warm_head(b).state_dict()
    changed = {n for n, v in b.model.state_dict().items() if not torch.equal(v, warm[n])}
    assert changed == {"classifier.weight", "classifier.bias"}


# -- the answer ----------------------------------------------------------------------------------


def test_the_answer_stays_in_the_band_and_names_its_runs(looked) -> None:
    found, _, _ = looked
    low, high = found.band
    assert low <= found.suggested <= high
    assert found.table == 1e-3
    tried = [r["lr"] for r in found.confirm]
    assert tried == sorted(tried)
    assert {found.suggested, found.table} <= set(tried)
    best = min(r["valid_loss"] for r in found.confirm)
    assert next(r["valid_loss"] for r in found.confirm if r["lr"] == found.suggested) <= 1.02 * best
    assert f"{found.suggested:.2g}" in found.why
    assert f"{found.spread:.1f}x" in found.why


def test_it_comes_from_json_again(looked) -> None:
    assert finder.Found.from_json(json.loads(json.dumps(looked[0].to_json()))) == looked[0]


def test_rates_to_confirm_never_leave_the_band() -> None:
    assert finder.rates_to_confirm(1e-4, 2e-4, (1e-6, 2e-4)) == pytest.approx([3e-5, 1e-4, 2e-4])
    assert min(finder.rates_to_confirm(1e-6, 1e-4, (1e-6, 1e-3))) == 1e-6
    assert finder.rates_to_confirm(3e-5, 1e-4, (1e-6, 1e-3)) == pytest.approx([9e-6, 3e-5, 1e-4])  # not 9e-5 too


@pytest.mark.parametrize(
    ("losses", "chosen"),
    [
        ((0.70, 0.60, 0.55, 0.40), 3e-4),
        ((0.70, 0.60, 0.405, 0.40), 1e-4),  # as good, and the table's
        ((0.40, 0.405, 0.60, 0.70), 5e-5),  # as good, and nearer to the table's
        ((0.70, None, 0.55, None), 1e-4),
        ((None, None, None, None), None),
    ],
)
def test_the_least_loss_chooses_and_the_table_where_losses_say_the_same(losses, chosen) -> None:
    runs = [{"lr": lr, "valid_loss": loss} for lr, loss in zip((2e-5, 5e-5, 1e-4, 3e-4), losses, strict=True)]
    assert finder.chosen_of(runs, 1e-4) == chosen


def curves(*centres: float):
    """Stands for `sweep`: the curves of models that learn best at other rates."""
    rates = np.geomspace(1e-5, 1e-1, 100)
    made = [Curve(rates.tolist(), falling(rates, centre=c, rise=1.0).tolist()) for c in centres]
    return lambda b, model, k, steps, band: made[k]


@pytest.mark.parametrize(
    ("centres", "says"), [((1e-4, 9e-4), "differ by"), ((1e-4, 1e3), "never fell"), ((2e-4, 3e-4), None)]
)
def test_the_table_decides_where_the_sweeps_do_not_agree(centres, says, small, monkeypatch) -> None:
    monkeypatch.setattr(finder, "sweep", curves(*centres))
    monkeypatch.setattr(finder, "confirm", lambda b, lr, n: {"lr": lr, "valid_loss": 1 / lr, "score": 0.5})
    found = find(bench())
    if says is None:
        assert found.suggested == found.confirm[-1]["lr"] != found.table
        return
    assert (found.suggested, found.confirm) == (found.table, [])
    assert says in found.why
    assert "as the table says" in found.why


def test_the_table_decides_when_every_short_run_diverges(small, monkeypatch) -> None:
    monkeypatch.setattr(finder, "sweep", curves(2e-4, 2e-4))
    monkeypatch.setattr(finder, "confirm", lambda b, lr, n: {"lr": lr, "valid_loss": None, "score": None})
    found = find(bench())
    assert found.suggested == found.table
    assert "diverged" in found.why


def test_without_time_the_table_decides_and_little_is_tried(small, monkeypatch) -> None:
    monkeypatch.setattr(finder, "sweep", None)  # calling it would fail
    found = find(bench(), seconds=1e-3)
    assert found.suggested == found.table
    assert "time" in found.why


def test_a_plan_fits_its_time_and_more_time_buys_more(monkeypatch) -> None:
    monkeypatch.setattr(finder, "seconds_a_row", lambda b: 0.01)
    b = bench(train=1000, epochs=5)
    costs = [finder.cost(b, plan) * 0.01 for plan in finder.PLANS]
    assert costs == sorted(costs, reverse=True)
    for plan, seconds in zip(finder.PLANS, costs, strict=True):
        assert finder.plan_for(b, 1.3 * seconds) == plan
    assert finder.plan_for(b, float("inf")) == finder.PLANS[0]
    assert finder.plan_for(b, costs[-1]) is None


def test_when_the_clock_runs_out_on_the_way_the_table_decides(small, monkeypatch) -> None:
    monkeypatch.setattr(finder, "plan_for", lambda b, seconds: finder.PLANS[0])
    found = find(bench(), seconds=0.05)
    assert found.suggested == found.table
    assert "used up" in found.why


def test_a_finder_that_was_killed_goes_on_to_the_same_answer(looked, small, monkeypatch, tmp_path) -> None:
    real, calls = finder.confirm, []

    def die(b, lr, steps):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(lr)
        return real(b, lr, steps)

    monkeypatch.setattr(finder, "confirm", die)
    with pytest.raises(KeyboardInterrupt):
        find(bench(), folder=tmp_path)
    monkeypatch.setattr(finder, "sweep", None)  # finished ones are on disk
    monkeypatch.setattr(finder, "confirm", real)
    assert find(bench(), folder=tmp_path) == looked[0]


CHILD = """
import sys, torch
torch.set_num_threads(int(sys.argv[1]))
from tests.train.test_finder import SMALL, bench, finder
vars(finder).update(SMALL)
print(repr(finder.find(bench()).suggested))
"""


def test_the_same_seed_gives_the_same_answer_in_another_process(looked) -> None:
    command = [sys.executable, "-c", CHILD, str(torch.get_num_threads())]
    there = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert float(there.stdout) == looked[0].suggested


# -- in a fit ------------------------------------------------------------------------------------


def tuned(**settings):
    step = FineTune(lr="auto", precision="fp32", **{"epochs": 1, "batch_size": 16, **settings})
    return step(tiny_work(train=200), Random(0))


def test_auto_begins_from_the_rate_the_optimizer_asks_for() -> None:
    work = tiny_work()
    plain, _, _ = settings_for(work, FineTune(lr="auto"))
    other, _, reasons = settings_for(work, FineTune(lr="auto", optimizer=Reckless()))
    assert isinstance(plain.optimizer, FusedAdamW)
    assert plain.lr == settings_for(work, FineTune())[0].lr
    assert other.lr == plain.lr * 0.5
    assert any("0.5 times" in r for r in reasons)


def test_auto_trains_with_what_was_found_and_says_why(small, monkeypatch) -> None:
    monkeypatch.setattr(finder, "BAND", (3.0, 600.0))  # the table's rate is for real models
    made = tuned()
    found = made.notes["lr_finder"]
    assert found["confirm"]
    assert max(p["lr"] for p in made.notes["curve"]) == pytest.approx(found["suggested"])
    assert found["why"] in made.notes["reasons"]


def test_auto_takes_the_table_when_time_is_short_and_says_so(small, monkeypatch) -> None:
    monkeypatch.setattr(finder, "seconds_a_row", lambda b: 1.0)
    with lend(Desk(deadline=time.monotonic() + 30)):
        made = tuned()
    assert made.notes["lr_finder"]["suggested"] == made.notes["lr_finder"]["table"]
    assert any("as the table says: there is not enough time" in r for r in made.notes["reasons"])


def test_auto_is_settled_once(small, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(finder, "sweep", curves(1e-4, 9e-4))
    with lend(Desk(folder=tmp_path)):
        found = auto(bench())
        assert (tmp_path / "lr.json").is_file()
        monkeypatch.setattr(sys.modules["burnish.train.finder.auto"], "find", None)
        assert auto(bench()) == found


class Killed(BaseException):
    pass


def test_a_fit_that_was_killed_after_the_finder_ends_in_the_same_bits(small, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(finder, "sweep", curves(2e-4, 3e-4))
    whole = tuned()
    monkeypatch.setattr(loop, "MIN_GAP", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)
    real = checkpoint.save

    def save_then_die(folder, step, tensors, state):
        real(folder, step, tensors, state)
        raise Killed

    monkeypatch.setattr(moments, "write_checkpoint", save_then_die)
    with lend(Desk(folder=tmp_path)):
        with pytest.raises(Killed):
            tuned()
        monkeypatch.setattr(moments, "write_checkpoint", real)
        monkeypatch.setattr(finder, "sweep", None)  # it must not look again
        resumed = tuned()
    assert resumed.notes["curve"] == whole.notes["curve"]
    assert resumed.notes["lr_finder"] == whole.notes["lr_finder"]
    for a, b in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_auto_may_use_a_quarter_of_the_time(monkeypatch) -> None:
    asked = []
    module = sys.modules["burnish.train.finder.auto"]
    monkeypatch.setattr(module, "find", lambda b, seconds, folder: asked.append(seconds))
    with lend(Desk(deadline=time.monotonic() + 100)):
        auto(bench())
    assert asked[0] == pytest.approx(25, abs=0.5)
