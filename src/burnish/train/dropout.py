"""Dropout with cheap random bits: one 64-bit draw decides four elements.

Paper: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout: A Simple Way to Prevent Neural
Networks from Overfitting", JMLR 2014. Differs from it in nothing that training can see: the rate is
rounded to a multiple of 1/65536 and the scale uses the rounded rate. On a CPU the random number generator
is serial, and with torch's own dropout it is a sixth of a training step (docs/LOG.md).
"""

import torch
from torch import Tensor, nn

__all__ = ["CheapDropout", "cheap_dropout", "plain_dropout"]

LEVELS = 1 << 16


class CheapDropout(nn.Module):
    """Takes the place of nn.Dropout on a CPU; does nothing in eval mode."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), 2**63 - 1)
        keep = draws.view(torch.int16)[: x.numel()].view(x.shape) >= dropped(self.p) - LEVELS // 2
        return x * (keep.to(x.dtype) * (LEVELS / (LEVELS - dropped(self.p))))


def dropped(p: float) -> int:
    """How many of the 65,536 levels of a 16-bit draw are dropped."""
    return round(p * LEVELS)


def cheap_dropout(model: nn.Module) -> None:
    """Exchange every nn.Dropout of `model`, in place."""
    _exchange(model, nn.Dropout, CheapDropout)


def plain_dropout(model: nn.Module) -> None:
    """Put nn.Dropout back, in place, so that a saved or exported model is what its family says."""
    _exchange(model, CheapDropout, nn.Dropout)


def _exchange(model: nn.Module, old: type[nn.Module], new: type[nn.Module]) -> None:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is old:
                setattr(parent, name, new(child.p).train(child.training))
