"""Take out the layers that do least; what is left may learn from the whole model.

Paper: Men, Xu, Zhang, Wang, Lin, Lu, Han, Chen, "ShortGPT: Layers in Large Language Models are More Redundant Than You
Expect", 2024, arXiv:2403.03853, for block influence, 1 - cosine between what goes into a layer and what comes out;
Sajjad, Dalvi, Durrani, Nakov, "On the Effect of Dropping Layers of Pre-trained Transformer Models", 2020,
arXiv:2004.03844, for encoders and the training after.
Differs from them: criterion=loss takes out, one at a time, the layer without which the task's loss on training rows
stays lowest, looking at those that are left anew each time.

When it helps: latency falls in proportion to the layers left, on every engine; with epochs=0 in seconds. Where
compress/student takes layers by their place, this one looks at what they do.
What it costs: one forward pass over `rows` (criterion=loss: one for each layer and each that goes), and `epochs` of
training. Encoders tuned to a task lose much without it: a layer's norm is made for what the one below gives it.

Shapes: B = rows of a batch, S = tokens, H = width, L = layers.
"""

import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from burnish.compress._gram import Batches, calibration, drawn, task_loss
from burnish.compress._layers import first_stays, layers_of, refuse_rebuilt, with_layers
from burnish.compress._recover import recovered, wanted
from burnish.core import Rng, Task, Work
from burnish.errors import UsageError, problem
from burnish.models import family
from burnish.train.evaluate import evaluating
from burnish.train.parts import Batching, Clip, Objective, Optimizer, Rates, Schedule, Weighting
from burnish.train.scale import fit_scale
from burnish.train.tweak import Tweak
from burnish.words import say

__all__ = ["DropLayers"]


@dataclass(frozen=True)
class DropLayers:
    share: float = 0.5  # of the encoder layers left, 0..1; at least one stays and one goes
    criterion: Literal["influence", "loss"] = "influence"  # how a layer changes its input, or what the task loses
    rows: int = 256  # training rows that this is measured on
    alpha: float = 0.3  # in the lessons after: weight of the labels; the model before has the rest
    temperature: float = 2.0  # softens both sides of the comparison
    lr: float | None = None
    epochs: int | None = None  # of lessons; 0 leaves them out
    batch_size: int | None = None
    accumulate: int | Literal["auto"] = 1
    optimizer: Optimizer | None = None
    schedule: Schedule | None = None
    warmup: float | None = None
    weight_decay: float = 0.01
    clip: float | Clip = 1.0
    objective: Objective | None = None
    weighting: Weighting | None = None
    rates: tuple[Rates, ...] = ()
    batching: Batching | None = None
    tweaks: tuple[Tweak, ...] = ()  # inside the lessons: their loss is the labels' side of it
    max_length: int | None = None
    precision: str = "auto"
    evals_per_epoch: int = 2
    patience: int = 6
    min_difference: float = 0.0
    doctor: Literal["act", "advise", "off"] = "act"

    def __post_init__(self) -> None:
        need = partial(wanted, example="--with compress/drop_layers:share=0.5")
        need("share", self.share, 0 < self.share < 1, say("between 0 and 1"))
        need("criterion", self.criterion, self.criterion in ("influence", "loss"), "influence, loss")
        need("rows", self.rows, self.rows >= 1, say("1 or more"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        refuse_rebuilt(work.model)
        total = len(layers_of(work.model))
        if total < 2:
            given = say("a model of {n} layer", n=total)
            raise UsageError(problem(given, say("2 or more layers"), say("leave compress/drop_layers out")))
        count = min(max(1, round(self.share * total)), total - 1)
        batches = calibration(work, drawn(work, self.rows, rng))
        scores: list[Any]
        if self.criterion == "influence":
            scores = influence(work.model, batches)
            kept = most(scores, count, first=first_stays(work.model))
        else:
            kept, scores = greedy(work.model, work.task, batches, count)
        model, tokenizer, notes = recovered(work, with_layers(work.model, kept), self, rng)
        notes |= {"kept_layers": kept, "scores": scores}
        return replace(work, model=model, tokenizer=tokenizer, notes=notes)


# -- the maths -----------------------------------------------------------------------------------------


def most(scores_L: list[float], count: int, *, first: bool = False) -> list[int]:
    """The `count` layers with the largest scores, lowest first; with `first`, layer 0 whatever its score."""
    order = sorted(range(len(scores_L)), key=lambda i: (first and i == 0, scores_L[i]), reverse=True)
    return sorted(order[:count])


def turned(in_TH: Tensor, out_TH: Tensor) -> Tensor:
    """1 - cosine between the two vectors of each token, summed over tokens."""
    return (1 - F.cosine_similarity(in_TH.double(), out_TH.double(), dim=1)).sum()


# -- what layers do ------------------------------------------------------------------------------------


@torch.no_grad()
def influence(model: nn.Module, batches: Batches) -> list[float]:
    """Block influence of each layer, the mean over tokens that are no padding."""
    sums = [0.0] * len(layers_of(model))
    masks: list[Tensor] = []

    def hook(i: int) -> Any:
        def see(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            before_BSH = args[0] if args else kwargs["hidden_states"]
            after_BSH = output[0] if isinstance(output, tuple) else output
            sums[i] += float(turned(before_BSH[masks[-1]], after_BSH[masks[-1]]))

        return see

    handles = [layer.register_forward_hook(hook(i), with_kwargs=True) for i, layer in enumerate(layers_of(model))]
    try:
        with evaluating(model):
            for batch in batches:
                masks.append(batch["attention_mask"].bool())
                model(**{k: v for k, v in batch.items() if k != "targets"})
    finally:
        for handle in handles:
            handle.remove()
    tokens = sum(int(mask.sum()) for mask in masks)
    return [s / tokens for s in sums]


@torch.no_grad()
def greedy(model: nn.Module, task: Task, batches: Batches, count: int) -> tuple[list[int], list[dict[str, Any]]]:
    """The layers left when the cheapest goes until `count` are left, and the loss a row at each turn."""
    made, told = copy.deepcopy(model).eval(), []
    path, stack = family(model).layers, layers_of(made)
    parent, _, name = path.rpartition(".")
    kept = list(range(len(stack)))
    fixed = {0} if first_stays(model) else set()
    scale = fit_scale(task, torch.cat([b["targets"] for b in batches]).numpy())
    rows = sum(len(batch["targets"]) for batch in batches)

    def loss(layers: list[int]) -> float:
        setattr(made.get_submodule(parent), name, nn.ModuleList([stack[i] for i in layers]))
        return sum(float(task_loss(made, task, batch, scale)) for batch in batches) / rows

    while len(kept) > count:
        found = {i: loss([j for j in kept if j != i]) for i in kept if i not in fixed}
        worst = min(found, key=lambda i: (found[i], -i))
        kept.remove(worst)
        told.append({"gone": worst, "loss": found[worst]})
    return kept, told
