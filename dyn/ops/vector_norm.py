"""Norms of vectors over axes, distances made of them, and vectors of unit length."""

from __future__ import annotations

import math
from typing import Any

from dyn.core.dispatch import apply
from dyn.core.dtype import F32
from dyn.core.lift import cast_to, rank_of, scalar
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import elementwise
from dyn.kernels import reduce as kernels
from dyn.kernels.reduce import gradients
from dyn.ops.elementwise import divide, multiply, pow, subtract
from dyn.ops.index import where
from dyn.ops.infer import Type, axis_of, need_float, reduced_axes, reduced_shape
from dyn.ops.reduce import _max, _min, _sum, spread
from dyn.ops.shape import as_line
from dyn.ops.unary import abs


def _infer_norm(x: Type, *, axes: tuple[int, ...], keepdims: bool) -> Type:
    need_float("x", x)
    return Type(reduced_shape(x.shape, axes, keepdims=keepdims), x.dtype)


@op(infer=_infer_norm)
def _norm(x, *, axes, keepdims):
    """Square root of the sum of squares over axes; its gradient at 0 is 0. ONNX: ReduceL2."""
    return kernels.norm(x, axes, keepdims=keepdims)


@_norm.vjp("x")
def _(g, *, x, out, x_shape, axes, keepdims):
    dtype = out._array.dtype
    if dtype.itemsize == 2:
        # The length of a short vector has an inverse that half precision does not hold.
        g, x = cast_to(g, F32), cast_to(x, F32)
        out = apply(_norm, (x,), (axes, keepdims))
    safe = where(OPS["equal"](out, 0), 1, out)
    return cast_to(multiply(x, spread(divide(g, safe), x_shape, axes, keepdims)), dtype)


_norm.fused_vjp("x")(gradients.norm_grad)


def _infer_normalize(x: Type, *, axes: tuple[int, ...], epsilon: float) -> Type:
    need_float("x", x)
    return x


@op(infer=_infer_normalize)
def _normalize(x, *, axes, epsilon):
    """x divided by its length over axes, or by `epsilon` where that is smaller. ONNX: ReduceL2."""
    return elementwise.binary("divide", x, kernels.lengths(x, axes, epsilon))


@_normalize.vjp("x")
def _(g, *, x, out, axes, epsilon):
    least = scalar(epsilon, x._array.dtype)
    length = apply(_norm, (x,), (axes, True))
    along = _sum(multiply(g, out), axes=axes, keepdims=True)
    free = OPS["greater_than"](length, least)
    along = where(free, along, scalar(0, x._array.dtype))
    return divide(subtract(g, multiply(out, along)), OPS["maximum"](length, least))


_normalize.fused_vjp("x")(gradients.normalize_grad)


def normalize(x: Tensor, p: float = 2, axis: int = 1, epsilon: float = 1e-12) -> Tensor:
    """x divided by its p-norm along an axis, or by `epsilon` where that is smaller.

    Args:
        x: floating point.
        p: exponent of the norm.
        axis: the axis along which vectors lie.
        epsilon: smallest divisor.
    """
    dtype = x._read().dtype
    need_float("x", Type(tuple(x.shape), dtype))
    if not x.ndim:
        return as_line(normalize, x, p, axis, epsilon)
    axis = axis_of(axis, x.ndim)
    if p == 2 and dtype.itemsize > 2:  # in half precision epsilon may be 0
        return apply(_normalize, (x,), ((axis,), float(epsilon)))
    return x / OPS["maximum"](norm(x, p, axis, keepdim=True), float(epsilon))


def norm(x: Tensor, p: Any = None, axis: Any = None, keepdim: bool = False) -> Tensor:
    """Vector norm over all axes or the given ones: (sum of |x|^p)^(1/p).

    Args:
        x: floating point, any shape.
        p: 2 (also None and "fro"), any other number, math.inf, -math.inf, or 0 for the count of
            nonzero elements.
        axis: an axis, several, or None for all.
        keepdim: leave the reduced axes with size 1.
    """
    axes = reduced_axes(axis, rank_of(x))
    keep = bool(keepdim)
    if p in (None, "fro", 2):
        return apply(_norm, (x,), (axes, keep))
    size = abs(x)
    if p == 1:
        return _sum(size, axes=axes, keepdims=keep)
    if p == math.inf:
        return _max(size, axes=axes, keepdims=keep)
    if p == -math.inf:
        return _min(size, axes=axes, keepdims=keep)
    if p < 1:
        # Powers below 1 rise without bound at 0, where the gradient is 0 too.
        zero = OPS["equal"](x, 0)
        powers = where(zero, size if p >= 0 else math.inf, pow(where(zero, 1, size), p))
    else:
        powers = pow(size, p)
    total = _sum(powers, axes=axes, keepdims=keep)
    if p == 0:
        return total
    # The root of 0 has no slope; the gradient at 0 is 0, as with p = 2.
    nothing = OPS["equal"](total, 0)
    return where(nothing, total, pow(where(nothing, 1, total), 1 / p))


def dist(x: Tensor, y: Tensor, p: float = 2.0) -> Tensor:
    """`norm` of x - y over all axes."""
    return norm(subtract(x, y), p)


__all__ = ["dist", "norm", "normalize"]
