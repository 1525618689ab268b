"""The seam inside training: LoRA, R-Drop, distillation and their like are tweaks, each in its own file."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

__all__ = ["Batch", "Loss", "Tweak"]

# input_ids, attention_mask, ... [B, S]; "targets"; "rows": the row numbers in work.train, int64 [B].
Batch = Mapping[str, Tensor]
# Returns the loss summed over the rows of the batch, a scalar.
Loss = Callable[[nn.Module, Batch], Tensor]


class Tweak:
    """Four places to change training. Override any; the defaults change nothing.

    `loss` nests like middleware: call `inner` for the loss of the tweaks to the right of this one, and
    return a sum over rows, never a mean. Optimizer state is bound to what `prepare` returns.
    """

    def prepare(self, model: nn.Module) -> nn.Module:
        return model

    def loss(self, model: nn.Module, batch: Batch, inner: Loss) -> Tensor:
        return inner(model, batch)

    def after_step(self, model: nn.Module, step: int) -> None:
        """Called after each optimizer step; `step` counts from 1."""

    def finish(self, model: nn.Module) -> nn.Module:
        return model
