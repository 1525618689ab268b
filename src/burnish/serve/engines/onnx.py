"""ONNX Runtime on the CPU: the default engine, fastest for INT8 and close to the best for float.

The export is torch's own (`torch.onnx.export` with dynamo) at opset 23, whose Attention operator keeps the graph
short. ONNX's dynamic INT8 takes one scale for a whole activation tensor, so who shares a batch, and how much it is
padded, can change an answer. Rows are therefore run alone, without padding, each on a thread of its own: on CPUs
that is also the fastest way to use the cores when many rows wait, since a matrix product of one short row does not
split well. A row that comes alone is answered sooner by all cores together.

A model whose rows leave early is one graph for each segment, and `segments.json` says when a row leaves between two.
"""

import contextlib
import copy
import hashlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core import Predictor
from burnish.errors import DataError, UsageError, problem
from burnish.measure.exits import Rule
from burnish.runs import read_json, write_json
from burnish.serve.engines import example, input_names
from burnish.serve.files import inside
from burnish.serve.segments import HIDDEN, Call, chain
from burnish.words import say

__all__ = ["available", "build", "export", "load"]

NAME = "onnx"
PRECISIONS = ALONE = ("fp32", "int8", "int4", "int3", "int2")
WIDE = True
FILE = "model.onnx"
SEGMENTS = "segments.json"
OPSET = 23


def available() -> str | None:
    if find_spec("onnxruntime"):
        return None
    return say("the package onnxruntime is not installed: pip install onnxruntime")


def build(model: Any, tokenizer: Any, folder: Path, *, precision: str, max_length: int) -> list[str]:
    """Raises UsageError when `precision` is not what the layers of `model` hold, or the export fails."""
    before = set(folder.iterdir())
    _check_precision(model, precision)
    if not _build_segments(model, tokenizer, folder, max_length):
        export(model, tokenizer, max_length=max_length).save(str(folder / FILE))
    return sorted(path.name for path in set(folder.iterdir()) - before)


def _build_segments(model: Any, tokenizer: Any, folder: Path, max_length: int) -> bool:
    """Write a model whose rows leave early; False for any other."""
    import torch

    from burnish import models

    if not models.leaves_early(model):
        return False
    inputs, made = input_names(model, tokenizer), _traceable(model)
    parts, rule = models.segments(made, inputs)
    args = tuple(torch.from_numpy(a) for a in example(inputs, min(7, max_length)).values())
    hidden = torch.zeros(*args[0].shape, model.config.hidden_size)
    files = [f"segment-{number}.onnx" for number in range(1, len(parts) + 1)]
    for name, part in zip(files, parts, strict=True):
        first, last = name == files[0], name == files[-1]
        given, names = (args, inputs) if first else ((hidden, *args), [HIDDEN, *inputs])
        outputs = ["logits"] if last else ["logits", "next"]
        program = _exported(part, given, names, outputs, model.config.model_type, max_length, OPSET)
        program.save(str(folder / name))
    write_json(folder / SEGMENTS, {"files": files, "rule": rule})
    return True


def export(model: Any, tokenizer: Any, *, max_length: int, opset: int = OPSET) -> Any:
    """`model` as a torch.onnx.ONNXProgram with free batch and length (up to `max_length`), nothing printed.

    Source lines, which name folders of this machine, are taken out: they would also be a megabyte.
    """
    import torch

    from burnish import models

    if models.leaves_early(model):
        given = say("a model whose rows leave early is more than one graph")
        raise UsageError(problem(given, say("a model that is one"), say("use the onnx engine for this model")))
    inputs = input_names(model, tokenizer)
    args = tuple(torch.from_numpy(a) for a in example(inputs, min(7, max_length)).values())
    module = _logits_of(_traceable(model), inputs)
    return _exported(module, args, inputs, ["logits"], model.config.model_type, max_length, opset)


def _exported(
    module: Any,
    args: tuple[Any, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    kind: str,
    max_length: int,
    opset: int,
) -> Any:
    """A module as a torch.onnx.ONNXProgram; the first two dimensions of every input are free."""
    import torch

    from burnish import models

    batch, length = (
        torch.export.Dim("batch", min=1, max=65536),
        torch.export.Dim("length", min=1, max=max(max_length, 2)),
    )
    with _silence(), torch.inference_mode(False), torch.no_grad():
        try:
            program = torch.onnx.export(
                module,
                args,
                dynamo=True,
                dynamic_shapes=(tuple({0: batch, 1: length} for _ in args),),
                custom_translation_table=models.onnx_translations() or None,
                opset_version=opset,
                input_names=inputs,
                output_names=outputs,
                verbose=False,
            )
        except Exception as error:  # torch raises many kinds; all mean the same to who asked
            raise _no_export(kind, error) from error
    assert program is not None  # None is for the old exporter
    _strip(program.model)
    _merge_equal(program.model)
    return program


def _no_export(kind: str, error: Exception) -> UsageError:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    given = say("the model ({kind}) cannot be exported to ONNX: {line}", kind=kind, line=line)
    hint = say("serve it with the torch engine, or report the model's type")
    return UsageError(problem(given, say("a model that torch.export can trace"), hint))


def _traceable(model: Any) -> Any:
    """A float32 copy on the CPU, with the attention that becomes one ONNX operator where the family has it."""
    made = copy.deepcopy(model).to("cpu").float().eval()
    with contextlib.suppress(ValueError, AttributeError):
        made.set_attn_implementation("sdpa")
    return made


def _logits_of(model: Any, inputs: list[str]) -> Any:
    from torch import nn

    class Logits(nn.Module):
        """A model whose inputs have an order, since an ONNX graph's have."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> Any:
            return self.model(**dict(zip(inputs, tensors, strict=True))).logits

    return Logits().eval()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """torch's exporter warns of its own deprecations and of packages that no text model needs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _strip(model: Any) -> None:
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()


def _merge_equal(model: Any) -> None:
    """Layers that share weights have them once: the exporter transposes them for each use."""
    kept: dict[tuple[Any, ...], Any] = {}
    for value in list(model.graph.initializers.values()):
        tensor = value.const_value
        digest = hashlib.sha256(tensor.tobytes()).digest()
        first = kept.setdefault((tensor.dtype, tuple(tensor.shape), digest), value)
        if first is not value:
            value.replace_all_uses_with(first)
            model.graph.initializers.pop(value.name)


def _check_precision(model: Any, precision: str) -> None:
    """An artifact called int8 with float weights inside, or the reverse, would be a lie that no score shows."""
    from burnish import models

    held = models.precision(model)
    if held != precision:
        given = say("the model's layers are {held}, the artifact is to be {precision}", held=held, precision=precision)
        expected = say("a model of that precision; one of: {known}", known=", ".join(PRECISIONS))
        raise UsageError(problem(given, expected, say("--with compress/int8 for int8, without it for fp32")))


def load(folder: Path, *, threads: int, callers: int = 1) -> Predictor:
    """One session for all callers: its weights are shared, and at one thread each caller's own does the work."""
    if (folder / SEGMENTS).is_file():
        facts = read_json(inside(folder, SEGMENTS))
        sessions = [_session(inside(folder, name), threads, callers) for name in facts["files"]]
        return chain([_call(session) for session in sessions], Rule.from_json(facts["rule"]))
    session = _session(inside(folder, FILE), threads, callers)

    def predict(batch: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.asarray(session.run(["logits"], batch)[0], dtype=np.float32)

    return predict


def _call(session: Any) -> Call:
    names = {value.name for value in session.get_inputs()}
    return lambda batch: session.run(None, {name: value for name, value in batch.items() if name in names})


def _session(path: Path, threads: int, callers: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors only: warnings are about fusions, not about answers
    # Threads that spin between the small operators of one row halve its time, and burn what other callers need.
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(callers == 1)))
    options.add_session_config_entry("session.force_spinning_stop", "1")  # never between two calls
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base but Exception
        line = str(error).splitlines()[0]
        given = say("{path} cannot be loaded by ONNX Runtime: {line}", path=path, line=line)
        expected = say("a model that this version ({version}) knows", version=onnxruntime.__version__)
        raise DataError(problem(given, expected, say("pip install --upgrade onnxruntime"))) from error
