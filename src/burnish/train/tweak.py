"""The seam inside training: LoRA, R-Drop, distillation and their like are tweaks, each in its own file."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from burnish.train.parts import Facts, Part

__all__ = ["Batch", "Loss", "Need", "Remember", "Tweak", "inputs_of"]

# input_ids, attention_mask, ... [B, S]; "targets"; "rows": the row numbers in work.train, int64 [B];
# "weights": how much each row counts, float32 [B]; "smoothing", where any row has some: see train.smooth, float32 [B].
Batch = Mapping[str, Tensor]
# Returns the loss summed over the rows of the batch, a scalar.
Loss = Callable[[nn.Module, Batch], Tensor]
NOT_INPUTS = ("targets", "rows", "weights", "smoothing")


@dataclass(frozen=True)
class Need:
    """What a tweak does to the memory a run needs; only for the forecast."""

    copies: float = 0.0  # of all weights that it holds besides
    rows: float = 1.0  # in a forward pass, for each row of the batch
    trains: float = 1.0  # share of the weights that still get a gradient
    recomputes: bool = False  # layers keep their input alone


class Tweak(Part):
    """Places to change training. Override any; the defaults change nothing.

    `loss` nests like middleware: call `inner` for the loss of the tweaks to the right of this one, and
    return a sum over rows, never a mean. Optimizer state is bound to what `prepare` returns.

    A tweak that remembers something during a run returns a live object of its own from `begin`, and gives what it
    remembers as tensors in `state`, so that a run that was killed goes on with it.
    """

    relative_rate: float = 1.0  # the rate it wants, as a multiple of the one for tuning all weights
    need: Need = Need()

    def begin(self, facts: Facts) -> "Tweak":
        """The live object for one run; called before `prepare`."""
        return self

    def ids(self) -> Iterable[int]:
        """Token ids that it will show the model beside those of the rows; asked before `prepare`."""
        return ()

    def prepare(self, model: nn.Module) -> nn.Module:
        return model

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        """Called once, before the first step and before a resume, which exchanges `optimizer.param_groups`.

        Each group has the rate of now in "lr".
        """

    def before_epoch(self, epoch: int) -> None:
        """Called before the first batch of an epoch, which counts from 0, and when a run goes on within one."""

    def before_step(self, model: nn.Module, step: int) -> None:
        """Called before the forward pass of each optimizer step; `step` counts from 0."""

    def loss(self, model: nn.Module, batch: Batch, inner: Loss) -> Tensor:
        return inner(model, batch)

    def after_step(self, model: nn.Module, step: int) -> None:
        """Called after each optimizer step; `step` counts from 1."""

    def averages(self, model: nn.Module) -> Mapping[str, Mapping[str, Tensor]]:
        """Other weights to evaluate beside the raw ones, by name; each a whole state dict. The best on dev wins."""
        return {}

    def after_eval(self, model: nn.Module, score: float) -> None:
        """Called after each evaluation with the score of the raw weights."""

    def conclude(self, score: Callable[[Mapping[str, Tensor]], float]) -> Mapping[str, Tensor] | None:
        """Weights to take instead of the best so far, at the end; `score` evaluates a state dict on dev."""
        return None

    def finish(self, model: nn.Module) -> nn.Module:
        return model

    def state(self) -> Mapping[str, Tensor]:
        """What `restore` needs after a kill."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""

    def notes(self) -> dict[str, Any]:
        """JSON facts for the record."""
        return {}


class Remember(nn.Module):
    """Calls the model once and keeps what it said, so that two losses cost one forward pass."""

    outputs_BC: Tensor

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, **inputs: Tensor) -> Any:  # a model takes what its tokenizer gives
        answer = self.model(**inputs)
        self.outputs_BC = answer.logits
        return answer


def inputs_of(batch: Batch) -> dict[str, Tensor]:
    """What of a batch goes into the model."""
    return {k: v for k, v in batch.items() if k not in NOT_INPUTS}
