"""Lowerings of `dyn/ops/search.py`."""

from __future__ import annotations

import numpy as np

from exporter.registry import lowers


def _position(b, node, *, largest, keep):
    axis = node.attrs["axis"]
    if node.dtype != np.int64:
        target = "ArgMax" if largest else "ArgMin"
        return b.op(target, node.x, axis=axis, keepdims=int(keep))
    # onnxruntime before 1.20 has no ArgMax of int64; TopK prefers the lower of equal places, too.
    _, at = b.op("TopK", node.x, b.ints(1), axis=axis, largest=int(largest), outputs=2)
    return at if keep else b.squeeze(at, axis)


@lowers("argmax")
def _(b, node):
    return _position(b, node, largest=True, keep=node.attrs["keepdims"])


@lowers("argmin")
def _(b, node):
    return _position(b, node, largest=False, keep=node.attrs["keepdims"])


@lowers("extreme")
def _(b, node):
    axis, keep = node.attrs["axis"], node.attrs["keepdims"]
    place = _position(b, node, largest=node.attrs["largest"], keep=True)
    value = b.op("GatherElements", node.x, place, axis=axis)
    return (value, place) if keep else (b.squeeze(value, axis), b.squeeze(place, axis))


@lowers("extreme_grad")
def _(b, node):
    axis, shape = node.attrs["axis"], node.attrs["shape"]
    g, place = (
        node.inputs if node.attrs["keepdims"] else (b.unsqueeze(t, axis) for t in node.inputs)
    )
    zeros = b.op("Expand", b.const(0, node.dtype), b.shape_vector(shape))
    return b.op("ScatterElements", zeros, place, g, axis=axis)


@lowers("nonzero")
def _(b, node):
    return b.transpose(b.op("NonZero", node.x), (1, 0))


@lowers("unique")
def _(b, node):
    return b.op("Unique", node.x, outputs=4, axis=node.attrs["axis"], sorted=1)


@lowers("bincount")
def _(b, node):
    x, weights = (*node.inputs, None)[:2]
    x = b.cast(x, np.int64)
    # One -1 more, so that there is a largest of no integers, too.
    largest = b.axes("ReduceMax", b.op("Concat", x, b.ints(-1), axis=0), (0,), keepdims=False)
    size = b.op("Add", largest, b.const(1, np.int64))
    size = b.op("Max", size, b.const(node.attrs["minlength"], np.int64))
    count = b.op("Range", b.const(0, np.int64), size, b.const(1, np.int64))
    hits = b.cast(b.op("Equal", b.unsqueeze(x, 1), count), node.out.dtype)
    if weights is not None:
        weights = b.cast(weights, node.out.dtype)
        hits = b.op("Mul", hits, b.unsqueeze(weights, 1))
    return b.axes("ReduceSum", hits, (0,), keepdims=False)


@lowers("histogram")
def _(b, node):
    bins, low, high = (node.attrs[name] for name in ("bins", "low", "high"))
    dtype = np.dtype(np.float64 if node.dtype == np.float64 else np.float32)
    x = b.cast(b.reshape(node.x, [-1]), dtype)
    inside = b.op("And", *_within(b, x, low, high, dtype))
    x = b.op("Where", inside, x, b.const(low, dtype))
    scaled = b.op("Mul", b.op("Sub", x, b.const(low, dtype)), b.const(bins / (high - low), dtype))
    place = b.op("Min", b.op("Floor", scaled), b.const(bins - 1, dtype))
    hits = b.op("Equal", b.unsqueeze(place, 1), b.const(np.arange(bins), dtype))
    hits = b.op("And", hits, b.unsqueeze(inside, 1))
    return b.cast(b.axes("ReduceSum", b.cast(hits, np.int64), (0,), keepdims=False), node.out.dtype)


def _within(b, x, low, high, dtype):
    """Whether elements are at least `low`, and at most `high`."""
    yield b.op("GreaterOrEqual", x, b.const(low, dtype))
    yield b.op("LessOrEqual", x, b.const(high, dtype))


@lowers("searchsorted")
def _(b, node):
    edges, x = node.inputs
    rank = len(node.input_types[1].shape)
    if node.rank > 1:
        edges = b.unsqueeze(edges, node.rank - 1)
    wide = b.unsqueeze(x, rank)
    below = b.op("LessOrEqual" if node.attrs["right"] else "Less", edges, wide)
    return b.axes("ReduceSum", b.cast(below, np.int64), (rank,), keepdims=False)
