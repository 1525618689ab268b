"""Set to zero, in each row, the weights that are small where their inputs are small.

Paper: Sun, Liu, Bair, Kolter, "A Simple and Effective Pruning Approach for Large Language Models" (Wanda), ICLR 2024,
arXiv:2306.11695.
Differs from it: calibrated on the task's own rows. As there: no weight is changed but to zero, scores are compared
within an output row, and the next layers see what the thinned ones give.

    score = |w| sqrt(mean x²), compared within the row of an output

When it helps: better than compress/magnitude wherever inputs differ in size, in seconds. Size alone, and only where
the file is compressed: nothing on a CPU computes faster with scattered zeros.
What it costs: passes over `rows`; less quality kept than compress/sparsegpt on small encoders.

Shapes: O = outputs, K = inputs.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from burnish.compress import _mask
from burnish.compress._hessian import Inputs
from burnish.core import Rng, Work

__all__ = ["Wanda"]


@dataclass(frozen=True)
class Wanda:
    share: float = 0.5  # of the weights left, between 0 and 1
    pattern: str = ""  # 2:4 or 4:8: so many of every so many inputs; 4x1: blocks of 4 outputs and 1 input
    rows: int = 128  # training rows that inputs are measured on

    def __post_init__(self) -> None:
        _mask.check(self, "compress/wanda")

    def __call__(self, work: Work, rng: Rng) -> Work:
        pattern = _mask.pattern_of(self.pattern)
        names = _mask.thinnable(work.model, pattern, "compress/wanda")

        def solve(w_OK: Tensor, inputs: Inputs) -> Tensor:
            mean_K = inputs.hessian_KK.diagonal() / 2
            return w_OK.masked_fill(~_mask.kept(scores(w_OK, mean_K), self.share, pattern, by_row=True), 0)

        model, errors = _mask.swept(work, self.rows, rng, solve)
        return replace(work, model=model, notes={"output_error": errors, **_mask.sizes(model, names)})


def scores(w_OK: Tensor, mean_square_K: Tensor) -> Tensor:
    """What a weight adds to its output, on average: |w| times the root mean square of its input."""
    return w_OK.abs() * mean_square_K.sqrt()
