"""Modules that hold packed codes and decode them on use, and how they are written in an ONNX graph.

In the graph a layer is one `MatMulNBits` and a table one `GatherBlockQuantized`, operators of ONNX Runtime. Its CPU
kernels were tried at every width (version 1.32): 2, 4 and 8 bits run and 3 bits are refused, and only 4 and 8 bits
take int8 activations at every size of block. So 2 and 3 bits stay packed in the file, and a few operators in front
widen them to 4; their inputs are constants, so ONNX Runtime runs them once, when it loads the file.

Int8 activations have one scale for each block of one token's numbers, so no other token or row has a say in it, and
the modules here round them as the kernels do. That is not the same as equal answers to the last digit: sums in another
order, in another engine or in a batch of another shape, push a few numbers over the edge between two codes, and after
some layers the answers differ by about as much as the rounding itself. A row that is run alone has one answer; so does
any row, to 1e-4, with float activations.

Shapes: B = rows, S = tokens, K = inputs, N = outputs, V = vocabulary, H = width, G = groups.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, library, nn

from burnish.compress._coded_onnx import translations
from burnish.compress._codes import Codes, decode, pack, unpack

__all__ = ["ONNX", "CodedEmbedding", "CodedLinear", "Form", "replace_linear", "replace_table", "restore", "to_float"]


@dataclass(frozen=True)
class Form:
    """How a module keeps its codes; what `restore` needs besides the shape."""

    bits: int
    group: int  # 0: a scale for a row
    symmetric: bool
    int8: bool = False  # activations are rounded to 8 bits in each block
    scaled: bool = False  # inputs are multiplied first, each by a number of its own

    def block(self, columns: int) -> int:
        """What the kernel calls a block: the group, or the longest power of 2 that divides a row."""
        return self.group or (min(256, columns & -columns) if columns % 16 == 0 else 32)


@library.custom_op("burnish::coded_linear", mutates_args=())
def coded_linear(
    x: Tensor, codes: Tensor, scales: Tensor, zeros: Tensor | None, bits: int, block: int, int8: bool
) -> Tensor:
    """`x @ w.T` [..., N] in float32; with `int8`, `x` is first rounded as the kernel does."""
    x = x.float()
    w_NK = _decoded(codes, scales, zeros, bits, block)[:, : x.shape[-1]]
    return F.linear(rounded_blocks(x, block) if int8 else x, w_NK)


@coded_linear.register_fake
def _(x: Tensor, codes: Tensor, scales: Tensor, zeros: Tensor | None, bits: int, block: int, int8: bool) -> Tensor:
    return x.new_empty((*x.shape[:-1], codes.shape[0]), dtype=torch.float32)


@library.custom_op("burnish::coded_embedding", mutates_args=())
def coded_embedding(ids: Tensor, codes: Tensor, scales: Tensor, bits: int, block: int) -> Tensor:
    """The rows `ids` [...] of a symmetric table, [..., H] in float32."""
    flat = ids.flatten()
    rows = _decoded(codes[flat], scales[flat], None, bits, block)
    return rows.unflatten(0, ids.shape)


@coded_embedding.register_fake
def _(ids: Tensor, codes: Tensor, scales: Tensor, bits: int, block: int) -> Tensor:
    return scales.new_empty((*ids.shape, codes.shape[1] * 8 // bits), dtype=torch.float32)


def rounded_blocks(x: Tensor, block: int) -> Tensor:
    """`x` [..., K] on 255 values, -127..127 times a scale of its own for each `block` numbers of a token."""
    blocks = F.pad(x, (0, -x.shape[-1] % block)).unflatten(-1, (-1, block))
    top = blocks.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return ((blocks * (127 / top)).round() * (top / 127)).flatten(-2)[..., : x.shape[-1]]


def _decoded(codes: Tensor, scales: Tensor, zeros: Tensor | None, bits: int, block: int) -> Tensor:
    """Weights [N, K] with the padding of the last block; one scale in a row is for the whole row."""
    columns, groups = codes.shape[1] * 8 // bits, scales.shape[1]
    middle = torch.full((1, 1), 2 ** (bits - 1), dtype=torch.uint8, device=codes.device)
    zero_NG = middle.expand(scales.shape) if zeros is None else unpack(zeros, bits, groups)
    parts = Codes(unpack(codes, bits, columns), scales.float(), zero_NG.float())
    return decode(parts, block if groups > 1 else 0)


class CodedLinear(nn.Module):
    """A linear layer whose weights are packed codes."""

    codes: Tensor
    scales: Tensor
    zeros: Tensor | None
    factors: Tensor | None
    bias: Tensor | None

    def __init__(self, inputs: int, outputs: int, form: Form, bias: bool):
        super().__init__()
        self.in_features, self.out_features, self.form = inputs, outputs, form
        self.block = form.block(inputs)
        blocks = -(-inputs // self.block)
        groups = blocks if form.group else 1
        zeros = None if form.symmetric else pack(torch.zeros(outputs, groups, dtype=torch.uint8), form.bits)
        self.register_buffer("codes", torch.zeros(outputs, blocks * self.block * form.bits // 8, dtype=torch.uint8))
        self.register_buffer("scales", torch.ones(outputs, groups, dtype=torch.float16))
        self.register_buffer("zeros", zeros)
        self.register_buffer("factors", torch.ones(inputs) if form.scaled else None)
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        if self.factors is not None:
            x = x * self.factors
        form = self.form
        y = torch.ops.burnish.coded_linear(x, self.codes, self.scales, self.zeros, form.bits, self.block, form.int8)
        return y if self.bias is None else y + self.bias

    def fill(self, codes: Codes, bias: Tensor | None, factors_K: Tensor | None = None) -> None:
        """Take a quantized matrix; the padding gets the code of 0, which is the zero of the last group."""
        extra = -self.in_features % self.block
        padding = codes.zero[:, -1:].to(torch.uint8).expand(-1, extra)
        self.codes = pack(torch.cat([codes.codes.to(torch.uint8), padding], 1), self.form.bits)
        self.scales = codes.scale.half()
        if self.zeros is not None:
            self.zeros = pack(codes.zero.to(torch.uint8), self.form.bits)
        if self.factors is not None:
            assert factors_K is not None
            self.factors = factors_K.float()
        if self.bias is not None:
            assert bias is not None
            self.bias = bias.detach().float().clone()

    def plain(self) -> Tensor:
        """The float weights [N, K] that do the same on unrounded inputs."""
        w_NK = _decoded(self.codes, self.scales, self.zeros, self.form.bits, self.block)[:, : self.in_features]
        return w_NK if self.factors is None else w_NK * self.factors


class CodedEmbedding(nn.Module):
    """An embedding table of packed symmetric codes."""

    codes: Tensor
    scales: Tensor

    def __init__(self, rows: int, width: int, form: Form):
        super().__init__()
        assert form.symmetric
        assert width % 16 == 0
        self.num_embeddings, self.embedding_dim, self.form = rows, width, form
        self.block = form.block(width)
        groups = width // self.block if form.group else 1
        self.register_buffer("codes", torch.zeros(rows, width * form.bits // 8, dtype=torch.uint8))
        self.register_buffer("scales", torch.ones(rows, groups, dtype=torch.float16))

    def forward(self, ids: Tensor) -> Tensor:
        return torch.ops.burnish.coded_embedding(ids, self.codes, self.scales, self.form.bits, self.block)

    def fill(self, codes: Codes) -> None:
        self.codes, self.scales = pack(codes.codes, self.form.bits), codes.scale.half()

    def plain(self) -> Tensor:
        return _decoded(self.codes, self.scales, None, self.form.bits, self.block)


# -- a model's structure -------------------------------------------------------------------------------


def restore(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Give a freshly built float model the shape that this step left, in place; weights are loaded after."""
    for name, form in facts["linear"].items():
        old = model.get_submodule(name)
        if isinstance(old, nn.Linear):  # else it is shared, and its first name came before
            made = CodedLinear(old.in_features, old.out_features, Form(**form), old.bias is not None)
            replace_everywhere(model, old, made)
    for name, form in facts["tables"].items():
        table = model.get_submodule(name)
        if isinstance(table, nn.Embedding):
            replace_everywhere(model, table, CodedEmbedding(table.num_embeddings, table.embedding_dim, Form(**form)))


def to_float(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Put float modules back, in place, with the weights that the codes stand for; activations are not rounded."""
    for name in facts["linear"]:
        coded = model.get_submodule(name)
        if isinstance(coded, CodedLinear):
            plain = nn.Linear(coded.in_features, coded.out_features, bias=coded.bias is not None)
            plain.weight.data = coded.plain().clone()
            if coded.bias is not None:
                plain.bias.data = coded.bias.clone()
            replace_everywhere(model, coded, plain)
    for name in facts["tables"]:
        table = model.get_submodule(name)
        if isinstance(table, CodedEmbedding):
            replace_everywhere(model, table, nn.Embedding.from_pretrained(table.plain().clone(), freeze=False))


def replace_linear(
    model: nn.Module, name: str, codes: Codes, form: Form, factors_K: Tensor | None = None
) -> dict[str, Any]:
    """Exchange one layer in place; return what `restore` needs."""
    old = model.get_submodule(name)
    assert isinstance(old, nn.Linear)
    made = CodedLinear(old.in_features, old.out_features, form, old.bias is not None)
    made.fill(codes, old.bias, factors_K)
    replace_everywhere(model, old, made)
    return asdict(form)


def replace_table(model: nn.Module, name: str, codes: Codes, form: Form) -> dict[str, Any]:
    """`replace_linear` for an embedding table."""
    old = model.get_submodule(name)
    assert isinstance(old, nn.Embedding)
    made = CodedEmbedding(old.num_embeddings, old.embedding_dim, form)
    made.fill(codes)
    replace_everywhere(model, old, made)
    return asdict(form)


def replace_everywhere(model: nn.Module, old: nn.Module, made: nn.Module) -> None:
    """Under every name that `old` has: layers may be shared."""
    names = [name for name, module in model.named_modules(remove_duplicate=False) if module is old]
    for name in names:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, made.eval())


def ONNX() -> dict[Any, Any]:
    """How the two operators above are written in an ONNX graph."""
    linear, embedding = translations()
    return {
        torch.ops.burnish.coded_linear.default: linear,
        torch.ops.burnish.coded_embedding.default: embedding,
    }
