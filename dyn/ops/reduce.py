"""Reductions over axes: sum, mean, max, min, and the op that undoes broadcasting."""

from __future__ import annotations

from typing import Any

from dyn.core.dtype import I64, rank
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import reduce as kernels
from dyn.ops.elementwise import cast, divide, multiply
from dyn.ops.infer import Type, axes_of, product, reduced_shape


def _infer_sum(x: Type, *, axes: tuple[int, ...], keepdims: bool) -> Type:
    dtype = I64 if rank(x.dtype) < 2 else x.dtype
    return Type(reduced_shape(x.shape, axes, keepdims), dtype)


@op(infer=_infer_sum)
def _sum(x, *, axes, keepdims):
    """Sum over axes; booleans and integers are summed as int64. ONNX: ReduceSum."""
    return kernels.sum(x, axes, keepdims)


def _spread(g: Tensor, x_shape: tuple[Any, ...], axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """The gradient of a reduction repeated along the reduced axes."""
    if not keepdims and axes:
        g = OPS["reshape"](g, shape=reduced_shape(x_shape, axes, True))
    return OPS["expand"](g, shape=tuple(x_shape))


@_sum.vjp("x")
def _(g, *, x_shape, axes, keepdims):
    return _spread(g, x_shape, axes, keepdims)


def sum(x: Tensor, axis: Any = None, dtype: Any = None, keepdim: bool = False) -> Tensor:
    """Sum over all axes or the given ones.

    Args:
        x: booleans and integers are summed as int64.
        axis: an axis, several, or None for all.
        dtype: what x is cast to first.
        keepdim: leave the reduced axes with size 1.
    """
    if dtype is not None:
        x = cast(x, dtype)
    return _sum(x, axes=axes_of(axis, x.ndim), keepdims=keepdim)


def _infer_reduced(x: Type, *, axes: tuple[int, ...], keepdims: bool) -> Type:
    return Type(reduced_shape(x.shape, axes, keepdims), x.dtype)


@op(infer=_infer_reduced, promote="float")
def _mean(x, *, axes, keepdims):
    """Mean over axes. ONNX: ReduceMean."""
    return kernels.mean(x, axes, keepdims)


@_mean.vjp("x")
def _(g, *, x_shape, axes, keepdims):
    count = product([x_shape[a] for a in axes])
    return _spread(divide(g, count), x_shape, axes, keepdims)


def mean(x: Tensor, axis: Any = None, keepdim: bool = False) -> Tensor:
    """Arithmetic mean over all axes or the given ones; integers give floating point."""
    return _mean(x, axes=axes_of(axis, x.ndim), keepdims=keepdim)


@op(infer=_infer_reduced)
def _max(x, *, axes, keepdims):
    """Largest element over axes. ONNX: ReduceMax."""
    return kernels.max(x, axes, keepdims)


@_max.vjp("x")
def _(g, *, x, out, x_shape, axes, keepdims):
    mask = OPS["equal"](x, _spread(out, x_shape, axes, keepdims))
    return multiply(_spread(g, x_shape, axes, keepdims), cast(mask, g.dtype))


def max(x: Tensor, axis: Any = None, keepdim: bool = False) -> Tensor:
    """Largest element over all axes or the given ones."""
    return _max(x, axes=axes_of(axis, x.ndim), keepdims=keepdim)


def _infer_sum_to(x: Type, *, shape: tuple[Any, ...]) -> Type:
    return Type(shape, x.dtype)


@op(infer=_infer_sum_to)
def _sum_to(x, *, shape):
    """x summed over the axes along which a tensor of `shape` was repeated. ONNX: ReduceSum."""
    return kernels.sum_to(x, shape)


@_sum_to.vjp("x")
def _(g, *, x_shape):
    return OPS["expand"](g, shape=tuple(x_shape))


__all__ = ["max", "mean", "sum"]
