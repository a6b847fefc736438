"""The larger and the smaller of two tensors, element by element.

The largest and smallest elements of one tensor are in `reduce.py`.
"""

from __future__ import annotations

from typing import Any

from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import elementwise as kernels
from dyn.ops.elementwise import keep_where, multiply
from dyn.ops.index import where
from dyn.ops.infer import broadcast


@op(infer=broadcast, promote=True)
def maximum(x, y):
    """The larger of x and y, NaN if either is; a tie halves the gradient. ONNX: Max."""
    return kernels.binary("maximum", x, y)


@maximum.vjp("x")
def _(g, *, x, y):
    return _won(OPS["greater_than"](x, y), x, y, g)


@maximum.vjp("y")
def _(g, *, x, y):
    return _won(OPS["less_than"](x, y), x, y, g)


@maximum.fused_vjp("x")
def _(g, *, x, y):
    return kernels.ternary("maximum_grad", g, x, y)


@maximum.fused_vjp("y")
def _(g, *, x, y):
    return kernels.ternary("maximum_grad", g, y, x)


@op(infer=broadcast, promote=True)
def minimum(x, y):
    """The smaller of x and y, NaN if either is; a tie halves the gradient. ONNX: Min."""
    return kernels.binary("minimum", x, y)


@minimum.vjp("x")
def _(g, *, x, y):
    return _won(OPS["less_than"](x, y), x, y, g)


@minimum.vjp("y")
def _(g, *, x, y):
    return _won(OPS["greater_than"](x, y), x, y, g)


@minimum.fused_vjp("x")
def _(g, *, x, y):
    return kernels.ternary("maximum_grad", g, y, x)


@minimum.fused_vjp("y")
def _(g, *, x, y):
    return kernels.ternary("maximum_grad", g, x, y)


def _won(won: Tensor, x: Tensor, y: Tensor, g: Tensor) -> Tensor:
    """`g` where an operand won, half of it where the two are equal."""
    return where(won, g, keep_where(OPS["equal"](x, y), multiply(g, 0.5)))


def _skip_nan(y_won: Any, x: Any, y: Any) -> Tensor:
    """y where it won or x is NaN, else x; x takes the gradient of a tie."""
    return where(OPS["logical_or"](y_won, OPS["isnan"](x)), y, x)


def fmax(x: Any, y: Any) -> Tensor:
    """The larger of x and y; the other one where one is NaN."""
    return _skip_nan(OPS["greater_than"](y, x), x, y)


def fmin(x: Any, y: Any) -> Tensor:
    """The smaller of x and y; the other one where one is NaN."""
    return _skip_nan(OPS["less_than"](y, x), x, y)


__all__ = ["fmax", "fmin", "maximum", "minimum"]
