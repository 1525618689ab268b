"""The tweak that lets a teacher's layers into the loss: which states are matched with which, and how much each counts.

A state is named as in _teacher.py: 'hidden.3', 'query.3'. The attention that is matched is what queries and keys alone
say; what DeBERTa, MPNet and ModernBERT add for positions is left to the student.

Shapes: B = rows of a batch, S = tokens, H = width of the student, K = width of the teacher.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from burnish.compress._match import (
    attention_loss,
    hidden_loss,
    layer_map,
    relation_heads_for,
    relation_loss,
    scores,
)
from burnish.compress._teacher import Teacher, listening
from burnish.errors import UsageError, problem
from burnish.models import family
from burnish.train.evaluate import evaluating
from burnish.train.tweak import Batch, Loss, Tweak
from burnish.words import say

__all__ = ["Inside", "LastWeights", "Plan", "plan_for"]

PROJECTION = "lesson_projection"  # a parameter of the student as long as it learns
Pair = tuple[int, int]  # a layer of the student, and the layer of the teacher it answers to


@dataclass(frozen=True)
class Plan:
    """What is matched, and its weight in the loss; a weight of 0 leaves it out."""

    hidden: float
    attention: float
    relations: float
    pairs: tuple[Pair, ...]  # by the uniform map
    last: Pair  # whose relations are matched
    heads: tuple[int, int]  # attention heads of both; equal where attention counts
    relation_heads: int
    widths: tuple[int, int]  # H, K

    def states(self, side: int) -> tuple[str, ...]:
        """The names of all that is needed of the student (side 0) or the teacher (side 1)."""
        layers = [pair[side] for pair in self.pairs]
        names = [f"hidden.{i}" for i in (0, *layers)] if self.hidden else []
        names += [f"{kind}.{i}" for i in layers for kind in ("query", "key")] if self.attention else []
        names += [f"{kind}.{self.last[side]}" for kind in ("query", "key", "value")] if self.relations else []
        return tuple(dict.fromkeys(names))


def plan_for(
    student: Any,
    teacher: Any,
    weights: tuple[float, float, float],
    relation_heads: int | None,
    relation_layer: int | None,
    row: Mapping[str, list[int]],
) -> Plan:
    """What two models can be matched in, found by asking both for one row. Raises UsageError where they cannot."""
    hidden, attention, relations = weights
    depth = tuple(len(list(m.get_submodule(family(m).layers))) for m in (student, teacher))
    last = (depth[0], relation_layer or depth[1])
    if not 1 <= last[1] <= depth[1]:
        given = say("relation_layer={n} of a teacher with {total} layers", n=last[1], total=depth[1])
        raise UsageError(problem(given, f"1..{depth[1]}", say("leave it out for the last layer")))
    (q_S, h_S, head_S), (q_T, h_T, head_T) = (
        _widths(model, layer, row) for model, layer in zip((student, teacher), last, strict=True)
    )
    heads = (q_S // head_S, q_T // head_T)
    if attention and heads[0] != heads[1]:
        given = say("attention of {a} heads to be taught by {b} heads", a=heads[0], b=heads[1])
        raise UsageError(problem(given, say("as many heads"), say("relations=1,attention=0: it takes any heads")))
    common = relation_heads or relation_heads_for(q_S, q_T)
    if relations and (q_S % common or q_T % common):
        given = say("relation_heads={n} for widths of {a} and {b}", n=common, a=q_S, b=q_T)
        raise UsageError(
            problem(given, say("a number that divides both"), f"relation_heads={relation_heads_for(q_S, q_T)}")
        )
    pairs = tuple(enumerate(layer_map(*depth), start=1))
    return Plan(hidden, attention, relations, pairs, last, heads, common, (h_S, h_T))


def _widths(model: Any, layer: int, row: Mapping[str, list[int]]) -> tuple[int, int, int]:
    """Width of the queries of a layer, of its output, and of one head."""
    names = (f"query.{layer}", f"hidden.{layer}")
    device = next(iter(model.state_dict().values())).device
    with evaluating(model), torch.no_grad(), listening(model, names) as heard:
        model(**{name: torch.tensor([ids], device=device) for name, ids in row.items()})
        query, hidden = (heard[name].shape[-1] for name in names)
    return query, hidden, model.config.hidden_size // model.config.num_attention_heads


class Inside(Tweak):
    """Adds the distance of the student's states from the teacher's to the loss, or puts it in its place (`alone`)."""

    def __init__(self, teacher: Teacher, plan: Plan, *, alone: bool = False):
        self.teacher, self.plan, self.alone = teacher, plan, alone

    def prepare(self, model: nn.Module) -> nn.Module:
        self.student = model
        if self.plan.hidden:
            model.register_parameter(PROJECTION, nn.Parameter(_projection(*self.plan.widths).to(_device_of(model))))
        return model

    def loss(self, model: nn.Module, batch: Batch, inner: Loss) -> Tensor:
        with listening(self.student, self.plan.states(0)) as heard:
            told = inner(model, batch)
        mask_BS = batch["attention_mask"].float()
        rows_B = batch["rows"].cpu().numpy()
        said = {k: v.to(mask_BS.device) for k, v in self.teacher.states(rows_B, mask_BS.shape[1]).items()}
        # Of a tweak that sends each row through twice, the first pass.
        mine = {name: value[: len(rows_B)] for name, value in heard.items()}
        return self.apart(mine, said, mask_BS) + (0.0 if self.alone else 1.0) * told

    def apart(self, mine: Mapping[str, Tensor], said: Mapping[str, Tensor], mask_BS: Tensor) -> Tensor:
        """The weighted distance, summed over rows; layers are added up, as in the papers."""
        plan, total = self.plan, mask_BS.new_zeros(())
        if plan.hidden:
            projection_HK = getattr(self.student, PROJECTION)
            for s, t in ((0, 0), *plan.pairs):
                total = total + plan.hidden * hidden_loss(
                    mine[f"hidden.{s}"], said[f"hidden.{t}"], projection_HK, mask_BS
                )
        if plan.attention:
            for s, t in plan.pairs:
                a = scores(mine[f"query.{s}"], mine[f"key.{s}"], plan.heads[0])
                b = scores(said[f"query.{t}"], said[f"key.{t}"], plan.heads[1])
                total = total + plan.attention * attention_loss(a, b, mask_BS)
        if plan.relations:
            s, t = plan.last
            for kind in ("query", "key", "value"):
                x, y = mine[f"{kind}.{s}"], said[f"{kind}.{t}"]
                total = total + plan.relations * relation_loss(x, y, plan.relation_heads, mask_BS)
        return total

    def finish(self, model: nn.Module) -> nn.Module:
        if self.plan.hidden:
            delattr(self.student, PROJECTION)
        return model


class LastWeights(Tweak):
    """The weights of the last evaluation win: a score on labels says nothing while no label is learned."""

    def __init__(self) -> None:
        self.last: dict[str, Tensor] = {}

    def after_eval(self, model: nn.Module, score: float) -> None:
        self.last = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def finish(self, model: nn.Module) -> nn.Module:
        model.load_state_dict(self.last)
        return model

    def state(self) -> Mapping[str, Tensor]:
        return self.last

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.last = dict(state)


def _projection(student: int, teacher: int) -> Tensor:
    """Where both are as wide it begins as the identity: a student made of its teacher is near it already."""
    if student == teacher:
        return torch.eye(student)
    return torch.randn(student, teacher) / student**0.5


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
