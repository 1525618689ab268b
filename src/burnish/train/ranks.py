"""The same step on several ranks: each takes every n-th row, gradients are added up, so nothing else differs.

Without `torch.distributed` running there is one rank, and all of this does nothing. All ranks must decide alike, or
one would wait for ever: what a decision rests on (loss, norm, scores, the clock) is brought together first. They
must see the same folder, which only the first writes to.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["add_up", "agree", "all_of", "any_of", "first", "mine", "own_draws", "spread", "total", "wait"]


def _many() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def first() -> bool:
    """Whether this rank is the one that writes."""
    return not _many() or dist.get_rank() == 0


def wait() -> None:
    """Until all ranks are here: before one reads what the first has written."""
    if _many():
        dist.barrier()


def mine(rows_B: np.ndarray) -> np.ndarray:
    """This rank's rows of a step: each sees all lengths, so that none waits long for another."""
    return rows_B[dist.get_rank() :: dist.get_world_size()] if _many() else rows_B


@contextlib.contextmanager
def own_draws() -> Iterator[None]:
    """Random numbers of this rank's own, such as dropout's, for its own rows; afterwards all ranks draw alike again."""
    if not _many():
        yield
        return
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_available() else []):
        torch.manual_seed((torch.initial_seed() + dist.get_rank()) % 2**63)
        yield


def total(value: float) -> float:
    """The sum over ranks."""
    return float(_reduced(torch.tensor(value, dtype=torch.float64))) if _many() else value


def any_of(flag: bool) -> bool:
    """Whether it holds on any rank."""
    return total(float(flag)) > 0


def all_of(flag: bool) -> bool:
    """Whether it holds on every rank."""
    return not any_of(not flag)


def agree(value: float) -> bool:
    """Whether all ranks hold this same number."""
    if not _many():
        return True
    highest, lowest = _reduced(torch.tensor([value, -value], dtype=torch.float64), dist.ReduceOp.MAX).tolist()
    return bool(highest == -lowest)


def add_up(parameters: Sequence[nn.Parameter]) -> None:
    """Sum gradients over ranks, in place. Each rank's loss was divided by the weight of all rows, so a sum is right.

    A rank without rows has no gradients and adds nothing. What has a gradient nowhere keeps none, so that the optimizer
    passes over it as it would on one rank.
    """
    if not _many():
        return
    used = _reduced(torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32))
    for parameter, count in zip(parameters, used.tolist(), strict=True):
        if count:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)


def spread(count: int, shape: tuple[int, ...], compute: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Rows 0..count of a float32 array [count, *shape]: each rank computes its own, and all get all.

    `compute` takes row numbers [M] and gives their rows, [M, *shape].
    """
    rows_N = np.arange(count)
    if not _many():
        return compute(rows_N)
    mine_M, found_N = mine(rows_N), torch.zeros(count, *shape)
    if len(mine_M):
        found_N[torch.from_numpy(mine_M)] = torch.from_numpy(compute(mine_M))
    return _reduced(found_N).numpy()


def _reduced(values: Tensor, how: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> Tensor:
    """Over ranks, on the CPU again: NCCL can only work on what lies on a GPU."""
    there = values.cuda() if dist.get_backend() == "nccl" else values
    dist.all_reduce(there, how)
    return there.cpu()
