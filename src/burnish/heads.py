"""The heads that tasks need: which of transformers' classes has them, and what their outputs are called and mean."""

import functools
from dataclasses import replace
from typing import Any

from burnish.core import Task

__all__ = [
    "HEADS",
    "architecture_of",
    "auto",
    "auto_class",
    "decoding",
    "head_named",
    "head_settings",
    "output_names",
    "redraw_head",
    "with_logits",
]

# What a task reads -> how transformers calls the models that answer it.
HEADS = {"rows": "SequenceClassification", "words": "TokenClassification", "answers": "QuestionAnswering"}


def auto(head: str) -> Any:
    import transformers

    return getattr(transformers, f"AutoModelFor{head}")


def auto_class(config: Any) -> Any:
    """What of transformers loads a model with this config: by its head, a classifier's where none is named."""
    return auto(head_named(config) or HEADS["rows"])


def architecture_of(config: Any) -> str:
    return str((getattr(config, "architectures", None) or [""])[0])


def head_named(config: Any) -> str:
    """Which of HEADS the checkpoint has; "" for none of them."""
    return next((head for head in HEADS.values() if architecture_of(config).endswith(f"For{head}")), "")


def redraw_head(model: Any, width: int) -> None:
    import torch

    head = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == width][-1]
    torch.nn.init.normal_(head.weight, std=getattr(model.config, "initializer_range", 0.02))
    torch.nn.init.zeros_(head.bias)


def with_logits(model: Any) -> Any:
    """`model` itself; one that finds answers gives them as `logits` [B, S, 2] too, start and end of each token."""
    kind: Any = type(model)
    if kind.__name__.endswith("ForQuestionAnswering") and not hasattr(model, "burnish_base"):
        model.__class__ = _answering(kind)
    return model


@functools.cache
def _answering(base: Any) -> Any:
    """A subclass under the same name. Not a hook: adapters call `forward` itself."""
    import torch

    class Answering(base):
        burnish_base = base

        @functools.wraps(base.forward)  # the names of its inputs are looked up
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            """Padding starts and ends nothing: its logits are as good as minus infinity."""
            found = super().forward(*args, **kwargs)
            logits_BS2 = torch.stack([found.start_logits, found.end_logits], -1).float()
            mask_BS = kwargs.get("attention_mask")
            if mask_BS is not None:
                logits_BS2 = logits_BS2 - 1e4 * (1 - mask_BS[:, :, None].to(logits_BS2.dtype))
            found.logits = logits_BS2
            return found

    Answering.__name__ = Answering.__qualname__ = base.__name__
    return Answering


def decoding(model: Any, task: Task) -> Task:
    """`task` as the outputs of this model are to be read: with what a CRF in it has learned of tag after tag."""
    steps = getattr(model, "crf_steps", None)
    if steps is None:
        return task
    return replace(task, steps=tuple(map(tuple, steps.detach().double().cpu().tolist())))  # type: ignore[type-var]


def output_names(task: Task) -> dict[int, str]:
    """What a config calls the outputs."""
    if task.reads == "answers":
        return {0: "start", 1: "end"}
    return dict(enumerate(task.labels)) or {0: "value"}


def head_settings(task: Task) -> dict[str, Any]:
    kinds = {
        "word_cross_entropy": None,
        "span_cross_entropy": None,
        "cross_entropy": "single_label_classification",
        "binary_cross_entropy": "multi_label_classification",
        "mean_squared_error": "regression",
    }
    names = output_names(task)
    return {
        "num_labels": task.width,
        "id2label": names,
        "label2id": {name: i for i, name in names.items()},
        "problem_type": kinds[task.objective],
    }
