"""Comparisons of elements, which give booleans, and logic on them."""

from __future__ import annotations

from dyn.core.op import op
from dyn.kernels import elementwise as kernels
from dyn.ops.infer import compared


@op(infer=compared, promote=True, differentiable=False)
def equal(x, y):
    """x == y element by element. ONNX: Equal."""
    return kernels.binary("equal", x, y)


@op(infer=compared, promote=True, differentiable=False)
def not_equal(x, y):
    """x != y element by element. ONNX: Equal, Not."""
    return kernels.binary("not_equal", x, y)


@op(infer=compared, promote=True, differentiable=False)
def greater_than(x, y):
    """x > y element by element. ONNX: Greater."""
    return kernels.binary("greater_than", x, y)


@op(infer=compared, promote=True, differentiable=False)
def greater_equal(x, y):
    """x >= y element by element. ONNX: GreaterOrEqual."""
    return kernels.binary("greater_equal", x, y)


@op(infer=compared, promote=True, differentiable=False)
def less_than(x, y):
    """x < y element by element. ONNX: Less."""
    return kernels.binary("less_than", x, y)


@op(infer=compared, promote=True, differentiable=False)
def less_equal(x, y):
    """x <= y element by element. ONNX: LessOrEqual."""
    return kernels.binary("less_equal", x, y)
