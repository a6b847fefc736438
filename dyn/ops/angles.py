"""Functions of one tensor, element by element: angles, hyperbolic functions, erf.

Integers become the default floating-point dtype first. Angles are in radians.
"""

from __future__ import annotations

import math

from dyn.core.op import op
from dyn.kernels import elementwise as kernels
from dyn.ops.elementwise import (
    add,
    as_gradient,
    differentiate_by_formula,
    divide,
    multiply,
    subtract,
)
from dyn.ops.infer import same
from dyn.ops.unary import exp, neg, rsqrt, square

# ---- angles ------------------------------------------------------------------------------------


@op(infer=same, promote="float")
def sin(x):
    """Sine of x in radians. ONNX: Sin."""
    return kernels.unary("sin", x)


@sin.vjp("x")
def _(g, *, x):
    return multiply(g, cos(x))


@op(infer=same, promote="float")
def cos(x):
    """Cosine of x in radians. ONNX: Cos."""
    return kernels.unary("cos", x)


@cos.vjp("x")
def _(g, *, x):
    return neg(multiply(g, sin(x)))


@op(infer=same, promote="float")
def tan(x):
    """Tangent of x in radians. ONNX: Tan."""
    return kernels.unary("tan", x)


@tan.vjp("x")
def _(g, *, out):
    return multiply(g, add(square(out), 1))


@op(infer=same, promote="float")
def asin(x):
    """Inverse sine in radians; NaN outside [-1, 1]. ONNX: Asin."""
    return kernels.unary("asin", x)


@asin.vjp("x")
def _(g, *, x):
    return multiply(g, rsqrt(subtract(1, square(x))))


@op(infer=same, promote="float")
def acos(x):
    """Inverse cosine in radians; NaN outside [-1, 1]. ONNX: Acos."""
    return kernels.unary("acos", x)


@acos.vjp("x")
def _(g, *, x):
    return neg(multiply(g, rsqrt(subtract(1, square(x)))))


@op(infer=same, promote="float")
def atan(x):
    """Inverse tangent in radians. ONNX: Atan."""
    return kernels.unary("atan", x)


@atan.vjp("x")
def _(g, *, x):
    return divide(g, add(square(x), 1))


# ---- hyperbolic functions ----------------------------------------------------------------------


@op(infer=same, promote="float")
def sinh(x):
    """Hyperbolic sine. ONNX: Sinh."""
    return kernels.unary("sinh", x)


@sinh.vjp("x")
def _(g, *, x):
    return multiply(g, cosh(x))


@op(infer=same, promote="float")
def cosh(x):
    """Hyperbolic cosine. ONNX: Cosh."""
    return kernels.unary("cosh", x)


@cosh.vjp("x")
def _(g, *, x):
    return multiply(g, sinh(x))


@op(infer=same, promote="float")
def tanh(x):
    """Hyperbolic tangent. ONNX: Tanh."""
    return kernels.unary("tanh", x)


@tanh.vjp("x")
def _(g, *, out):
    return tanh_grad(g, out)


@op(infer=as_gradient)
def tanh_grad(g, out):
    """g * (1 - out^2): the gradient of tanh by its result. ONNX: Mul, Sub."""
    return kernels.binary("tanh_grad", g, out)


@tanh_grad.vjp("g")
def _(g, *, out):
    return tanh_grad(g, out)


@tanh_grad.vjp("out")
def _(gx, *, g, out):
    return multiply(multiply(gx, g), multiply(out, -2))


@op(infer=same, promote="float")
def asinh(x):
    """Inverse hyperbolic sine. ONNX: Asinh."""
    return kernels.unary("asinh", x)


@asinh.vjp("x")
def _(g, *, x):
    return multiply(g, rsqrt(add(square(x), 1)))


@op(infer=same, promote="float")
def acosh(x):
    """Inverse hyperbolic cosine; NaN below 1. ONNX: Acosh."""
    return kernels.unary("acosh", x)


@acosh.vjp("x")
def _(g, *, x):
    return multiply(g, rsqrt(subtract(square(x), 1)))


@op(infer=same, promote="float")
def atanh(x):
    """Inverse hyperbolic tangent; NaN outside [-1, 1]. ONNX: Atanh."""
    return kernels.unary("atanh", x)


@atanh.vjp("x")
def _(g, *, x):
    return divide(g, subtract(1, square(x)))


# ---- the error function ------------------------------------------------------------------------


@op(infer=same, promote="float")
def erf(x):
    """2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x. ONNX: Erf."""
    return kernels.unary("erf", x)


@erf.vjp("x")
def _(g, *, x):
    return multiply(multiply(g, 2 / math.sqrt(math.pi)), exp(neg(square(x))))


differentiate_by_formula(sin, cos, tan, asin, acos, atan, sinh, cosh, asinh, acosh, atanh, erf)

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "cos",
    "cosh",
    "erf",
    "sin",
    "sinh",
    "tan",
    "tanh",
]
