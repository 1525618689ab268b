"""Query, key and value in one linear layer: the same numbers from one larger product instead of three.

no paper: an identity; NVIDIA's FasterTransformer and ONNX Runtime's Attention operator store them so.
Differs from them: the attention code of the family stays as it is. The query's layer computes all three, and the key's
and the value's take their part of what it made, which is known by being asked about the same tensor. A question about
another tensor (DeBERTa asks about positions too) is answered by computing.

When it helps: short rows at batch 1, where starting a kernel costs as much as running it; INT8, where the input is
rounded once instead of three times.
What it costs: nothing in quality; with long rows the copies of the three parts cost what is saved. Measure it.
Comes before compress/int8 or after it.

Shapes: K = inputs, N = outputs of one of the three.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from burnish.compress.int8 import Int8Linear
from burnish.core import Rng, Work
from burnish.errors import UsageError, problem
from burnish.models import add_structure, family
from burnish.words import say

__all__ = ["FuseQkv"]


@dataclass(frozen=True)
class FuseQkv:
    layers: tuple[int, ...] = ()  # encoder layers to fuse, counted from 1; none given: all of them

    def __call__(self, work: Work, rng: Rng) -> Work:
        model = copy.deepcopy(work.model).eval()
        chosen = _checked(model, self.layers)
        facts = {"layers": chosen}
        restore(model, facts)
        add_structure(model, "compress/fuse_qkv", facts)
        return replace(work, model=model, notes={"layers": len(chosen)})


# -- joining and splitting -----------------------------------------------------------------------------


def joined(parts: Sequence[nn.Module]) -> nn.Module:
    """One layer with the outputs of all, one after the other: [K, 3N] of three [K, N]."""
    biases = [part.bias for part in parts]
    bias = None if biases[0] is None else torch.cat([b.data for b in biases])  # type: ignore[misc]
    if isinstance(parts[0], Int8Linear):
        codes_KN = torch.cat([part.codes for part in parts], 1)  # type: ignore[misc]
        made = Int8Linear(codes_KN.shape[1], codes_KN.shape[0], bias is not None)
        made.codes, made.scale, made.bias = codes_KN, torch.cat([part.scale for part in parts]), bias  # type: ignore[misc]
        return made
    weight_NK = torch.cat([part.weight.data for part in parts])  # type: ignore[misc]
    whole = nn.Linear(weight_NK.shape[1], weight_NK.shape[0], bias is not None, device=weight_NK.device)
    whole.weight.data = weight_NK
    if bias is not None:
        whole.bias.data = bias
    return whole


def parted(whole: nn.Module, sizes: Sequence[int]) -> list[nn.Module]:
    """The layers that `joined` was given."""
    bias = whole.bias
    biases = [None] * len(sizes) if bias is None else [b.clone() for b in bias.data.split(list(sizes))]  # type: ignore[operator]
    made: list[nn.Module] = []
    if isinstance(whole, Int8Linear):
        parts = zip(whole.codes.split(list(sizes), 1), whole.scale.split(list(sizes)), biases, strict=True)
        for codes_KN, scale_N, own in parts:
            small = Int8Linear(codes_KN.shape[1], codes_KN.shape[0], own is not None)
            small.codes, small.scale, small.bias = codes_KN.contiguous(), scale_N.clone(), own
            made.append(small)
        return made
    assert isinstance(whole, nn.Linear)
    for weight_NK, own in zip(whole.weight.data.split(list(sizes)), biases, strict=True):
        linear = nn.Linear(weight_NK.shape[1], weight_NK.shape[0], own is not None, device=weight_NK.device)
        linear.weight.data = weight_NK.clone()
        if own is not None:
            linear.bias.data = own
        made.append(linear)
    return made


class Kept:
    """What the query's layer computed for the other two, and for which input. A copy of the model begins empty."""

    def __init__(self) -> None:
        self.x: Tensor | None = None
        self.parts: dict[int, Tensor] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Kept":
        made = memo[id(self)] = Kept()
        return made


class Fused(nn.Module):
    """Stands where the query's layer was, and computes all three."""

    def __init__(self, linear: nn.Module, sizes: Sequence[int], kept: Kept):
        super().__init__()
        self.linear, self.sizes, self.kept = linear, list(sizes), kept

    @property
    def out_features(self) -> int:
        return self.sizes[0]

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.linear(x).split(self.sizes, -1)
        self.kept.x, self.kept.parts = x, {1: key, 2: value}
        return query


class Part(nn.Module):
    """Stands where the key's (1) or the value's (2) layer was."""

    def __init__(self, fused: Fused, place: int):
        super().__init__()
        self.fused, self.place = (fused,), place  # in a tuple, so that it is not saved a second time

    @property
    def out_features(self) -> int:
        return self.fused[0].sizes[self.place]

    def forward(self, x: Tensor) -> Tensor:
        fused, kept = self.fused[0], self.fused[0].kept
        if kept.x is not x or self.place not in kept.parts:
            found: Tensor = fused.linear(x).split(fused.sizes, -1)[self.place]
            return found
        found = kept.parts.pop(self.place)
        if not kept.parts:
            kept.x = None
        return found


# -- the structure -------------------------------------------------------------------------------------


def restore(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Join the three of each layer, in place."""
    own = family(model)
    for layer in _layers(model, facts["layers"]):
        if isinstance(layer.get_submodule(own.query), Fused):
            continue  # layers that are one and the same
        parts = [layer.get_submodule(name) for name in (own.query, own.key, own.value)]
        fused = Fused(joined(parts), [_outputs(part) for part in parts], Kept())
        for name, made in ((own.query, fused), (own.key, Part(fused, 1)), (own.value, Part(fused, 2))):
            _put(layer, name, made.train(model.training))


def to_float(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Take them apart again, in place."""
    own = family(model)
    for layer in _layers(model, facts["layers"]):
        fused = layer.get_submodule(own.query)
        if isinstance(fused, Fused):
            for name, made in zip((own.query, own.key, own.value), parted(fused.linear, fused.sizes), strict=True):
                _put(layer, name, made.train(model.training))


def _layers(model: nn.Module, numbers: Sequence[int]) -> list[nn.Module]:
    stack = model.get_submodule(family(model).layers)
    return [stack[n - 1] for n in numbers]  # type: ignore[index]


def _outputs(part: nn.Module) -> int:
    return part.codes.shape[1] if isinstance(part, Int8Linear) else int(part.out_features)  # type: ignore[arg-type]


def _put(layer: nn.Module, name: str, made: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(layer.get_submodule(parent), child, made)


def _checked(model: nn.Module, layers: Sequence[int]) -> list[int]:
    own = family(model)
    if own.qkv:
        given = say("a model with one layer for query, key and value already")
        raise UsageError(problem(given, say("a family with three"), say("leave compress/fuse_qkv out")))
    total = len(model.get_submodule(own.layers))  # type: ignore[arg-type]
    chosen = sorted(set(layers)) or list(range(1, total + 1))
    if not 1 <= chosen[0] <= chosen[-1] <= total:
        given = say("layers {layers} of {total}", layers=list(layers), total=total)
        raise UsageError(problem(given, say("1..{total}", total=total), say("leave layers out for all of them")))
    for layer in _layers(model, chosen):
        kinds = {type(layer.get_submodule(name)) for name in (own.query, own.key, own.value)}
        if kinds not in ({nn.Linear}, {Int8Linear}):
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            given = say("query, key and value are {kinds}", kinds=names)
            hint = say("put compress/fuse_qkv before the step that made them so, or leave it out")
            raise UsageError(problem(given, say("three linear layers, float or compress/int8"), hint))
    return chosen
