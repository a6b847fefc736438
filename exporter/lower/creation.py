"""Lowerings of `dyn/ops/creation.py`."""

from __future__ import annotations

import numpy as np

from dyn.core.expr import Expr
from exporter.registry import lower_table, lowers
from exporter.windows import MAX_CONSTANT, filled

lower_table(clone="Identity", shape="Shape", numel="Size")


@lowers("full")
def _(b, node):
    shape, value, dtype = node.attrs["shape"], node.attrs["value"], node.out.dtype
    if not isinstance(value, Expr):
        return filled(b, shape, value, dtype)
    size = b.size(value) if dtype == np.int64 else b.cast(b.size(value), dtype)
    return b.op("Expand", size, b.shape_vector(shape)) if shape else size


def _like(b, node, value):
    return filled(b, node.shape, value, node.out.dtype)


@lowers("full_like")
def _(b, node):
    return _like(b, node, node.attrs["value"])


@lowers("zeros_like")
def _(b, node):
    return _like(b, node, 0)


@lowers("ones_like")
def _(b, node):
    return _like(b, node, 1)


@lowers("arange")
def _(b, node):
    start, stop, step = (node.attrs[name] for name in ("start", "stop", "step"))
    dtype = node.out.dtype
    if not any(isinstance(n, Expr) for n in (start, stop, step)):
        numbers = np.arange(start, stop, step).astype(dtype)
        exact = all(float(n).is_integer() for n in (start, stop, step))
        if numbers.size <= MAX_CONSTANT or not exact:
            return b.const(numbers)
    made = b.op("Range", b.size(start), b.size(stop), b.size(step))
    return made if dtype == np.int64 else b.cast(made, dtype)


@lowers("linspace")
def _(b, node):
    start, stop, num = (node.attrs[name] for name in ("start", "stop", "num"))
    dtype = node.out.dtype
    work = dtype if dtype.kind == "f" and dtype.itemsize > 2 else np.dtype(np.float64)
    first, last, one = (b.const(number, work) for number in (start, stop, 1))
    size = b.cast(b.size(num), work)
    count = b.cast(b.op("Range", b.size(0), b.size(num), b.size(1)), work)
    gaps = b.op("Sub", size, one)
    step = b.op("Div", b.const(stop - start, work), b.op("Max", gaps, one))
    rising = b.op("Add", b.op("Mul", count, step), first)
    falling = b.op("Add", b.op("Mul", b.op("Sub", count, gaps), step), last)
    below = b.op("Less", b.op("Add", count, count), size)
    made = b.op("Where", below, rising, falling)
    return made if work == dtype else b.cast(made, dtype)


@lowers("one_hot")
def _(b, node):
    values = b.const(np.array([0, 1], node.out.dtype))
    if node.out.dtype == np.float32 and node.rank:  # ONNX's wants at least one axis
        return b.op("OneHot", b.cast(node.x, np.int64), b.size(node.attrs["classes"]), values)
    count = b.op("Range", b.size(0), b.size(node.attrs["classes"]), b.size(1))
    wide = b.unsqueeze(b.cast(node.x, np.int64), node.rank)
    return b.cast(b.op("Equal", wide, count), node.out.dtype)
