"""The gamma and error functions beyond `erf`: their formulas are computed in float64.

ONNX has no operators for them; a file has the formulas of the kernels, in double. The errors said
are relative to 1 + |result|; results in float32 are rounded once.
"""

from __future__ import annotations

import math

from dyn.core.errors import ShapeError
from dyn.core.op import Type, op
from dyn.kernels import elementwise as kernels
from dyn.ops.elementwise import multiply
from dyn.ops.infer import same
from dyn.ops.unary import exp, neg, square


@op(infer=same, promote="float")
def lgamma(x):
    """log(|gamma(x)|) within 1e-14; infinite at 0, -1, -2 ... ONNX: Log, Sin, Div, Where."""
    return kernels.unary("lgamma", x)


@lgamma.vjp("x")
def _(g, *, x):
    return multiply(g, digamma(x))


@op(infer=same, promote="float")
def digamma(x):
    """The derivative of `lgamma` within 1e-14; NaN at -1, -2 ... ONNX: Log, Sin, Div, Where."""
    return kernels.unary("digamma", x)


@digamma.vjp("x")
def _(g, *, x):
    return multiply(g, digamma_derivative(x, n=1))


def _infer_derivative(x: Type, *, n: int) -> Type:
    if not 1 <= n <= 64:
        raise ShapeError(f"n is {n}; wanted an order of 0 to 64")
    return x


@op(infer=_infer_derivative, promote="float")
def digamma_derivative(x, *, n):
    """The derivative of order n >= 1 of `digamma` within 1e-13. ONNX: Sin, Div, Mul, Where."""
    return kernels.unary("digamma_derivative", x, n=n)


@digamma_derivative.vjp("x")
def _(g, *, x, n):
    return multiply(g, digamma_derivative(x, n=n + 1))


def polygamma(x, n):
    """The derivative of order n of `digamma`, which is that of order 0."""
    return digamma_derivative(x, n=n) if n else digamma(x)


@op(infer=same, promote="float")
def erfinv(x):
    """The number whose `erf` is x, within 1e-15; NaN outside [-1, 1]. ONNX: Log, Div, Where."""
    return kernels.unary("erfinv", x)


@erfinv.vjp("x")
def _(g, *, out):
    return multiply(multiply(g, math.sqrt(math.pi) / 2), exp(square(out)))


@op(infer=same, promote="float")
def erfc(x):
    """1 - erf(x) with a relative error of 1e-15. ONNX: Exp, Div, Where."""
    return kernels.unary("erfc", x)


@erfc.vjp("x")
def _(g, *, x):
    return multiply(multiply(g, -2 / math.sqrt(math.pi)), exp(neg(square(x))))


__all__ = ["digamma", "erfc", "erfinv", "lgamma", "polygamma"]
