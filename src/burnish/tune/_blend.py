"""Blend the states of each row with those of another row, at one depth of a model, while it runs.

Hooks do it, so the model stays as it is. After the blend a row attends to the tokens of both rows.

Shapes: B = rows, S = tokens.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from burnish import models

__all__ = ["blend", "blending", "seen_by_either"]


def blend(states: Tensor, share: float, partner_B: Tensor) -> Tensor:
    """share h_i + (1 - share) h_j of states [B, ...], where j is the partner of i."""
    return share * states + (1 - share) * states[partner_B]


def seen_by_either(value: Any, partner_B: Tensor) -> Any:
    """An attention mask by row that shows what either of two rows shows; anything else as it is.

    Masks are [B, S] of whole numbers, or [B, 1, S, S] with true or 0 for what is seen and false or a large negative
    number for what is not. A bias that is the same for all rows comes out as it went in.
    """
    if not isinstance(value, Tensor) or len(value) != len(partner_B):
        return value
    flat = value.ndim == 2 and not value.is_floating_point()
    if not flat and value.ndim != 4:
        return value
    other = value[partner_B]
    return value | other if value.dtype == torch.bool else torch.maximum(value, other)


@contextlib.contextmanager
def blending(model: nn.Module, layer: int, share: float, partner_B: Tensor) -> Iterator[None]:
    """Within it, `model` blends after `layer` layers: 0 is before the first."""
    layers = models.layers(model)

    def masks(values: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        found = tuple(seen_by_either(v, partner_B) for v in values)
        return found, {name: seen_by_either(v, partner_B) for name, v in named.items()}

    def enter(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        values, rest = masks(args[1:], named)
        return (blend(args[0], share, partner_B), *values), rest

    def later(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        values, rest = masks(args[1:], named)
        return (args[0], *values), rest

    def leave(module: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
        if isinstance(out, tuple):
            return blend(out[0], share, partner_B), *out[1:]
        return blend(out, share, partner_B)

    if layer == len(layers):
        handles = [layers[-1].register_forward_hook(leave)]
    else:
        handles = [layers[layer].register_forward_pre_hook(enter, with_kwargs=True)]
        handles += [one.register_forward_pre_hook(later, with_kwargs=True) for one in layers[layer + 1 :]]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
