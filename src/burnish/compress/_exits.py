"""A model whose rows leave early: heads after chosen layers, and a stack of layers that lets go of rows.

    rows ──► embeddings ──► layers ──► head ──► layers ──► head ──► layers ──► the model's own head
                                        │                  │
                                   sure enough:       sure enough:
                                   out, and not computed any further

The code of the model's family stays as it is: its list of layers is exchanged for one that hands each layer out in a
wrapper, and two hooks of the model begin and end every pass. The same list cuts the model into segments for export.

Shapes: B = rows, S = tokens, H = width, C = outputs, n = rows still here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from burnish.errors import UsageError, problem
from burnish.measure.exits import Rule
from burnish.models import family
from burnish.words import say

__all__ = ["Exits", "Segment", "attach", "detach", "segments"]

# Arguments of a layer that all rows share; every other tensor with one entry a row is cut with the rows.
SHARED = ("rel_embeddings",)
# A head's inner width, as FastBERT's: every row pays for every head that it passes.
NARROW = 128


class Head(nn.Module):
    """Outputs [B, C] from the hidden states after a layer: those of the first token, and the mean of all."""

    def __init__(self, width: int, outputs: int):
        super().__init__()
        narrow = min(width, NARROW)
        self.dense = nn.Linear(2 * width, narrow)
        self.dropout = nn.Dropout(0.1)
        self.out = nn.Linear(narrow, outputs)

    def forward(self, hidden_BSH: Tensor, mask_BS: Tensor) -> Tensor:
        weight_BS1 = mask_BS[:, :, None].to(hidden_BSH.dtype)
        mean_BH = (hidden_BSH * weight_BS1).sum(1) / weight_BS1.sum(1).clamp(min=1)
        pooled = torch.cat([hidden_BSH[:, 0], mean_BH], 1)
        return self.out(self.dropout(self.dense(pooled).tanh()))


@dataclass
class Holder:
    """What the list of layers and the exits share: the pass that is under way, if any."""

    now: "Through | Slice | None" = None


class Stack(nn.ModuleList):
    """A list of layers; while a pass is under way, who goes through it meets what that pass hands out."""

    def __init__(self, layers: Any = None, holder: Holder | None = None):
        super().__init__(layers)
        self.holder = holder or Holder()

    def __iter__(self) -> Iterator[Any]:
        plain = super().__iter__()
        return plain if self.holder.now is None else self.holder.now.through(list(plain))


class Layer:
    """A layer that is called another way, and otherwise is that layer."""

    def __init__(self, layer: nn.Module, call: Callable[..., Any]):
        self.layer, self.call = layer, call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # what the family's encoder gives its layers
        return self.call(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name)


class Exits(nn.Module):
    """A head after each of `layers` (counted from 1), and the rule.

    `mode`: leave, as served; hear: nobody leaves, and `heard` keeps what each head would see; average: nobody leaves,
    and the model answers with the mean of all heads, which tells how well they learn. `left` counts the rows by exit,
    the last entry those that went to the end.
    """

    def __init__(self, width: int, outputs: int, layers: Sequence[int], rule: Rule, holder: Holder):
        super().__init__()
        self.heads = nn.ModuleList(Head(width, outputs) for _ in layers)
        self.layers, self.rule, self.holder = tuple(layers), rule, holder
        self.mode = "leave"
        self.left = [0] * (len(layers) + 1)
        self.heard: list[Tensor] = []

    def begin(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if model.training and self.mode == "leave":
            given = say("training a model with early exits")
            expected = say("a model without: its exits were fitted to the weights it has, and measured with them")
            raise UsageError(problem(given, expected, say("put compress/early_exit after every step that trains")))
        ids_BS = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        mask_BS = kwargs.get("attention_mask")
        self.holder.now = Through(self, torch.ones_like(ids_BS) if mask_BS is None else mask_BS)

    def end(self, model: nn.Module, args: Any, output: Any) -> None:
        """Also called when the model raised; `output` is then None."""
        now, self.holder.now = self.holder.now, None
        if output is None or not isinstance(now, Through):
            return
        if self.mode == "leave":
            output.logits = now.answers(output.logits)
            self.left = [a + b for a, b in zip(self.left, now.left(), strict=True)]
        elif self.mode == "average":
            output.logits = torch.stack([*self.outputs(now.seen, now.mask_BS), output.logits]).mean(0)
        self.heard = now.seen if self.mode == "hear" else []

    def hear(self, model: nn.Module, inputs: dict[str, Tensor]) -> tuple[list[Tensor], Tensor]:
        """Outputs [B, C] of every head, and of the model, for rows that all go to the end."""
        was, self.mode = self.mode, "hear"
        try:
            final_BC = model(**inputs).logits
        finally:
            self.mode = was
        heard, self.heard = self.heard, []
        return heard, final_BC

    def outputs(self, heard: Sequence[Tensor], mask_BS: Tensor) -> list[Tensor]:
        return [head(hidden_BSH, mask_BS) for head, hidden_BSH in zip(self.heads, heard, strict=True)]


class Through:
    """One batch on its way through the layers. Who has left is not computed any further."""

    def __init__(self, exits: Exits, mask_BS: Tensor):
        self.exits, self.mask_BS, self.rows = exits, mask_BS, len(mask_BS)
        self.here_n = torch.arange(self.rows, device=mask_BS.device)
        self.hidden_nSH: Tensor | None = None
        self.said: list[np.ndarray] = []  # [n, C] by exit, of the rows still here
        self.gone: list[tuple[Tensor, Tensor]] = []  # rows and their outputs, by exit
        self.seen: list[Tensor] = []

    def through(self, layers: Sequence[nn.Module]) -> Iterator[Layer]:
        for number, layer in enumerate(layers, 1):
            yield Layer(layer, partial(self.run, layer, number, number == len(layers)))
            if not len(self.here_n):
                return

    def run(self, layer: nn.Module, number: int, last: bool, hidden_BSH: Tensor, *args: Any, **kwargs: Any) -> Any:
        given = hidden_BSH if self.hidden_nSH is None else self.hidden_nSH
        named = {name: value if name in SHARED else self.mine(value) for name, value in kwargs.items()}
        found = layer(given, *(self.mine(value) for value in args), **named)
        self.hidden_nSH = found if isinstance(found, Tensor) else found[0]
        if number in self.exits.layers:
            self.look(self.exits.layers.index(number))
        # In between, the encoder only hands it on, and what is here stands in its place.
        whole = self.whole(hidden_BSH) if last or not len(self.here_n) else hidden_BSH
        return whole if isinstance(found, Tensor) else (whole, *found[1:])

    def mine(self, value: Any) -> Any:
        """The part of an argument that belongs to the rows still here."""
        if isinstance(value, tuple | list):
            return type(value)(self.mine(v) for v in value)
        if len(self.here_n) == self.rows or not isinstance(value, Tensor) or value.dim() < 2:
            return value
        return value[self.here_n] if len(value) == self.rows else value

    def look(self, exit_: int) -> None:
        assert self.hidden_nSH is not None
        if self.exits.mode != "leave":
            self.seen.append(self.hidden_nSH)
            return
        outputs_nC = self.exits.heads[exit_](self.hidden_nSH, self.mine(self.mask_BS))
        self.said.append(outputs_nC.detach().float().cpu().numpy())
        leaves_n = self.exits.rule.leaves(self.said)
        go_n = torch.from_numpy(leaves_n).to(self.here_n.device)
        self.gone.append((self.here_n[go_n], outputs_nC[go_n]))
        if leaves_n.any():
            self.here_n, self.hidden_nSH = self.here_n[~go_n], self.hidden_nSH[~go_n]
            self.said = [outputs_nC[~leaves_n] for outputs_nC in self.said]

    def whole(self, like_BSH: Tensor) -> Tensor:
        """Hidden states of all B rows for the model's own head; those of rows that left mean nothing."""
        assert self.hidden_nSH is not None
        if len(self.here_n) == self.rows:
            return self.hidden_nSH
        return like_BSH.index_copy(0, self.here_n, self.hidden_nSH.to(like_BSH.dtype))

    def answers(self, final_BC: Tensor) -> Tensor:
        for rows, outputs in self.gone:
            final_BC = final_BC.index_copy(0, rows, outputs.to(final_BC.dtype))
        return final_BC

    def left(self) -> list[int]:
        counts = [len(rows) for rows, _ in self.gone]
        return [*counts, *[0] * (len(self.exits.layers) - len(counts)), len(self.here_n)]


# -- in and out of a model ------------------------------------------------------------------------------


def attach(model: Any, layers: Sequence[int], rule: Rule, outputs: int) -> Exits:
    """Give `model` exits after `layers`, in place, with fresh heads."""
    holder = Holder()
    exits = Exits(model.config.hidden_size, outputs, layers, rule, holder)
    path = family(model).layers
    _put(model, path, Stack(list(model.get_submodule(path)), holder))
    # First among the children, so that the last linear layer is still the model's own head.
    model._modules = {"exits": exits.to(next(iter(model.state_dict().values())).device), **model._modules}
    model.register_forward_pre_hook(exits.begin, with_kwargs=True)
    model.register_forward_hook(exits.end, always_call=True)
    return exits.train(model.training)


def detach(model: Any) -> None:
    """Take the exits away, in place: every row goes to the end."""
    exits, path = model.exits, family(model).layers
    for hooks in (model._forward_hooks, model._forward_pre_hooks):
        for key in [k for k, hook in hooks.items() if getattr(hook, "__self__", None) is exits]:
            del hooks[key]
    _put(model, path, nn.ModuleList(list(model.get_submodule(path))))
    del model.exits


def _put(model: nn.Module, path: str, made: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, made)


# -- for export ----------------------------------------------------------------------------------------


class Slice:
    """A pass through layers `first` to `last` (not included) alone, beginning with the hidden states given."""

    def __init__(self, first: int, last: int, hidden_BSH: Tensor | None):
        self.first, self.last, self.hidden_BSH = first, last, hidden_BSH

    def through(self, layers: Sequence[nn.Module]) -> Iterator[Layer]:
        return (Layer(layer, partial(self.run, layer)) for layer in layers[self.first : self.last])

    def run(self, layer: nn.Module, hidden_BSH: Tensor, *args: Any, **kwargs: Any) -> Any:
        found = layer(hidden_BSH if self.hidden_BSH is None else self.hidden_BSH, *args, **kwargs)
        self.hidden_BSH = found if isinstance(found, Tensor) else found[0]
        return found


class Segment(nn.Module):
    """From one exit to the next: ([hidden states], inputs) -> (outputs [B, C], hidden states), or outputs at the end.

    Everything in front of the layers is traced too, since masks come from there; what nobody uses falls away.
    """

    def __init__(self, model: Any, inputs: Sequence[str], first: int, last: int, head: nn.Module | None):
        super().__init__()
        self.model, self.inputs, self.first, self.last, self.head = model, tuple(inputs), first, last, head

    def forward(self, *tensors: Tensor) -> Any:
        hidden = tensors[0] if self.first else None
        inputs = dict(zip(self.inputs, tensors[-len(self.inputs) :], strict=True))
        now = Slice(self.first, self.last, hidden)
        holder = self.model.get_submodule(family(self.model).layers).holder
        holder.now = now
        try:
            final_BC = self.model(**inputs).logits
        finally:
            holder.now = None
        if self.head is None:
            return final_BC
        return self.head(now.hidden_BSH, inputs["attention_mask"]), now.hidden_BSH


def segments(model: Any, inputs: Sequence[str]) -> list[Segment]:
    """`model`, a copy that belongs to the caller, cut after each exit."""
    exits = model.exits
    for hooks in (model._forward_hooks, model._forward_pre_hooks):
        hooks.clear()
    ends = [*exits.layers, len(model.get_submodule(family(model).layers))]
    heads = [*exits.heads, None]
    return [
        Segment(model, inputs, first, last, head).eval()
        for first, last, head in zip([0, *ends], ends, heads, strict=False)
    ]
