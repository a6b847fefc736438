"""Lowerings of `dyn/ops/linalg.py`: MatMul and Gemm."""

from __future__ import annotations

import math

from exporter.emptiness import if_filled, is_filled
from exporter.registry import lowers


def _swap(b, x, rank):
    return b.transpose(x, [*range(rank - 2), rank - 1, rank - 2])


@lowers("matmul")
def _(b, node):
    x, y = node.inputs
    ranks = [len(t.shape) for t in node.input_types]
    tx = node.attrs["transpose_x"] and ranks[0] > 1
    ty = node.attrs["transpose_y"] and ranks[1] > 1
    if (tx or ty) and ranks == [2, 2] and node.dtype.kind == "f":
        return b.op("Gemm", x, y, transA=int(tx) or None, transB=int(ty) or None)
    x = _swap(b, x, ranks[0]) if tx else x
    y = _swap(b, y, ranks[1]) if ty else y
    batches = [t.shape[:-2] for t in node.input_types]

    def product(b):
        if ranks[0] > 1 and ranks[1] == 1:
            # onnxruntime takes a Transpose of x into the product, and then reads rows of it as
            # columns where y is a vector: y goes as a matrix of one column.
            return b.squeeze(b.op("MatMul", x, b.unsqueeze(y, 1)), -1)
        return b.op("MatMul", x, y)

    plain = min(ranks) > 1 and (ranks[1] == 2 or batches[0] == batches[1])
    if plain or is_filled(node.out.shape):
        return product(b)
    # onnxruntime multiplies no matrices by what is repeated for them.
    return if_filled(b, [node.out], lambda b: [product(b)])[0]


@lowers("outer")
def _(b, node):
    x, y = node.inputs
    return b.op("And" if node.dtype.kind == "b" else "Mul", b.unsqueeze(x, 1), y)


@lowers("linear")
def _(b, node):
    x, w, bias = (*node.inputs, None)[:3]
    transposed = node.attrs["transpose_w"]
    if node.rank == 2 and (bias is not None or transposed):
        return b.op("Gemm", x, w, bias, transB=int(transposed) or None)
    out = b.op("MatMul", x, b.transpose(w, [1, 0]) if transposed else w)
    return out if bias is None else b.op("Add", out, bias)


@lowers("linear_grad")
def _(b, node):
    g, w, x = node.inputs
    transposed, rank, columns = node.attrs["transpose_w"], node.rank, node.shape[-1]

    def rows(value, size):
        return value if rank == 2 else b.reshape(value, (math.prod(node.shape[:-1]), size))

    def one(name):
        if name == "b":
            return b.axes("ReduceSum", g, range(rank - 1), keepdims=False)
        if name == "x":
            if rank == 2:
                return b.op("Gemm", g, w, transB=int(not transposed) or None)
            return b.op("MatMul", g, w if transposed else b.transpose(w, [1, 0]))
        pair = rows(x, node.input_types[2].shape[-1]), rows(g, columns)
        return b.op("Gemm", *(pair[::-1] if transposed else pair), transA=1)

    return tuple(one(name) for name in node.attrs["of"])
