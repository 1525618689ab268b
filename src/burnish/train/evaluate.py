"""Outputs of a torch model on rows, the plain way: the reference that every fast path is compared with."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from burnish import heads, models
from burnish.core import Rows, Task
from burnish.tasks.windows import of_rows
from burnish.train.batches import Encoded, batch_order, collate, encode, encode_windows, exact_batches
from burnish.units import stacked

__all__ = ["model_outputs", "outputs_of_rows", "pad_id_of"]


def pad_id_of(tokenizer: Any) -> int:
    return int(tokenizer.pad_token_id or 0)


def outputs_of_rows(
    model: Any, tokenizer: Any, rows: Rows, max_length: int, *, bf16: bool = False, task: Task | None = None
) -> np.ndarray:
    """Outputs [N, C] as float32, in the order of `rows`; [N, W, C] for a task about words, which must be given."""
    if task is None or task.reads == "rows":
        return model_outputs(model, encode(tokenizer, rows, max_length), pad_id_of(tokenizer), bf16=bf16)
    encoded, layouts = encode_windows(tokenizer, rows, max_length, task.reads)
    found = model_outputs(model, encoded, pad_id_of(tokenizer), bf16=bf16)
    return heads.decoding(model, task).read(of_rows(task.reads, found, layouts))


def model_outputs(model: Any, encoded: Encoded, pad_id: int, *, bf16: bool = False, size: int = 32) -> np.ndarray:
    """Outputs [N, C] of encoded rows; [N, S, C] where the model answers for each token, FILL after a row's last.

    A model with dynamically quantized layers is fed rows of equal length only: its scales are taken over
    everything a row holds, and padding must not be part of that.
    """
    lengths_N = np.array([len(row["input_ids"]) for row in encoded])
    exact = models.precision(model) != "fp32"
    batches = exact_batches(lengths_N, size) if exact else batch_order(lengths_N, size, 0, 0)
    device = next(iter(model.state_dict().values())).device
    found: dict[int, np.ndarray] = {}
    with evaluating(model), torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for batch in batches:
            inputs = {k: v.to(device) for k, v in collate([encoded[i] for i in batch], pad_id).items()}
            outputs = model(**inputs).logits.float().cpu().numpy()
            found.update(zip(batch.tolist(), outputs, strict=True))
    return stacked([found[i] for i in range(len(encoded))], lengths_N)


@contextlib.contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Eval mode, and back to what it was."""
    was = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was)
