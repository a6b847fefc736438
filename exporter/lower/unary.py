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
    # tanh(x / 2) * (e^x + 1), which keeps the digits of small x.
    half = b.op("Tanh", b.op("Mul", node.x, b.const(0.5, node.dtype)))
    return b.op("Mul", half, b.op("Add", b.op("Exp", node.x), b.const(1, node.dtype)))


def log1p(b, x, dtype):
    """log(1 + x): small x get back what rounding takes from 1 + x."""
    one, half = b.const(1, dtype), b.const(0.5, dtype)
    above = b.op("Add", x, one)
    lost = b.op("Div", b.op("Sub", x, b.op("Sub", above, one)), above)
    small = b.op("Less", b.op("Abs", x), half)
    return b.op("Add", b.op("Log", above), b.op("Where", small, lost, b.const(0, dtype)))


@lowers("log1p")
def _(b, node):
    return log1p(b, node.x, node.dtype)


@lowers("log2")
def _(b, node):
    return b.op("Mul", b.op("Log", node.x), b.const(1 / math.log(2), node.dtype))


@lowers("log10")
def _(b, node):
    return b.op("Mul", b.op("Log", node.x), b.const(1 / math.log(10), node.dtype))
