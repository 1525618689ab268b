"""One work on one engine: built, compared with plain torch, and measured on the validation rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from burnish import models, runs
from burnish.core import Row, Task, Work
from burnish.errors import BurnishError
from burnish.measure.agreement import agreement
from burnish.measure.intervals import interval, paired_drop
from burnish.serve import engines
from burnish.serve.artifact import read_artifact, served_bytes, text_of, write_artifact
from burnish.serve.predict import Local
from burnish.train.evaluate import outputs_of_rows

__all__ = ["Candidate", "Tried", "engines_for", "inputs_of", "measure", "torch_outputs"]


@dataclass(frozen=True)
class Tried:
    """A recipe's finished work, with its plain torch outputs on the validation rows, float32 [N, C]."""

    name: str
    recipe: str
    steps: tuple[str, ...]
    key: str
    work: Work
    outputs: np.ndarray


@dataclass
class Candidate:
    """A work on an engine. `facts` is its line in candidates.json; `folder` its artifact."""

    tried: Tried
    engine: str
    precision: str
    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    outputs: np.ndarray | None = None  # on the validation rows, float32 [N, C]

    @property
    def label(self) -> str:
        """Its name in the race and in prediction files."""
        return f"{self.tried.key}-{self.engine}-{self.precision}"


def engines_for(work: Work, *, reference: bool) -> list[tuple[str, str]]:
    """(engine, precision) pairs worth trying for a work; the plain torch float32 one first for the reference.

    Integer layers have kernels in ONNX Runtime only. Float models are tried on every engine once, for the
    reference: what wins there is what the float form of any student would use as well.
    """
    held = models.precision(work.model)
    if held != "fp32":
        return [("onnx", held)]
    if not reference:
        return [("onnx", "fp32")]
    from burnish.measure.machine import bf16_is_native

    native, _ = bf16_is_native()
    # Where bf16 is native, OpenVINO in float32 is twice the bytes and milliseconds for nothing.
    openvino = ("openvino", "bf16" if native else "fp32")
    pairs = [("torch", "fp32"), ("torch", "bf16"), ("onnx", "fp32"), openvino]
    return [
        (name, precision)
        for name, precision in pairs
        if (precision != "bf16" or native) and engines.engine(name, needed=False).available() is None
    ]


def _usable(folder: Path) -> bool:
    """Whether a whole artifact of this version of burnish is there already."""
    try:
        return bool(read_artifact(folder))
    except BurnishError:
        return False


def inputs_of(rows: Sequence[Row], task: Task) -> list[Any]:
    """Rows as a client sends them: a text, or a pair of texts."""
    return [text_of(row, task.reads) for row in rows]


def torch_outputs(work: Work) -> np.ndarray:
    """The reference for every engine: plain torch in float32 (integer layers as they are), [N, C]."""
    return outputs_of_rows(work.model, work.tokenizer, work.valid, work.tokenizer.model_max_length, task=work.task)


def measure(
    run: Path, tried: Tried, engine: str, precision: str, reference_NC: np.ndarray | None, base_model: str
) -> Candidate:
    """Build the artifact under works/, score it on the validation rows and write its predictions.

    `reference_NC` are the stored outputs of the reference, which the drop is judged against; None for the reference
    itself. An engine that cannot
    take the model makes a candidate whose status is "failed", with the reason: the search goes on without it.
    """
    folder = run / "works" / f"{tried.key}.{engine}-{precision}"
    made = Candidate(tried, engine, precision, folder)
    made.facts = {
        "name": tried.name,
        "recipe": tried.recipe,
        "steps": list(tried.steps),
        "key": tried.key,
        "engine": engine,
        "precision": precision,
        "status": "built",
        "why": "",
    }
    work = tried.work
    try:
        if not _usable(folder):
            write_artifact(
                folder,
                model=work.model,
                tokenizer=work.tokenizer,
                task=work.task,
                engine=engine,
                precision=precision,
                max_length=work.tokenizer.model_max_length,
                rows_for_golden=list(work.valid[:3]),
                base_model=base_model,
                measured={},
            )
        outputs_NC = Local(folder).outputs(inputs_of(work.valid, work.task))
    except BurnishError as error:
        made.facts |= {"status": "failed", "why": str(error).splitlines()[0]}
        return made
    targets = work.task.encode(work.valid)
    found = runs.Predictions([row.id for row in work.valid], outputs_NC, targets)
    runs.write_predictions(run / "predictions" / f"valid-{made.label}.jsonl", found)
    made.outputs = outputs_NC
    if reference_NC is None:
        reference_NC = outputs_NC
    made.facts |= {
        "valid": interval(work.task, outputs_NC, targets).to_json(),
        "drop": paired_drop(work.task, reference_NC, outputs_NC, targets).to_json(),
        "agreement": agreement(work.task, tried.outputs, outputs_NC),
        "size_bytes": served_bytes(folder),
    }
    return made
