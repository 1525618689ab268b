"""How many parts a step needs: by counting, by trying, and without leaving a trace."""

import random
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from torch import nn

from burnish import catalog
from burnish.core import Desk, lend
from burnish.errors import Missing, UsageError
from burnish.train import checkpoint, loop, microbatch, moments
from burnish.train.microbatch import SLACK, cut, find_parts, longest_batch
from burnish.train.tweak import Tweak
from burnish.tune.finetune import FineTune
from tests.tiny import tiny_work

ROWS = np.arange(12)
WIDE = 1000
ROOM = 10**12


@pytest.fixture(autouse=True)
def no_noise(monkeypatch) -> None:
    """What else this process does with its memory is no part of these small numbers."""
    monkeypatch.setattr(microbatch, "rss_bytes", lambda: 0)
    monkeypatch.setattr(microbatch, "peak_rss_bytes", lambda: 0)


def model() -> nn.Module:
    """It keeps its input, WIDE floats a row, for the backward pass."""
    torch.manual_seed(0)
    return nn.Linear(WIDE, 1)


def attempt_on(net: nn.Module, rows_seen: list[int], fits: int = 99, error: BaseException | None = None):
    """Forward and backward on rows of ones; `error` for more than `fits` rows."""

    def attempt(rows: np.ndarray) -> None:
        rows_seen.append(len(rows))
        if len(rows) > fits and error is not None:
            raise error
        net(torch.ones(len(rows), WIDE) * random.random() * np.random.rand() * torch.rand(())).sum().backward()

    return attempt


# -- cutting -----------------------------------------------------------------------------------------


def test_cuts_are_of_like_size_and_none_is_empty() -> None:
    assert [part.tolist() for part in cut(np.arange(5), 2)] == [[0, 1, 2], [3, 4]]
    assert [part.tolist() for part in cut(np.arange(5), 2, mixed=True)] == [[0, 2, 4], [1, 3]]
    assert [len(part) for part in cut(np.arange(3), 8)] == [1, 1, 1]
    assert cut(np.arange(0), 4) == []


def test_the_longest_batch_is_the_one_with_most_tokens_its_longest_row_first() -> None:
    lengths_N = np.array([5, 5, 5, 9, 2, 12])
    batches = [np.array([0, 1, 2]), np.array([4, 3]), np.array([5])]
    assert longest_batch(batches, lengths_N).tolist() == [3, 4]


# -- counting and trying -----------------------------------------------------------------------------


def test_a_batch_that_fits_stays_whole() -> None:
    net, seen = model(), []
    parts, why = find_parts(net, attempt_on(net, seen), ROWS, limit=ROOM)
    assert parts == 1
    assert seen == [1, 2, 12]  # counted on one row and on two, then tried
    assert "12 rows" in why


@pytest.mark.parametrize("most", [12, 6, 3, 2])
def test_a_limit_is_kept_with_as_few_parts_as_possible(most: int) -> None:
    """`most` rows fit exactly: their inputs, the gradients and what the optimizer will add."""
    net = model()
    weights = 4 * (WIDE + 1)
    limit = int(SLACK * 4 * WIDE * most) + 4 * weights + 100
    parts, why = find_parts(net, attempt_on(net, []), ROWS, limit=limit)
    assert parts == {12: 1, 6: 2, 3: 4, 2: 8}[most]
    assert f"accumulate {parts}" in why


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=["gpu", "python", "cpu"],
)
def test_where_memory_runs_out_the_parts_double(error) -> None:
    net, seen = model(), []
    parts, _ = find_parts(net, attempt_on(net, seen, fits=3, error=error), ROWS, limit=ROOM)
    assert parts == 4
    assert seen == [1, 2, 12, 6, 3]


def test_a_real_allocation_that_fails_on_a_cpu_is_one() -> None:
    net = model()

    def attempt(rows: np.ndarray) -> None:
        torch.empty(2**50 if len(rows) > 6 else 1, dtype=torch.uint8)
        net(torch.ones(len(rows), WIDE)).sum().backward()

    assert find_parts(net, attempt, ROWS, limit=ROOM)[0] == 2


def test_only_one_row_at_a_time() -> None:
    net, seen = model(), []
    parts, _ = find_parts(net, attempt_on(net, seen, fits=1, error=MemoryError()), ROWS, limit=ROOM)
    assert parts == 12


def test_not_even_one_row_is_refused_with_what_to_do() -> None:
    net = model()
    with pytest.raises(Missing, match="max_length"):
        find_parts(net, attempt_on(net, [], fits=0, error=MemoryError()), ROWS, limit=ROOM)


def test_any_other_error_is_raised_and_leaves_no_trace() -> None:
    net = model()
    with pytest.raises(RuntimeError, match="shapes"):
        find_parts(net, attempt_on(net, [], fits=3, error=RuntimeError("shapes do not match")), ROWS, limit=ROOM)
    assert all(p.grad is None for p in net.parameters())


def test_memory_that_is_only_seen_while_trying_counts(monkeypatch) -> None:
    """Each row takes a megabyte that is not kept for the backward pass: seven of them fit into eight."""
    net, peak = model(), [0]

    def attempt(rows: np.ndarray) -> None:
        peak[0] = max(peak[0], len(rows) * 10**6)
        net(torch.ones(len(rows), WIDE)).sum().backward()

    monkeypatch.setattr(microbatch, "peak_rss_bytes", lambda: peak[0])
    assert find_parts(net, attempt, ROWS, limit=8 * 10**6)[0] == 2


def test_nothing_is_left_behind() -> None:
    net = model()
    before = [p.detach().clone() for p in net.parameters()]
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    expected = random.random(), np.random.rand(), float(torch.rand(()))
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    find_parts(net, attempt_on(net, [], fits=3, error=MemoryError()), ROWS, limit=ROOM)
    assert (random.random(), np.random.rand(), float(torch.rand(()))) == expected
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_without_a_limit_what_is_free_here_is_asked(monkeypatch) -> None:
    net = model()
    assert find_parts(net, attempt_on(net, []), ROWS)[0] == 1
    monkeypatch.setattr(microbatch, "free_bytes", lambda device: 40_000)
    assert find_parts(net, attempt_on(net, []), ROWS)[0] > 1
    monkeypatch.setattr(microbatch, "free_bytes", lambda device: None)
    parts, why = find_parts(net, attempt_on(net, []), ROWS)
    assert parts == 1
    assert "tried" in why


# -- in a run ----------------------------------------------------------------------------------------


def tuned(work, **settings):
    usual = {"epochs": 2, "lr": 1e-3, "precision": "fp32", "batch_size": 12, "patience": 0, "doctor": "off"}
    return FineTune(**usual | settings)(work, Random(0))


def same(a, b) -> bool:
    pairs = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return a.notes["curve"] == b.notes["curve"] and all(torch.equal(x, y) for x, y in pairs)


def fixed_at(monkeypatch, limit: int) -> None:
    monkeypatch.setattr(microbatch, "free_bytes", lambda device: limit)


class Counts(Tweak):
    """Remembers every call of its loss, and says so."""

    calls = torch.zeros(1)

    def begin(self, facts) -> Tweak:
        self.calls = torch.zeros(1)
        return self

    def loss(self, model, batch, inner):
        self.calls += 1
        return inner(model, batch)

    def state(self):
        return {"calls": self.calls}

    def restore(self, state) -> None:
        self.calls = state["calls"].clone()


@pytest.mark.parametrize("limit", [10**9, 800_000, 1])
def test_what_is_found_is_what_one_could_have_set(limit: int, monkeypatch) -> None:
    """With dropout, whose draws depend on the micro-batch; 64 rows in 6 steps an epoch."""
    fixed_at(monkeypatch, limit)
    counts = Counts()
    found = tuned(tiny_work(), accumulate="auto", tweaks=(counts,))
    parts = int(found.notes["accumulate"].split()[1].rstrip(":"))
    assert {10**9: parts == 1, 800_000: 1 < parts < 12, 1: parts == 12}[limit]
    assert found.notes["accumulate"] in found.notes["reasons"]
    tries = counts.calls.item()
    assert same(found, tuned(tiny_work(), accumulate=parts, tweaks=(counts,)))
    assert tries == counts.calls.item()  # the tries themselves were forgotten


class Killed(BaseException):
    pass


def test_a_resumed_run_keeps_what_was_found(tmp_path: Path, monkeypatch) -> None:
    fixed_at(monkeypatch, 800_000)
    whole = tuned(tiny_work(), accumulate="auto")
    monkeypatch.setattr(loop, "MIN_GAP", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)

    def save_then_die(place, step, tensors, state):
        checkpoint.save(place, step, tensors, state)
        if step >= 3:
            raise Killed

    with lend(Desk(folder=tmp_path)):
        monkeypatch.setattr(moments, "write_checkpoint", save_then_die)
        with pytest.raises(Killed):
            tuned(tiny_work(), accumulate="auto")
        monkeypatch.setattr(moments, "write_checkpoint", checkpoint.save)
        fixed_at(monkeypatch, 10**9)  # now there is more room
        resumed = tuned(tiny_work(), accumulate="auto")
    assert resumed.notes["accumulate"] == whole.notes["accumulate"]
    assert not whole.notes["accumulate"].startswith("accumulate 1:")
    assert same(whole, resumed)


@pytest.mark.parametrize("value", ["auto", "0", "3"])
def test_it_is_set_like_any_other_setting(value: str) -> None:
    expected = "auto" if value == "auto" else int(value)
    assert catalog.check("tune/finetune", {"accumulate": value}) == {"accumulate": expected}


def test_less_than_none_is_refused() -> None:
    with pytest.raises(UsageError, match="or auto"):
        tuned(tiny_work(), accumulate=-1)
