"""Each way to clip against numbers worked out by hand, and what the loop makes of it."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from burnish import catalog
from burnish.core import Desk, lend
from burnish.errors import UsageError
from burnish.train import checkpoint, loop, moments
from burnish.train.clip import joint_norm
from burnish.tune.autoclip import AutoClip
from burnish.tune.clip_norm import ClipNorm
from burnish.tune.clip_value import ClipValue
from burnish.tune.finetune import FineTune
from burnish.tune.zclip import ZClip, allowed, statistics
from tests.tiny import tiny_work

ALL = ["clip_norm:limit=0.3", "clip_value:limit=0.01", "autoclip", "zclip:warmup=2,cap=0.5"]


def grads(*rows: list[float]) -> list[torch.Tensor]:
    return [torch.tensor(row) for row in rows]


def calm(work):
    for module in work.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    work.model.config.attention_probs_dropout_prob = 0.0
    return work


def tuned(clip, work=None, **settings):
    usual = {"epochs": 2, "batch_size": 12, "precision": "fp32", "lr": 1e-3, "doctor": "off"}
    step = FineTune(**{"clip": clip, **usual, **settings})
    return step(work or calm(tiny_work()), Random(0))


def built(text: str):
    return catalog.build(*catalog.parse(text))


# --- the joint norm


def test_the_joint_norm_and_its_cut_are_those_of_torch() -> None:
    torch.manual_seed(0)
    ours = [torch.randn(*shape) for shape in ((3, 4), (5,), (1,), (2, 2, 2))]
    theirs = [torch.nn.Parameter(torch.zeros_like(g)) for g in ours]
    for parameter, gradient in zip(theirs, ours, strict=True):
        parameter.grad = gradient.clone()
    for limit in (1.0, 100.0):
        norm = joint_norm(ours)
        assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, limit)), rel=1e-6)
        assert ClipNorm(limit).apply(ours, norm, []) == (norm > limit)
        for parameter, gradient in zip(theirs, ours, strict=True):
            assert torch.allclose(parameter.grad, gradient, rtol=1e-6)


def test_the_joint_norm_is_of_one_long_vector() -> None:
    found = grads([3.0, 0.0], [4.0])
    assert joint_norm(found) == 5.0
    assert ClipNorm(2.5).apply(found, 5.0, [])
    assert torch.allclose(torch.cat(found), torch.tensor([1.5, 0.0, 2.0]))
    assert not ClipNorm(0).apply(found, 1e9, [])


# --- by value


def test_clip_by_value_cuts_single_numbers_both_ways() -> None:
    found = grads([0.2, -3.0], [0.5, 9.0])
    assert ClipValue(0.5).apply(found, 0.0, [])
    assert torch.equal(torch.cat(found), torch.tensor([0.2, -0.5, 0.5, 0.5]))
    assert not ClipValue(0.5).apply(found, 0.0, [])  # exactly at the limit is not above it


# --- AutoClip


def test_autoclip_takes_the_percentile_of_history_and_this_step() -> None:
    found = grads([10.0])
    # 0, 1, ..., 9 and 10: the tenth percentile of eleven equally spaced numbers is the second
    assert AutoClip(10.0).apply(found, 10.0, [float(n) for n in range(10)])
    assert float(found[0]) == pytest.approx(1.0, rel=1e-5)


def test_autoclip_leaves_the_first_step_alone_and_forgets_what_is_far_back() -> None:
    found = grads([7.0])
    assert not AutoClip().apply(found, 7.0, [])
    assert AutoClip(100.0, window=2).apply(found, 7.0, [9.0, 1.0, 2.0]) is False  # 9 is out of sight: 7 is the largest
    assert AutoClip(50.0, window=2).apply(found, 7.0, [9.0, 1.0, 2.0])
    assert float(found[0]) == pytest.approx(2.0, rel=1e-5)


# --- ZClip


def test_zclip_begins_from_the_plain_mean_and_deviation() -> None:
    mean, deviation = statistics([1.0, 3.0], 0.5, 2.5, 2)
    assert (mean, deviation) == (2.0, 1.0)


def test_zclip_moves_by_hand() -> None:
    # mean 2, deviation 1; then norm 3: mean 0.5 * 2 + 0.5 * 3, variance 0.5 * 1 + 0.5 * (3 - 2.5)^2
    mean, deviation = statistics([1.0, 3.0, 3.0], 0.5, 2.5, 2)
    assert (mean, deviation**2) == (pytest.approx(2.5), pytest.approx(0.625))


def test_zclip_brings_a_spike_the_nearer_to_the_mean_the_wilder_it_is() -> None:
    # 5 deviations above the mean: 2 + 2.5 * 2.5 / 5
    assert allowed(7.0, 2.0, 1.0, 2.5) == pytest.approx(3.25, rel=1e-5)
    assert allowed(102.0, 2.0, 1.0, 2.5) == pytest.approx(2.0625, rel=1e-5)
    assert allowed(4.4, 2.0, 1.0, 2.5) == float("inf")  # 2.4 deviations are no spike


def test_zclip_counts_a_past_spike_as_what_it_became() -> None:
    with_spike = statistics([1.0, 3.0, 7.0], 0.5, 2.5, 2)
    assert with_spike[0] == pytest.approx(0.5 * 2 + 0.5 * 3.25, rel=1e-5)


def test_zclip_clips_by_the_cap_alone_until_it_is_warm() -> None:
    clip = ZClip(warmup=3, window=9)
    assert [clip.limit(50.0, [0.1] * n) for n in (0, 2)] == [1.0, 1.0]
    assert clip.limit(50.0, [0.1] * 3) == pytest.approx(0.1, rel=1e-3)
    assert ZClip(cap=0).limit(50.0, []) == float("inf")


def test_zclip_as_the_authors_run_it() -> None:
    """Their class, step by step, over a history with spikes; ours looks only at the history."""
    rng, norms = np.random.default_rng(0), []
    mean = variance = None
    clip = ZClip(cap=0)
    for step in range(400):
        norm = float(abs(rng.normal(0.5, 0.1)) * (20 if step in (60, 61, 200) else 1))
        if step == 25:
            mean, variance = float(np.mean(norms)), float(np.var(norms))
        if mean is not None:
            z = (norm - mean) / (variance**0.5 + 1e-6)
            theirs = mean + 2.5 * variance**0.5 / (z / 2.5) if z > 2.5 else float("inf")
            assert clip.limit(norm, norms) == pytest.approx(theirs, rel=1e-9)
            kept = min(norm, theirs)
            mean = 0.97 * mean + 0.03 * kept
            variance = 0.97 * variance + 0.03 * (kept - mean) ** 2
        norms.append(norm)


def test_zclip_hardly_sees_what_is_outside_its_window() -> None:
    rng = np.random.default_rng(1)
    norms = abs(rng.normal(0.5, 0.1, 3000)).tolist()
    norms[100] = 50.0
    near, far = (ZClip(cap=0, window=w).limit(9.0, norms) for w in (500, 10_000))
    assert near == pytest.approx(far, rel=1e-4)


# --- settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clip_norm:limit=-1", "0 is off"),
        ("clip_value:limit=0", "above 0"),
        ("autoclip:percentile=0", "at most 100"),
        ("autoclip:window=0", "1 or more"),
        ("zclip:alpha=1", "below 1"),
        ("zclip:window=25", "more than warmup"),
        ("zclip:warmup=1", "2 or more"),
        ("zclip:z=0", "above 0"),
        ("zclip:cap=-1", "0 is none"),
    ],
)
def test_settings_out_of_range_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        built(text)


def test_clip_is_a_number_or_a_technique() -> None:
    assert catalog.build("tune/finetune", {"clip": "zclip:cap=0.5"}).clip == ZClip(cap=0.5)
    assert catalog.build("tune/finetune", {"clip": "0.5"}).clip == 0.5


# --- in a run


@pytest.mark.parametrize("text", ALL)
def test_it_cuts_and_the_record_has_the_norm_before(text: str) -> None:
    free, cut = tuned(0.0), tuned(built(text))
    assert free.notes["clipped_share"] == 0
    assert 0 < cut.notes["clipped_share"] <= 1
    # the first step has the same gradient either way: what is written down is the norm before the cut
    assert cut.notes["curve"][0]["grad_norm"] == free.notes["curve"][0]["grad_norm"]
    after = zip(free.model.state_dict().values(), cut.model.state_dict().values(), strict=True)
    assert any(not torch.equal(a, b) for a, b in after)


@pytest.mark.parametrize("text", ALL)
def test_micro_batches_change_nothing(text: str) -> None:
    whole, parts = tuned(built(text), epochs=1), tuned(built(text), epochs=1, accumulate=3)
    assert whole.notes["clipped_share"] == parts.notes["clipped_share"]
    for a, b in zip(whole.notes["curve"], parts.notes["curve"], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=1e-4)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-3)


def test_the_share_of_clipped_steps_is_counted_exactly() -> None:
    norms = [point["grad_norm"] for point in tuned(0.0).notes["curve"]]
    limit = sorted(norms)[-3] - 1e-4  # so small a rate that the norms stay what they are
    made = tuned(limit, lr=1e-9)
    above = sum(point["grad_norm"] > limit for point in made.notes["curve"])
    assert 0 < above < len(norms)
    assert made.notes["clipped_share"] == pytest.approx(above / len(norms))


class Killed(BaseException):
    pass


def test_the_history_survives_a_kill_to_the_bit(tmp_path: Path, monkeypatch) -> None:
    settings = {"epochs": 2, "patience": 0}
    clip = ZClip(warmup=3, window=6, cap=0, z=0.5)
    whole = tuned(clip, **settings)
    monkeypatch.setattr(loop, "MIN_GAP", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)

    def save_then_die(folder, step, tensors, state):
        checkpoint.save(folder, step, tensors, state)
        if step >= 7:
            raise Killed

    monkeypatch.setattr(moments, "write_checkpoint", save_then_die)
    with lend(Desk(folder=tmp_path)):
        with pytest.raises(Killed):
            tuned(clip, **settings)
        monkeypatch.setattr(moments, "write_checkpoint", checkpoint.save)
        resumed = tuned(clip, **settings)
    assert resumed.notes["curve"] == whole.notes["curve"]
    assert resumed.notes["clipped_share"] == whole.notes["clipped_share"] > 0
    for a, b in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
