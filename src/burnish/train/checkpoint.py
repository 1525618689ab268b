"""Checkpoints that survive a kill at any moment: safetensors and JSON, verified before they are used.

A checkpoint is a folder `step-000120/`. It is written under another name, every file is forced to disk, a
manifest with sizes and hashes comes last, and one rename makes it real. The one before is deleted only
after that. A reader takes the newest that verifies.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from burnish.runs import disk_errors, file_hash, sync_folder

__all__ = ["newest", "pack_optimizer", "save", "unpack_optimizer"]


def save(folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> Path:
    """Write `tensors` (file name -> tensors) and `state` (JSON) as the checkpoint of `step`.

    Raises Missing when the disk is full; older checkpoints are then untouched.
    """
    target, temporary = folder / f"step-{step:08d}", folder / f".step-{step:08d}.tmp"
    with disk_errors(target):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            for name, group in tensors.items():
                # Through bytes: safetensors' own writer hides ENOSPC in an exception of another type.
                content = to_bytes({k: v.detach().contiguous() for k, v in group.items()})
                (temporary / f"{name}.safetensors").write_bytes(content)
            (temporary / "state.json").write_text(json.dumps(state))
            hashes = {p.name: file_hash(p) for p in sorted(temporary.iterdir())}
            (temporary / "manifest.json").write_text(json.dumps(hashes))
            for path in temporary.iterdir():
                _sync(path)
            shutil.rmtree(target, ignore_errors=True)
            os.replace(temporary, target)
            sync_folder(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    for old in folder.glob("step-*"):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)
    return target


def newest(folder: Path | None) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]] | None:
    """The newest checkpoint whose files all match their hashes, or None."""
    for path in sorted(folder.glob("step-*"), reverse=True) if folder and folder.is_dir() else []:
        try:
            hashes = json.loads((path / "manifest.json").read_text())
            if all(file_hash(path / name) == value for name, value in hashes.items()):
                tensors = {p.stem: load_file(p) for p in path.glob("*.safetensors")}
                return tensors, json.loads((path / "state.json").read_text())
        except (OSError, ValueError):
            continue  # damaged: an older one may be whole
    return None


def pack_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's per-parameter state as a flat dict of tensors, '3.exp_avg' and so on."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": torch.as_tensor(value) for i, slots in state.items() for name, value in slots.items()}


def unpack_optimizer(optimizer: torch.optim.Optimizer, packed: Mapping[str, Tensor]) -> None:
    """Put back what `pack_optimizer` took, in place."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in packed.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
