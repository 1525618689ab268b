"""Weights in 8, 4, 3 or 2 bits by rounding each to the nearest; activations in 8 bits or float.

no paper: round to nearest is what every paper compares with. The choice of each scale by error, with exponent 2.4,
is that of the code of Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ: Accurate Post-Training Quantization for
Generative Pre-trained Transformers", ICLR 2023, arXiv:2210.17323. Differs from it: a symmetric grid may have its
extra value on either side, and at 2 bits the neighbours of the zero are tried as well. The linear layers inside the
encoder layers get `bits`; pooler and head `rest`, one scale a row; embedding tables `embeddings`, symmetric.

When it helps: size, without any data: an eighth at 4 bits. compress/gptq is better at the same size.
What it costs: nothing that shows at 8 bits, little at 4 and 3; at 2 bits many points, with a scale a row most of all.
3 and 2 bits have no kernel of their own on CPUs: the file is smaller, the server computes with 4.

Shapes: N = outputs, K = inputs.
"""

import copy
from dataclasses import dataclass, replace

from burnish.compress._coded import ONNX as ONNX
from burnish.compress._coded import restore as restore
from burnish.compress._coded import to_float as to_float
from burnish.compress._weights import check, finish, refuse, rounded_rest
from burnish.core import Rng, Work

__all__ = ["RoundWeights"]


@dataclass(frozen=True)
class RoundWeights:
    bits: int = 4  # of the weights inside the encoder layers: 8, 4, 3 or 2
    group: int = 64  # inputs that share a scale: 16, 32, 64, 128, 256, or 0 for a whole row
    symmetric: bool = True  # zero is the middle code: smaller and, with `search`, as exact
    search: bool = True  # choose each scale by error, not by the largest weight
    activations: str = "int8"  # in the products: int8, a scale for each block of a token, or float
    rest: int = 8  # bits of the linear layers outside: 8, 4, or 0 for float
    embeddings: int = 8  # bits of the embedding tables: 8, 4, or 0 for float

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, work: Work, rng: Rng) -> Work:
        refuse(work.model, "compress/round_weights")
        model = copy.deepcopy(work.model).eval()
        solved, errors = rounded_rest(model, self, {}), {}
        for name, found in solved.items():
            w_NK = work.model.get_submodule(name).weight.detach()
            errors[name] = float((found.plain(self.group) - w_NK).norm() / w_NK.norm())
        notes = finish(model, "compress/round_weights", self, solved)
        return replace(work, model=model, notes={**notes, "weight_error": errors})
