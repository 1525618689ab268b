"""CRF: the tags of a text are scored together, with a learned score for each tag after each other one.

Papers: Lafferty, McCallum, Pereira, "Conditional Random Fields: Probabilistic Models for Segmenting and Labeling
Sequence Data", ICML 2001; Lample, Ballesteros, Subramanian, Kawakami, Dyer, "Neural Architectures for Named Entity
Recognition", NAACL 2016, arXiv:1603.01360, section 2.2.
Differs from them: the steps that BIO forbids are forbidden in training too, not only in decoding. Each window of a long
text is a sequence of its own.

When it helps: little data, long entities, tags that depend on each other. With a strong encoder and BIO rules kept in
decoding, which every model here does, expect little.
What it costs: about a tenth more training time on short texts; nothing in the engine. The scores travel in the
artifact's burnish.json: plain transformers gives the outputs of the words, without them.

Shapes: B = rows, S = tokens, W = words, C = tags; T [C + 1, C + 1] scores of steps, whose last row and column are the
text's borders.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from burnish.tasks.tags import rules
from burnish.train.parts import Facts
from burnish.train.tweak import Batch, Loss, Remember, Tweak
from burnish.tune._require import require
from burnish.units import IGNORE
from burnish.words import say

__all__ = ["Crf", "log_partition", "path_score"]


@dataclass(frozen=True)
class Crf(Tweak):
    rate: float = 100.0  # of the scores of steps, as a multiple of the model's, above 0: they start from nothing

    def __post_init__(self) -> None:
        require(self.rate > 0, say("rate {x}", x=self.rate), say("above 0"), "tune/crf:rate=100")

    def begin(self, facts: Facts) -> Tweak:
        require(
            facts.task.reads == "words",
            say("tune/crf for {task}", task=facts.task.name),
            say("sequence-labelling"),
            say("leave tune/crf out"),
        )
        return _Live(self.rate, facts)


class _Live(Tweak):
    def __init__(self, rate: float, facts: Facts):
        self.rate, self.task = rate, facts.task
        self.rules = torch.from_numpy(rules(facts.task.labels)).float()

    def prepare(self, model: nn.Module) -> nn.Module:
        if getattr(model, "crf_steps", None) is None:
            model.register_parameter("crf_steps", nn.Parameter(torch.zeros_like(self.rules)))
        self.steps = cast(Tensor, model.crf_steps)
        return model

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        """A group of its own: quicker, and without decay."""
        for group in list(optimizer.param_groups):
            kept = [p for p in group["params"] if p is not self.steps]
            if len(kept) < len(group["params"]):
                group["params"] = kept
                optimizer.param_groups.append(
                    {**group, "params": [self.steps], "scale": group["scale"] * self.rate, "weight_decay": 0.0}
                )

    def loss(self, model: nn.Module, batch: Batch, inner: Loss) -> Tensor:
        """Minus the log-likelihood of the true tags, a word, as the loss it stands in for; `inner` is not asked."""
        said = Remember(model)
        inner(said, batch)
        words_BWC, tags_BW = of_words(said.outputs_BC.float(), batch["targets"])
        steps = self.steps.float() + self.rules.to(self.steps.device)
        count_B = (tags_BW != IGNORE).sum(1).clamp(min=1)
        loss_B = (log_partition(words_BWC, tags_BW != IGNORE, steps) - path_score(words_BWC, tags_BW, steps)) / count_B
        return (loss_B * batch["weights"]).sum()


def of_words(outputs_BSC: Tensor, targets_BS: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs [B, W, C] and tags [B, W] of the tokens that have a tag, in their order; IGNORE after a row's last."""
    targets_BS = targets_BS[:, : outputs_BSC.shape[1]]
    there_BS = targets_BS != IGNORE
    width = max(int(there_BS.sum(1).max()), 1)
    # A stable sort by "is not there" brings the words to the front and keeps their order.
    order_BW = torch.sort((~there_BS).int(), dim=1, stable=True).indices[:, :width]
    tags_BW = targets_BS.gather(1, order_BW)
    return outputs_BSC.gather(1, order_BW[:, :, None].expand(-1, -1, outputs_BSC.shape[-1])), tags_BW


def path_score(outputs_BWC: Tensor, tags_BW: Tensor, steps: Tensor) -> Tensor:
    """The score of the tags given, [B]: of each word its output, and of each step its score, borders included."""
    there_BW = tags_BW != IGNORE
    tags_BW = tags_BW.clamp(min=0)
    border = steps.shape[0] - 1
    own_B = (outputs_BWC.gather(2, tags_BW[:, :, None])[:, :, 0] * there_BW).sum(1)
    between_B = (steps[tags_BW[:, :-1], tags_BW[:, 1:]] * there_BW[:, 1:]).sum(1)
    last_B1 = (there_BW.sum(1, keepdim=True) - 1).clamp(min=0)
    ends_B = steps[border, tags_BW[:, 0]] + steps[tags_BW.gather(1, last_B1)[:, 0], border]
    return torch.where(there_BW.any(1), own_B + between_B + ends_B, 0.0)


def log_partition(outputs_BWC: Tensor, there_BW: Tensor, steps: Tensor) -> Tensor:
    """log of the summed exponentials of the scores of all tag sequences, [B]: the forward algorithm."""
    between_CC, begin_C, end_C = steps[:-1, :-1], steps[-1, :-1], steps[:-1, -1]
    so_far_BC = begin_C + outputs_BWC[:, 0]
    for w in range(1, outputs_BWC.shape[1]):
        on_BC = torch.logsumexp(so_far_BC[:, :, None] + between_CC, 1) + outputs_BWC[:, w]
        so_far_BC = torch.where(there_BW[:, w, None], on_BC, so_far_BC)
    return torch.where(there_BW.any(1), torch.logsumexp(so_far_BC + end_C, 1), 0.0)
