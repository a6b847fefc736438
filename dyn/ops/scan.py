"""Running sums, products and extremes along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.dispatch import apply, dtype_attr
from dyn.core.dtype import I64, rank
from dyn.core.errors import ShapeError
from dyn.core.lift import rank_of
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import scan as kernels
from dyn.ops.elementwise import multiply, subtract
from dyn.ops.infer import Type, axis_of, broadcast_shapes
from dyn.ops.shape import as_line, flatten
from dyn.ops.unary import cast


def _infer_running(x: Type, **attrs: Any) -> Type:
    if not x.shape:
        raise ShapeError("a 0-d tensor has no axis to run along")
    return Type(x.shape, I64 if rank(x.dtype) < 2 else x.dtype)


# ---- sums --------------------------------------------------------------------------------------


@op(infer=_infer_running)
def _cumsum(x, *, axis, reverse=False):
    """Sum of all elements up to each one, or from each one on. ONNX: CumSum."""
    return kernels.cumsum(x, axis, reverse)


@_cumsum.vjp("x")
def _(g, *, axis, reverse):
    return _cumsum(g, axis=axis, reverse=not reverse)


def cumsum(x: Tensor, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Sum of all elements up to each one along an axis; of the flattened tensor without one.

    Booleans and integers are summed as int64.
    """
    if dtype is not None:
        x = cast(x, dtype)
    if axis is None:
        x, axis = flatten(x), 0
    if not rank_of(x):
        return as_line(cumsum, x, axis)
    return apply(_cumsum, (x,), (axis_of(axis, x.ndim), False))


# ---- products ----------------------------------------------------------------------------------


@op(infer=_infer_running)
def _cumprod(x, *, axis, exclusive=False):
    """Product of all elements up to each one (without it if exclusive). ONNX: Scan, CumProd."""
    return kernels.cumprod(x, axis, exclusive)


@_cumprod.vjp("x")
def _(g, *, x, axis, exclusive):
    # out[j] depends on x[k] by the product of the elements before k, times those between:
    # gx[k] = before[k] * s[k], s[k] = g[k] + x[k + 1] * s[k + 1]. Exact at zeros, too.
    before = _cumprod(x, axis=axis, exclusive=True)
    if exclusive:
        g = _shifted(g, axis, -1)
    return multiply(before, recurrence(_shifted(x, axis, -1), g, axis=axis, reverse=True))


def _shifted(x: Tensor, axis: int, by: int) -> Tensor:
    """x moved by one place along an axis; a zero comes in."""
    pads = [(0, 0)] * x.ndim
    pads[axis] = (by, -by)
    return OPS["pad"](x, pads=tuple(pads), mode="constant", value=0.0)


def _infer_recurrence(a: Type, b: Type, *, axis: int, reverse: bool) -> Type:
    return Type(broadcast_shapes(a.shape, b.shape), b.dtype)


@op(infer=_infer_recurrence)
def recurrence(a, b, *, axis, reverse):
    """s[k] = a[k] * s[k - 1] + b[k] along an axis, s[-1] = 0; backwards if reverse. ONNX: Scan."""
    return kernels.recurrence(a, b, axis, reverse)


@recurrence.vjp("a")
def _(g, *, a, out, axis, reverse):
    step = 1 if reverse else -1
    carried = recurrence(_shifted(a, axis, step), g, axis=axis, reverse=not reverse)
    return multiply(carried, _shifted(out, axis, -step))


@recurrence.vjp("b")
def _(g, *, a, axis, reverse):
    return recurrence(_shifted(a, axis, 1 if reverse else -1), g, axis=axis, reverse=not reverse)


def cumprod(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Product of all elements up to each one along an axis; integers as int64."""
    if dtype is not None:
        x = cast(x, dtype)
    if not x.ndim:
        return as_line(cumprod, x, dim)
    return _cumprod(x, axis=axis_of(dim, x.ndim), exclusive=False)


# ---- extremes ----------------------------------------------------------------------------------


def _infer_extreme(x: Type, *, axis: int, largest: bool) -> list[Type]:
    _infer_running(x)
    return [x, Type(x.shape, I64)]


@op(infer=_infer_extreme, outputs=("values", "indices"), public=2)
def _cummax(x, *, axis, largest):
    """The largest (or smallest) of all elements up to each one, and where it stands.

    ONNX: Scan, GatherElements.
    """
    return kernels.cummax(x, axis, largest)


@_cummax.vjp("x")
def _(g, *, indices, x_shape, axis):
    zeros = OPS["full"](shape=tuple(x_shape), value=0, dtype=g[0]._array.dtype.name)
    return OPS["put_along_axis"](zeros, indices, g[0], axis=axis, reduction="add")


def _running(x: Tensor, axis: int | None, dtype: Any, *, largest: bool) -> tuple[Tensor, Tensor]:
    if axis is None:
        x, axis = flatten(x), 0
    if not x.ndim:
        return as_line(_running, x, axis, dtype, largest=largest)
    values, places = apply(_cummax, (x,), (axis_of(axis, x.ndim), largest))
    return values, cast(places, dtype_attr(dtype))


def cummax(x: Tensor, axis: int | None = None, dtype: Any = np.int64) -> tuple[Tensor, Tensor]:
    """The largest of all elements up to each one along an axis, and where it stands.

    Of equal ones the last counts. Without an axis the tensor is flattened.

    Returns:
        (values, indices).
    """
    return _running(x, axis, dtype, largest=True)


def cummin(x: Tensor, axis: int | None = None, dtype: Any = np.int64) -> tuple[Tensor, Tensor]:
    """The smallest of all elements up to each one along an axis, and where it stands.

    Of equal ones the last counts. Without an axis the tensor is flattened.

    Returns:
        (values, indices).
    """
    return _running(x, axis, dtype, largest=False)


def diff(x: Tensor, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """Each element minus the one before it along an axis, n times over.

    Args:
        x: (..., size, ...).
        n: how often; every time leaves one element less.
        axis: of the size.
        prepend, append: tensors joined to x before and after along the axis first.
    """
    axis = axis_of(axis, x.ndim)
    parts = [t for t in (prepend, x, append) if t is not None]
    if len(parts) > 1:
        x = OPS["concat"](*parts, axis=axis)
    for _ in range(n):
        whole = (("slice", None, None, None),) * axis
        later = OPS["getitem"](x, index=(*whole, ("slice", 1, None, None)))
        x = subtract(later, OPS["getitem"](x, index=(*whole, ("slice", None, -1, None))))
    return x


__all__ = ["cummax", "cummin", "cumprod", "cumsum", "diff"]
