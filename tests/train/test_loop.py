"""The loop's promises: accumulation and padding change nothing, and a kill changes nothing."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from burnish.core import Desk, lend
from burnish.errors import BurnishError, UsageError
from burnish.train import checkpoint, loop, moments
from burnish.train.evaluate import model_outputs
from burnish.train.prepare import encode_work
from burnish.tune.finetune import FineTune
from tests.tiny import tiny_work

ROOT = Path(__file__).parents[2]


def calm(work):
    """Without dropout, whose draws depend on the shape of a micro-batch."""
    for module in work.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for layer in work.model.bert.encoder.layer:
        layer.attention.self.dropout.p = 0.0
    work.model.config.attention_probs_dropout_prob = 0.0
    return work


def tuned(work, **settings):
    return FineTune(**{"epochs": 2, "precision": "fp32", "batch_size": 12, **settings})(work, Random(0))


@pytest.mark.parametrize("parts", [2, 3, 12])
def test_gradient_accumulation_changes_nothing(parts: int) -> None:
    whole, cut = tuned(calm(tiny_work())), tuned(calm(tiny_work()), accumulate=parts)
    for a, b in zip(whole.notes["curve"], cut.notes["curve"], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=2e-5)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-3)


def test_it_learns() -> None:
    made = tuned(tiny_work(train=200), epochs=8, lr=3e-3)
    assert made.notes["evals"][-1]["score"] > 0.9
    assert made.notes["curve"][0]["loss"] == pytest.approx(np.log(2), abs=0.05)  # a fresh head knows nothing


def test_the_best_weights_win_not_the_last() -> None:
    made = tuned(tiny_work(train=200), epochs=6, lr=3e-3)
    best = max(e["score"] for e in made.notes["evals"])
    _, valid = encode_work(made, 64)
    said = model_outputs(made.model, valid.encoded, 0)
    assert made.task.score(said, valid.targets) == pytest.approx(best)


def test_padding_changes_no_answer() -> None:
    work = tiny_work()
    _, valid = encode_work(work, 64)
    alone = np.concatenate([model_outputs(work.model, [row], 0) for row in valid.encoded])
    assert np.abs(model_outputs(work.model, valid.encoded, 0) - alone).max() < 1e-5


def test_early_stopping_waits_its_patience() -> None:
    made = tuned(tiny_work(), lr=1e-12, epochs=9, patience=3, evals_per_epoch=1)
    assert len(made.notes["evals"]) == 4
    assert made.notes["stopped"]


def test_a_loss_that_is_not_finite_stops_before_the_update() -> None:
    work = tiny_work()
    work.model.classifier.weight.data[0, 0] = float("nan")
    with pytest.raises(BurnishError, match="nothing was updated"):
        tuned(work)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"precision": "bf17"}, "bf16"),
        ({"lr": -1.0}, "above 0"),
        ({"accumulate": 99}, "1..12"),
    ],
)
def test_bad_settings_say_what_would_be_good(settings, said) -> None:
    with pytest.raises(UsageError, match=said):
        tuned(tiny_work(), **settings)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", [1, 7, 13, 17, 23])
def test_a_cut_at_any_step_ends_in_the_same_bits(at: int, tmp_path: Path, monkeypatch) -> None:
    """24 steps in 4 epochs, with dropout; the cuts fall in all epochs."""
    settings = {"epochs": 4, "lr": 1e-3, "patience": 0}
    whole = tuned(tiny_work(train=72), **settings)
    monkeypatch.setattr(loop, "MIN_GAP", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)
    real = checkpoint.save

    def save_then_die(folder, step, tensors, state):
        real(folder, step, tensors, state)
        if step >= at:
            raise Killed

    monkeypatch.setattr(moments, "write_checkpoint", save_then_die)
    with lend(Desk(folder=tmp_path)):
        with pytest.raises(Killed):
            tuned(tiny_work(train=72), **settings)
        monkeypatch.setattr(moments, "write_checkpoint", real)
        resumed = tuned(tiny_work(train=72), **settings)
    assert {k: v for k, v in resumed.notes.items() if k in ("curve", "evals", "best_step")} == {
        k: v for k, v in whole.notes.items() if k in ("curve", "evals", "best_step")
    }
    for (name, a), b in zip(whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for step in (1, 2):
        saved = checkpoint.save(
            tmp_path / str(step), step, {"model": {"w": torch.full((3,), float(step))}}, {"step": step}
        )
        saved.rename(tmp_path / saved.name)
    newest = tmp_path / "step-00000002" / "model.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found[1] == {"step": 1}


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path: Path, monkeypatch) -> None:
    from burnish.errors import Missing

    checkpoint.save(tmp_path, 1, {"model": {"w": torch.ones(3)}}, {"step": 1})

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Missing, match="disk is full"):
        checkpoint.save(tmp_path, 2, {"model": {"w": torch.ones(3)}}, {"step": 2})
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found[1] == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


CHILD = """
import sys, hashlib
from pathlib import Path
from burnish.core import Desk, lend
from burnish.train import loop
from tests.train.test_loop import tuned
from tests.tiny import tiny_work
loop.MIN_GAP, loop.CHECKPOINT_SHARE = 0.0, 1e9
with lend(Desk(folder=Path(sys.argv[1]))):
    made = tuned(tiny_work(train=72), epochs=12, lr=1e-3, patience=0)
print(hashlib.sha256(b"".join(v.numpy().tobytes() for v in made.model.state_dict().values())).hexdigest())
"""


def test_sigkill_at_random_moments_ends_in_the_same_bits(tmp_path: Path) -> None:
    def start(folder: Path) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def seen(folder: Path) -> int:
        return max((int(p.name.removeprefix("step-")) for p in folder.glob("step-*")), default=0)

    whole = start(tmp_path / "whole").communicate()[0]
    rng, kills = Random(0), 0
    for target in (3, 12, 20, 30):  # of 60 steps; each is saved, so a moment later may well be within a save
        child = start(tmp_path / "cut")
        while child.poll() is None and seen(tmp_path / "cut") < target:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.communicate()
    assert start(tmp_path / "cut").communicate()[0] == whole != ""
    assert kills


def test_the_clock_ends_training_with_a_model(tmp_path: Path) -> None:
    with lend(Desk(deadline=time.monotonic())):
        made = tuned(tiny_work(), epochs=50)
    assert made.notes["steps"] == 1
    assert "time" in made.notes["stopped"]


def test_checkpoints_hold_no_pickle(tmp_path: Path) -> None:
    saved = checkpoint.save(tmp_path, 1, {"model": {"w": torch.ones(3)}}, {"step": 1})
    assert {p.suffix for p in saved.iterdir()} == {".safetensors", ".json"}
    assert replace  # dataclasses stay plain
