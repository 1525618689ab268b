"""Attention heads and feed-forward columns, in every family: how many there are, cutting them out, putting them back.

A head is its rows of query, key and value and its columns of the output layer; a feed-forward column is its row of
`up` (and of the gate, where there is one) and its column of `down`. What is cut is really gone from the tensors.

Shapes: O = outputs, K = inputs, H = heads, D = head size, F = feed-forward columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from burnish.errors import UsageError, problem
from burnish.models import Family, family
from burnish.words import say

__all__ = [
    "Units",
    "check_linear",
    "cut_units",
    "head_size",
    "inputs_of_heads",
    "layer_names",
    "linear",
    "put_back",
    "units_of",
]


@dataclass(frozen=True)
class Units:
    """The units that a layer has, or those of it that are to stay."""

    heads: tuple[int, ...]
    columns: tuple[int, ...]


def layer_names(model: nn.Module) -> list[str]:
    """'bert.encoder.layer.0' and on."""
    path = family(model).layers
    return [f"{path}.{i}" for i in range(len(model.get_submodule(path)))]  # type: ignore[arg-type]


def head_size(model: Any) -> int:
    """D, which no pruning changes."""
    config = model.config
    own = getattr(config, "attention_head_size", None) or getattr(config, "head_dim", None)
    return int(own or config.hidden_size // config.num_attention_heads)


def units_of(model: nn.Module, layer: str) -> Units:
    """All heads and columns that a layer has now."""
    own, part = family(model), model.get_submodule(layer)
    heads = linear(part, own.out).in_features // head_size(model)
    return Units(tuple(range(heads)), tuple(range(linear(part, own.down).in_features)))


def check_linear(model: nn.Module, step: str) -> None:
    """Raises UsageError where a layer that would be cut is not a plain linear layer any more."""
    own = family(model)
    for layer in layer_names(model):
        for name in own.linear:
            kind = type(model.get_submodule(f"{layer}.{name}"))
            if kind is not nn.Linear:
                given = say("{name} is a {kind}, not a linear layer", name=f"{layer}.{name}", kind=kind.__name__)
                raise UsageError(problem(given, say("a float model"), say("put {step} first", step=step)))


# -- cutting -------------------------------------------------------------------------------------------


def cut_units(model: nn.Module, layer: str, keep: Units) -> None:
    """Cut all units of a layer but `keep`, in place."""
    own, part, has = family(model), model.get_submodule(layer), units_of(model, layer)
    if keep.heads != has.heads:
        size = head_size(model)
        rows = inputs_of_heads(keep.heads, size)
        for name in _by_head(own, part):
            _cut_rows(linear(part, name), rows)
        if own.qkv:
            width = len(has.heads) * size
            _cut_rows(linear(part, own.qkv), torch.cat([rows + i * width for i in range(3)]))
        _cut_inputs(linear(part, own.out), rows)
        attention = part.get_submodule(own.attention)
        _tell(attention, own, len(keep.heads), size)
        if own.bias_argument:
            attention.register_forward_pre_hook(_OwnBias(own.bias_argument, keep.heads))
    if keep.columns != has.columns:
        rows = torch.tensor(keep.columns)
        doubled = torch.cat([rows, rows + len(has.columns)]) if own.gated else rows
        _cut_rows(linear(part, own.up), doubled)
        _cut_inputs(linear(part, own.down), rows)


def put_back(model: nn.Module, layer: str, heads: Sequence[int], all_heads: int, all_columns: int) -> None:
    """The opposite of cutting, in place: units of zeros, which give zeros, so that no output changes.

    `heads` are the places of those that are left; columns have no places, so new ones come after the old.
    """
    own, part, has = family(model), model.get_submodule(layer), units_of(model, layer)
    if len(has.heads) != all_heads:
        size = head_size(model)
        rows, total = inputs_of_heads(heads, size), all_heads * size
        for name in _by_head(own, part):
            _spread_rows(linear(part, name), rows, total)
        if own.qkv:
            _spread_rows(linear(part, own.qkv), torch.cat([rows + i * total for i in range(3)]), 3 * total)
        _spread_inputs(linear(part, own.out), rows, total)
        attention = part.get_submodule(own.attention)
        _tell(attention, own, all_heads, size)
        if own.bias_argument:
            hooks = attention._forward_pre_hooks
            del hooks[[key for key, hook in hooks.items() if isinstance(hook, _OwnBias)][-1]]
    if len(has.columns) != all_columns:
        rows = torch.arange(len(has.columns))
        doubled = torch.cat([rows, rows + all_columns]) if own.gated else rows
        _spread_rows(linear(part, own.up), doubled, all_columns * (1 + own.gated))
        _spread_inputs(linear(part, own.down), rows, all_columns)


class _OwnBias:
    """Before an attention that has fewer heads than the bias made for all layers: only the bias of its own."""

    def __init__(self, argument: int, heads: Sequence[int]):
        self.argument, self.heads = argument, list(heads)

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        bias_BHSS: Tensor = args[self.argument]
        return (*args[: self.argument], bias_BHSS[:, self.heads], *args[self.argument + 1 :])


def _by_head(own: Family, part: nn.Module) -> list[str]:
    """Linear layers of `part` whose rows belong to heads; the fused one is not among them."""
    there = {name for name, _ in part.named_modules()}
    return [name for name in (own.query, own.key, own.value, *own.by_head) if name in there and name]


def _tell(attention: nn.Module, own: Family, heads: int, size: int) -> None:
    for name, value in ((own.head_count, heads), (own.head_width, heads * size)):
        if name:
            setattr(attention, name, value)


def inputs_of_heads(heads: Sequence[int], size: int) -> Tensor:
    """The rows of query, key and value that belong to these heads, and the inputs of the output layer."""
    return (torch.tensor(heads)[:, None] * size + torch.arange(size)).flatten()


def linear(model: nn.Module, name: str) -> nn.Linear:
    """The layer of that name, known to be a plain linear one."""
    found = model.get_submodule(name)
    assert isinstance(found, nn.Linear)
    return found


def _cut_rows(layer: nn.Linear, rows: Tensor) -> None:
    bias_O = None if layer.bias is None else layer.bias.data[rows]
    _set(layer, layer.weight.data[rows], bias_O)


def _cut_inputs(layer: nn.Linear, inputs: Tensor) -> None:
    _set(layer, layer.weight.data[:, inputs], None if layer.bias is None else layer.bias.data)


def _spread_rows(layer: nn.Linear, rows: Tensor, total: int) -> None:
    w_OK = layer.weight.new_zeros(total, layer.in_features).index_copy(0, rows, layer.weight.data)
    bias_O = None if layer.bias is None else layer.bias.new_zeros(total).index_copy(0, rows, layer.bias.data)
    _set(layer, w_OK, bias_O)


def _spread_inputs(layer: nn.Linear, inputs: Tensor, total: int) -> None:
    w_OK = layer.weight.new_zeros(layer.out_features, total).index_copy(1, inputs, layer.weight.data)
    _set(layer, w_OK, None if layer.bias is None else layer.bias.data)


def _set(layer: nn.Linear, w_OK: Tensor, bias_O: Tensor | None) -> None:
    layer.weight = nn.Parameter(w_OK.detach().contiguous())
    if bias_O is not None:
        layer.bias = nn.Parameter(bias_O.detach().clone())
    layer.out_features, layer.in_features = w_OK.shape
