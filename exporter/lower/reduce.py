"""Lowerings of `dyn/ops/reduce.py`."""

from __future__ import annotations

import numpy as np

from dyn.ops.infer import product
from exporter.emptiness import nan_of_none
from exporter.registry import lowers


def _mean(b, node, x):
    found = _reduce(b, node, "ReduceMean", x)
    return nan_of_none(b, found, [node.shape[a] for a in node.attrs["axes"]], node.dtype)


def _reduce(b, node, target, x=None):
    x = node.x if x is None else x
    return b.axes(target, x, node.attrs["axes"], keepdims=node.attrs["keepdims"])


def _wide(b, node):
    """Booleans and small integers as int64, in which they are summed."""
    return node.x if node.dtype == node.out.dtype else b.cast(node.x, node.out.dtype)


@lowers("sum")
def _(b, node):
    return _reduce(b, node, "ReduceSum", _wide(b, node))


@lowers("prod")
def _(b, node):
    return _reduce(b, node, "ReduceProd", _wide(b, node))


@lowers("prod_grad")
def _(b, node):
    # Where one factor is 0, that one alone has a gradient; where two are, none has.
    (g, x), axes, dtype = node.inputs, node.attrs["axes"], node.dtype
    zero, one = b.const(0, dtype), b.const(1, dtype)
    at = b.op("Equal", x, zero)
    count = b.axes("ReduceSum", b.cast(at, dtype), axes, keepdims=True)
    safe = b.op("Where", at, one, x)
    whole = b.op("Mul", g, b.axes("ReduceProd", safe, axes, keepdims=True))
    alone = b.op("Where", b.op("Equal", count, one), whole, zero)
    others = b.op("Where", b.op("Equal", count, zero), b.op("Div", whole, safe), zero)
    return b.op("Where", at, alone, others)


@lowers("mean")
def _(b, node):
    return _mean(b, node, node.x)


@lowers("max")
def _(b, node):
    return _reduce(b, node, "ReduceMax")


@lowers("min")
def _(b, node):
    return _reduce(b, node, "ReduceMin")


@lowers("logsumexp")
def _(b, node):
    return _reduce(b, node, "ReduceLogSumExp")


@lowers("sum_to")
def _(b, node):
    shape = node.attrs["shape"]
    lead = node.rank - len(shape)
    repeated = [i + lead for i, n in enumerate(shape) if n == 1 and node.shape[i + lead] != 1]
    axes = [*range(lead), *repeated]
    return b.squeeze(b.axes("ReduceSum", _wide(b, node), axes), *range(lead))


def _count(b, node, test):
    """How many elements pass a test of zero, as int64: defined for no elements, too."""
    x = node.x if node.dtype.kind == "b" else b.cast(node.x, np.bool_)
    return _reduce(b, node, "ReduceSum", b.cast(test(x), np.int64))


@lowers("all")
def _(b, node):
    zeros = _count(b, node, lambda x: b.op("Not", x))
    return b.op("Equal", zeros, b.const(0, np.int64))


@lowers("any")
def _(b, node):
    return b.op("Greater", _count(b, node, lambda x: x), b.const(0, np.int64))


@lowers("std")
def _(b, node):
    # In a wider dtype no square overflows or vanishes.
    if node.dtype.itemsize == 8:
        return b.op("Sqrt", _variance(b, node, node.x, node.dtype))
    wide = np.dtype(np.float64 if node.dtype.itemsize == 4 else np.float32)
    return b.cast(b.op("Sqrt", _variance(b, node, b.cast(node.x, wide), wide)), node.dtype)


@lowers("var")
def _(b, node):
    return _variance(b, node, node.x, node.dtype)


def _variance(b, node, x, dtype):
    axes, correction = node.attrs["axes"], node.attrs["correction"]
    away = b.op("Sub", x, b.axes("ReduceMean", x, axes))
    square = b.op("Mul", away, away)
    if correction == 0:
        return _mean(b, node, square)
    count = product([node.shape[a] for a in axes])
    total = _reduce(b, node, "ReduceSum", square)
    if isinstance(count, int):
        return b.op("Div", total, b.const(max(count - correction, 0), dtype))
    rest = b.op("Sub", b.size(count), b.const(correction, np.int64))
    if correction > 0:
        rest = b.op("Max", rest, b.const(0, np.int64))
    return b.op("Div", total, b.cast(rest, dtype))
