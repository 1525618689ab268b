"""How good a model is on the validation rows while it trains."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from burnish import heads
from burnish.core import FILL, Task
from burnish.train import ranks
from burnish.train.evaluate import model_outputs
from burnish.train.given import Data, standard
from burnish.train.objective import loss_rows, words_in
from burnish.train.scale import Scale

__all__ = ["Judge"]


class Judge:
    """Looks at `model` as it is; all ranks look at a share of the rows each."""

    def __init__(self, model: nn.Module, task: Task, valid: Data, scale: Scale, pad_id: int, *, bf16: bool):
        self.model, self.task, self.valid, self.scale = model, task, valid, scale
        self.pad_id, self.bf16 = pad_id, bf16

    def look(self) -> tuple[float, float, np.ndarray]:
        """Loss a row, score, and outputs [N, C] on dev."""
        outputs_NC = ranks.spread(len(self.valid.encoded), self._shape, self._outputs_of)
        targets = torch.from_numpy(standard(self.valid.targets, self.scale))
        loss_N = loss_rows(self.task.objective, torch.from_numpy(outputs_NC), targets)
        asked_N = torch.from_numpy(words_in(self.task.objective, self.valid.targets))
        loss = (loss_N * asked_N).sum().item() / max(int(asked_N.sum()), 1)
        if self.valid.whole:
            outputs_NC = self.valid.whole.outputs(heads.decoding(self.model, self.task), outputs_NC)
        else:
            outputs_NC = outputs_NC * self.scale.std + self.scale.mean
        return loss, self.task.score(outputs_NC, self.answers), outputs_NC

    @property
    def answers(self) -> np.ndarray:
        """The true answers, a row."""
        return self.valid.whole.targets if self.valid.whole else self.valid.targets

    @property
    def _shape(self) -> tuple[int, ...]:
        """Of the outputs of one row."""
        if self.valid.whole is None:
            return (self.task.width,)
        return (max(len(row["input_ids"]) for row in self.valid.encoded), self.task.width)

    def facts(self, outputs_NC: np.ndarray) -> dict[str, Any]:
        """What a watch wants to know of outputs on dev."""
        targets = self.answers
        return {"outputs": outputs_NC, "targets": targets, "metrics": self.task.metrics(outputs_NC, targets)}

    def score_of(self, weights: Mapping[str, Tensor]) -> float:
        """The score on dev of other weights; the model's own are put back."""
        own = copy.deepcopy(self.model.state_dict())
        try:
            self.model.load_state_dict(weights)
            return self.look()[1]
        finally:
            self.model.load_state_dict(own)

    def _outputs_of(self, rows_M: np.ndarray) -> np.ndarray:
        encoded = [self.valid.encoded[i] for i in rows_M]
        found = model_outputs(self.model, encoded, self.pad_id, bf16=self.bf16)
        missing = self._shape[0] - found.shape[1] if self.valid.whole else 0  # the longest row may be another rank's
        return np.pad(found, ((0, 0), (0, missing), (0, 0)), constant_values=FILL) if missing else found
