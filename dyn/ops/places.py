"""Reading and writing at places: one index tensor for each of the leading axes, or a single one
into the elements in a row.

Slices along an axis and coordinates in one tensor are in `gather.py`, which says what an index is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dyn.core.dispatch import apply
from dyn.core.dtype import I64, name_of
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.lift import cast_to, rank_of
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import index as rows
from dyn.kernels import places as kernels
from dyn.ops.gather import REDUCTIONS, _gather, _gather_grad, _infer_gather_grad, _scatter_nd
from dyn.ops.infer import (
    Type,
    axis_of,
    broadcast_shapes,
    need_int,
    need_same_dtype,
    product,
    same_size,
    show,
)
from dyn.ops.shape import _reshape
from dyn.ops.sole import over


def _same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return len(a) == len(b) and all(map(same_size, a, b))


# ---- an index for each axis --------------------------------------------------------------------


def _infer_take_at(x: Type, *indices: Type) -> Type:
    first = indices[0].shape
    for index in indices:
        need_int("index", index)
        if not _same(index.shape, first):
            raise ShapeError(f"indices {show(first)} and {show(index.shape)} must have one shape")
    if len(indices) > len(x.shape):
        raise ShapeError(f"there are {len(indices)} indices, x {show(x.shape)} has fewer axes")
    return Type((*first, *x.shape[len(indices) :]), x.dtype)


@op(infer=_infer_take_at)
def _take_at(x, *indices):
    """out[i...] = x[indices[0][i...], indices[1][i...], ...]. ONNX: Unsqueeze, Concat, GatherND."""
    return kernels.take(x, *indices)


def _taking(x: Type, *indices: Type) -> Callable[..., np.ndarray]:
    return kernels.take_of(*x, indices[0].shape, tuple([i.dtype for i in indices]))


_take_at.shortcut = _taking


@_take_at.vjp("x")
def _(g, *, indices, x_shape):
    zeros = OPS["full"](shape=x_shape, value=0, dtype=name_of(g._array.dtype))
    return over(zeros, (), apply, _put_at, (zeros, g, *indices), ("add",))


@_take_at.fused_vjp("x")
def _(g, *, indices, x_shape):
    return kernels.take_grad(g, indices, x_shape)


def _infer_put_at(x: Type, value: Type, *indices: Type, reduction: str) -> Type:
    if reduction not in REDUCTIONS:
        raise AttributeValueError(f"reduction {reduction!r} is not one of {', '.join(REDUCTIONS)}")
    need_same_dtype(x=x, value=value)
    wanted = _infer_take_at(x, *indices).shape
    if not _same(wanted, value.shape):
        raise ShapeError(f"value has shape {show(value.shape)}, the index selects {show(wanted)}")
    return x


@op(infer=_infer_put_at)
def _put_at(x, value, *indices, reduction):
    """A copy of x, value written or added where `take_at` reads. ONNX: Concat, ScatterND.

    Where places repeat, "none" keeps one of the values (the last one in eager mode).
    """
    return kernels.put(x, value, *indices, reduction=reduction)


def _putting(x: Type, value: Type, *indices: Type, reduction: str) -> Callable[..., np.ndarray]:
    return kernels.put_of(*x, indices[0].shape, tuple([i.dtype for i in indices]), reduction)


_put_at.shortcut = _putting


@_put_at.vjp("x")
def _(g, *, indices, reduction, value_shape):
    if reduction == "add":
        return g
    zeros = OPS["full"](shape=tuple(value_shape), value=0, dtype=name_of(g._array.dtype))
    return apply(_put_at, (g, zeros, *indices), ("none",))


@_put_at.fused_vjp("x")
def _(g, *, indices, reduction, value_shape):
    if reduction == "add":
        return g
    return kernels.put(g, np.zeros(value_shape, g.dtype), *indices, reduction="none")


@_put_at.vjp("value")
def _(g, *, indices):
    return apply(_take_at, (g, *indices))


@_put_at.fused_vjp("value")
def _(g, *, indices):
    return kernels.take(g, *indices)


def index_put(x: Tensor, indices: Any, value: Any, accumulate: bool = False) -> Tensor:
    """x with value written (or added) where `x[indices]` selects; all axes by index tensors."""
    shape = broadcast_shapes(*(tuple(i.shape) for i in indices))
    parts = [i if tuple(i.shape) == shape else OPS["expand"](i, shape=shape) for i in indices]
    wanted = (*shape, *x.shape[len(indices) :])
    if not isinstance(value, Tensor):
        value = Tensor(np.asarray(value, x._read().dtype))
    value = OPS["expand"](value, shape=wanted)
    return apply(_put_at, (x, value, *parts), ("add" if accumulate else "none",))


# ---- slices added ------------------------------------------------------------------------------


def _infer_index_add(x: Type, value: Type, index: Type, *, axis: int) -> Type:
    need_int("index", index)
    _infer_gather_grad(value, index, axis=axis, shape=x.shape)
    need_same_dtype(x=x, value=value)
    return x


@op(infer=_infer_index_add)
def _index_add(x, value, index, *, axis):
    """x with slices of value added along `axis` at `index`. ONNX: ScatterND with addition, Add."""
    return rows.index_add(x, value, index, axis)


@_index_add.vjp("x")
def _(g):
    return g


@_index_add.fused_vjp("x")
def _(g):
    return g


@_index_add.vjp("value")
def _(g, *, index, axis):
    return _gather(g, index, axis=axis)


@_index_add.fused_vjp("value")
def _(g, *, index, axis):
    return rows.gather(g, index, axis)


def index_add(x: Tensor, index: Tensor, axis: int, value: Tensor) -> Tensor:
    """x with slices of value added along an axis at the given indices; repeats add up."""
    axis = axis_of(axis, x.ndim)
    if x._read().dtype == value._read().dtype:
        return apply(_index_add, (x, value, index), (axis,))
    return x + apply(_gather_grad, (value, index), (axis, tuple(x.shape)))


def scatter(x: Tensor, index: Tensor, updates: Tensor, overwrite: bool = True) -> Tensor:
    """Rows of x replaced by updates, or (overwrite=False) zeroed and then added up.

    Args:
        x: (n, ...).
        index: (m,) or (m, 1) integers in [-n, n).
        updates: (m, ...), dtype of x.
        overwrite: whether one of several updates of a row counts (eagerly the last), or their sum.

    Raises:
        IndexRangeError: an index is out of range.
    """
    single = rank_of(index) == 1

    def put(x: Tensor, value: Tensor, reduction: str) -> Tensor:
        if single:
            return apply(_put_at, (x, value, index), (reduction,))
        return apply(_scatter_nd, (x, index, value), (reduction,))

    if overwrite:
        return put(x, updates, "none")
    zeros = OPS["full"](shape=tuple(updates.shape), value=0, dtype=name_of(updates._read().dtype))
    return put(put(x, zeros, "none"), updates, "add")


# ---- in a row ----------------------------------------------------------------------------------


def _infer_take(x: Type, index: Type) -> Type:
    need_int("index", index)
    return Type(index.shape, x.dtype)


@op(infer=_infer_take)
def _take(x, index):
    """The elements of x, in a row, at an index of any shape. ONNX: Reshape, Gather."""
    return rows.gather_of((x.size,), x.dtype, index.shape, index.dtype, 0)(x, index)


_take.shortcut = lambda x, index: rows.gather_of((product(x.shape),), x.dtype, *index, 0)


@_take.vjp("x")
def _(g, *, index, x_shape):
    return apply(
        _reshape, (apply(_gather_grad, (g, index), (0, (product(x_shape),))),), (tuple(x_shape),)
    )


@_take.fused_vjp("x")
def _(g, *, index, x_shape):
    return rows.gather_grad(g, index, 0, (product(x_shape),)).reshape(x_shape)


def take(x: Tensor, index: Tensor, mode: str = "raise") -> Tensor:
    """Elements of the flattened tensor; mode "wrap" or "clip" brings indices into range."""
    if mode not in ("raise", "wrap", "clip"):
        raise AttributeValueError(f"mode {mode!r} is not one of raise, wrap, clip")
    if mode != "raise" and index._read().dtype.kind in "iu":
        index = cast_to(index, I64)  # narrow integers may not hold the size
    if mode == "wrap":
        index = index % product(x.shape)
    elif mode == "clip":
        index = OPS["maximum"](OPS["minimum"](index, product(x.shape) - 1), 0)
    return apply(_take, (x, index))


__all__ = ["index_add", "index_put", "scatter", "take"]
