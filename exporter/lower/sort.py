"""Lowerings of `dyn/ops/sort.py`."""

from __future__ import annotations

import numpy as np

from exporter.registry import lowers


@lowers("topk")
def _(b, node):
    return b.op(
        "TopK",
        node.x,
        b.shape_vector([node.attrs["k"]]),
        outputs=2,
        axis=node.attrs["axis"],
        largest=int(node.attrs["largest"]),
        sorted=1,
    )


def _sorted(b, node):
    """Values in ascending order, and where they were."""
    axis = node.attrs["axis"]
    count = b.shape_vector([node.input_types[0].shape[axis]])
    return b.op("TopK", node.x, count, outputs=2, axis=axis, largest=0, sorted=1)


def _found(b, node, value, place):
    axis = node.attrs["axis"]
    if node.attrs["keepdims"]:
        return value, place
    return b.squeeze(value, axis), b.squeeze(place, axis)


@lowers("mode")
def _(b, node):
    axis = node.attrs["axis"]
    values, _ = _sorted(b, node)
    pairs = b.op("Equal", b.unsqueeze(values, axis), b.unsqueeze(values, axis + 1))
    counts = b.axes("ReduceSum", b.cast(pairs, np.int32), (axis,), keepdims=False)
    value = b.op("GatherElements", values, b.op("ArgMax", counts, axis=axis), axis=axis)
    same = b.cast(b.op("Equal", node.x, value), np.int32)
    place = b.op("ArgMax", same, axis=axis, select_last_index=1)
    return _found(b, node, value, place)


@lowers("lower_median")
def _(b, node):
    axis = node.attrs["axis"]
    _, places = _sorted(b, node)
    middle = b.shape_vector([(node.input_types[0].shape[axis] - 1) // 2])
    place = b.op("Gather", places, middle, axis=axis)
    if node.dtype.kind not in "iu":
        missing = b.cast(b.op("IsNaN", node.x), np.int32)
        first = b.op("ArgMax", missing, axis=axis)
        some = b.cast(b.axes("ReduceMax", missing, (axis,)), np.bool_)
        place = b.op("Where", some, first, place)
    return _found(b, node, b.op("GatherElements", node.x, place, axis=axis), place)
