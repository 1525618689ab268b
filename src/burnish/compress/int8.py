"""INT8 weights and activations: a quarter of the bytes, and integer products where the processor has them.

no paper: the operator ONNX calls DynamicQuantizeLinear, and symmetric weights with one scale for each output
channel (Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", CVPR 2018, arXiv:1712.05877, is where the scheme comes from). Embedding tables get one scale a row.
Differs from ONNX Runtime's own tool: the model stays a torch model that computes the same codes bit for bit, so
every number about it can be checked, and it exports as the same operators. The scale of an activation is taken
over one row of input and its tokens alone, never over a batch: who shares a batch cannot change an answer.

When it helps: on processors with VNNI or AMX, 2-3 times faster than float32; always a quarter of the size.
What it costs: usually a few tenths of a point; no training.

Shapes: B = rows, S = tokens, K = inputs, N = outputs, V = vocabulary, H = width.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, library, nn

from burnish import models
from burnish.core import Rng, Work
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Int8"]


@dataclass(frozen=True)
class Int8:
    embeddings: bool = True  # quantize the embedding tables too: no speed, but most of the size
    smallest: int = 16  # layers with fewer inputs or outputs stay float: nothing to gain there

    def __call__(self, work: Work, rng: Rng) -> Work:
        model = copy.deepcopy(work.model).eval()
        linear = [n for n, m in model.named_modules() if type(m) is nn.Linear and min(m.weight.shape) >= self.smallest]
        tables = [
            n
            for n, m in model.named_modules()
            if self.embeddings
            and type(m) is nn.Embedding
            and m.num_embeddings >= self.smallest
            and not n.endswith(models.READ_WHOLE)
        ]
        if not linear:
            given = say("this model has no linear layer of {n} or more inputs and outputs", n=self.smallest)
            raise UsageError(problem(given, say("a float model"), say("leave compress/int8 out")))
        error = {name: _quantize_linear(model, name) for name in linear}
        for name in tables:
            _quantize_table(model, name)
        models.add_structure(model, "compress/int8", {"precision": "int8", "linear": linear, "tables": tables})
        notes = {"layers": len(linear), "tables": len(tables), "weight_error": max(error.values())}
        return replace(work, model=model, notes=notes)


def restore(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Give a freshly built float model the shape that this step left, in place; weights are loaded after."""
    for name in facts["linear"]:
        layer = model.get_submodule(name)
        _replace(model, name, Int8Linear(*layer.weight.shape, bias=layer.bias is not None))  # type: ignore[misc]
    for name in facts["tables"]:
        table = model.get_submodule(name)
        _replace(model, name, Int8Embedding(table.num_embeddings, table.embedding_dim))  # type: ignore[arg-type]


# -- the maths -----------------------------------------------------------------------------------------


def quantize_rows(w_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Codes int8 [N, K] in -127..127 and scales float32 [N], with `codes * scale` nearest to `w_NK`."""
    scale_N = (w_NK.abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    return (w_NK / scale_N[:, None]).round().clamp(-127, 127).to(torch.int8), scale_N


def dynamic_quantize(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes uint8, scale and zero point for each row of `x` [B, ...], as ONNX's DynamicQuantizeLinear-11.

    `x` is near `(codes - zero) * scale`; the range always holds 0, so that zero is exact.
    """
    dims = tuple(range(1, x.dim()))
    low = x.amin(dims, keepdim=True).clamp(max=0)
    high = x.amax(dims, keepdim=True).clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = (-low / scale).round().clamp(0, 255)
    return ((x / scale).round() + zero).clamp(0, 255).to(torch.uint8), scale, zero


@library.custom_op("burnish::int8_linear", mutates_args=())
def int8_linear(x: Tensor, codes_KN: Tensor, scale_N: Tensor) -> Tensor:
    """`x @ w` [..., N] with both sides in 8 bits and the sums in 32: exact integers until the last line."""
    x = x.float()
    x_codes, x_scale, x_zero = dynamic_quantize(x)
    total = torch._int_mm(x_codes.reshape(-1, x.shape[-1]), codes_KN).reshape(*x.shape[:-1], -1)
    total = total - x_zero.to(torch.int32) * codes_KN.sum(0, dtype=torch.int32)
    return total.float() * (x_scale * scale_N)


@int8_linear.register_fake
def _(x: Tensor, codes_KN: Tensor, scale_N: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], codes_KN.shape[1]), dtype=torch.float32)


def ONNX() -> dict[Any, Any]:
    """How the operator above is written in an ONNX graph. ONNX Runtime fuses these five into one."""
    from onnxscript import opset21 as op

    def translate(x: Any, codes: Any, scale: Any) -> Any:
        x_codes, x_scale, x_zero = op.DynamicQuantizeLinear(x)
        total = op.Cast(op.MatMulInteger(x_codes, codes, x_zero), to=1)  # 1 is float32
        return op.Mul(total, op.Mul(x_scale, scale))

    return {torch.ops.burnish.int8_linear.default: translate}


# -- the modules ---------------------------------------------------------------------------------------


class Int8Linear(nn.Module):
    """A linear layer whose weights are codes [K, N] with one scale for each output."""

    codes: Tensor
    scale: Tensor

    def __init__(self, outputs: int, inputs: int, bias: bool):
        super().__init__()
        self.register_buffer("codes", torch.zeros(inputs, outputs, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(outputs))
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.ops.burnish.int8_linear(x, self.codes, self.scale)
        return y if self.bias is None else y + self.bias


class Int8Embedding(nn.Module):
    """An embedding table of codes [V, H] with one scale for each row."""

    codes: Tensor
    scale: Tensor

    def __init__(self, rows: int, width: int):
        super().__init__()
        self.register_buffer("codes", torch.zeros(rows, width, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(rows, 1))

    def forward(self, ids: Tensor) -> Tensor:
        return self.codes[ids].float() * self.scale[ids]


def _quantize_linear(model: nn.Module, name: str) -> float:
    """Replace one layer in place; return the relative error of its weights."""
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    w_NK = layer.weight.data.float()
    codes_NK, scale_N = quantize_rows(w_NK)
    made = Int8Linear(w_NK.shape[0], w_NK.shape[1], layer.bias is not None)
    made.codes, made.scale = codes_NK.T.contiguous(), scale_N
    if layer.bias is not None:
        made.bias = layer.bias.data.float()
    _replace(model, name, made)
    return float((codes_NK * scale_N[:, None] - w_NK).norm() / w_NK.norm())


def _quantize_table(model: nn.Module, name: str) -> None:
    table = model.get_submodule(name)
    assert isinstance(table, nn.Embedding)
    codes_VH, scale_V = quantize_rows(table.weight.data.float())
    made = Int8Embedding(codes_VH.shape[0], codes_VH.shape[1])
    made.codes, made.scale = codes_VH, scale_V[:, None]
    _replace(model, name, made)


def _replace(model: nn.Module, name: str, made: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, made.eval())


def to_float(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Put float layers back, in place, with the weights that the codes stand for; activations are no longer rounded."""
    for name in facts["linear"]:
        small = model.get_submodule(name)
        assert isinstance(small, Int8Linear)
        made = nn.Linear(small.codes.shape[0], small.codes.shape[1], bias=small.bias is not None)
        made.weight.data = (small.codes.float() * small.scale).T.contiguous()
        if small.bias is not None:
            made.bias.data = small.bias.clone()  # type: ignore[operator]
        _replace(model, name, made)
    for name in facts["tables"]:
        codes = model.get_submodule(name)
        assert isinstance(codes, Int8Embedding)
        weight_VH = codes.codes.float() * codes.scale
        _replace(model, name, nn.Embedding.from_pretrained(weight_VH, freeze=False))
