"""What calibration rows give the layers to eat, summed up: enough for least squares, and for any error of a layer.

Padding is left out. Sums are in float64: such matrices are nearly singular, and what is built on them inverts them.

Shapes: B = rows of a batch, S = tokens, T = tokens that are no padding, K = inputs of a layer (and 1 for the bias).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from burnish.core import Row, Task, Work
from burnish.models import longest
from burnish.train.batches import collate
from burnish.train.evaluate import evaluating, pad_id_of
from burnish.train.objective import loss_rows
from burnish.train.prepare import data_of
from burnish.train.scale import Scale

__all__ = ["Batches", "calibration", "drawn", "fitting", "grams", "output_error", "task_loss", "with_one"]

Batches = list[dict[str, Tensor]]
SIZE = 32  # rows a batch
ROOM = 1 << 30  # bytes of sums held at a time


def drawn(work: Work, rows: int, rng: random.Random) -> list[Row]:
    """At most that many of the training rows."""
    return rng.sample(list(work.train), min(rows, len(work.train)))


def calibration(work: Work, rows: Sequence[Row]) -> Batches:
    """Inputs of the model by batch, rows of like length together, with "targets" as the loop has them."""
    data = data_of(work, rows, longest(work.model, work.tokenizer))
    encoded, targets = data.encoded, torch.from_numpy(data.targets)
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]["input_ids"]))
    parts = [order[i : i + SIZE] for i in range(0, len(order), SIZE)]
    pad_id = pad_id_of(work.tokenizer)
    return [{**collate([encoded[i] for i in part], pad_id), "targets": targets[part]} for part in parts]


@torch.no_grad()
def grams(model: nn.Module, names: Sequence[str], batches: Batches) -> dict[str, Tensor]:
    """For each of these linear layers the sum over tokens of x xᵀ, float64 [K, K], x with a 1 where it has a bias."""
    found: dict[str, Tensor] = {}

    def add(name: str, x_BSK: Tensor, mask_BS: Tensor) -> None:
        x_TK = with_one(x_BSK[mask_BS].double(), model.get_submodule(name))
        found[name] = found.get(name, 0) + x_TK.T @ x_TK

    with evaluating(model), _watched(model, names, add) as masks:
        for batch in batches:
            masks.append(batch["attention_mask"].bool())
            model(**{k: v for k, v in batch.items() if k != "targets"})
    return found


def task_loss(model: nn.Module, task: Task, batch: Mapping[str, Tensor], scale: Scale) -> Tensor:
    """The task's own loss on a batch of `calibration`, summed over its rows; regression in standard units."""
    outputs_BC = model(**{k: v for k, v in batch.items() if k != "targets"}).logits.float()
    targets = batch["targets"] if scale == Scale() else (batch["targets"] - scale.mean) / scale.std
    return loss_rows(task.objective, (outputs_BC - scale.mean) / scale.std, targets).sum()


def fitting(model: nn.Module, names: Sequence[str], *, copies: int = 1) -> list[list[str]]:
    """The names in order, as many together as have room for their matrices."""
    groups: list[list[str]] = []
    free = 0
    for name in names:
        need: int = 8 * copies * (model.get_submodule(name).in_features + 1) ** 2  # type: ignore[operator, assignment]
        if need > free:
            groups.append([])
            free = ROOM
        groups[-1].append(name)
        free -= need
    return groups


def with_one(x_TK: Tensor, layer: Any) -> Tensor:
    """A bias is the weight of an input that is always 1."""
    return x_TK if layer.bias is None else torch.cat([x_TK, x_TK.new_ones(len(x_TK), 1)], 1)


def output_error(change_OK: Tensor, w_OK: Tensor, gram_KK: Tensor) -> float:
    """||x changeᵀ||² / ||x wᵀ||² over the tokens behind `gram_KK`."""
    d_OK, w_OK = change_OK.double(), w_OK.double()
    return float(((d_OK @ gram_KK) * d_OK).sum() / ((w_OK @ gram_KK) * w_OK).sum().clamp(min=1e-300))


@contextmanager
def _watched(model: nn.Module, names: Sequence[str], see: Any) -> Iterator[list[Tensor]]:
    """Calls `see(name, input, mask)` for each layer that runs; the mask is the last one in the list it gives."""
    masks: list[Tensor] = []

    def hook(name: str) -> Any:
        def look(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            if args[0].shape[:2] == masks[-1].shape:  # DeBERTa asks some layers of its positions too
                see(name, args[0], masks[-1])

        return look

    handles = [model.get_submodule(name).register_forward_pre_hook(hook(name)) for name in names]
    try:
        yield masks
    finally:
        for handle in handles:
            handle.remove()
