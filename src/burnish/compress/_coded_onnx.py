"""The onnxscript side of burnish's coded operators; imported by `_coded`, runs only while a model is exported."""

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["translations"]

UINT8, INT32, FLOAT = 2, 6, 1  # ONNX's numbers for types
END = 2**31 - 1
Made = Any  # a value in the graph that is being written


def translations() -> tuple[Callable[..., Made], Callable[..., Made]]:
    """The functions that write `coded_linear` and `coded_embedding`."""
    from onnxscript import opset21 as op

    matmul, gather = _operators()

    def linear(x: Made, codes: Made, scales: Made, zeros: Made, bits: int, block: int, int8: bool) -> Made:
        outputs, columns = codes.shape[0], codes.shape[1] * 8 // bits
        blocks, kernel = columns // block, 8 if bits == 8 else 4
        b = op.Reshape(_widened(op, codes, bits, zeros is None), _const(op, [outputs, blocks, block * kernel // 8]))
        s = op.Expand(op.Cast(scales, to=FLOAT), _const(op, [outputs, blocks]))
        inputs = [x, b, s] if zeros is None else [x, b, s, _zeros(op, zeros, bits, scales.shape[1], blocks)]
        return matmul(*inputs, K=x.shape[-1], N=outputs, bits=kernel, block_size=block, accuracy_level=4 if int8 else 1)

    def embedding(ids: Made, codes: Made, scales: Made, bits: int, block: int) -> Made:
        blocks, kernel = codes.shape[1] * 8 // bits // block, 8 if bits == 8 else 4
        s = op.Expand(op.Cast(scales, to=FLOAT), _const(op, [codes.shape[0], blocks]))
        table = _widened(op, codes, bits, True)
        return gather(table, ids, s, bits=kernel, block_size=block, gather_axis=0, quantize_axis=1)

    return linear, embedding


def _widened(op: Any, packed: Made, bits: int, symmetric: bool) -> Made:
    """2 and 3 bits as 4, which has kernels; symmetric codes move up, since the zero of 4 bits is 8 by itself."""
    if bits in (4, 8):
        return packed
    rows, columns = packed.shape[0], packed.shape[1] * 8 // bits
    values = _values(op, packed, bits)
    if symmetric:
        values = op.Cast(op.Add(op.Cast(values, to=INT32), _const(op, 8 - 2 ** (bits - 1), np.int32)), to=UINT8)
    return _nibbles(op, op.Reshape(values, _const(op, [rows, columns])))


def _values(op: Any, packed: Made, bits: int) -> Made:
    """[N, bytes] -> one code a byte, [N, K]."""
    rows, size = packed.shape[0], 3 if bits == 3 else 1
    parts = op.Cast(op.Reshape(packed, _const(op, [rows, -1, size])), to=12)  # 12 is uint32, which can be shifted
    word = parts
    if size == 3:
        shifted = op.BitShift(parts, _const(op, [0, 8, 16], np.uint32), direction="LEFT")
        a, b, c = op.Split(shifted, axis=2, num_outputs=3)
        word = op.BitwiseOr(op.BitwiseOr(a, b), c)
    shifts = _const(op, np.arange(0, 8 * size, bits), np.uint32)
    values = op.BitwiseAnd(op.BitShift(word, shifts, direction="RIGHT"), _const(op, 2**bits - 1, np.uint32))
    return op.Reshape(op.Cast(values, to=UINT8), _const(op, [rows, -1]))


def _nibbles(op: Any, values: Made) -> Made:
    """[N, even] codes below 16 -> [N, half] bytes, the first one low."""
    first, second = (
        op.Slice(values, _const(op, [i]), _const(op, [END]), _const(op, [1]), _const(op, [2])) for i in (0, 1)
    )
    return op.BitwiseOr(first, op.BitShift(second, _const(op, 4, np.uint8), direction="LEFT"))


def _zeros(op: Any, packed: Made, bits: int, groups: int, blocks: int) -> Made:
    """One zero for each block, packed as the kernel reads them."""
    values = packed if bits == 8 else _values(op, packed, bits)
    values = op.Slice(values, _const(op, [0]), _const(op, [groups]), _const(op, [1]))
    values = op.Expand(values, _const(op, [packed.shape[0], blocks]))
    if bits == 8:
        return values
    return _nibbles(op, op.Pad(values, _const(op, [0, 0, 0, blocks % 2])))


def _const(op: Any, value: Any, kind: Any = np.int64) -> Made:
    from onnx import numpy_helper

    return op.Constant(value=numpy_helper.from_array(np.array(value, dtype=kind)))


def _operators() -> tuple[Any, Any]:
    """ONNX Runtime's own two operators, which onnxscript knows no signature of."""
    from onnx.defs import OpSchema
    from onnxscript.values import Op, Opset

    own = Opset("com.microsoft", 1)

    def operator(name: str, inputs: dict[str, str], attributes: tuple[str, ...]) -> Any:
        many = OpSchema.FormalParameterOption.Optional
        kinds = {"T": ["tensor(float)"], "U": ["tensor(uint8)"], "I": ["tensor(int64)", "tensor(int32)"]}
        schema = OpSchema(
            name,
            "com.microsoft",
            1,
            inputs=[
                OpSchema.FormalParameter(n, kind[0], param_option=many)
                if kind.endswith("?")
                else OpSchema.FormalParameter(n, kind)
                for n, kind in inputs.items()
            ],
            outputs=[OpSchema.FormalParameter("y", "T")],
            type_constraints=[(k, kinds[k], "") for k in sorted({kind[0] for kind in inputs.values()})],
            attributes=[OpSchema.Attribute(n, OpSchema.AttrType.INT) for n in attributes],
        )
        return Op(own, name, schema)

    return (
        operator(
            "MatMulNBits",
            {"A": "T", "B": "U", "scales": "T", "zero_points": "U?"},
            ("K", "N", "bits", "block_size", "accuracy_level"),
        ),
        operator(
            "GatherBlockQuantized",
            {"data": "U", "indices": "I", "scales": "T"},
            ("bits", "block_size", "gather_axis", "quantize_axis"),
        ),
    )
