"""Windowed attention for long documents: each token sees its neighbours and the first token, so cost grows linearly.

Paper: Beltagy, Peters, Cohan, "Longformer: The Long-Document Transformer", 2020, arXiv:2004.05150: the window, the
dilation, the global first token, which sees all tokens and is seen by all, and the positions of a pretrained encoder
copied over and over until the longer text has enough.
Differs from it: the global token uses the projections that are there, not a second set; with `dilation` above 1 the
second half of the heads is dilated, in every layer; blocks are gathered and multiplied with plain operators, so that
the model trains, exports to ONNX and is served as any other.

When it helps: documents much longer than the window. Up to half a window plus one tokens the answers are exactly
those of full attention (without dilation).
What it costs: quality where far tokens matter, most of it won back by tuning on the long rows (tune/finetune after
this step). A row shorter than the window is computed as a whole window in ONNX, so short rows get slower.
Comes before the last tuning and before compress/int8. BERT, RoBERTa and ELECTRA shapes.

Shapes: B = rows, S = tokens, H = heads, D = head size, L = lanes (the dilation), N = blocks of a lane,
R = tokens that ask in a block, T = tokens that they may see.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from burnish.core import Rng, Work
from burnish.errors import UsageError, problem
from burnish.models import FAMILIES, add_structure, family, layers
from burnish.train.prepare import bounded
from burnish.words import say

__all__ = ["LongAttention"]

# Families whose `attention` gives (context, weights) and leaves the output layer to another module.
KNOWN = ("bert", "roberta", "xlm-roberta", "camembert", "electra")


@dataclass(frozen=True)
class LongAttention:
    max_length: int = 1024  # tokens a row may have from now on
    window: int = 256  # neighbours a token sees, half of them on each side
    dilation: int = 1  # the second half of the heads sees every so-manieth token; 1: none is left out

    def __post_init__(self) -> None:
        for name, value, good, expected in (
            ("max_length", self.max_length, self.max_length >= 2, say("2 or more")),
            ("window", self.window, self.window >= 2 and self.window % 2 == 0, say("an even number, 2 or more")),
            ("dilation", self.dilation, self.dilation >= 1, say("1 or more")),
        ):
            if not good:
                given = say("{name} {value}", name=name, value=value)
                raise UsageError(problem(given, expected, f"compress/long_attention:{name}=..."))

    def __call__(self, work: Work, rng: Rng) -> Work:
        _check(work.model)
        model = copy.deepcopy(work.model).eval()
        before = _positions(model).num_embeddings - family(model).position_offset
        if self.max_length > before:
            _extend(model, self.max_length)
        facts = {"window": self.window, "dilation": self.dilation}
        restore(model, facts)
        add_structure(model, "compress/long_attention", facts)
        notes = {
            "positions_before": before,
            "positions": max(before, self.max_length),
            "attention_share": products(self.max_length, self.window) / self.max_length**2,
        }
        return replace(work, model=model, tokenizer=bounded(work.tokenizer, self.max_length), notes=notes)


# -- the maths -----------------------------------------------------------------------------------------


def products(tokens: int, window: int) -> int:
    """Pairs of tokens that are multiplied for a row, in place of tokens²."""
    blocks, block = _blocks(tokens, window // 2, 1)
    return blocks * block * (block + window + 1) + tokens


def windowed(
    q_BHSD: Tensor, k_BHSD: Tensor, v_BHSD: Tensor, mask_BS: Tensor | None, reach: int, dilation: int, drop: nn.Module
) -> Tensor:
    """Attention [B, H, S, D] of scaled queries; `mask_BS` is true where a token is not padding.

    A token sees those at most `reach` steps of `dilation` tokens away, and the first one; the first one sees all.
    """
    length = q_BHSD.shape[2]
    asked_NLR, seen_NLT, near_NLRT = _places(length, reach, dilation, q_BHSD.device)
    least = torch.finfo(q_BHSD.dtype).min
    k_BHNLTD, v_BHNLTD = k_BHSD[:, :, seen_NLT], v_BHSD[:, :, seen_NLT]
    q_BHNLRD = q_BHSD[:, :, asked_NLR]
    scores = (q_BHNLRD @ k_BHNLTD.transpose(-1, -2)).masked_fill(~near_NLRT, least)
    if mask_BS is not None:
        scores = scores.masked_fill(~mask_BS[:, seen_NLT][:, None, :, :, None, :], least)
    k_first, v_first = k_BHSD[:, :, None, None, :1], v_BHSD[:, :, None, None, :1]
    to_first = q_BHNLRD @ k_first.transpose(-1, -2)
    share = drop(torch.cat([to_first, scores], -1).softmax(-1))
    found = share[..., :1] * v_first + share[..., 1:] @ v_BHNLTD
    places_S = torch.arange(length, device=q_BHSD.device)
    # Not a slice: that blocks times their size cover the length is true, and not for torch.export to prove.
    found_BHSD = found.transpose(-3, -2).flatten(2, 4).index_select(2, places_S)
    return torch.where(places_S[:, None] == 0, _first_token(q_BHSD, k_BHSD, v_BHSD, mask_BS, drop), found_BHSD)


def _blocks(length: int, reach: int, dilation: int) -> tuple[int, int]:
    """How many blocks there are in each lane, and how many tokens a block has.

    Always two or more: a graph traced with one block would be a graph for one block.
    """
    block = (reach + 1) // 2
    return 2 * ((length + 2 * block * dilation - 1) // (2 * block * dilation)), block


def _places(length: int, reach: int, dilation: int, device: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens that ask [N, L, R] and that are seen [N, L, T], all within the row, and which pairs count [N, L, R, T].

    Tokens `dilation` apart make a row of their own, a lane, which is cut into blocks; those of a block see it and as
    far as `reach` to both sides of it.
    """
    blocks, block = _blocks(length, reach, dilation)
    start_N = torch.arange(blocks, device=device) * block
    lane_L = torch.arange(dilation, device=device)
    asks_NR = start_N[:, None] + torch.arange(block, device=device)
    sees_NT = start_N[:, None] + torch.arange(-reach, block + reach, device=device)
    seen_NLT = sees_NT[:, None] * dilation + lane_L[:, None]
    asked_NLR = asks_NR[:, None] * dilation + lane_L[:, None]
    near_NRT = (asks_NR[:, :, None] - sees_NT[:, None]).abs() <= reach
    # The first token has a place of its own beside the window, and must not count twice.
    there_NLT = (seen_NLT > 0) & (seen_NLT < length)
    near_NLRT = near_NRT[:, None] & there_NLT[:, :, None]
    return asked_NLR.clamp(max=length - 1), seen_NLT.clamp(min=0, max=length - 1), near_NLRT


def _first_token(q_BHSD: Tensor, k_BHSD: Tensor, v_BHSD: Tensor, mask_BS: Tensor | None, drop: nn.Module) -> Tensor:
    """What the first token sees, [B, H, 1, D]."""
    scores_BH1S = q_BHSD[:, :, :1] @ k_BHSD.transpose(-1, -2)
    if mask_BS is not None:
        scores_BH1S = scores_BH1S.masked_fill(~mask_BS[:, None, None], torch.finfo(q_BHSD.dtype).min)
    return drop(scores_BH1S.softmax(-1)) @ v_BHSD


class Windowed(nn.Module):
    """A layer's attention; query, key and value stay where they were."""

    query: nn.Module
    key: nn.Module
    value: nn.Module
    dropout: nn.Module

    def __init__(self, old: nn.Module, window: int, dilation: int):
        super().__init__()
        for name in ("query", "key", "value", "dropout"):
            self.add_module(name, old.get_submodule(name))
        self.attention_head_size = old.attention_head_size
        self.num_attention_heads, self.all_head_size = old.num_attention_heads, old.all_head_size
        self.reach, self.dilation = window // 2, dilation
        self.old = (old,)  # for the way back; in a tuple, so that it is not saved

    def forward(self, hidden_BSW: Tensor, attention_mask: Tensor | None = None, **_: Any) -> tuple[Tensor, None]:
        """`attention_mask` is [B, 1, 1, S]: see `_flat_mask`."""
        size = int(self.attention_head_size)  # type: ignore[arg-type]
        shape = (*hidden_BSW.shape[:-1], -1, size)
        q, k, v = (part(hidden_BSW).view(shape).transpose(1, 2) for part in (self.query, self.key, self.value))
        mask_BS = None if attention_mask is None else attention_mask[:, 0, 0].bool()
        q = q * size**-0.5
        plain = q.shape[1] if self.dilation == 1 else q.shape[1] // 2
        groups = [(slice(0, plain), 1), (slice(plain, None), self.dilation)][: 1 if self.dilation == 1 else 2]
        parts = [
            windowed(q[:, heads], k[:, heads], v[:, heads], mask_BS, self.reach, dilation, self.dropout)
            for heads, dilation in groups
        ]
        return torch.cat(parts, 1).transpose(1, 2).flatten(2), None


def _flat_mask(base: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Give the mask in the form that transformers hands through: it would build one of S² entries otherwise."""
    mask_BS = kwargs.get("attention_mask")
    if mask_BS is not None and mask_BS.dim() == 2:
        kwargs = {**kwargs, "attention_mask": mask_BS[:, None, None]}
    return args, kwargs


# -- positions -----------------------------------------------------------------------------------------


def copied(table_PW: Tensor, offset: int, length: int) -> Tensor:
    """Positions for `length` tokens: the first `offset` rows once, then the others again and again."""
    own = table_PW[offset:]
    times = -(-length // len(own))
    return torch.cat([table_PW[:offset], own.repeat(times, 1)[:length]])


def _extend(model: Any, length: int) -> None:
    offset, old = family(model).position_offset, _positions(model)
    made = nn.Embedding.from_pretrained(copied(old.weight.data, offset, length), freeze=False)
    made.padding_idx = old.padding_idx
    parts = _embeddings(model)
    parts.position_embeddings = made
    total = length + offset
    parts.position_ids = nn.Buffer(torch.arange(total).expand(1, -1), persistent=False)
    if hasattr(parts, "token_type_ids"):
        parts.token_type_ids = nn.Buffer(torch.zeros(1, total, dtype=torch.long), persistent=False)
    model.config.max_position_embeddings = total


def _embeddings(model: Any) -> Any:
    return getattr(model, model.base_model_prefix).embeddings


def _positions(model: Any) -> Any:
    return _embeddings(model).position_embeddings


# -- the structure -------------------------------------------------------------------------------------


def restore(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Exchange the attention of every layer, in place; the weights stay the same modules."""
    for layer in dict.fromkeys(layers(model)):
        made = Windowed(layer.attention.self, int(facts["window"]), int(facts["dilation"]))
        layer.attention.self = made.train(model.training)
    base = getattr(model, str(model.base_model_prefix))
    base.register_forward_pre_hook(_flat_mask, with_kwargs=True)


def to_float(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Full attention again, in place, with the weights and the longer table of positions as they are now."""
    for layer in dict.fromkeys(layers(model)):
        made = layer.attention.self
        old = made.old[0]
        old.query, old.key, old.value = made.query, made.key, made.value
        old.num_attention_heads, old.all_head_size = made.num_attention_heads, made.all_head_size
        layer.attention.self = old
    base = getattr(model, str(model.base_model_prefix))
    for key in [k for k, hook in base._forward_pre_hooks.items() if hook is _flat_mask]:
        del base._forward_pre_hooks[key]


def _check(model: Any) -> None:
    kind, used = model.config.model_type, [p["use"] for p in getattr(model, "burnish_structure", ())]
    refused = (
        (
            kind not in KNOWN,
            say("a model of type '{kind}'", kind=kind),
            say("one of: {known}", known=", ".join(k for k in FAMILIES if k in KNOWN)),
        ),
        ("compress/long_attention" in used, say("windowed attention already"), say("one compress/long_attention")),
        (
            type(getattr(_embeddings(model), "position_embeddings", None)) is not nn.Embedding,
            say("a table of positions that is quantized"),
            say("a float model: put compress/long_attention before the step that quantizes"),
        ),
    )
    for wrong, given, expected in refused:
        if wrong:
            raise UsageError(problem(given, expected, say("leave compress/long_attention out")))
