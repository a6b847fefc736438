"""Lowerings of `dyn/ops/unary.py`."""

from __future__ import annotations

import math

from exporter.registry import lower_table, lowers

lower_table(
    neg="Neg",
    abs="Abs",
    sign="Sign",
    sqrt="Sqrt",
    reciprocal="Reciprocal",
    exp="Exp",
    log="Log",
)


@lowers("cast")
def _(b, node):
    return b.cast(node.x, node.out.dtype)


def _whole(b, node, target):
    """A rounding; integers are whole already."""
    return b.op("Identity" if node.dtype.kind in "iu" else target, node.x)


@lowers("floor")
def _(b, node):
    return _whole(b, node, "Floor")


@lowers("ceil")
def _(b, node):
    return _whole(b, node, "Ceil")


@lowers("round")
def _(b, node):
    return _whole(b, node, "Round")


@lowers("trunc")
def _(b, node):
    if node.dtype.kind in "iu":
        return b.op("Identity", node.x)
    return b.op("Mul", b.op("Sign", node.x), b.op("Floor", b.op("Abs", node.x)))


@lowers("square")
def _(b, node):
    return b.op("Mul", node.x, node.x)


@lowers("rsqrt")
def _(b, node):
    return b.op("Reciprocal", b.op("Sqrt", node.x))


@lowers("expm1")
def _(b, node):
    return b.op("Sub", b.op("Exp", node.x), b.const(1, node.dtype))


@lowers("log1p")
def _(b, node):
    return b.op("Log", b.op("Add", node.x, b.const(1, node.dtype)))


@lowers("log2")
def _(b, node):
    return b.op("Mul", b.op("Log", node.x), b.const(1 / math.log(2), node.dtype))


@lowers("log10")
def _(b, node):
    return b.op("Mul", b.op("Log", node.x), b.const(1 / math.log(10), node.dtype))
