"""Elements brought into a range: `clip` between numbers or tensors, NaN and infinities replaced.

The gradient of what is clipped between numbers is one fused op.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np

from dyn.core.dim import Dim
from dyn.core.dispatch import apply
from dyn.core.dtype import is_inexact, rank
from dyn.core.errors import DTypeError
from dyn.core.op import OPS, freeze, op
from dyn.core.tensor import Tensor
from dyn.kernels import elementwise as kernels
from dyn.ops.compare import greater_than, isfinite, less_equal, less_than, logical_and, logical_or
from dyn.ops.elementwise import add, as_gradient, keep_where, subtract
from dyn.ops.infer import Type, broadcast
from dyn.ops.unary import log, log1p, neg

# ---- between numbers ---------------------------------------------------------------------------


def _need_numbers(x: Type) -> None:
    if rank(x.dtype) == 0:
        raise DTypeError("is not defined for booleans; cast() them first")


def _infer_clip(x: Type, **attrs: Any) -> Type:
    _need_numbers(x)
    return x


@op(infer=_infer_clip)
def _clip(x, *, low, high, open=False):
    """x brought into [low, high]; None is no bound; NaN stays. ONNX: Clip.

    The slope at the bounds is 1, or with `open` 0.
    """
    return kernels.clip(x, low, high)


@_clip.vjp("x")
def _(g, *, x, low, high, open):
    if open:
        low, high = _after(low, 1, g._array.dtype), _after(high, -1, g._array.dtype)
    return clip_grad(g, x, low=low, high=high)


@lru_cache(256)
def _after(bound: float, sign: int, dtype: Any) -> float:
    """The next number in the direction of a sign, without those too small to be normal."""
    limits = ml_dtypes.finfo(dtype)
    if abs(bound) < limits.tiny:
        return sign * float(limits.tiny)
    return float(np.nextafter(np.asarray(bound, dtype), np.asarray(sign * np.inf, dtype)))


@op(infer=as_gradient)
def clip_grad(g, x, *, low, high):
    """g where low <= x <= high, else 0. ONNX: GreaterOrEqual, LessOrEqual, And, Where."""
    return kernels.clip_grad(g, x, low, high)


@clip_grad.vjp("g")
def _(g, *, x, low, high):
    return clip_grad(g, x, low=low, high=high)


@clip_grad.vjp("x")
def _(g):
    return None


# ---- between tensors ---------------------------------------------------------------------------


def _infer_between(x: Type, low: Type | None, high: Type | None) -> Type:
    _need_numbers(x)
    return broadcast(*(t for t in (x, low, high) if t is not None))


@op(infer=_infer_between, promote=True)
def _clip_between(x, low=None, high=None):
    """min(max(x, low), high), broadcast; None is no bound, NaN stays. ONNX: Max, Min."""
    return kernels.clip_between(x, low, high)


@_clip_between.vjp("x")
def _(g, *, x, low, high):
    # At a bound the gradient is that of x.
    tests = [] if low is None else [OPS["greater_equal"](x, low)]
    if high is not None:
        tests.append(less_equal(x, high))
    for test in tests:
        g = keep_where(test, g)
    return g


@_clip_between.vjp("low")
def _(g, *, x, low, high):
    below = less_than(x, low)
    return keep_where(below if high is None else logical_and(below, less_equal(low, high)), g)


@_clip_between.vjp("high")
def _(g, *, x, low, high):
    above = greater_than(x, high)
    return keep_where(above if low is None else logical_or(above, greater_than(low, high)), g)


def clip(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """x brought into [min, max]; NaN stays NaN.

    Args:
        x: any shape. Integers with a floating-point bound become floating point.
        min, max: a number, a tensor that broadcasts, or None for no bound.
    """
    if isinstance(min, (Tensor, Dim)) or isinstance(max, (Tensor, Dim)):
        return _clip_between(x, min, max)
    if not is_inexact(x._read().dtype) and any(isinstance(v, float) for v in (min, max)):
        x = add(x, 0.0)
    return apply(_clip, (x,), (freeze(min), freeze(max), False))


def logit(x: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)); with `eps`, x is first clipped to [eps, 1 - eps]."""
    if eps is not None:
        x = clip(x, eps, 1 - eps)
    # Of the quotient x / (1 - x) the slope at 0 would be 0 / 0.
    return subtract(log(x), log1p(neg(x)))


# ---- what is no number -------------------------------------------------------------------------


@op(infer=as_gradient)
def _nan_to_num(x, *, nan, high, low):
    """x, but `nan`, `high` and `low` for NaN and the infinities. ONNX: IsNaN, Equal, Where."""
    return kernels.unary("nan_to_num", x, nan=nan, high=high, low=low)


@_nan_to_num.vjp("x")
def _(g, *, x):
    return keep_where(isfinite(x), g)


def nan_to_num(
    x: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """x with NaN and infinities replaced; by default by 0 and the largest finite numbers."""
    dtype = x._read().dtype
    if not is_inexact(dtype):
        return OPS["clone"](x)
    limits = kernels.limits(dtype)
    high = limits[1] if posinf is None else posinf
    low = limits[0] if neginf is None else neginf
    return _nan_to_num(x, nan=float(nan), high=float(high), low=float(low))


__all__ = ["clip", "logit", "nan_to_num"]
