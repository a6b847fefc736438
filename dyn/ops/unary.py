"""Functions of one tensor, element by element: cast, rounding, powers, exponentials, scales.

Angles and hyperbolic functions are in `angles.py`, ranges in `bounds.py`, activations of networks
in `activation.py`. Integers given to a function that is not defined on them (exp, sqrt ...) become
the default floating-point dtype first.
"""

from __future__ import annotations

import math
from typing import Any

from dyn.core.dtype import name_of, rank
from dyn.core.errors import DTypeError
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import elementwise as kernels
from dyn.ops.elementwise import add, differentiate_by_formula, divide, multiply, subtract
from dyn.ops.infer import Type, as_numpy, same


def _infer_number(x: Type) -> Type:
    if rank(x.dtype) == 0:
        raise DTypeError("is not defined for booleans; cast() them first")
    return x


# ---- cast --------------------------------------------------------------------------------------


def _infer_cast(x: Type, *, dtype: str) -> Type:
    return Type(x.shape, as_numpy(dtype))


@op(infer=_infer_cast)
def _cast(x, *, dtype):
    """The elements of x as `dtype`. ONNX: Cast."""
    return kernels.cast(x, as_numpy(dtype))


@_cast.vjp("x")
def _(g):
    return g


def cast(x: Tensor, dtype: Any) -> Tensor:
    """The elements of `x` as another dtype; `x` itself if it has it already.

    Args:
        x: any shape.
        dtype: a dtype or its name. Floats are cut toward zero when they become integers.
    """
    wanted = as_numpy(dtype)
    return x if x._read().dtype == wanted else _cast(x, dtype=name_of(wanted))


# ---- sign and rounding -------------------------------------------------------------------------


@op(infer=_infer_number)
def neg(x):
    """-x. ONNX: Neg."""
    return kernels.unary("neg", x)


@neg.vjp("x")
def _(g):
    return neg(g)


@op(infer=_infer_number)
def abs(x):
    """Absolute value; its gradient at 0 is 0. ONNX: Abs."""
    return kernels.unary("abs", x)


@abs.vjp("x")
def _(g, *, x):
    return multiply(g, sign(x))


@abs.fused_vjp("x")
def _(g, *, x):
    if x.dtype.kind == "c":
        return kernels.binary("multiply", g, kernels.unary("sign", x))
    return kernels.binary("abs_grad", g, x)


@op(infer=_infer_number)
def sign(x):
    """-1, 0 or 1; NaN stays. ONNX: Sign."""
    return kernels.unary("sign", x)


@op(infer=_infer_number)
def floor(x):
    """The nearest integer toward minus infinity, in the same dtype. ONNX: Floor."""
    return kernels.unary("floor", x)


@op(infer=_infer_number)
def ceil(x):
    """The nearest integer toward infinity, in the same dtype. ONNX: Ceil."""
    return kernels.unary("ceil", x)


@op(infer=_infer_number)
def trunc(x):
    """The nearest integer toward zero, in the same dtype. ONNX: Abs, Floor, Sign."""
    return kernels.unary("trunc", x)


@op(infer=_infer_number)
def _round(x):
    """The nearest integer, of two equally near ones the even. ONNX: Round."""
    return kernels.unary("round", x)


@sign.vjp("x")
@floor.vjp("x")
@ceil.vjp("x")
@trunc.vjp("x")
@_round.vjp("x")
def _(g):
    # Flat wherever there is a slope: zeros, so that what was computed from them can be trained.
    return OPS["zeros_like"](g)


def round(x: Tensor, decimals: int = 0) -> Tensor:
    """The nearest multiple of 10^-decimals, of two equally near ones the even."""
    if decimals == 0:
        return _round(x)
    return divide(_round(multiply(x, 10.0**decimals)), 10.0**decimals)


def frac(x: Tensor) -> Tensor:
    """x without its whole part, with the sign of x."""
    return subtract(x, trunc(x))


# ---- powers and roots --------------------------------------------------------------------------


@op(infer=_infer_number)
def square(x):
    """x times x. ONNX: Mul."""
    return kernels.unary("square", x)


@square.vjp("x")
def _(g, *, x):
    return multiply(g, add(x, x))


@op(infer=same, promote="float")
def sqrt(x):
    """Square root; NaN below 0. ONNX: Sqrt."""
    return kernels.unary("sqrt", x)


@sqrt.vjp("x")
def _(g, *, out):
    return divide(g, add(out, out))


@op(infer=same, promote="float")
def rsqrt(x):
    """1 / sqrt(x). ONNX: Sqrt, Reciprocal."""
    return kernels.unary("rsqrt", x)


@rsqrt.vjp("x")
def _(g, *, out):
    return multiply(multiply(g, -0.5), multiply(out, square(out)))


@op(infer=same, promote="float")
def reciprocal(x):
    """1 / x. ONNX: Reciprocal."""
    return kernels.unary("reciprocal", x)


@reciprocal.vjp("x")
def _(g, *, out):
    return neg(multiply(g, square(out)))


# ---- exponentials and logarithms ---------------------------------------------------------------


@op(infer=same, promote="float")
def exp(x):
    """e to the power x. ONNX: Exp."""
    return kernels.unary("exp", x)


@exp.vjp("x")
def _(g, *, out):
    return multiply(g, out)


@op(infer=same, promote="float")
def expm1(x):
    """e^x - 1, exact near 0 in eager mode. ONNX: Exp, Add, Tanh, Mul."""
    return kernels.unary("expm1", x)


@expm1.vjp("x")
def _(g, *, out):
    return multiply(g, add(out, 1))


@op(infer=same, promote="float")
def log(x):
    """Natural logarithm; NaN below 0. ONNX: Log."""
    return kernels.unary("log", x)


@log.vjp("x")
def _(g, *, x):
    return divide(g, x)


@op(infer=same, promote="float")
def log2(x):
    """Logarithm to base 2. ONNX: Log, Mul."""
    return kernels.unary("log2", x)


@log2.vjp("x")
def _(g, *, x):
    return divide(multiply(g, 1 / math.log(2)), x)


@op(infer=same, promote="float")
def log10(x):
    """Logarithm to base 10. ONNX: Log, Mul."""
    return kernels.unary("log10", x)


@log10.vjp("x")
def _(g, *, x):
    return divide(multiply(g, 1 / math.log(10)), x)


@op(infer=same, promote="float")
def log1p(x):
    """log(1 + x), exact near 0 in eager mode. ONNX: Add, Sub, Div, Log, Where."""
    return kernels.unary("log1p", x)


@log1p.vjp("x")
def _(g, *, x):
    return divide(g, add(x, 1))


differentiate_by_formula(square, sqrt, rsqrt, reciprocal, expm1, log2, log10, log1p)


# ---- scales ------------------------------------------------------------------------------------


def scale(x: Tensor, scale: Any = 1.0, bias: float = 0.0, bias_after_scale: bool = True) -> Tensor:
    """scale * x + bias, or scale * (x + bias)."""
    if bias_after_scale:
        out = multiply(x, scale)
        return add(out, bias) if bias else out
    return multiply(add(x, bias), scale)


def deg2rad(x: Tensor) -> Tensor:
    """Degrees as radians."""
    return multiply(x, math.pi / 180)


def rad2deg(x: Tensor) -> Tensor:
    """Radians as degrees."""
    return multiply(x, 180 / math.pi)


__all__ = [
    "abs",
    "cast",
    "ceil",
    "deg2rad",
    "exp",
    "expm1",
    "floor",
    "frac",
    "log",
    "log1p",
    "log2",
    "log10",
    "neg",
    "rad2deg",
    "reciprocal",
    "round",
    "rsqrt",
    "scale",
    "sign",
    "sqrt",
    "square",
    "trunc",
]
