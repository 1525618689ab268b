"""How much of a model there is: parameters, and bytes in memory or on disk.

A tensor that two layers share (tied embeddings) counts once, as it does in a safetensors file.
"""

from pathlib import Path
from typing import Any

__all__ = ["folder_size", "model_size"]


def model_size(model: Any) -> dict[str, int]:
    """{"parameters": trainable or frozen weights, "bytes": these and the buffers}, of a torch.nn.Module."""
    weights = {_place(p): p for p in model.parameters()}
    everything = weights | {_place(b): b for b in model.buffers()}
    return {
        "parameters": sum(p.numel() for p in weights.values()),
        "bytes": sum(t.numel() * t.element_size() for t in everything.values()),
    }


def _place(tensor: Any) -> tuple[Any, ...]:
    """What makes two tensors one: the same memory seen the same way. Empty or meta ones have no address."""
    address = tensor.data_ptr() if tensor.numel() and tensor.device.type != "meta" else id(tensor)
    return str(tensor.device), address, tensor.numel(), tensor.dtype


def folder_size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; a link counts as what it points to."""
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
