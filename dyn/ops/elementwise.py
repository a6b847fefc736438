"""Arithmetic on two operands, element by element. Operands broadcast and are promoted as in Paddle.

Functions of one operand are in `unary.py`, comparisons and logic in `compare.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dyn.core.dispatch import apply
from dyn.core.dtype import is_inexact, rank
from dyn.core.errors import AttributeValueError, DTypeError, ShapeError
from dyn.core.lift import scalar
from dyn.core.op import OPS, Op, op
from dyn.core.tensor import Tensor
from dyn.kernels import elementwise as kernels
from dyn.ops.index import where
from dyn.ops.infer import Type, broadcast, show


def keep_where(mask: Tensor, g: Tensor) -> Tensor:
    """`g` where the mask holds, else zero: unlike a product, it drops infinities and NaN."""
    return OPS["where"](mask, g, scalar(0, g._array.dtype))


def as_gradient(g: Type, *inputs: Type, **attrs: Any) -> Type:
    """The rule of fused gradients: an input's gradient has the type of the output's."""
    return g


def differentiate_by_formula(*ops: Op) -> None:
    """Let the formula `<op>_grad`, of g and what the rule of each op needs, compute the rule."""

    def of_input(name: str) -> Callable[..., Any]:
        return lambda g, x: kernels.binary(name, g, x)

    def of_output(name: str) -> Callable[..., Any]:
        return lambda g, out: kernels.binary(name, g, out)

    for made in ops:
        of = of_input if made.rules["x"].needs == ("x",) else of_output
        made.fused_vjp("x")(of(f"{made.name}_grad"))


def _infer_numbers(x: Type, y: Type) -> Type:
    if rank(x.dtype) == 0:
        raise DTypeError("is not defined for booleans; cast() them, or use logical_xor()")
    return broadcast(x, y)


# ---- the four operations -----------------------------------------------------------------------


@op(infer=broadcast, promote=True)
def add(x, y):
    """x + y; of booleans, whether either holds. ONNX: Add (Or)."""
    return kernels.binary("add", x, y)


@add.vjp("x")
def _(g):
    return g


@add.vjp("y")
def _(g):
    return g


@op(infer=_infer_numbers, promote=True)
def subtract(x, y):
    """x - y. ONNX: Sub."""
    return kernels.binary("subtract", x, y)


@subtract.vjp("x")
def _(g):
    return g


@subtract.vjp("y")
def _(g):
    return OPS["neg"](g)


@op(infer=broadcast, promote=True)
def multiply(x, y):
    """x * y; of booleans, whether both hold. ONNX: Mul (And)."""
    return kernels.binary("multiply", x, y)


@multiply.vjp("x")
def _(g, *, y):
    return multiply(g, y)


@multiply.vjp("y")
def _(g, *, x):
    return multiply(g, x)


@op(infer=broadcast, promote="float")
def divide(x, y):
    """x / y; integers give floating point. ONNX: Div."""
    return kernels.binary("divide", x, y)


@divide.vjp("x")
def _(g, *, y):
    return divide(g, y)


@divide.vjp("y")
def _(g, *, y, out):
    # The quotient first: g / y may be infinite where the result is 0.
    return OPS["neg"](multiply(g, divide(out, y)))


@divide.fused_vjp("y")
def _(g, *, y, out):
    return kernels.ternary("quotient_grad", g, y, out)


# ---- whole quotients and their remainders ------------------------------------------------------


@op(infer=_infer_numbers, promote=True, differentiable=False)
def floor_divide(x, y):
    """The whole quotient, rounded toward minus infinity (-5 // 3 is -2). ONNX: Mod, Sub, Div."""
    return kernels.binary("floor_divide", x, y)


@op(infer=_infer_numbers, promote=True)
def remainder(x, y):
    """What floor_divide leaves: x - y * (x // y), with the sign of y. ONNX: Mod."""
    return kernels.binary("remainder", x, y)


@remainder.vjp("x")
def _(g):
    return g


@remainder.vjp("y")
def _(g, *, x, y):
    return OPS["neg"](multiply(g, floor_divide(x, y)))


@op(infer=_infer_numbers, promote=True)
def fmod(x, y):
    """What division toward zero leaves, with the sign of x. ONNX: Mod (fmod=1)."""
    return kernels.binary("fmod", x, y)


@fmod.vjp("x")
def _(g):
    return g


@fmod.vjp("y")
def _(g, *, x, y):
    return OPS["neg"](multiply(g, OPS["trunc"](divide(x, y))))


# ---- powers and angles -------------------------------------------------------------------------


@op(infer=_infer_numbers, promote=True)
def _pow(x, y):
    """x to the power y. ONNX: Pow."""
    return kernels.power(x, y)


@_pow.vjp("x")
def _(g, *, x, y):
    # Where y is 0 the exponent stays 0, so that 0 * 0 ** -1 does not turn the gradient into NaN.
    lowered = subtract(y, OPS["cast"](OPS["not_equal"](y, 0), dtype=y._array.dtype.name))
    return multiply(g, multiply(y, _pow(x, lowered)))


@_pow.fused_vjp("x")
def _(g, *, x, y):
    lowered = np.asarray(y - (y != 0))
    return kernels.ternary("product_of_three", g, y, kernels.power(x, lowered))


@_pow.vjp("y")
def _(g, *, x, y, out):
    # 0 to any power from 0 on has no slope, though its logarithm is infinite.
    flat = OPS["logical_and"](OPS["equal"](x, 0), OPS["greater_equal"](y, 0))
    slope = multiply(out, OPS["log"](where(flat, 1, x)))
    return multiply(g, keep_where(OPS["logical_not"](flat), slope))


def pow(x: Any, y: Any) -> Tensor:
    """x to the power y, with broadcasting.

    Args:
        x, y: tensors, or one tensor and a number. Integers to a negative power are an error.
    """
    if isinstance(x, Tensor) and isinstance(y, (int, float)) and not isinstance(y, bool):
        if y == 2:
            return OPS["square"](x)
        if y == 0.5:
            return OPS["sqrt"](x)
    return _pow(x, y)


@op(infer=broadcast, promote="float")
def atan2(x, y):
    """Angle of the point (y, x) in (-pi, pi]. ONNX: Div, Atan, Where."""
    return kernels.binary("atan2", x, y)


@atan2.vjp("x")
def _(g, *, x, y):
    far = _distance(x, y)
    return multiply(g, divide(divide(y, far), far))


@atan2.vjp("y")
def _(g, *, x, y):
    far = _distance(x, y)
    return OPS["neg"](multiply(g, divide(divide(x, far), far)))


def _distance(x: Tensor, y: Tensor) -> Tensor:
    """sqrt(x^2 + y^2), but 1 at the origin, which has no slope."""
    origin = OPS["logical_and"](OPS["equal"](x, 0), OPS["equal"](y, 0))
    return hypot(where(origin, 1, x), y)


@op(infer=broadcast, promote="float")
def hypot(x, y):
    """sqrt(x^2 + y^2), without overflow. ONNX: Abs, Max, Min, Div, Mul, Add, Sqrt, Where."""
    return kernels.binary("hypot", x, y)


@hypot.vjp("x")
def _(g, *, x, out):
    return multiply(g, divide(x, out))


@hypot.vjp("y")
def _(g, *, y, out):
    return multiply(g, divide(y, out))


@op(infer=broadcast, promote="float")
def logaddexp(x, y):
    """log(e^x + e^y), without overflow. ONNX: Max, Sub, Abs, Softplus, Add."""
    return kernels.binary("logaddexp", x, y)


@logaddexp.vjp("x")
def _(g, *, x, y):
    # Not e^(x - out): where one is infinite, so is out, and their difference is NaN.
    return multiply(g, OPS["sigmoid"](subtract(x, y)))


@logaddexp.vjp("y")
def _(g, *, x, y):
    return multiply(g, OPS["sigmoid"](subtract(y, x)))


# ---- made of the above -------------------------------------------------------------------------


def _infer_lerp(x: Type, y: Type, weight: Type) -> Type:
    return broadcast(broadcast(x, y), weight)


@op(infer=_infer_lerp, promote="float")
def _lerp(x, y, weight):
    """x + weight * (y - x). ONNX: Sub, Mul, Add."""
    return kernels.lerp(x, y, weight)


@_lerp.vjp("x")
def _(g, *, weight):
    return multiply(g, subtract(1, weight))


@_lerp.fused_vjp("x")
def _(g, *, weight):
    return kernels.binary("multiply", g, np.asarray(1 - weight))


@_lerp.vjp("y")
def _(g, *, weight):
    return multiply(g, weight)


@_lerp.fused_vjp("y")
def _(g, *, weight):
    return kernels.binary("multiply", g, weight)


@_lerp.vjp("weight")
def _(g, *, x, y):
    return multiply(g, subtract(y, x))


def lerp(x: Tensor, y: Tensor, weight: Any) -> Tensor:
    """x + weight * (y - x), broadcast.

    Args:
        x, y: where to start from, and where the weight 1 leads.
        weight: a number or a tensor.
    """
    if weight.__class__ is float and isinstance(x, Tensor) and isinstance(y, Tensor):
        dtype = x._read().dtype
        if dtype == y._read().dtype and is_inexact(dtype):
            weight = scalar(weight, dtype)
    return apply(_lerp, (x, y, weight))


def heaviside(x: Tensor, y: Any) -> Tensor:
    """0 where x < 0, y where x is 0, 1 where x > 0, NaN where x is NaN."""
    step = where(OPS["isnan"](x), x, where(OPS["greater_than"](x, 0), 1, 0))
    return where(OPS["equal"](x, 0), y, step)


def increment(x: Tensor, value: float = 1.0) -> Tensor:
    """Add a number to a tensor of one element, in place, and give the tensor back."""
    if x._read().size != 1:
        raise ShapeError(f"increment needs one element, got shape {show(x.shape)}")
    x._assign(OPS["cast"](add(x, value), dtype=x._array.dtype.name))
    return x


@op(infer=broadcast, promote=True)
def _add_n(*xs):
    """The sum of several tensors, from the first to the last. ONNX: Add (Or)."""
    return kernels.total(xs)


@_add_n.vjp("xs")
def _(g, *, xs_shape):
    return [g] * len(xs_shape)


@_add_n.fused_vjp("xs")
def _(g, *, xs_shape):
    return (g,) * len(xs_shape)


def add_n(inputs: Tensor | Sequence[Tensor]) -> Tensor:
    """The sum of tensors of one shape.

    Raises:
        AttributeValueError: the list is empty.
    """
    if isinstance(inputs, Tensor):
        return OPS["clone"](inputs)
    if not inputs:
        raise AttributeValueError("add_n needs at least one tensor, got an empty list")
    if len(inputs) < 3:
        return apply(add, (*inputs,)) if len(inputs) > 1 else OPS["clone"](inputs[0])
    return apply(_add_n, (*inputs,))


mod = remainder
floor_mod = remainder

__all__ = [
    "add",
    "add_n",
    "atan2",
    "divide",
    "floor_divide",
    "floor_mod",
    "fmod",
    "heaviside",
    "hypot",
    "increment",
    "lerp",
    "logaddexp",
    "mod",
    "multiply",
    "pow",
    "remainder",
    "subtract",
]
