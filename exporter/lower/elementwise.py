"""Lowerings of `dyn/ops/elementwise.py`."""

from __future__ import annotations

import math

from exporter.registry import lowers


def _kind(node):
    return node.dtype.kind


@lowers("add")
def _(b, node):
    return b.op("Or" if _kind(node) == "b" else "Add", *node.inputs)


@lowers("add_n")
def _(b, node):
    total, *others = node.inputs
    for x in others:
        total = b.op("Or" if _kind(node) == "b" else "Add", total, x)
    return total


@lowers("subtract")
def _(b, node):
    return b.op("Sub", *node.inputs)


@lowers("multiply")
def _(b, node):
    return b.op("And" if _kind(node) == "b" else "Mul", *node.inputs)


@lowers("divide")
def _(b, node):
    return b.op("Div", *node.inputs)


@lowers("lerp")
def _(b, node):
    x, y, weight = node.inputs
    return b.op("Add", x, b.op("Mul", weight, b.op("Sub", y, x)))


def remainder(b, x, y, dtype):
    """What division toward minus infinity leaves: it has the sign of y."""
    if dtype.kind in "iu":
        return b.op("Mod", x, y)
    # Floats have the remainder of division toward zero only; move it to the sign of y.
    rest = b.op("Mod", x, y, fmod=1)
    zero = b.const(0, dtype)
    wrong = b.op("Xor", b.op("Less", rest, zero), b.op("Less", y, zero))
    wrong = b.op("And", wrong, b.op("Not", b.op("Equal", rest, zero)))
    return b.op("Where", wrong, b.op("Add", rest, y), rest)


@lowers("remainder")
def _(b, node):
    x, y = node.inputs
    return remainder(b, x, y, node.dtype)


@lowers("floor_divide")
def _(b, node):
    x, y = node.inputs
    if _kind(node) == "u":
        return b.op("Div", x, y)
    whole = b.op("Div", b.op("Sub", x, remainder(b, x, y, node.dtype)), y)
    # A float quotient without remainder is a whole number, but for rounding.
    return whole if _kind(node) == "i" else b.op("Round", whole)


@lowers("fmod")
def _(b, node):
    return b.op("Mod", *node.inputs, fmod=1)


@lowers("pow")
def _(b, node):
    return b.op("Pow", *node.inputs)


@lowers("atan2")
def _(b, node):
    x, y = node.inputs
    dtype = node.dtype
    zero = b.const(0, dtype)
    left = b.op("Less", y, zero)
    below = b.op("Less", x, zero)
    turn = b.op("Where", below, b.const(-math.pi, dtype), b.const(math.pi, dtype))
    angle = b.op("Atan", b.op("Div", x, y))
    angle = b.op("Where", left, b.op("Add", angle, turn), angle)
    upright = b.op("Mul", b.op("Sign", x), b.const(math.pi / 2, dtype))
    return b.op("Where", b.op("Equal", y, zero), upright, angle)


@lowers("hypot")
def _(b, node):
    one, infinity = b.const(1, node.dtype), b.const(math.inf, node.dtype)
    x, y = (b.op("Abs", operand) for operand in node.inputs)
    most = b.op("Max", x, y)
    zero = b.op("Equal", most, b.const(0, node.dtype))
    share = b.op("Div", b.op("Min", x, y), b.op("Where", zero, one, most))
    found = b.op("Mul", most, b.op("Sqrt", b.op("Add", b.op("Mul", share, share), one)))
    # Infinity beats NaN.
    infinite = b.op("Or", b.op("Equal", x, infinity), b.op("Equal", y, infinity))
    return b.op("Where", infinite, infinity, found)


@lowers("logaddexp")
def _(b, node):
    x, y = node.inputs
    apart = b.op("Neg", b.op("Abs", b.op("Sub", x, y)))
    # Equal infinities have no difference, but they are 0 apart.
    apart = b.op("Where", b.op("Equal", x, y), b.const(0, node.dtype), apart)
    return b.op("Add", b.op("Max", x, y), b.op("Softplus", apart))
