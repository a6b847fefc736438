"""Lowerings of `dyn/ops/linalg.py`: MatMul and Gemm."""

from __future__ import annotations

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
    return b.op("MatMul", x, y)


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
