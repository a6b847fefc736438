"""Unit matrices, triangles and diagonals. Products of matrices are in `linalg.py`."""

from __future__ import annotations

from typing import Any

from dyn.core.dispatch import dtype_attr
from dyn.core.dtype import default_float
from dyn.core.errors import ShapeError
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels.copy import filled
from dyn.kernels.triangle import embedded, triangle
from dyn.ops.creation import need_sizes
from dyn.ops.infer import Type, as_numpy, show
from dyn.ops.products import diagonal
from dyn.ops.shape import reshape, sizes_of


def _infer_eye(*, rows: Any, columns: Any, dtype: str) -> Type:
    need_sizes((rows, columns))
    return Type((rows, columns), as_numpy(dtype))


@op(infer=_infer_eye, differentiable=False)
def _eye(*, rows, columns, dtype):
    """Ones where row and column are equal, else zeros. ONNX: EyeLike."""
    out = filled((rows, columns), 0, as_numpy(dtype))
    out.reshape(-1)[: min(rows, columns) * columns : columns + 1] = 1
    return out


def eye(num_rows: Any, num_columns: Any = None, dtype: Any = None) -> Tensor:
    """The unit matrix: ones on the diagonal, zeros elsewhere."""
    rows, columns = sizes_of([num_rows, num_rows if num_columns is None else num_columns])
    dtype = default_float() if dtype is None else dtype
    return _eye(rows=rows, columns=columns, dtype=dtype_attr(dtype))


def _infer_triangle(x: Type, *, diagonal: int) -> Type:
    if len(x.shape) < 2:
        raise ShapeError(f"a triangle needs at least two axes, got shape {show(x.shape)}")
    return x


@op(infer=_infer_triangle)
def _tril(x, *, diagonal):
    """x on and below a diagonal of the last two axes, zeros above. ONNX: Trilu."""
    return triangle(x, diagonal, False)


@_tril.vjp("x")
def _(g, *, diagonal):
    return _tril(g, diagonal=diagonal)


@op(infer=_infer_triangle)
def _triu(x, *, diagonal):
    """x on and above a diagonal of the last two axes, zeros below. ONNX: Trilu."""
    return triangle(x, diagonal, True)


@_triu.vjp("x")
def _(g, *, diagonal):
    return _triu(g, diagonal=diagonal)


def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of the last two axes, up to the `diagonal`-th diagonal; zeros above."""
    return _tril(x, diagonal=int(diagonal))


def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of the last two axes, from the `diagonal`-th diagonal; zeros below."""
    return _triu(x, diagonal=int(diagonal))


def _infer_diag_embed(x: Type, *, offset: int, beside: float) -> Type:
    if not x.shape:
        raise ShapeError("a diagonal needs at least one axis, got a 0-d tensor")
    size = x.shape[-1] + abs(offset)
    return Type((*x.shape[:-1], size, size), x.dtype)


@op(infer=_infer_diag_embed)
def _diag_embed(x, *, offset, beside):
    """Matrices with the last axis of x on a diagonal, a number beside. ONNX: Equal, Where."""
    return embedded(x, offset, beside)


@_diag_embed.vjp("x")
def _(g, *, x_shape, offset):
    # On a diagonal each place is a row and a column behind the one before.
    size = x_shape[-1] + abs(offset)
    rows = reshape(g, [*x_shape[:-1], size * size])
    first = max(offset, 0) + max(-offset, 0) * size
    last = first + (x_shape[-1] - 1) * (size + 1)
    every = (("slice", None, None, None),) * (len(x_shape) - 1)
    return OPS["getitem"](rows, index=(*every, ("slice", first, last + 1, size + 1)))


def diag_embed(x: Tensor, offset: int = 0) -> Tensor:
    """Matrices with the last axis of x on a diagonal: (..., n) to (..., n + |offset|, same)."""
    return _diag_embed(x, offset=int(offset), beside=0)


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
    return _diag_embed(x, offset=int(offset), beside=padding_value)


__all__ = [
    "diag",
    "diag_embed",
    "eye",
    "tril",
    "triu",
]
