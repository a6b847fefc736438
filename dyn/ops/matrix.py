"""Unit matrices, triangles and diagonals. Products of matrices are in `linalg.py`."""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller
from typing import Any

import numpy as np

from dyn.core.dim import Dim, maximum, minimum
from dyn.core.dispatch import apply, dtype_attr
from dyn.core.dtype import I64, default_float, rank
from dyn.core.errors import ShapeError
from dyn.core.op import OPS, freeze, op
from dyn.core.tensor import Tensor
from dyn.kernels.reduce import gradients
from dyn.kernels.triangle import on_diagonal, on_diagonal_of, trace_of, triangle, unit_of
from dyn.ops.creation import need_sizes
from dyn.ops.infer import Type, as_numpy, axis_of, show, whole
from dyn.ops.shape import _transpose, sizes_of


def _infer_eye(*, rows: Any, columns: Any, dtype: str) -> Type:
    need_sizes((rows, columns))
    return Type((rows, columns), as_numpy(dtype))


@op(infer=_infer_eye, differentiable=False)
def _eye(*, rows, columns, dtype):
    """Ones where row and column are equal, else zeros. ONNX: EyeLike."""
    return unit_of(rows, columns, as_numpy(dtype))()


_eye.shortcut = lambda rows, columns, dtype: unit_of(rows, columns, as_numpy(dtype))


def eye(num_rows: Any, num_columns: Any = None, dtype: Any = None) -> Tensor:
    """The unit matrix: ones on the diagonal, zeros elsewhere."""
    if num_rows.__class__ is int and num_columns is None:
        rows = columns = num_rows
    else:
        rows, columns = sizes_of([num_rows, num_rows if num_columns is None else num_columns])
    dtype = default_float() if dtype is None else dtype
    return apply(_eye, (), (rows, columns, dtype_attr(dtype)))


def _infer_triangle(x: Type, *, diagonal: int) -> Type:
    if len(x.shape) < 2:
        raise ShapeError(f"a triangle needs at least two axes, got shape {show(x.shape)}")
    return x


@op(infer=_infer_triangle)
def _tril(x, *, diagonal):
    """x on and below a diagonal of the last two axes, zeros above. ONNX: Trilu."""
    return triangle(x, diagonal, upper=False)


@_tril.vjp("x")
def _(g, *, diagonal):
    return _tril(g, diagonal=diagonal)


@op(infer=_infer_triangle)
def _triu(x, *, diagonal):
    """x on and above a diagonal of the last two axes, zeros below. ONNX: Trilu."""
    return triangle(x, diagonal, upper=True)


@_triu.vjp("x")
def _(g, *, diagonal):
    return _triu(g, diagonal=diagonal)


def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of the last two axes, up to the `diagonal`-th diagonal; zeros above."""
    return apply(_tril, (x,), (whole("diagonal", diagonal),))


def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of the last two axes, from the `diagonal`-th diagonal; zeros below."""
    return apply(_triu, (x,), (whole("diagonal", diagonal),))


def _infer_diag_embed(x: Type, *, offset: int, beside: float) -> Type:
    if not x.shape:
        raise ShapeError("a diagonal needs at least one axis, got a 0-d tensor")
    size = x.shape[-1] + abs(offset)
    return Type((*x.shape[:-1], size, size), x.dtype)


@op(infer=_infer_diag_embed)
def _diag_embed(x, *, offset, beside):
    """Matrices with the last axis of x on a diagonal, a number beside. ONNX: Equal, Where."""
    return _embedding(Type(x.shape, x.dtype), offset=offset, beside=beside)(x)


def _embedding(x: Type, *, offset: int, beside: float) -> Callable[[np.ndarray], np.ndarray]:
    size = x.shape[-1] + abs(offset)
    return on_diagonal_of(x.shape, x.dtype, size, size, offset, beside)


_diag_embed.shortcut = _embedding


@_diag_embed.vjp("x")
def _(g, *, offset):
    return _diagonal(g, offset=offset)


@_diag_embed.fused_vjp("x")
def _(g, *, offset):
    return g.diagonal(offset, -2, -1)


def diag_embed(x: Tensor, offset: int = 0) -> Tensor:
    """Matrices with the last axis of x on a diagonal: (..., n) to (..., n + |offset|, same)."""
    return _diag_embed(x, offset=int(offset), beside=0)


def _length(rows: Any, columns: Any, offset: Any) -> Any:
    # An offset that is a symbolic size is not negative.
    if isinstance(offset, int) and offset < 0:
        rows, columns, offset = columns, rows, -offset
    return minimum(rows, maximum(columns - offset, 0))


def _infer_diagonal(x: Type, *, offset: Any) -> Type:
    rows, columns = x.shape[-2:]
    return Type((*x.shape[:-2], _length(rows, columns, offset)), x.dtype)


@op(infer=_infer_diagonal, view=True)
def _diagonal(x, *, offset):
    """A diagonal of the last two axes, as the last axis. ONNX: Reshape, Slice."""
    return x.diagonal(offset, -2, -1)


_diagonal.shortcut = lambda x, offset: methodcaller("diagonal", offset, -2, -1)


@_diagonal.vjp("x")
def _(g, *, x_shape, offset):
    return _diagonal_grad(g, rows=x_shape[-2], columns=x_shape[-1], offset=offset)


@_diagonal.fused_vjp("x")
def _(g, *, x_shape, offset):
    rows, columns = x_shape[-2:]
    return on_diagonal(g, rows, columns, offset)


@_diagonal.writes
def _(base, value, *, offset):
    sizes = {"rows": base.shape[-2], "columns": base.shape[-1], "offset": offset}
    place = _diagonal_grad(OPS["ones_like"](value), **sizes)
    return OPS["where"](place.astype("bool"), _diagonal_grad(value, **sizes), base)


def _infer_trace(x: Type, *, offset: int) -> Type:
    return Type(x.shape[:-2], I64 if rank(x.dtype) < 2 else x.dtype)


@op(infer=_infer_trace)
def _trace(x, *, offset):
    """Sums of a diagonal of matrices; integers are summed as int64. ONNX: Slice, ReduceSum."""
    return trace_of(x.shape, x.dtype, offset)(x)


_trace.shortcut = lambda x, offset: trace_of(x.shape, x.dtype, offset)


@_trace.vjp("x")
def _(g, *, x_shape, offset):
    rows, columns = x_shape[-2:]
    count = _length(rows.__index__(), columns.__index__(), offset)
    wide = OPS["expand"](OPS["unsqueeze"](g, axes=(g.ndim,)), shape=(*x_shape[:-2], count))
    return _diagonal_grad(wide, rows=rows, columns=columns, offset=offset)


@_trace.fused_vjp("x")
def _(g, *, x_shape, offset):
    rows, columns = x_shape[-2:]
    shape = (*x_shape[:-2], _length(rows, columns, offset))
    wide = gradients.spread(g, shape, (g.ndim,), keepdims=False)
    return on_diagonal(wide, rows, columns, offset)


def trace(x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Sum of a diagonal of the planes of two axes; both sizes must be static."""
    return apply(_trace, (_planes(x, axis1, axis2),), (int(offset),))


def _infer_diagonal_grad(g: Type, *, rows: int, columns: int, offset: int) -> Type:
    return Type((*g.shape[:-1], rows, columns), g.dtype)


@op(infer=_infer_diagonal_grad)
def _diagonal_grad(g, *, rows, columns, offset):
    """Gradient of `diagonal`: matrices of zeros with g on a diagonal. ONNX: Pad, Reshape."""
    return on_diagonal(g, rows, columns, offset)


_diagonal_grad.shortcut = lambda g, rows, columns, offset: on_diagonal_of(
    g.shape, g.dtype, rows, columns, offset
)


@_diagonal_grad.vjp("g")
def _(g, *, offset):
    return _diagonal(g, offset=offset)


def diagonal(x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The diagonals of the planes of two axes, as a new last axis (a view)."""
    if isinstance(offset, Dim) and offset < 0:
        return diagonal(x, -offset, axis2, axis1)
    return apply(_diagonal, (_planes(x, axis1, axis2),), (whole("offset", offset),))


def _planes(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """x with two axes last."""
    ndim = x.ndim
    if ndim == 2 and axis1.__class__ is axis2.__class__ is int and (axis1, axis2) == (0, 1):
        return x
    a, b = axis_of(axis1, ndim), axis_of(axis2, ndim)
    if ndim < 2 or a == b:
        raise ShapeError(f"a diagonal needs two axes, got {axis1} and {axis2} of {show(x.shape)}")
    if (a, b) == (ndim - 2, ndim - 1):
        return x
    return _transpose(x, perm=(*(i for i in range(ndim) if i not in (a, b)), a, b))


def diag(x: Tensor, offset: int = 0, padding_value: float = 0) -> Tensor:
    """A vector on a diagonal of a square matrix, or a diagonal of a matrix as a vector (a copy).

    Args:
        x: (n,) or (rows, columns).
        offset: which diagonal; above the main one if positive.
        padding_value: what stands beside the diagonal.

    Raises:
        ShapeError: x has neither one axis nor two.
    """
    if x.ndim == 2:
        return OPS["clone"](diagonal(x, offset))
    if x.ndim != 1:
        raise ShapeError(f"diag() takes one or two axes, got shape {show(x.shape)}")
    return apply(_diag_embed, (x,), (int(offset), freeze(padding_value)))


__all__ = [
    "diag",
    "diag_embed",
    "diagonal",
    "eye",
    "trace",
    "tril",
    "triu",
]
