"""Functions of elements that are defined by cases: signs, and limits where a formula has none."""

from __future__ import annotations

import math

from dyn.core.op import OPS, op
from dyn.kernels import elementwise as kernels
from dyn.ops.elementwise import divide, multiply, subtract
from dyn.ops.index import where
from dyn.ops.infer import broadcast, same


@op(infer=broadcast, promote="float")
def copysign(x, y):
    """|x| with the sign of y, that of -0.0 too. ONNX: Abs, Less, Div, Where."""
    return kernels.binary("copysign", x, y)


@copysign.vjp("x")
def _(g, *, x, y):
    sign = OPS["sign"](x)
    return multiply(g, multiply(sign, copysign(sign, y)))


@copysign.vjp("y")
def _(g):
    return None  # the sign does not change


@op(infer=broadcast, promote="float")
def xlogy(x, y):
    """x * log(y), 0 where x is 0 unless y is NaN. ONNX: Log, Where, Mul."""
    return kernels.binary("xlogy", x, y)


@xlogy.vjp("x", "y")
def _(g, *, x, y):
    # Where x is 0 and the logarithm of y is no number to multiply it by.
    outside = OPS["logical_or"](OPS["less_equal"](y, 0), OPS["isinf"](y))
    undefined = OPS["logical_and"](OPS["equal"](x, 0), outside)
    gx = multiply(g, OPS["log"](where(undefined, 1, y)))
    return gx, where(undefined, 0, multiply(g, divide(x, y)))


@op(infer=same, promote="float")
def sinc(x):
    """sin(pi x) / (pi x), 1 at 0. ONNX: Sin, Div, Where."""
    return kernels.unary("sinc", x)


@sinc.vjp("x")
def _(g, *, x, out):
    zero = OPS["equal"](x, 0)
    slope = divide(subtract(OPS["cos"](multiply(x, math.pi)), out), where(zero, 1, x))
    return multiply(g, where(zero, 0, slope))


__all__ = ["copysign", "sinc", "xlogy"]
