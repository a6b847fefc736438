"""Lowerings of `dyn/ops/special.py`."""

from __future__ import annotations

import math

from exporter.registry import lowers


@lowers("copysign")
def _(b, node):
    x, y = node.inputs
    zero = b.const(0, node.dtype)
    # Of the zeros only the quotient tells which is negative.
    below = b.op("Less", b.op("Div", b.const(1, node.dtype), y), zero)
    minus = b.op("Or", b.op("Less", y, zero), b.op("And", b.op("Equal", y, zero), below))
    size = b.op("Abs", x)
    return b.op("Where", minus, b.op("Neg", size), size)


@lowers("xlogy")
def _(b, node):
    x, y = node.inputs
    zero, one = b.const(0, node.dtype), b.const(1, node.dtype)
    positive = b.op("Not", b.op("LessOrEqual", y, zero))
    inside = b.op("And", positive, b.op("Not", b.op("IsInf", y)))
    undefined = b.op("And", b.op("Equal", x, zero), b.op("Not", inside))
    return b.op("Mul", x, b.op("Log", b.op("Where", undefined, one, y)))


@lowers("sinc")
def _(b, node):
    one = b.const(1, node.dtype)
    zero = b.op("Equal", node.x, b.const(0, node.dtype))
    angle = b.op("Mul", b.op("Where", zero, one, node.x), b.const(math.pi, node.dtype))
    return b.op("Where", zero, one, b.op("Div", b.op("Sin", angle), angle))
