"""A product or a quotient of two tensors, times a number, added to a third: one pass over memory.

Made of three ops, each intermediate result would be written and read again. What two operands make
is in `elementwise.py`.
"""

from __future__ import annotations

from dyn.core.op import op
from dyn.kernels import elementwise as kernels
from dyn.ops.elementwise import divide, multiply
from dyn.ops.infer import Type, broadcast
from dyn.ops.unary import neg


def _infer_combined(x: Type, a: Type, b: Type, *, value: float) -> Type:
    return broadcast(x, a, b)


@op(infer=_infer_combined, promote="float")
def addcmul(x, a, b, *, value):
    """x + value * a * b, broadcast. ONNX: Mul, Add."""
    return kernels.ternary("addcmul", x, a, b, value=value)


@addcmul.vjp("x")
def _(g):
    return g


@addcmul.vjp("a")
def _(g, *, b, value):
    return multiply(multiply(g, value), b)


@addcmul.vjp("b")
def _(g, *, a, value):
    return multiply(multiply(g, value), a)


@op(infer=_infer_combined, promote="float")
def addcdiv(x, a, b, *, value):
    """x + value * a / b, broadcast. ONNX: Mul, Div, Add."""
    return kernels.ternary("addcdiv", x, a, b, value=value)


@addcdiv.vjp("x")
def _(g):
    return g


@addcdiv.vjp("a")
def _(g, *, b, value):
    return divide(multiply(g, value), b)


@addcdiv.vjp("b")
def _(g, *, a, b, value):
    return neg(divide(multiply(multiply(g, value), divide(a, b)), b))


__all__ = ["addcdiv", "addcmul"]
