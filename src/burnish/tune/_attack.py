"""What attacks on the embeddings have in common: the same rows pass several times, each time moved a little further.

    ids ──► word embeddings ──(+)──► the rest of the model ──► loss ──┐
                               ▲                                      │ its gradient there, of real tokens, row by row
                               └───────────── move ◄──────────────────┘

Every pass draws the same dropout, so that a step is an attack on the very network that it was measured on. The passes
before the last give their gradients at once and are forgotten: memory is that of one pass and one more copy of the
gradients, however many there are. Nothing here touches `.grad`, which may hold what earlier micro-batches left.

It knows no kind of attack: a technique says where to begin, how to move, and how much each pass counts.

Shapes: B = rows, S = tokens, H = width of the word embeddings.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from burnish.errors import UsageError, problem
from burnish.train.parts import Facts
from burnish.train.tweak import Batch, Loss, Tweak
from burnish.tune._passes import Draws, bare
from burnish.words import say

__all__ = ["Attack", "Course", "lengths", "pulled_in", "unit"]

# From how far the embeddings are moved, the gradient there and which tokens are real: how far to move them now.
Move = Callable[[Tensor, Tensor, Tensor], Tensor]
# From the ids, which of them are real, the width H and the step: how far they are moved before the first pass.
Start = Callable[[Tensor, Tensor, int, int], Tensor]
# In fp16 small gradients vanish unless the loss is larger; 1 is for where they then grow too large. The loss is a sum
# over rows, so 1,024 here is what 32,768 is to the mean of 32.
HALF_SCALES = (1024.0, 1.0)
MARK = "burnish_attack"


@dataclass(frozen=True)
class Course:
    """How an attack goes on: the share of each pass in the loss, which add up to 1, and the way between them."""

    shares: tuple[float, ...]
    move: Move
    start: Start | None = None  # None: nowhere, so that the first pass is the plain one


class Attack(Tweak):
    """One run with an attack, under the name of its technique."""

    def __init__(self, name: str, facts: Facts, course: Course):
        self.name, self.course, self.step = name, course, 0
        special = facts.texts.special if facts.texts else ()
        self.special_K = torch.tensor(special, dtype=torch.long, device=facts.device)
        # Loss of the first and of the last pass, and weight of the rows, over the run.
        self.seen = torch.zeros(3, dtype=torch.float64, device=facts.device)

    def prepare(self, model: nn.Module) -> nn.Module:
        if hasattr(model, MARK):
            given = say("{name} beside {other}", name=self.name, other=getattr(model, MARK))
            raise UsageError(problem(given, say("one attack on the embeddings in a run"), say("leave one of them out")))
        embeddings_of(model)
        setattr(model, MARK, self.name)
        return model

    def before_step(self, model: nn.Module, step: int) -> None:
        self.step = step

    def loss(self, model: nn.Module, batch: Batch, inner: Loss) -> Tensor:
        if not torch.is_grad_enabled():
            return inner(model, batch)
        draws, moved, known = Draws(self.seen.device), _Moved(self), _Known()
        weights = [p for p in bare(model).parameters() if p.requires_grad]
        for share in self.course.shares[:-1]:
            draws.back()
            with moved.added(model):
                loss = inner(model, batch)
            known.add(loss, share, weights if share else (), moved)
        draws.back()
        with moved.added(model):
            last = inner(model, batch)
        first = known.first if known.first is not None else last.detach()
        self.seen += torch.stack([first, last.detach(), batch["weights"].sum()]).double()
        return known.total() + self.course.shares[-1] * last

    def finish(self, model: nn.Module) -> nn.Module:
        delattr(model, MARK)
        return model

    def state(self) -> Mapping[str, Tensor]:
        return {"seen": self.seen}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.seen = state["seen"].to(self.seen.device, copy=True) if state else torch.zeros_like(self.seen)

    def notes(self) -> dict[str, Any]:
        first, last, weight = self.seen.tolist()
        return {"attack_rise": round((last - first) / weight, 6) if weight else 0.0}


def embeddings_of(model: nn.Module) -> nn.Module:
    """The module that turns ids into word embeddings. Raises UsageError where there is none."""
    with contextlib.suppress(UsageError, NotImplementedError, AttributeError):
        found = bare(model).get_input_embeddings()  # type: ignore[operator]
        if isinstance(found, nn.Module):
            return found
    given = say("an attack on a model whose word embeddings cannot be found ({kind})", kind=type(model).__name__)
    raise UsageError(problem(given, say("a transformers model"), say("leave this technique out")))


class _Moved:
    """How far the embeddings are moved now: a tensor [B, S, H] for each time that one pass looks them up."""

    def __init__(self, attack: Attack):
        self.attack = attack
        self.parts: list[Tensor] = []
        self.real: list[Tensor] = []  # bool [B, S]
        self.at = 0

    @contextlib.contextmanager
    def added(self, model: nn.Module) -> Iterator[None]:
        """Within it, the model sees its embeddings moved."""
        self.at = 0
        handle = embeddings_of(model).register_forward_hook(self._add)
        try:
            yield
        finally:
            handle.remove()

    def _add(self, module: nn.Module, args: tuple[Tensor, ...], out_BSH: Tensor) -> Tensor:
        if self.at == len(self.parts):
            self._begin(args[0], out_BSH)
        self.at += 1
        return out_BSH + self.parts[self.at - 1]

    def _begin(self, ids_BS: Tensor, out_BSH: Tensor) -> None:
        real_BS = ~torch.isin(ids_BS, self.attack.special_K)
        part_BSH = torch.zeros_like(out_BSH)
        if self.attack.course.start:
            part_BSH += self.attack.course.start(ids_BS, real_BS, out_BSH.shape[2], self.attack.step)
        self.real.append(real_BS)
        self.parts.append(part_BSH.requires_grad_())

    def follow(self, gradients: Sequence[Tensor | None]) -> None:
        """Move on, given the gradient of each part; where a pass had no gradient, none was asked for."""
        for i, (part_BSH, found_BSH, real_BS) in enumerate(zip(self.parts, gradients, self.real, strict=True)):
            if found_BSH is not None:
                with torch.no_grad():
                    far_BSH = self.attack.course.move(part_BSH, clean(found_BSH, real_BS), real_BS)
                self.parts[i] = far_BSH.detach().requires_grad_()


class _Known:
    """The loss and the gradients of passes that are over, for the backward pass that is still to come."""

    def __init__(self) -> None:
        self.first: Tensor | None = None
        self.value: Tensor | None = None
        self.gradients: dict[nn.Parameter, Tensor] = {}

    def add(self, loss: Tensor, share: float, weights: Sequence[nn.Parameter], moved: _Moved) -> None:
        found = _gradients(loss, [*moved.parts, *weights])
        if self.first is None:
            self.first = loss.detach()
        if share:
            self.value = share * loss.detach() + (0.0 if self.value is None else self.value)
        for weight, gradient in zip(weights, found[len(moved.parts) :], strict=True):
            if gradient is not None:
                old = self.gradients.get(weight)
                self.gradients[weight] = share * gradient if old is None else old.add_(gradient, alpha=share)
        moved.follow(found[: len(moved.parts)])

    def total(self) -> Tensor | float:
        """Their loss; it hands the gradients on when it is asked for them."""
        if self.value is None:
            return 0.0
        told: Tensor = _Hand.apply(self.value, *self.gradients.keys(), *self.gradients.values())
        return told


class _Hand(torch.autograd.Function):
    """A number whose gradients for some parameters are known: forward(value, *parameters, *gradients)."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *both: Tensor) -> Tensor:
        ctx.save_for_backward(*both[len(both) // 2 :])
        return value.clone()

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.saved_tensors
        return None, *(above * g for g in gradients), *(None for _ in gradients)


def _gradients(loss: Tensor, wanted: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """At their true size, also where fp16 needs a larger loss on the way."""
    device = loss.device.type
    half = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) is torch.float16
    if not half:
        return torch.autograd.grad(loss, wanted, allow_unused=True)
    for scale in HALF_SCALES:
        last = scale == HALF_SCALES[-1]
        found = torch.autograd.grad(loss * scale, wanted, retain_graph=not last, allow_unused=True)
        if last or all(bool(torch.isfinite(g).all()) for g in found if g is not None):
            break
    return [None if g is None else g / scale for g in found]


# -- the maths that attacks share --------------------------------------------------------------------


def clean(gradient_BSH: Tensor, real_BS: Tensor) -> Tensor:
    """That of real tokens; 0 for all of a row in which it is not finite."""
    fine_B = torch.isfinite(gradient_BSH).flatten(1).all(1)
    return torch.where(real_BS[..., None] & fine_B[:, None, None], gradient_BSH, 0.0)


def lengths(x_BSH: Tensor) -> Tensor:
    """The Euclidean length of each row, over all its tokens, [B, 1, 1]."""
    return torch.linalg.vector_norm(x_BSH, dim=(1, 2), keepdim=True)


def unit(x_BSH: Tensor) -> Tensor:
    """Each row brought to length 1; one of zeros stays so."""
    # By the largest number first: the squares of small gradients would vanish.
    largest_B11 = x_BSH.abs().amax((1, 2), keepdim=True)
    even_BSH = torch.where(largest_B11 > 0, x_BSH / largest_B11, 0.0)
    return torch.where(largest_B11 > 0, even_BSH / lengths(even_BSH), 0.0)


def pulled_in(x_BSH: Tensor, radius: float) -> Tensor:
    """Each row as it is, or, where it is longer than `radius`, of that length."""
    length_B11 = lengths(x_BSH)
    return torch.where(length_B11 > radius, x_BSH * (radius / length_B11), x_BSH)
