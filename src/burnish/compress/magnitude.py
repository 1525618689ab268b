"""Set the smallest weights of each layer to zero.

Paper: Han, Pool, Tran, Dally, "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015,
arXiv:1506.02626.
Differs from it: the same share in every layer of the encoder, at once; embeddings and head stay whole. Training again
is left to a step after it, with compress/keep_zeros as its tweak.

When it helps: as the yardstick for compress/wanda and compress/sparsegpt, and at shares of 0.7 and more, where all
are alike. Size alone, and only where the file is compressed: nothing on a CPU computes faster with scattered zeros.
What it costs: nothing; at a share of 0.5 often several points without training.

Shapes: O = outputs, K = inputs.
"""

import copy
from dataclasses import dataclass, replace

import torch

from burnish.compress import _mask
from burnish.core import Rng, Work

__all__ = ["Magnitude"]


@dataclass(frozen=True)
class Magnitude:
    share: float = 0.5  # of the weights left, between 0 and 1
    pattern: str = ""  # 2:4 or 4:8: so many of every so many inputs; 4x1: blocks of 4 outputs and 1 input

    def __post_init__(self) -> None:
        _mask.check(self, "compress/magnitude")

    @torch.no_grad()
    def __call__(self, work: Work, rng: Rng) -> Work:
        pattern = _mask.pattern_of(self.pattern)
        names = _mask.thinnable(work.model, pattern, "compress/magnitude")
        model, errors = copy.deepcopy(work.model).eval(), {}
        for name in names:
            w_OK = _mask.weight_of(model, name)
            stays = _mask.kept(w_OK.square(), self.share, pattern)
            errors[name] = float(w_OK[~stays].square().sum() / w_OK.square().sum().clamp(min=1e-30))
            w_OK.masked_fill_(~stays, 0)
        return replace(work, model=model, notes={"weight_error": errors, **_mask.sizes(model, names)})
