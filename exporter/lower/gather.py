"""Lowerings of `dyn/ops/gather.py`: the Gather and Scatter families, and Where."""

from __future__ import annotations

import numpy as np

from exporter.registry import lowers


def _reduction(node):
    name = node.attrs["reduction"]
    return None if name == "none" else name


@lowers("gather")
def _(b, node):
    x, index = node.inputs
    index = b.index(index, node.input_types[1].dtype, narrow=True)
    return b.op("Gather", x, index, axis=node.attrs["axis"])


def scattered(b, target, x, index, value, dtype, reduction, axis=None):
    """x with values at an index: written, or combined with what is there."""
    if reduction is None or dtype != np.float16:
        return b.op(target, x, index, value, axis=axis, reduction=reduction)
    # onnxruntime writes float16 and does not compute with it there; sums are rounded once, too.
    x, value = (b.cast(v, np.float32) for v in (x, value))
    out = b.op(target, x, index, value, axis=axis, reduction=reduction)
    return b.cast(out, dtype)


def added(b, g, index, axis, shape, rank, dtype):
    """Zeros of `shape` with g added at an int64 index of `rank` axes, which are `axis` in g."""
    total = len(shape) + rank - 1
    # ScatterND adds slices of leading axes: bring the axis of the index to the front and back.
    perm = [*range(axis, axis + rank), *range(axis), *range(axis + rank, total)]
    rows = g if axis == 0 else b.transpose(g, perm)
    front = [shape[axis], *shape[:axis], *shape[axis + 1 :]]
    zeros = b.op("Expand", b.const(0, dtype), b.shape_vector(front))
    out = scattered(b, "ScatterND", zeros, b.unsqueeze(index, rank), rows, dtype, "add")
    if axis == 0:
        return out
    return b.transpose(out, [*range(1, axis + 1), 0, *range(axis + 1, len(shape))])


@lowers("gather_grad")
def _(b, node):
    g, index = node.inputs
    kind, attrs = node.input_types[1], node.attrs
    index = b.index(index, kind.dtype)
    return added(b, g, index, attrs["axis"], attrs["shape"], len(kind.shape), node.dtype)


@lowers("gather_nd")
def _(b, node):
    x, index = node.inputs
    return b.op("GatherND", x, b.index(index, node.input_types[1].dtype))


@lowers("scatter_nd")
def _(b, node):
    x, index, value = node.inputs
    index = b.index(index, node.input_types[1].dtype)
    return scattered(b, "ScatterND", x, index, value, node.dtype, _reduction(node))


@lowers("take_along_axis")
def _(b, node):
    x, index = node.inputs
    index = b.index(index, node.input_types[1].dtype, narrow=True)
    return b.op("GatherElements", x, index, axis=node.attrs["axis"])


@lowers("put_along_axis")
def _(b, node):
    x, index, value = node.inputs
    index = b.index(index, node.input_types[1].dtype, narrow=True)
    axis = node.attrs["axis"]
    return scattered(b, "ScatterElements", x, index, value, node.dtype, _reduction(node), axis)


@lowers("where")
def _(b, node):
    condition, x, y = node.inputs
    if node.dtype.kind != "b":
        condition = b.cast(condition, np.bool_)
    return b.op("Where", condition, x, y)
