"""Two real processes over gloo train as one does: same losses, norms, cuts and weights, and they never part.

Each case is a function that every rank runs, and that the test process runs alone for comparison.
"""

import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from burnish.core import Desk, lend
from burnish.errors import BurnishError
from burnish.train import checkpoint, loop, moments, ranks
from burnish.train.parts import Batching, Optimizer, Weighting
from burnish.train.tweak import Tweak
from burnish.train.watch import Act, Watch
from burnish.tune.finetune import FineTune
from tests.tiny import tiny_work

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class ByClass(Weighting):
    """The second class counts three times the first."""

    def weights(self, task, targets):
        found_N = np.where(targets == 1, 3.0, 1.0)
        return found_N / found_N.mean()


@dataclass(frozen=True)
class Momentum(Optimizer):
    """Not Adam, which makes a full step of the rounding error of a gradient that should be 0."""

    def make(self, groups, lr):
        return torch.optim.SGD([g.settings(lr) for g in groups], lr=lr, momentum=0.9)


class Growing(Batching):
    """Plain batches, with the noise measured; from half of the first readings on, two batches a step."""

    measure_every = 2

    def order(self, lengths_N, size, seed, epoch):
        order_N = np.random.default_rng([seed, epoch]).permutation(len(lengths_N))
        return [order_N[i : i + size] for i in range(0, len(order_N), size)]

    def grown(self, noise, size):
        return 2 if len(noise) > 2 and noise[-1] > 0 else 1


def calm(work):
    for module in work.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    work.model.config.attention_probs_dropout_prob = 0.0
    return work


def tuned(work=None, **settings) -> dict[str, Any]:
    """Batches of 12 from 61 rows: the last one has a single row, so that the second rank has none."""
    usual = {"epochs": 2, "batch_size": 12, "lr": 0.05, "precision": "fp32", "clip": 0.3, "doctor": "off"}
    step = FineTune(**{**usual, "optimizer": Momentum(), "weighting": ByClass(), **settings})
    made = step(work or calm(tiny_work(train=61, valid=31)), Random(0))
    kept = ("curve", "evals", "clipped_share", "skipped_steps", "steps", "best_step", "noise_scale", "stopped")
    return {"notes": {k: made.notes[k] for k in kept if k in made.notes}, "weights": made.model.state_dict()}


# --- the cases


def uneven(folder: Path) -> dict[str, Any]:
    return tuned()


def cut_in_parts(folder: Path) -> dict[str, Any]:
    return tuned(accumulate=3)


def half_precision(folder: Path) -> dict[str, Any]:
    """With an overflow in the first steps."""
    real = torch.amp.GradScaler
    try:
        torch.amp.GradScaler = functools.partial(real, init_scale=2.0**30)
        return tuned(precision="fp16", epochs=4)
    finally:
        torch.amp.GradScaler = real


def growing(folder: Path) -> dict[str, Any]:
    return tuned(batching=Growing())


def with_dropout(folder: Path) -> dict[str, Any]:
    return tuned(tiny_work(train=61, valid=31))


def with_a_draw_for_all(folder: Path) -> dict[str, Any]:
    """A tweak that changes the weights at random, before and after the step: all ranks must draw the same."""

    class Shaken(Tweak):
        def before_step(self, model, step):
            with torch.no_grad():
                model.classifier.weight.add_(torch.randn(2, 32) * 0.01)

        def after_step(self, model, step):
            self.before_step(model, step)

    return tuned(tiny_work(train=61, valid=31), tweaks=(Shaken(),))


class Returning(Watch):
    """Begins again once, after a step on which nothing was wrong."""

    acts = True

    def stepped(self, diary, layer_norms):
        if len(diary.curve) == 3 and not diary.events:
            return Act("restart", "test", "begin again", factor=0.5)
        return None


def with_a_restart(folder: Path) -> dict[str, Any]:
    real = loop.Run.__init__

    def watched(self, model, facts, learn, valid, settings, *rest):
        object.__setattr__(settings, "watch", Returning())
        real(self, model, facts, learn, valid, settings, *rest)

    try:
        loop.Run.__init__ = watched
        return tuned()
    finally:
        loop.Run.__init__ = real


def out_of_time_on_one(folder: Path) -> dict[str, Any]:
    late = os.environ.get("RANK", "1") == "1"
    with lend(Desk(deadline=time.monotonic() if late else None)):
        return tuned(epochs=50)


class Killed(BaseException):
    pass


@contextlib.contextmanager
def saving(then: Callable[[int], None]) -> Iterator[None]:
    def save(folder, step, tensors, state):
        real(folder, step, tensors, state)
        written.append(step)

    def after(self, *args):
        step(self, *args)
        then(self.step)

    written: list[int] = []
    real = checkpoint.save
    step, gap, share = loop.Run.some_rows, loop.MIN_GAP, loop.CHECKPOINT_SHARE
    try:
        moments.write_checkpoint, loop.Run.some_rows, loop.MIN_GAP, loop.CHECKPOINT_SHARE = save, after, 0.0, 1e9
        yield written
    finally:
        moments.write_checkpoint, loop.Run.some_rows = real, step
        loop.MIN_GAP, loop.CHECKPOINT_SHARE = gap, share


def killed_and_resumed(folder: Path) -> dict[str, Any]:
    def die_at_8(step: int) -> None:
        if step == 8:
            raise Killed

    with lend(Desk(folder=folder / "shared")), saving(die_at_8) as written, contextlib.suppress(Killed):
        tuned()
    ranks.wait()
    with lend(Desk(folder=folder / "shared")):
        return tuned() | {"written": written}


def folders_of_their_own(folder: Path) -> dict[str, Any]:
    """The first rank finds the checkpoint of the case before, the other an empty folder."""
    place = folder / "shared" if ranks.first() else folder / "empty"
    try:
        with lend(Desk(folder=place)):
            tuned()
    except BurnishError as error:
        return {"said": str(error)}
    return {"said": ""}


def small_things(folder: Path) -> dict[str, Any]:
    rank = int(os.environ.get("RANK", "0"))
    parameter, unused = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([1.0, 2.0]) if rank == 0 else None
    ranks.add_up([parameter, unused])
    torch.manual_seed(5)
    with ranks.own_draws():
        inside = torch.rand(1).item()
    return {
        "first": ranks.first(),
        "mine": ranks.mine(np.arange(5)).tolist(),
        "total": ranks.total(0.1 + rank),
        "any": [ranks.any_of(rank == 1), ranks.any_of(False)],
        "all": [ranks.all_of(rank == 1), ranks.all_of(True)],
        "agree": [ranks.agree(rank), ranks.agree(7)],
        "gradient": parameter.grad.tolist(),
        "unused": unused.grad is None,
        "spread": ranks.spread(1, (2,), lambda rows: np.full((len(rows), 2), 3.0, dtype=np.float32)).tolist(),
        "inside": inside,
        "outside": torch.rand(1).item(),
    }


CASES = (
    uneven, cut_in_parts, half_precision, growing, with_dropout, with_a_draw_for_all, with_a_restart,
    out_of_time_on_one, killed_and_resumed, folders_of_their_own, small_things,
)  # fmt: skip

CHILD = """
import sys
from pathlib import Path
import torch
import torch.distributed as dist
torch.set_num_threads(1)
from tests.train import test_ranks
dist.init_process_group("gloo")
test_ranks.run_all(Path(sys.argv[1]))
dist.destroy_process_group()
"""


def run_all(folder: Path) -> None:
    found = {}
    for case in CASES:
        made = case(folder)
        weights = {name: value.numpy() for name, value in made.pop("weights", {}).items()}
        np.savez(folder / f"{case.__name__}-{os.environ['RANK']}.npz", **weights)
        found[case.__name__] = made
    (folder / f"rank-{os.environ['RANK']}.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[list[dict[str, Any]], Path]:
    """What each of two ranks found, case by case."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", CHILD, str(folder)],
            env={**os.environ, **shared, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for rank in (0, 1)
    ]
    try:
        said = [child.communicate(timeout=120)[1] for child in started]
    finally:
        for child in started:
            child.kill()
    assert [child.returncode for child in started] == [0, 0], "\n".join(said)
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1)], folder


def weights_of(folder: Path, case: Callable, rank: int) -> dict[str, torch.Tensor]:
    with np.load(folder / f"{case.__name__}-{rank}.npz", allow_pickle=False) as found:
        return {name: torch.from_numpy(found[name]) for name in found.files}


def ranks_are_one(both, case: Callable) -> dict[str, Any]:
    """Both ranks end alike, to the bit; returns what they found."""
    (a, b), folder = both
    first, second = weights_of(folder, case, 0), weights_of(folder, case, 1)
    assert first
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert a[case.__name__]["notes"] == b[case.__name__]["notes"]
    return a[case.__name__]["notes"] | {"weights": first}


def same_as_alone(found: dict[str, Any], alone: dict[str, Any], near: float = 1e-6) -> None:
    notes = alone["notes"]
    for name in ("clipped_share", "skipped_steps", "steps", "best_step"):
        assert found[name] == notes[name], name
    for a, b in zip(notes["curve"], found["curve"], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=max(near, 1.1e-6))  # written with six digits
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], abs=max(near, 1.1e-5))  # and five
        assert b["lr"] == a["lr"]
    for a, b in zip(notes["evals"], found["evals"], strict=True):
        assert b["valid_loss"] == pytest.approx(a["valid_loss"], abs=near)
    for name, value in alone["weights"].items():
        assert torch.allclose(found["weights"][name], value, rtol=0, atol=near), name


@pytest.mark.parametrize("case", [uneven, cut_in_parts])
def test_two_ranks_train_as_one_with_uneven_batches_and_class_weights(both, case, tmp_path) -> None:
    alone = case(tmp_path)
    assert 0 < alone["notes"]["clipped_share"] < 1
    assert len(alone["notes"]["curve"]) == 12
    same_as_alone(ranks_are_one(both, case), alone)


def test_an_overflow_is_one_on_all_ranks(both, tmp_path) -> None:
    alone = half_precision(tmp_path)
    assert alone["notes"]["skipped_steps"] > 3
    same_as_alone(ranks_are_one(both, half_precision), alone, near=2e-3)


def test_the_noise_scale_is_one_for_all_so_batches_grow_alike(both) -> None:
    found = ranks_are_one(both, growing)
    assert len(found["noise_scale"]) > 2
    assert found["steps"] < 12  # some steps took two batches


def test_dropout_differs_between_ranks_and_weights_do_not(both, tmp_path) -> None:
    found = ranks_are_one(both, with_dropout)
    assert found["curve"] != with_dropout(tmp_path)["notes"]["curve"]  # the second rank draws other masks


def test_what_a_tweak_draws_for_all_is_the_same_on_all(both) -> None:
    ranks_are_one(both, with_a_draw_for_all)


def test_all_begin_again_together(both, tmp_path) -> None:
    same_as_alone(ranks_are_one(both, with_a_restart), with_a_restart(tmp_path))


def test_when_the_time_of_one_is_up_all_stop(both) -> None:
    found = ranks_are_one(both, out_of_time_on_one)
    assert found["steps"] == 1
    assert "time" in found["stopped"]


def test_the_first_writes_and_all_resume(both, tmp_path) -> None:
    (a, b), _ = both
    assert a["killed_and_resumed"]["written"] == list(range(1, 8))
    assert b["killed_and_resumed"]["written"] == []
    same_as_alone(ranks_are_one(both, killed_and_resumed), tuned())


def test_ranks_that_do_not_see_the_same_checkpoints_are_told_so(both) -> None:
    for found in both[0]:
        assert "all ranks can read" in found["folders_of_their_own"]["said"]


def test_what_ranks_say_to_each_other(both, tmp_path) -> None:
    a, b = (found["small_things"] for found in both[0])
    assert (a["first"], b["first"]) == (True, False)
    assert (a["mine"], b["mine"]) == ([0, 2, 4], [1, 3])
    assert a["inside"] != b["inside"]
    assert a["inside"] == small_things(tmp_path)["inside"]  # the first draws what a rank alone draws
    for name in ("total", "any", "all", "agree", "gradient", "unused", "spread", "outside"):
        assert a[name] == b[name], name
    assert a["total"] == pytest.approx(1.2)
    assert (a["any"], a["all"], a["agree"]) == ([True, False], [False, True], [False, True])
    assert (a["gradient"], a["unused"], a["spread"]) == ([1.0, 2.0], True, [[3.0, 3.0]])
