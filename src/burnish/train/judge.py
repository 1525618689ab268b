"""How good a model is on the validation rows while it trains."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from burnish.core import Task
from burnish.train import ranks
from burnish.train.evaluate import model_outputs
from burnish.train.given import Data, standard
from burnish.train.objective import loss_sum
from burnish.train.scale import Scale

__all__ = ["Judge"]


class Judge:
    """Looks at `model` as it is; all ranks look at a share of the rows each."""

    def __init__(self, model: nn.Module, task: Task, valid: Data, scale: Scale, pad_id: int, *, bf16: bool):
        self.model, self.task, self.valid, self.scale = model, task, valid, scale
        self.pad_id, self.bf16 = pad_id, bf16

    def look(self) -> tuple[float, float, np.ndarray]:
        """Loss a row, score, and outputs [N, C] on dev."""
        outputs_NC = ranks.spread(len(self.valid.encoded), self.task.width, self._outputs_of)
        targets = torch.from_numpy(standard(self.valid.targets, self.scale))
        loss = loss_sum(self.task.objective, torch.from_numpy(outputs_NC), targets).item() / len(outputs_NC)
        outputs_NC = outputs_NC * self.scale.std + self.scale.mean
        return loss, self.task.score(outputs_NC, self.valid.targets), outputs_NC

    def facts(self, outputs_NC: np.ndarray) -> dict[str, Any]:
        """What a watch wants to know of outputs on dev."""
        targets = self.valid.targets
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
        return model_outputs(self.model, encoded, self.pad_id, bf16=self.bf16)
