"""What a teacher says of rows: its outputs and the states inside its layers, asked once and kept on disk.

A state is named by its kind and its layer, counted from 1: 'hidden.3' is what layer 3 gives on (hidden.0: what layer 1
is given), 'query.3', 'key.3' and 'value.3' are what its attention is made of. States are kept by token, without
padding, so that a file holds no more than was said, and who shared a batch never matters.

Shapes: N = rows, B = rows of a batch, S = tokens of the longest, T = tokens of all rows, H = width, C = outputs.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from burnish import models
from burnish.core import FILL, Rows, Task, desk
from burnish.errors import UsageError, problem
from burnish.runs import write_bytes
from burnish.train.batches import Encoded, collate, exact_batches
from burnish.train.evaluate import evaluating, pad_id_of
from burnish.train.prepare import encoded_of
from burnish.words import say

__all__ = ["Teacher", "listening", "outputs_of_saved", "padded"]

CHUNK_TOKENS = 8192  # in one file, and in memory at once
MOST_BYTES = 4 << 30  # of states on disk; a teacher who would say more is asked again for each batch
SIZE = 32  # rows of a forward pass


class Teacher:
    """One model and the rows it is asked about. Chunks of rows are asked when first needed.

    Everything it says goes through the same files and the same batches, whenever it is asked: a run that was killed
    hears the same bits.
    """

    def __init__(
        self, model: Any, encoded: Encoded, pad_id: int, wanted: Sequence[str], folder: Path, *, bf16: bool = False
    ):
        self.model, self.encoded, self.pad_id, self.wanted, self.bf16 = model, encoded, pad_id, tuple(wanted), bf16
        self.lengths_N = np.array([len(row["input_ids"]) for row in encoded])
        self.starts = _chunk_starts(self.lengths_N)
        self.folder = folder / _key(model, encoded, self.wanted, bf16)
        width = getattr(model.config, "hidden_size", 768)
        self.keeps = 4 * int(self.lengths_N.sum()) * width * len(self.wanted) <= MOST_BYTES
        self.files: dict[int, Any] = {}

    def outputs(self) -> Tensor:
        """Outputs [N, C]."""
        found = []
        for chunk in range(len(self.starts) - 1):
            found.append(self._file(chunk).get_tensor("outputs"))
            desk().report(say("asking the teacher"), self.starts[chunk + 1] / len(self.encoded), {})
        return torch.cat(found)

    def states(self, rows_B: np.ndarray, width: int) -> dict[str, Tensor]:
        """Each wanted state of these rows [B, S, H] for S = `width`, zero after the end of a row."""
        lengths_B = self.lengths_N[rows_B]
        said = self._kept(rows_B) if self.keeps else self._ask(rows_B)
        return {name: padded(said[name], lengths_B, width) for name in self.wanted}

    def _kept(self, rows_B: np.ndarray) -> dict[str, Tensor]:
        parts: dict[str, list[Tensor]] = {name: [] for name in self.wanted}
        for row in rows_B.tolist():
            chunk = int(np.searchsorted(self.starts, row, side="right")) - 1
            begin = int(self.lengths_N[self.starts[chunk] : row].sum())
            file = self._file(chunk)
            for name in self.wanted:
                parts[name].append(file.get_slice(name)[begin : begin + int(self.lengths_N[row])])
        return {name: torch.cat(part) for name, part in parts.items()}

    def _file(self, chunk: int) -> Any:
        """The file of a chunk, written when it is not there yet."""
        if chunk not in self.files:
            path = self.folder / f"{chunk:05d}.safetensors"
            if not path.is_file():
                said = self._ask(np.arange(self.starts[chunk], self.starts[chunk + 1]))
                if not self.keeps:
                    said = {"outputs": said["outputs"]}
                write_bytes(path, to_bytes(said))
            self.files[chunk] = safe_open(path, "pt")
        return self.files[chunk]

    def _ask(self, rows_M: np.ndarray) -> dict[str, Tensor]:
        """'outputs' [M, C], and each wanted state by token [T, H], in the order of `rows_M`."""
        device = next(iter(self.model.state_dict().values())).device
        found: dict[int, dict[str, Tensor]] = {}
        with (
            evaluating(self.model),
            torch.no_grad(),
            torch.autocast(device.type, torch.bfloat16, enabled=self.bf16),
            listening(self.model, self.wanted) as heard,
        ):
            for batch in exact_batches(self.lengths_N[rows_M], SIZE):  # no padding, so nothing to leave out
                inputs = collate([self.encoded[rows_M[i]] for i in batch], self.pad_id)
                outputs_BC = self.model(**{k: v.to(device) for k, v in inputs.items()}).logits
                for place, i in enumerate(batch.tolist()):
                    said = {"outputs": outputs_BC[place : place + 1]} | {n: heard[n][place] for n in self.wanted}
                    found[i] = {name: value.float().cpu() for name, value in said.items()}
        said = {name: torch.cat([found[i][name] for i in range(len(rows_M))]) for name in self.wanted}
        return {"outputs": self._joined([found[i]["outputs"] for i in range(len(rows_M))]), **said}

    def _joined(self, outputs: Sequence[Tensor]) -> Tensor:
        """Outputs [1, C] of rows as [M, C]; [1, S, C] of their tokens as [M, S, C], FILL after the last of each."""
        if outputs[0].ndim == 2:
            return torch.cat(list(outputs))
        width = int(self.lengths_N.max())
        return torch.cat([F.pad(own, (0, 0, 0, width - own.shape[1]), value=FILL) for own in outputs])


def padded(said_TH: Tensor, lengths_B: Sequence[int] | np.ndarray, width: int) -> Tensor:
    """Rows of tokens one after the other [T, H] as [B, S, H] for S = `width`, zero after the end of each."""
    made_BSH = said_TH.new_zeros(len(lengths_B), width, said_TH.shape[1])
    for i, row in enumerate(said_TH.split([int(n) for n in lengths_B])):
        made_BSH[i, : len(row)] = row
    return made_BSH


@contextlib.contextmanager
def listening(model: Any, wanted: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """What the layers of `model` say in its last forward pass, by name; gradients go through it.

    Layers are counted as they run, so one that stands at several depths is heard at each.
    """
    heard: dict[str, Tensor] = {}
    if not wanted:
        yield heard
        return
    place = models.family(model)
    layers = list(model.get_submodule(place.layers))
    now = [0]
    handles = []

    def begins(layer: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        now[0] = now[0] % len(layers) + 1
        if now[0] == 1:
            heard.clear()
            heard["hidden.0"] = inputs[0] if inputs else named["hidden_states"]

    def hears(*kinds: str) -> Callable[[nn.Module, Any, Any], None]:
        def hear(module: nn.Module, inputs: Any, output: Any) -> None:
            value = output[0] if isinstance(output, tuple) else output
            for kind, part in zip(kinds, value.chunk(len(kinds), -1), strict=True):
                heard.setdefault(f"{kind}.{now[0]}", part)  # DeBERTa asks the same layers of positions, later

        return hear

    for layer in dict.fromkeys(layers):
        handles.append(layer.register_forward_pre_hook(begins, with_kwargs=True))
        handles.append(layer.register_forward_hook(hears("hidden")))
        for kind in ("query", "key", "value") if not place.qkv else ():
            handles.append(layer.get_submodule(getattr(place, kind)).register_forward_hook(hears(kind)))
        if place.qkv:
            handles.append(layer.get_submodule(place.qkv).register_forward_hook(hears("query", "key", "value")))
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def outputs_of_saved(
    place: str, task: Task, rows: Rows, max_length: int, folder: Path, *, bf16: bool = False
) -> Tensor:
    """Outputs [N, C], in the order of the task's labels, of a model that burnish saved; its own tokenizer reads."""
    found = next((p for p in (Path(place), Path(place) / "artifact") if (p / "model.safetensors").is_file()), None)
    if found is None:
        given = say("'{place}' holds no saved model", place=place)
        expected = say("a folder with config.json and model.safetensors, such as RUN/works/KEY")
        raise UsageError(problem(given, expected, say("the works folder of a run has the model of each step")))
    model, tokenizer = models.load_saved(found)
    order = _order_of_labels(model.config, task, place)
    encoded = encoded_of(tokenizer, task, rows, min(max_length, models.longest(model, tokenizer)))
    return Teacher(model, encoded, pad_id_of(tokenizer), (), folder, bf16=bf16).outputs()[..., order]


def _order_of_labels(config: Any, task: Task, place: str) -> list[int]:
    names = [str(config.id2label[i]) for i in range(config.num_labels)]
    if task.labels and set(names) == set(task.labels):
        return [names.index(label) for label in task.labels]
    nameless = not task.labels or all(name.startswith("LABEL_") for name in names)
    if len(names) == task.width and nameless:
        return list(range(task.width))
    given = say("the labels of '{place}' are {names}", place=place, names=", ".join(names[:6]))
    expected = say("those of the data: {labels}", labels=", ".join(task.labels[:6]))
    raise UsageError(problem(given, expected, say("a teacher that was tuned for this task")))


def _chunk_starts(lengths_N: np.ndarray) -> list[int]:
    """Row numbers at which chunks of about CHUNK_TOKENS begin, and N."""
    chunk_N = (np.cumsum(lengths_N) - lengths_N) // CHUNK_TOKENS
    return [*np.unique(chunk_N, return_index=True)[1].tolist(), len(lengths_N)]


def _key(model: nn.Module, encoded: Encoded, wanted: Sequence[str], bf16: bool) -> str:
    """Hash of all that decides what is said."""
    digest = hashlib.sha256(json.dumps([encoded, list(wanted), bf16, CHUNK_TOKENS]).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
