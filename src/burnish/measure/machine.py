"""What this machine is: processor, cores, memory, disk, GPU, versions. Read or measured, never guessed."""

import functools
import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from burnish.measure.memory import available_bytes, cgroup_folders, total_bytes
from burnish.words import say

__all__ = ["bf16_is_native", "cores", "cpu_flags", "machine", "versions"]

# What decides how fast low precision is. VNNI and AMX multiply int8, the bf16 ones bf16.
FLAGS = (
    "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8",
    "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip

PACKAGES = (
    "burnish", "torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy", "scikit-learn", "onnx",
    "onnxruntime", "openvino", "fastapi", "uvicorn",
)  # fmt: skip

# Below this a bf16 product is emulated, or not worth its rounding.
WORTH = 1.3


def machine(folder: Path = Path(".")) -> dict[str, Any]:
    """JSON facts about this machine and the container we are in.

    "memory_bytes" and "memory_available_bytes" are the container's share, "cores" what this process may
    use, "disk_free_bytes" that of `folder` (which need not exist yet), "gpus" is empty until torch is loaded.
    """
    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "cores_online": os.cpu_count() or 1,
        "flags": cpu_flags(),
        "memory_bytes": total_bytes(),
        "memory_available_bytes": available_bytes(),
        "disk_free_bytes": _disk_free(folder),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str | None]:
    """Installed version of each package that can change a number; None when absent. Nothing is imported."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def cores(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Processors this process may keep busy: its affinity mask, cut by a container's quota (rounded up)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [q for folder in cgroup_folders("cpu", root, own) if (q := _quota(folder)) is not None]
    return max(1, min([allowed, *(math.ceil(q) for q in quotas)]))


def _quota(folder: Path) -> float | None:
    """Processors' worth of time a second that a control group may use; None without a limit."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no such control, or "max"
        return None


def cpu_flags() -> list[str]:
    """The instruction sets among FLAGS that the processor has, in that order."""
    return [flag for flag in FLAGS if flag in _cpuinfo("flags", "Features").split()]


def _cpu_name() -> str:
    return _cpuinfo("model name", "Model") or platform.processor() or platform.machine()


def _cpuinfo(*keys: str) -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in keys:
            return value.strip()
    return ""


def _disk_free(folder: Path) -> int | None:
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:  # a run folder that is still to be made
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _gpus() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


@functools.cache
def bf16_is_native(device: str = "cpu") -> tuple[bool, str]:
    """Does bf16 pay on this device, and why we think so. Measured once a process, about 0.2 s on a CPU.

    CPU: matrix products in bf16 against fp32, in turns; native when the quickest is more than 1.3 times as
    fast. CUDA: what torch says of the device. Anything else: no.
    """
    import torch

    if device.startswith("cuda"):
        good = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
        return bool(good), say("the GPU computes bf16 itself") if good else say("the GPU does not compute bf16 itself")
    if device != "cpu":
        return False, say("bf16 was never measured on {device}", device=device)
    ratio = _bf16_gain(torch)
    if ratio > WORTH:
        return True, say("bf16 products ran {x:.1f} times as fast as fp32 here", x=ratio)
    return False, say("bf16 products ran only {x:.1f} times as fast as fp32 here", x=ratio)


def _bf16_gain(torch: Any, size: int = 512, rounds: int = 9) -> float:
    """Fp32 time / bf16 time of one [size, size] product, of each the quickest over interleaved rounds.

    Whatever else runs on the machine only ever makes a product slower, so the quickest is what the machine can do.
    """
    generator = torch.Generator().manual_seed(0)
    wide = torch.rand(size, size, generator=generator)
    narrow = wide.bfloat16()
    with torch.inference_mode():
        for x in (wide, narrow):
            x @ x  # the first call builds the kernel
        repeats = max(1, min(20, int(0.01 / max(_seconds(lambda: wide @ wide), 1e-6))))
        slow, quick = math.inf, math.inf
        for _ in range(rounds):
            slow = min(slow, *(_seconds(lambda: wide @ wide) for _ in range(repeats)))
            quick = min(quick, *(_seconds(lambda: narrow @ narrow) for _ in range(repeats)))
    return slow / quick


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return max(time.perf_counter() - start, 1e-9)
