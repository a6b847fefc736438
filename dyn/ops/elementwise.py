"""Arithmetic element by element, and cast. Operands broadcast and are promoted as in Paddle.

Comparisons and logic are in `compare.py`, activations of networks in `activation.py`.
"""

from __future__ import annotations

from typing import Any

from dyn.core.dispatch import dtype_attr
from dyn.core.op import op
from dyn.core.tensor import Tensor
from dyn.kernels import elementwise as kernels
from dyn.ops.infer import Type, as_numpy, broadcast, same

# ---- two operands ------------------------------------------------------------------------------


@op(infer=broadcast, promote=True)
def add(x, y):
    """x + y, with broadcasting. ONNX: Add."""
    return kernels.binary("add", x, y)


@add.vjp("x")
def _(g):
    return g


@add.vjp("y")
def _(g):
    return g


@op(infer=broadcast, promote=True)
def subtract(x, y):
    """x - y, with broadcasting. ONNX: Sub."""
    return kernels.binary("subtract", x, y)


@subtract.vjp("x")
def _(g):
    return g


@subtract.vjp("y")
def _(g):
    return neg(g)


@op(infer=broadcast, promote=True)
def multiply(x, y):
    """x * y element by element, with broadcasting. ONNX: Mul."""
    return kernels.binary("multiply", x, y)


@multiply.vjp("x")
def _(g, *, y):
    return multiply(g, y)


@multiply.vjp("y")
def _(g, *, x):
    return multiply(g, x)


@op(infer=broadcast, promote="float")
def divide(x, y):
    """x / y with broadcasting; integers give floating point. ONNX: Div."""
    return kernels.binary("divide", x, y)


@divide.vjp("x")
def _(g, *, y):
    return divide(g, y)


@divide.vjp("y")
def _(g, *, y, out):
    return neg(divide(multiply(g, out), y))


@op(infer=broadcast, promote=True)
def pow(x, y):
    """x to the power y, with broadcasting. ONNX: Pow."""
    return kernels.binary("pow", x, y)


@pow.vjp("x")
def _(g, *, x, y):
    return multiply(g, multiply(y, pow(x, subtract(y, 1))))


@pow.vjp("y")
def _(g, *, x, out):
    return multiply(g, multiply(out, log(x)))


@op(infer=broadcast, promote=True)
def maximum(x, y):
    """The larger of x and y, NaN if either is. ONNX: Max."""
    return kernels.binary("maximum", x, y)


@op(infer=broadcast, promote=True)
def minimum(x, y):
    """The smaller of x and y, NaN if either is. ONNX: Min."""
    return kernels.binary("minimum", x, y)


# ---- one operand -------------------------------------------------------------------------------


@op(infer=same)
def neg(x):
    """-x. ONNX: Neg."""
    return kernels.unary("neg", x)


@neg.vjp("x")
def _(g):
    return neg(g)


@op(infer=same)
def abs(x):
    """Absolute value. ONNX: Abs."""
    return kernels.unary("abs", x)


@op(infer=same, promote="float")
def exp(x):
    """e to the power x. ONNX: Exp."""
    return kernels.unary("exp", x)


@exp.vjp("x")
def _(g, *, out):
    return multiply(g, out)


@op(infer=same, promote="float")
def log(x):
    """Natural logarithm. ONNX: Log."""
    return kernels.unary("log", x)


@log.vjp("x")
def _(g, *, x):
    return divide(g, x)


@op(infer=same, promote="float")
def sqrt(x):
    """Square root. ONNX: Sqrt."""
    return kernels.unary("sqrt", x)


@sqrt.vjp("x")
def _(g, *, out):
    return divide(multiply(g, 0.5), out)


@op(infer=same)
def square(x):
    """x times x. ONNX: Mul."""
    return kernels.unary("square", x)


@square.vjp("x")
def _(g, *, x):
    return multiply(multiply(g, 2.0), x)


@op(infer=same, promote="float")
def tanh(x):
    """Hyperbolic tangent. ONNX: Tanh."""
    return kernels.unary("tanh", x)


@tanh.vjp("x")
def _(g, *, out):
    return tanh_grad(g, out)


@op(infer=broadcast)
def tanh_grad(g, out):
    """g * (1 - out^2): the gradient of tanh by its result. ONNX: Mul, Sub."""
    return kernels.binary("tanh_grad", g, out)


@tanh_grad.vjp("g")
def _(gg, *, out):
    return tanh_grad(gg, out)


@tanh_grad.vjp("out")
def _(gg, *, g, out):
    return multiply(multiply(gg, g), multiply(out, -2.0))


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
        dtype: a dtype or its name; floats are cut toward zero when they become integers.
    """
    name = dtype_attr(dtype)
    return x if x._read().dtype.name == name else _cast(x, dtype=name)


__all__ = ["abs", "add", "cast", "divide", "exp", "log", "maximum", "minimum"]
