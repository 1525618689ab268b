"""Consecutive encoder layers share one set of weights, and what was lost is learned back from the model before.

Paper: Lan, Chen, Goodman, Gimpel, Sharma, Soricut, "ALBERT: A Lite BERT for Self-supervised Learning of Language
Representations", ICLR 2020, arXiv:1909.11942.
Differs from it: ALBERT is pre-trained with shared layers; here the layers of a tuned model are merged (the first of
each group, or their mean) and trained on the task's rows alone, with the model before as teacher.

    6 layers, groups=2:   1 1 1 2 2 2

When it helps: size, on disk and in memory. Nothing else: every layer still runs, so no answer comes sooner.
What it costs: a training run, and usually more points than leaving as many layers out altogether, which is faster too:
compare with compress/student.

Shapes: none; weights are averaged as they are.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import torch
from torch import nn

from burnish.compress._recover import recovered, wanted
from burnish.compress.student import Student, refuse_rebuilt
from burnish.core import Rng, Work
from burnish.errors import UsageError, problem
from burnish.models import add_structure, family
from burnish.train.tweak import Tweak
from burnish.words import say

__all__ = ["ShareLayers", "SharedLayers", "grouped_layers", "merged"]


@dataclass(frozen=True)
class ShareLayers:
    groups: int | None = None  # sets of weights left, consecutive layers share one; None: half as many as layers
    start: Literal["first", "mean"] = "first"  # each set begins as the first of its layers, or as their mean
    alpha: float = 0.3  # weight of the labels in the training after it; the model before has the rest
    temperature: float = 2.0  # softens both sides of the comparison
    epochs: int | None = None  # of training; 0 for none
    lr: float | None = None
    batch_size: int | None = None
    tweaks: tuple[Tweak, ...] = ()
    max_length: int | None = None
    precision: str = "auto"
    patience: int = 6
    doctor: Literal["act", "advise", "off"] = "act"

    def __post_init__(self) -> None:
        example = "--with compress/share_layers:groups=2"
        wanted("groups", self.groups, self.groups is None or self.groups >= 1, say("1 or more"), example)
        wanted("alpha", self.alpha, 0 <= self.alpha <= 1, "0..1", example)
        wanted("temperature", self.temperature, self.temperature > 0, say("above 0"), example)

    def __call__(self, work: Work, rng: Rng) -> Work:
        model = copy.deepcopy(work.model)
        before = _bytes(model)
        total = _depth(model)
        facts = {"groups": grouped_layers(total, max(1, total // 2) if self.groups is None else self.groups)}
        refuse_rebuilt(model)
        _refuse_unequal(model)
        share(model, facts["groups"], mean=self.start == "mean")
        add_structure(model, "compress/share_layers", facts)
        how = Student(
            alpha=self.alpha,
            temperature=self.temperature,
            epochs=self.epochs,
            lr=self.lr,
            batch_size=self.batch_size,
            tweaks=self.tweaks,
            max_length=self.max_length,
            precision=self.precision,
            patience=self.patience,
            doctor=self.doctor,
        )
        model, tokenizer, notes = recovered(work, model, how, rng)
        told = say("smaller, not faster: all {n} layers still run", n=total)
        notes = {**notes, **facts, "bytes_before": before, "bytes": _bytes(model), "speed": told}
        return replace(work, model=model, tokenizer=tokenizer, notes=notes)


def restore(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Give a freshly built model the sharing that this step left, in place; weights are loaded after."""
    share(model, facts["groups"], mean=False)


def to_float(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """A layer of its own for every depth again, in place."""
    path = family(model).layers
    _put(model, path, nn.ModuleList([copy.deepcopy(layer) for layer in model.get_submodule(path)]))  # type: ignore[attr-defined]


# -- the maths -----------------------------------------------------------------------------------------


def grouped_layers(total: int, groups: int) -> list[int]:
    """For each of `total` layers the number of its group, from 0; groups are as even as they can be."""
    if not 1 <= groups < total:
        given = say("groups={groups} of a model with {total} layers", groups=groups, total=total)
        raise UsageError(problem(given, f"1..{total - 1}", "--with compress/share_layers:groups=1"))
    return [i * groups // total for i in range(total)]


def merged(layers: Sequence[nn.Module], *, mean: bool) -> nn.Module:
    """One layer with the weights of all of them, averaged, or those of the first."""
    made = copy.deepcopy(layers[0])
    if mean:
        states = [dict(layer.named_parameters()) for layer in layers]
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                parameter.copy_(torch.stack([state[name] for state in states]).mean(0))
    return made


# -- the module ----------------------------------------------------------------------------------------


class SharedLayers(nn.ModuleList):
    """Holds each layer once and gives it at every depth of its group: a state dict has no weight twice."""

    def __init__(self, layers: Sequence[nn.Module], groups: Sequence[int]):
        super().__init__(layers)
        self.groups = list(groups)

    def __len__(self) -> int:
        # torch.nn.ModuleList fills itself through __len__, before `groups` is there.
        return len(self.__dict__.get("groups", self._modules))

    def __iter__(self) -> Iterator[nn.Module]:
        return iter([self.get_submodule(str(group)) for group in self.groups])

    @overload
    def __getitem__(self, idx: slice) -> nn.ModuleList: ...
    @overload
    def __getitem__(self, idx: int) -> nn.Module: ...
    def __getitem__(self, idx: int | slice) -> nn.Module:
        layers = list(self)
        return nn.ModuleList(layers[idx]) if isinstance(idx, slice) else layers[idx]


def share(model: nn.Module, groups: Sequence[int], *, mean: bool) -> None:
    """Exchange the layers of `model`, in place."""
    path = family(model).layers
    layers = list(model.get_submodule(path))  # type: ignore[call-overload]
    members = [[layer for layer, of in zip(layers, groups, strict=True) if of == n] for n in range(max(groups) + 1)]
    _put(model, path, SharedLayers([merged(some, mean=mean) for some in members], groups))


def _put(model: nn.Module, path: str, layers: nn.ModuleList) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, layers)


def _depth(model: nn.Module) -> int:
    return len(model.get_submodule(family(model).layers))  # type: ignore[arg-type]


def _bytes(model: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())


def _refuse_unequal(model: Any) -> None:
    """ModernBERT's layers differ in what they attend to, and the first lacks a norm."""
    kinds = getattr(model.config, "layer_types", None) or ()
    first = family(model).layers
    shapes = [{name: tuple(p.shape) for name, p in layer.named_parameters()} for layer in model.get_submodule(first)]
    if len(set(kinds)) > 1 or any(shape != shapes[0] for shape in shapes):
        given = say("the layers of a {kind} differ in more than their weights", kind=model.config.model_type)
        raise UsageError(problem(given, say("layers of one kind, as in BERT"), say("leave compress/share_layers out")))
