"""What the inputs of linear layers look like on calibration rows, layer after layer, while weights are exchanged.

Truly sequential: linear layers that read the same tensor (queries, keys and values) are solved together from one
Hessian; then the encoder layer runs again, so that the next ones see the inputs they will have in the end, and the
next encoder layer sees what the quantized ones below it give. Which layers read the same tensor is watched, not
looked up, so that encoders whose layers another step has rebuilt work too.

There is no padding to exclude: rows of one length share a batch. Hessians are in float64, since solving with them in
float32 is what makes most "not positive definite" errors of other tools.

Shapes: T = tokens, N = outputs, K = inputs.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from burnish import models
from burnish.compress._weights import Solved, layers_of
from burnish.core import Work, desk
from burnish.errors import UsageError, problem
from burnish.train.batches import collate, exact_batches
from burnish.train.evaluate import evaluating, pad_id_of
from burnish.train.prepare import encoded_of
from burnish.words import say

__all__ = ["Batch", "Inputs", "calibration", "sweep"]

Batch = Mapping[str, Tensor]
Call = tuple[tuple[Any, ...], dict[str, Any]]
SIZE = 32  # rows a batch


class Inputs(NamedTuple):
    """Sums over the T tokens of the calibration rows."""

    hessian_KK: Tensor  # 2 / T sum of x xᵀ, float64
    mean_K: Tensor  # mean of |x|, float64
    tokens: int


# From the weights [N, K] of layers with the same inputs, by name, to what becomes of each; the others stay.
Solve = Callable[[Mapping[str, Tensor], Inputs], Mapping[str, Solved]]


def calibration(work: Work, rows: int, rng: random.Random) -> list[dict[str, Tensor]]:
    """At most that many training rows as model inputs without any padding."""
    drawn = rng.sample(list(work.train), min(rows, len(work.train)))
    if not drawn:
        raise UsageError(problem(say("there are no training rows"), say("some rows"), say("compress/round_weights")))
    encoded = encoded_of(work.tokenizer, work.task, drawn, models.longest(work.model, work.tokenizer))
    order = exact_batches(np.array([len(row["input_ids"]) for row in encoded]), SIZE)
    return [collate([encoded[i] for i in batch], pad_id_of(work.tokenizer)) for batch in order]


@torch.no_grad()
def sweep(model: nn.Module, batches: list[dict[str, Tensor]], solve: Solve, group: int) -> dict[str, Solved]:
    """Solve the linear layers of the encoder layers in the order in which they run.

    The weights of `model` become, in place, the floats that the codes stand for. Layers that never ran are not in
    the answer.
    """
    wanted = set(layers_of(model)[0])
    path = models.family(model).layers
    stack = models.layers(model)
    solved: dict[str, Solved] = {}
    with evaluating(model):
        for i, layer in enumerate(stack):
            desk().report(say("layer {i} of {n}", i=i + 1, n=len(stack)), i / len(stack), {})
            calls = [_call_of(model, layer, batch) for batch in batches]
            own = {name: m for name, m in layer.named_modules() if f"{path}.{i}.{name}" in wanted}
            for names in _sharing_inputs(layer, own, calls[0]):
                inputs = _inputs(layer, own[names[0]], calls)
                weights = {f"{path}.{i}.{name}": own[name].weight for name in names}
                found = solve({name: w.detach().double() for name, w in weights.items()}, inputs)
                for name, now in found.items():
                    weights[name].copy_(now.plain(group))
                solved |= found
    return solved


class _Enough(Exception):
    """The layer was reached; what would follow is of no interest."""


def _call_of(model: nn.Module, layer: nn.Module, batch: Batch) -> Call:
    """What `layer` is called with when `model` reads `batch`."""
    seen: list[Call] = []

    def stop(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append((args, kwargs))
        raise _Enough

    handle = layer.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        model(**batch)
    except _Enough:
        pass
    finally:
        handle.remove()
    return seen[0]


def _sharing_inputs(layer: nn.Module, own: Mapping[str, nn.Module], call: Call) -> list[list[str]]:
    """Names of the layers in the order in which they run, those that read the same tensor together."""
    seen: list[tuple[str, Tensor]] = []
    handles = [
        module.register_forward_pre_hook(lambda _, args, name=name: seen.append((name, args[0])))
        for name, module in own.items()
    ]
    try:
        layer(*call[0], **call[1])
    finally:
        for handle in handles:
            handle.remove()
    groups: list[tuple[Tensor, list[str]]] = []
    for name, x in seen:
        if any(name in names for _, names in groups):
            continue
        if groups and groups[-1][0] is x:
            groups[-1][1].append(name)
        else:
            groups.append((x, [name]))
    return [names for _, names in groups]


def _inputs(layer: nn.Module, linear: nn.Module, calls: list[Call]) -> Inputs:
    columns = int(linear.in_features)  # type: ignore[arg-type]
    hessian_KK = torch.zeros(columns, columns, dtype=torch.float64)
    mean_K, tokens = torch.zeros(columns, dtype=torch.float64), 0

    def add(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal tokens
        x_TK = args[0].flatten(0, -2).double()
        hessian_KK.addmm_(x_TK.T, x_TK)
        mean_K.add_(x_TK.abs().sum(0))
        tokens += len(x_TK)

    handle = linear.register_forward_pre_hook(add)
    try:
        for args, kwargs in calls:
            layer(*args, **kwargs)
    finally:
        handle.remove()
    return Inputs(hessian_KK * (2 / max(tokens, 1)), mean_K / max(tokens, 1), tokens)
