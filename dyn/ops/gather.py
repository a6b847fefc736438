"""Selecting and placing by index tensors: gather, scatter, along an axis or by coordinates.

Indices count from the front or, negative, from the back; one outside its axis is an error in eager
mode (ONNX leaves it undefined). Gradients add up where an index repeats. An index tensor for each
axis is in `places.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.dispatch import apply
from dyn.core.dtype import name_of
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.lift import rank_of, scalar
from dyn.core.observe import current
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import index as kernels
from dyn.kernels.copy import filled
from dyn.kernels.elementwise import where
from dyn.kernels.lending import onto
from dyn.ops.infer import (
    Type,
    axis_of,
    broadcast_shapes,
    need_int,
    need_same_dtype,
    same_size,
    show,
)
from dyn.ops.sole import over

# ---- gather ------------------------------------------------------------------------------------


def _infer_gather(x: Type, index: Type, *, axis: int) -> Type:
    need_int("index", index)
    return Type((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), x.dtype)


@op(infer=_infer_gather)
def _gather(x, index, *, axis):
    """out[..., i..., ...] = x[..., index[i...], ...] at `axis`. ONNX: Gather."""
    return kernels.gather(x, index, axis)


_gather.shortcut = lambda x, index, axis: kernels.gather_of(*x, *index, axis)


@_gather.vjp("x")
def _(g, *, index, axis, x_shape):
    return _gather_grad(g, index, axis=axis, shape=x_shape)


@_gather.fused_vjp("x")
def _(g, *, index, axis, x_shape):
    return kernels.gather_grad(g, index, axis, x_shape)


def _infer_gather_grad(g: Type, index: Type, *, axis: int, shape: tuple[Any, ...]) -> Type:
    wanted = _infer_gather(Type(shape, g.dtype), index, axis=axis).shape
    if len(wanted) != len(g.shape) or not all(map(same_size, wanted, g.shape)):
        raise ShapeError(
            f"slices of {show(g.shape)} do not fit index {show(index.shape)} at axis {axis} of "
            f"{show(shape)}, which wants {show(wanted)}"
        )
    return Type(shape, g.dtype)


@op(infer=_infer_gather_grad)
def _gather_grad(g, index, *, axis, shape):
    """Zeros of `shape` to which g is added where `gather` read. ONNX: ScatterND with addition."""
    return kernels.gather_grad(g, index, axis, shape)


@_gather_grad.vjp("g")
def _(g, *, index, axis):
    return _gather(g, index, axis=axis)


def gather(x: Tensor, index: Any, axis: int = 0) -> Tensor:
    """Select slices of x along an axis by an index tensor (any rank).

    Args:
        x: (..., n, ...), any dtype.
        index: integers in [-n, n).
        axis: the axis of n.

    Returns:
        x's shape with the sizes of `index` in the place of n.

    Raises:
        IndexRangeError: an index is out of range.
    """
    return apply(_gather, (x, index), (axis_of(axis, rank_of(x)),))


def index_select(x: Tensor, index: Tensor, axis: int = 0) -> Tensor:
    """Select slices along an axis by a vector of indices."""
    return apply(_gather, (x, index), (axis_of(axis, rank_of(x)),))


# ---- gather_nd, scatter_nd ---------------------------------------------------------------------


def _infer_gather_nd(x: Type, index: Type) -> Type:
    need_int("index", index)
    if not index.shape or not isinstance(index.shape[-1], int):
        raise ShapeError(
            f"index {show(index.shape)} needs a last axis of a fixed size: coordinates"
        )
    depth = index.shape[-1]
    if depth > len(x.shape):
        raise ShapeError(f"index has {depth} coordinates, x {show(x.shape)} has fewer axes")
    return Type((*index.shape[:-1], *x.shape[depth:]), x.dtype)


@op(infer=_infer_gather_nd)
def _gather_nd(x, index):
    """out[i...] = x[index[i..., 0], index[i..., 1], ...]. ONNX: GatherND."""
    return kernels.gather_nd(x, index)


_gather_nd.shortcut = lambda x, index: kernels.gather_nd_of(*x, *index)


@_gather_nd.vjp("x")
def _(g, *, index, x_shape):
    zeros = OPS["full"](shape=x_shape, value=0, dtype=name_of(g._array.dtype))
    return over(zeros, (), apply, _scatter_nd, (zeros, index, g), ("add",))


@_gather_nd.fused_vjp("x")
def _(g, *, index, x_shape):
    return onto(filled(x_shape, 0, g.dtype), kernels.scatter_nd, index, g, "add")


def gather_nd(x: Tensor, index: Tensor) -> Tensor:
    """Select elements or slices by coordinates in the last axis of `index`."""
    return _gather_nd(x, index)


REDUCTIONS = ("none", "add")


def _infer_scatter_nd(x: Type, index: Type, value: Type, *, reduction: str) -> Type:
    if reduction not in REDUCTIONS:
        raise AttributeValueError(f"reduction {reduction!r} is not one of {', '.join(REDUCTIONS)}")
    need_same_dtype(x=x, value=value)
    wanted = _infer_gather_nd(x, index).shape
    if len(wanted) != len(value.shape) or not all(
        same_size(a, b) for a, b in zip(wanted, value.shape, strict=True)
    ):
        raise ShapeError(f"value has shape {show(value.shape)}, the index selects {show(wanted)}")
    return x


@op(infer=_infer_scatter_nd)
def _scatter_nd(x, index, value, *, reduction):
    """A copy of x, value written or added at coordinates. ONNX: ScatterND.

    Where an index repeats, "none" keeps one of the values (the last one in eager mode).
    """
    return kernels.scatter_nd(x, index, value, reduction)


_scatter_nd.shortcut = lambda x, index, value, reduction: kernels.scatter_nd_of(
    *x, *index, reduction
)


@_scatter_nd.vjp("x")
def _(g, *, index, reduction, value_shape):
    if reduction == "add":
        return g
    zeros = OPS["full"](shape=tuple(value_shape), value=0, dtype=name_of(g._array.dtype))
    return _scatter_nd(g, index, zeros, reduction="none")


@_scatter_nd.fused_vjp("x")
def _(g, *, index, reduction, value_shape):
    if reduction == "add":
        return g
    return kernels.scatter_nd(g, index, np.zeros(value_shape, g.dtype), "none")


@_scatter_nd.vjp("value")
def _(g, *, index):
    return _gather_nd(g, index)


@_scatter_nd.fused_vjp("value")
def _(g, *, index):
    return kernels.gather_nd(g, index)


def scatter_nd_add(x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    """x plus updates at the coordinates in the last axis of `index`; repeats add up."""
    return apply(_scatter_nd, (x, index, updates), ("add",))


def scatter_nd(index: Tensor, updates: Tensor, shape: Any) -> Tensor:
    """Zeros of `shape` plus updates at coordinates; repeats add up."""
    zeros = OPS["full"](shape=tuple(shape), value=0, dtype=name_of(updates._read().dtype))
    return over(zeros, (), apply, _scatter_nd, (zeros, index, updates), ("add",))


# ---- along an axis -----------------------------------------------------------------------------


def _infer_take_along(x: Type, index: Type, *, axis: int) -> Type:
    need_int("index", index)
    if len(index.shape) != len(x.shape):
        raise ShapeError(
            f"index {show(index.shape)} must have as many axes as the tensor {show(x.shape)}"
        )
    return Type(index.shape, x.dtype)


@op(infer=_infer_take_along)
def _take_along_axis(x, index, *, axis):
    """out[i, j, ...] = x[i, index[i, j, ...], ...] at `axis`. ONNX: GatherElements."""
    return kernels.take_along_axis(x, index, axis)


_take_along_axis.shortcut = lambda x, index, axis: kernels.take_along_of(*x, *index, axis)


@_take_along_axis.vjp("x")
def _(g, *, index, axis, x_shape):
    zeros = OPS["full"](shape=x_shape, value=0, dtype=name_of(g._array.dtype))
    return over(zeros, (), apply, _put_along_axis, (zeros, index, g), (axis, "add"))


@_take_along_axis.fused_vjp("x")
def _(g, *, index, axis, x_shape):
    return kernels.spread_along(g, index, x_shape, axis)


def take_along_axis(x: Tensor, indices: Tensor, axis: int, broadcast: bool = True) -> Tensor:
    """Match each element of `indices` with one of x along an axis (other axes broadcast)."""
    axis = axis_of(axis, rank_of(x))
    if broadcast:
        x, indices = _align(x, indices, axis)
    return apply(_take_along_axis, (x, indices), (axis,))


def _align(x: Tensor, index: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Expand both operands over all axes but `axis`."""
    if rank_of(index) != rank_of(x) or (not current() and index._array.shape == x._array.shape):
        return x, index
    xs, ixs = x.shape, index.shape
    if xs[:axis] == ixs[:axis] and xs[axis + 1 :] == ixs[axis + 1 :]:
        return x, index
    common = broadcast_shapes((*xs[:axis], 1, *xs[axis + 1 :]), (*ixs[:axis], 1, *ixs[axis + 1 :]))
    wide_x = (*common[:axis], xs[axis], *common[axis + 1 :])
    wide_i = (*common[:axis], ixs[axis], *common[axis + 1 :])
    if tuple(xs) != wide_x:
        x = OPS["expand"](x, shape=wide_x)
    if tuple(ixs) != wide_i:
        index = OPS["expand"](index, shape=wide_i)
    return x, index


def _infer_put_along(x: Type, index: Type, value: Type, *, axis: int, reduction: str) -> Type:
    if reduction not in REDUCTIONS:
        raise AttributeValueError(f"reduction {reduction!r} is not one of {', '.join(REDUCTIONS)}")
    need_same_dtype(x=x, value=value)
    _infer_take_along(x, index, axis=axis)
    if not all(same_size(a, b) for a, b in zip(index.shape, value.shape, strict=True)):
        raise ShapeError(
            f"value {show(value.shape)} must have the shape of index {show(index.shape)}"
        )
    return x


@op(infer=_infer_put_along)
def _put_along_axis(x, index, value, *, axis, reduction):
    """A copy of x with x[i, index[i, j], ...] = (or +=) value[i, j, ...]. ONNX: ScatterElements."""
    return kernels.put_along_axis(x, index, value, axis, reduction)


_put_along_axis.shortcut = lambda x, index, value, axis, reduction: kernels.put_along_of(
    *x, *index, axis, reduction
)


@_put_along_axis.vjp("x")
def _(g, *, index, axis, reduction, value_shape):
    if reduction == "add":
        return g
    zeros = OPS["full"](shape=tuple(value_shape), value=0, dtype=name_of(g._array.dtype))
    return _put_along_axis(g, index, zeros, axis=axis, reduction="none")


@_put_along_axis.fused_vjp("x")
def _(g, *, index, axis, reduction, value_shape):
    if reduction == "add":
        return g
    return kernels.put_along_axis(g, index, np.zeros(value_shape, g.dtype), axis, "none")


@_put_along_axis.vjp("value")
def _(g, *, index, axis):
    return _take_along_axis(g, index, axis=axis)


@_put_along_axis.fused_vjp("value")
def _(g, *, index, axis):
    return kernels.take_along_axis(g, index, axis)


_PUTS = {"assign": "none", "add": "add"}
"""What `put_along_axis` calls the reductions."""


def put_along_axis(
    x: Tensor, indices: Tensor, values: Any, axis: int, reduce: str = "assign"
) -> Tensor:
    """x with values written ("assign") or added ("add") along an axis, matched to `indices`."""
    axis = axis_of(axis, x.ndim)
    if reduce not in _PUTS:
        raise AttributeValueError(f"reduce {reduce!r} is not one of {', '.join(_PUTS)}")
    if not isinstance(values, Tensor):
        values = Tensor(np.asarray(values, x._read().dtype))
    alike = not current() and values._read().shape == indices._read().shape
    if not alike and values.shape != indices.shape:
        values = OPS["expand"](values, shape=tuple(indices.shape))
    return apply(_put_along_axis, (x, indices, values), (axis, _PUTS[reduce]))


def index_sample(x: Tensor, index: Tensor) -> Tensor:
    """out[i, j] = x[i, index[i, j]] for matrices."""
    return _take_along_axis(x, index, axis=1)


# ---- where -------------------------------------------------------------------------------------


def _infer_where(condition: Type, x: Type, y: Type) -> Type:
    if condition.dtype != np.bool_:
        raise AttributeValueError(f"condition must be bool, got {condition.dtype.name}; compare it")
    need_same_dtype(x=x, y=y)
    return Type(broadcast_shapes(condition.shape, x.shape, y.shape), x.dtype)


@op(infer=_infer_where)
def _where(condition, x, y):
    """x where the condition holds, else y, broadcast. ONNX: Where."""
    return where(condition, x, y)


@_where.vjp("x")
def _(g, *, condition):
    return _where(condition, g, scalar(0.0, g._array.dtype))


@_where.vjp("y")
def _(g, *, condition):
    return _where(condition, scalar(0.0, g._array.dtype), g)


__all__ = [
    "gather",
    "gather_nd",
    "index_sample",
    "index_select",
    "put_along_axis",
    "scatter_nd",
    "scatter_nd_add",
    "take_along_axis",
]
