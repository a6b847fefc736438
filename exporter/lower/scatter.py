"""Lowerings of `dyn/ops/scatter.py`: extremes and products of what comes to a place."""

from __future__ import annotations

import numpy as np

from exporter.lower.gather import scattered
from exporter.registry import lowers


@lowers("scatter_product")
def _(b, node):
    x, index, value = node.inputs
    index = b.index(index, node.input_types[1].dtype, narrow=True)
    axis = node.attrs["axis"]
    return scattered(b, "ScatterElements", x, index, value, node.dtype, "mul", axis)


@lowers("scatter_extreme")
def _(b, node):
    axis, largest = node.attrs["axis"], node.attrs["largest"]
    if b.has("ScatterElements", since=18):
        x, index, value = node.inputs
        index = b.index(index, node.input_types[1].dtype, narrow=True)
        reduction = "max" if largest else "min"
        return b.op("ScatterElements", x, index, value, axis=axis, reduction=reduction)
    return _extreme_of_all(b, node, axis, largest)


def _extreme_of_all(b, node, axis, largest):
    """Scattered extremes before opset 18: of all candidates in a row, which takes n * k places."""
    rank, last = node.rank, node.rank - 1
    perm = [*(a for a in range(rank) if a != axis), axis]
    x, index, value = (v if axis == last else b.transpose(v, perm) for v in node.inputs)
    count = b.size(node.input_types[0].shape[axis])
    number = b.op("Range", b.const(0, np.int64), count, b.const(1, np.int64))
    index = b.op("Mod", b.cast(index, np.int64), count)
    mine = b.op("Equal", b.unsqueeze(index, last), b.unsqueeze(number, 1))
    low, high = -np.inf, np.inf
    if node.dtype.kind in "iu":
        low, high = np.iinfo(node.dtype).min, np.iinfo(node.dtype).max
    nothing = b.const(low if largest else high, node.dtype)
    candidates = b.op("Where", mine, b.unsqueeze(value, last), nothing)
    every = b.op("Concat", b.unsqueeze(x, rank), candidates, axis=rank)
    out = b.axes("ReduceMax" if largest else "ReduceMin", every, [rank], keepdims=False)
    return out if axis == last else b.transpose(out, np.argsort(perm))
