"""Models with fewer layers, which a plain config can express."""

import copy
from collections.abc import Sequence

from torch import nn

from burnish.errors import UsageError, problem
from burnish.models import family
from burnish.words import say

__all__ = ["first_stays", "layers_of", "refuse_rebuilt", "with_layers"]


def layers_of(model: nn.Module) -> nn.ModuleList:
    found = model.get_submodule(family(model).layers)
    assert isinstance(found, nn.ModuleList)
    return found


def first_stays(model: nn.Module) -> bool:
    """Whether the first layer is made in another way than all others, as ModernBERT's, which has no norm."""
    parts = [{name for name, p in layer.named_parameters()} for layer in layers_of(model)]
    return len(parts) > 1 and parts[0] != parts[1]


def with_layers(model: nn.Module, kept: Sequence[int]) -> nn.Module:
    """A copy of `model` with these of its layers, in rising order."""
    made = copy.deepcopy(model)
    path, stack = family(model).layers, layers_of(made)
    parent, _, name = path.rpartition(".")
    setattr(made.get_submodule(parent), name, nn.ModuleList([stack[i] for i in kept]))
    made.config.num_hidden_layers = len(kept)  # type: ignore[union-attr]
    kinds = getattr(made.config, "layer_types", None)
    if kinds:
        made.config.layer_types = [kinds[i] for i in kept]  # type: ignore[union-attr]
    return made


def refuse_rebuilt(model: nn.Module) -> None:
    """What a step remembers of layers by number would be of other layers afterwards. Raises UsageError."""
    parts = getattr(model, "burnish_structure", ())
    rebuilt = [part["use"] for part in parts if part["use"] != "compress/factor_embeddings"]
    if rebuilt:
        given = say("layers that {steps} rebuilt", steps=", ".join(rebuilt))
        hint = say("take layers out first: put this step before {first}", first=rebuilt[0])
        raise UsageError(problem(given, say("layers as their family has them"), hint))
