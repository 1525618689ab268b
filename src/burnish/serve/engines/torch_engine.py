"""torch itself, on the CPU or on a GPU where there is one: any model that transformers runs.

The artifact is a plain transformers folder: `AutoModelForSequenceClassification.from_pretrained` (or that of another
head) reads it.
"""

import contextlib
import copy
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core import Predictor
from burnish.errors import DataError, UsageError, problem
from burnish.serve.files import inside
from burnish.words import say

__all__ = ["available", "build", "load"]

NAME = "torch"
PRECISIONS = ("fp32", "bf16")
# In bf16 the kernel, and with it the rounding, depends on the size of the batch: company could flip a close answer.
ALONE = ("bf16",)
WIDE = False
FILE = "model.safetensors"


def available() -> str | None:
    if find_spec("torch") and find_spec("transformers"):
        return None
    return say("the packages torch and transformers are not installed: pip install torch transformers")


def build(model: Any, tokenizer: Any, folder: Path, *, precision: str, max_length: int) -> list[str]:
    """Raises UsageError for a model that a step rebuilt in a way that config.json cannot say."""
    import torch

    from burnish.models import quiet

    changed = [part["use"] for part in getattr(model, "burnish_structure", ())]
    if changed:
        given = say("the model was rebuilt by {steps}", steps=", ".join(changed))
        hint = say("use the onnx engine for this model")
        raise UsageError(problem(given, say("layers that plain transformers knows"), hint))
    made = copy.deepcopy(model).to(torch.bfloat16 if precision == "bf16" else torch.float32)
    with quiet():
        made.save_pretrained(folder)
    return ["config.json", FILE]


def load(folder: Path, *, threads: int, callers: int = 1) -> Predictor:
    """Uses the GPU if torch sees one. `threads` holds for the whole process, since torch has one pool."""
    import torch
    from transformers import AutoConfig

    from burnish.heads import auto_class, with_logits
    from burnish.models import quiet

    inside(folder, FILE)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(threads)
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            model = auto_class(config).from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype="auto"
            )
    except (OSError, ValueError, RuntimeError) as error:
        given = say("{folder} cannot be loaded by transformers: {line}", folder=folder, line=str(error).splitlines()[0])
        raise DataError(problem(given, say("a whole artifact"), say("copy the artifact again"))) from error
    model = with_logits(model).to(device).eval()
    with contextlib.suppress(ValueError, AttributeError):
        model.set_attn_implementation("sdpa")

    def predict(batch: Mapping[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(ids_NL).to(device) for name, ids_NL in batch.items()}
            return np.asarray(model(**tensors).logits.float().cpu().numpy())

    return predict
