"""For tweaks that send rows through a model more than once."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Draws", "aside", "bare"]


class Draws:
    """The random numbers that come next, to be drawn again: dropout that is the same in every pass."""

    def __init__(self, device: torch.device):
        self.device = device
        self.here = torch.get_rng_state()
        self.there = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def back(self) -> None:
        """To where they began. What is drawn after the last pass goes on from its end, as after a single one."""
        torch.set_rng_state(self.here)
        if self.there is not None:
            torch.cuda.set_rng_state(self.there, self.device)


@contextlib.contextmanager
def aside(device: torch.device) -> Iterator[None]:
    """A pass that nothing is learned from.

    Older versions of torch (2.13 does not) let autocast keep the half-precision weights of a pass without gradients for
    the next pass, which then learned nothing: so none are kept here.
    """
    kind = device.type
    on, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    with torch.no_grad(), torch.autocast(kind, dtype, enabled=on, cache_enabled=False):
        yield


def bare(model: nn.Module) -> nn.Module:
    """The model itself, without what tweaks have put around it. Raises UsageError where there is none."""
    inside: nn.Module | None = model
    while inside is not None and not hasattr(inside, "get_input_embeddings"):
        inside = getattr(inside, "model", None)
    if inside is None:
        given = say(
            "a tweak that asks the model again, where only its outputs are known ({kind})", kind=type(model).__name__
        )
        raise UsageError(problem(given, say("a run that trains a transformers model"), say("leave this technique out")))
    return inside
