"""The larger and the smaller of two tensors, element by element.

The largest and smallest elements of one tensor are in `reduce.py`.
"""

from __future__ import annotations

from typing import Any

from dyn.core.lift import scalar
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import elementwise as kernels
from dyn.ops.elementwise import multiply
from dyn.ops.index import where
from dyn.ops.infer import broadcast


@op(infer=broadcast, promote=True)
def maximum(x, y):
    """The larger of x and y, NaN if either is; a tie halves the gradient. ONNX: Max."""
    return kernels.binary("maximum", x, y)


@maximum.vjp("x")
def _(g, *, x, y):
    return _unless(OPS["less_than"](x, y), x, y, g)


@maximum.vjp("y")
def _(g, *, x, y):
    return _unless(OPS["greater_than"](x, y), x, y, g)


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
    return _unless(OPS["greater_than"](x, y), x, y, g)


@minimum.vjp("y")
def _(g, *, x, y):
    return _unless(OPS["less_than"](x, y), x, y, g)


@minimum.fused_vjp("x")
def _(g, *, x, y):
    return kernels.ternary("maximum_grad", g, y, x)


@minimum.fused_vjp("y")
def _(g, *, x, y):
    return kernels.ternary("maximum_grad", g, x, y)


def _unless(lost: Tensor, x: Tensor, y: Tensor, g: Tensor) -> Tensor:
    """`g` unless an operand lost, half of it where the two are equal."""
    rest = where(OPS["equal"](x, y), multiply(g, 0.5), g)
    return where(lost, scalar(0, g._array.dtype), rest)


def _skip_nan(x_won: Any, x: Any, y: Any) -> Tensor:
    """x where it won or y is NaN, else y; x takes the gradient of a tie."""
    return where(OPS["logical_or"](x_won, OPS["isnan"](y)), x, y)


def fmax(x: Any, y: Any) -> Tensor:
    """The larger of x and y; the other one where one is NaN."""
    return _skip_nan(OPS["greater_equal"](x, y), x, y)


def fmin(x: Any, y: Any) -> Tensor:
    """The smaller of x and y; the other one where one is NaN."""
    return _skip_nan(OPS["less_equal"](x, y), x, y)


__all__ = ["fmax", "fmin", "maximum", "minimum"]
