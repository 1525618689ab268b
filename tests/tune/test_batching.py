"""Which rows share a step: by a budget of tokens, at random, and growing with the noise of the gradient."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.core import Desk, lend
from burnish.errors import UsageError
from burnish.train import checkpoint, loop, moments
from burnish.train.batches import padding_share
from burnish.train.tweak import Tweak
from burnish.tune.finetune import FineTune
from burnish.tune.grow_batch import PATIENCE, GrowBatch, grown
from burnish.tune.random_batches import RandomBatches
from burnish.tune.token_budget import TokenBudget, filled
from tests.tiny import tiny_work
from tests.tune.works import calm

LENGTHS = np.minimum(np.exp(np.random.default_rng(0).normal(3.2, 0.7, 4000)).astype(int) + 3, 128)
lengths = st.lists(st.integers(1, 60), min_size=1, max_size=300).map(np.array)
batchings = st.sampled_from([TokenBudget(), TokenBudget(100), TokenBudget(1), RandomBatches(), GrowBatch()])


def tuned(work, **given_settings):
    usual = {"epochs": 4, "lr": 1e-3, "precision": "fp32", "batch_size": 4, "patience": 0, "doctor": "off"}
    return FineTune(**usual | given_settings)(work, Random(0))


# -- the order ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(batchings, lengths, st.integers(1, 40), st.integers(0, 5), st.integers(0, 3))
def test_every_row_comes_once_and_the_order_is_a_pure_function(batching, lengths_N, size, seed, epoch) -> None:
    batches = batching.order(lengths_N, size, seed, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths_N)))
    assert all(len(batch) for batch in batches)
    again = batching.order(lengths_N, size, seed, epoch)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


@settings(deadline=None, max_examples=60)
@given(lengths, st.integers(1, 200), st.integers(0, 5))
def test_no_batch_is_over_budget_but_a_row_that_is(lengths_N, tokens, seed) -> None:
    for batch in TokenBudget(tokens).order(lengths_N, 8, seed, 0):
        assert len(batch) == 1 or len(batch) * lengths_N[batch].max() <= tokens


def test_filling_by_hand() -> None:
    """A budget of 8: the row of 9 and the one of 5 alone, two as wide as 4, two as wide as 3, the rest as wide as 2."""
    rows = np.arange(9) * 10
    found = filled(rows, np.array([9, 5, 4, 4, 3, 2, 2, 2, 1]), 8)
    assert [batch.tolist() for batch in found] == [[0], [10], [20, 30], [40, 50], [60, 70, 80]]


@pytest.mark.parametrize("batching", [TokenBudget(), TokenBudget(1024)])
def test_a_budget_leaves_little_padding_no_order_by_length_and_one_small_batch(batching) -> None:
    batches = batching.order(LENGTHS, 32, 0, 0)
    assert padding_share(LENGTHS, batches) < 0.04
    widths = np.array([LENGTHS[b].max() for b in batches], dtype=float)
    assert abs(np.corrcoef(widths[:-1], widths[1:])[0, 1]) < 0.25  # sorted batches would give nearly 1
    work = sorted(len(b) * LENGTHS[b].max() for b in batches)
    assert work[1] > 0.8 * work[-1]  # all steps but the one with what was left take about as long


def test_without_a_number_the_budget_is_that_of_the_batch_size() -> None:
    batches = TokenBudget().order(LENGTHS, 32, 0, 0)
    assert np.mean([len(b) for b in batches]) == pytest.approx(32, rel=0.1)


def test_random_batches_are_full_and_have_no_order() -> None:
    batches = RandomBatches().order(LENGTHS, 32, 0, 0)
    assert {len(b) for b in batches} == {32}
    assert padding_share(LENGTHS, batches) > 0.5  # what bucketing saves


@pytest.mark.parametrize("batching", [TokenBudget(), RandomBatches(), GrowBatch()])
def test_epochs_and_seeds_see_different_batches(batching) -> None:
    def together(seed: int, epoch: int) -> set[tuple[int, ...]]:
        return {tuple(sorted(b.tolist())) for b in batching.order(LENGTHS, 16, seed, epoch)}

    assert len(together(0, 0) & together(0, 1)) <= 2
    assert len(together(0, 0) & together(1, 0)) <= 2


@pytest.mark.parametrize(
    ("technique", "values", "said"),
    [
        (TokenBudget, {"tokens": 0}, "1 or more"),
        (GrowBatch, {"factor": 0.0}, "above 0"),
        (GrowBatch, {"most": 1}, "2 or more"),
    ],
)
def test_bad_settings_say_what_would_be_good(technique, values, said) -> None:
    with pytest.raises(UsageError, match=said):
        technique(**values)


# -- growth ------------------------------------------------------------------------------------------


def test_growth_by_hand() -> None:
    """Batches of 10 and factor 2: above 20 it doubles, then above 40, each time after enough readings."""
    wait = PATIENCE - 1
    assert grown([], 10, 2, 8) == 1
    assert grown([99.0] * wait, 10, 2, 8) == 1
    assert grown([99.0] * PATIENCE, 10, 2, 8) == 2
    assert grown([19.0] * 50, 10, 2, 8) == 1
    assert grown([19.0] * 50 + [99.0] * 2, 10, 2, 8) == 1  # the middle one of five decides
    assert grown([19.0] * 50 + [99.0] * 3, 10, 2, 8) == 2
    assert grown([30.0] * 50, 10, 2, 8) == 2  # not above 40
    assert grown([30.0] * PATIENCE + [41.0] * PATIENCE, 10, 2, 8) == 4
    assert grown([30.0] * PATIENCE + [41.0] * wait, 10, 2, 8) == 2
    assert grown([9999.0] * 100, 10, 2, 8) == 8
    assert grown([9999.0] * 100, 10, 2, 7) == 4
    assert grown([50.0] * 50 + [1.0] * 50, 10, 2, 8) == 4  # it never shrinks


class Sizes(Tweak):
    """Keeps the rows of each step and the most that ever stood in memory at once."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.most = 0

    def before_step(self, model, step: int) -> None:
        self.steps.append(0)

    def loss(self, model, batch, inner):
        self.steps[-1] += len(batch["rows"])
        self.most = max(self.most, len(batch["rows"]))
        return inner(model, batch)


def test_a_noisy_run_grows_with_the_root_of_the_batch_and_in_the_memory_of_one() -> None:
    sizes, steady = Sizes(), Sizes()
    made = tuned(tiny_work(), batching=GrowBatch(factor=1e-9, most=4), tweaks=(sizes,), warmup=0.0)
    plain = tuned(tiny_work(), tweaks=(steady,), warmup=0.0)
    assert steady.steps == [4] * 64
    # Readings at 0, 4, 8, 12, 16 double the batch from step 17 on, the second of 16 in its epoch; five more from 37 on.
    assert sizes.steps[:25] == [4] * 17 + [8] * 7 + [4]
    assert set(sizes.steps[25:37]) == {8}
    assert sizes.steps[37] == 16
    assert sum(sizes.steps) == sum(steady.steps)
    assert sizes.most == 4
    before, after = (made.notes["curve"][i] for i in (16, 17))
    assert [p["lr"] for p in made.notes["curve"][:17]] == [p["lr"] for p in plain.notes["curve"][:17]]
    assert after["lr"] / before["lr"] == pytest.approx(2**0.5 * (1 - 17 / 64) / (1 - 16 / 64))
    assert len(made.notes["noise_scale"]) == -(-made.notes["steps"] // 4)


def test_a_quiet_run_does_not_grow_and_is_the_run_without() -> None:
    quiet = tuned(calm(tiny_work()), batching=GrowBatch(factor=1e9), epochs=2)
    plain = tuned(calm(tiny_work()), epochs=2)
    assert [p["loss"] for p in quiet.notes["curve"]] == pytest.approx(
        [p["loss"] for p in plain.notes["curve"]], abs=1e-5
    )


GROWING = GrowBatch(factor=1e-9, most=4)


@pytest.mark.parametrize("batching", [TokenBudget(), RandomBatches(), GROWING])
def test_accumulation_changes_nothing(batching) -> None:
    runs = [tuned(calm(tiny_work()), epochs=2, batching=batching, accumulate=n).notes["curve"] for n in (1, 3)]
    assert len(runs[0]) > 15
    for a, b in zip(*runs, strict=True):
        assert (b["loss"], b["grad_norm"]) == pytest.approx((a["loss"], a["grad_norm"]), rel=2e-4, abs=2e-5)


@pytest.mark.parametrize("batching", [TokenBudget(), RandomBatches()])
def test_it_changes_what_is_learned_from_when(batching) -> None:
    with_it, without = (tuned(calm(tiny_work()), epochs=1, **s).notes["curve"] for s in ({"batching": batching}, {}))
    assert [p["loss"] for p in with_it] != [p["loss"] for p in without]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", [1, 9, 18])
def test_a_cut_while_it_grows_ends_in_the_same_bits(at: int, tmp_path: Path, monkeypatch) -> None:
    """With dropout; the readings are running means, which have to come back too."""
    whole = tuned(tiny_work(), batching=GROWING, epochs=3)
    monkeypatch.setattr(loop, "MIN_GAP", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)

    def save_then_die(place, step, tensors, state):
        checkpoint.save(place, step, tensors, state)
        if step >= at:
            raise Killed

    with lend(Desk(folder=tmp_path)):
        monkeypatch.setattr(moments, "write_checkpoint", save_then_die)
        with pytest.raises(Killed):
            tuned(tiny_work(), batching=GROWING, epochs=3)
        monkeypatch.setattr(moments, "write_checkpoint", checkpoint.save)
        resumed = tuned(tiny_work(), batching=GROWING, epochs=3)
    assert resumed.notes["noise_scale"] == whole.notes["noise_scale"]
    assert resumed.notes["curve"] == whole.notes["curve"]
    for a, b in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
