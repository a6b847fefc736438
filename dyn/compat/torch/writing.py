"""Copies of a tensor with other values at some places, under PyTorch's names.

All are dyn's writes: recorded, differentiable, and without effect on their inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.compat.torch.shape import part_of
from dyn.compat.torch.tensor import Base
from dyn.core.errors import ShapeError
from dyn.core.lift import cast_to
from dyn.ops import composed, creation, elementwise, extremes, gather, join, scatter
from dyn.ops import index as indices
from dyn.ops import places as by_place
from dyn.ops import shape as ops
from dyn.ops.infer import axis_of, same_size, show


def _at(dim: int, item: Any, ndim: int) -> tuple[Any, ...]:
    """The index that takes `item` along one axis and all along those before it."""
    return (*(slice(None),) * axis_of(dim, ndim), item)


def _written(x: Any, item: Any, value: Any) -> Any:
    """A copy with `value` at the places of an index."""
    found = x.clone()
    indices.setitem(found, item, value)
    return found


def fill(x: Any, value: Any) -> Any:
    """One number in the shape of x."""
    return indices.where(creation.full_like(x, True, "bool"), _like(value, x), x)


def _like(value: Any, x: Any) -> Any:
    return cast_to(value if isinstance(value, Base) else Base(value), x._array.dtype)


def index_copy(x: Any, dim: int, index: Any, source: Any) -> Any:
    """The slices of `source` at the places along `dim` that `index` lists."""
    return _written(x, _at(dim, index, x.ndim), source)


def index_fill(x: Any, dim: int, index: Any, value: Any) -> Any:
    """`value` in the slices along `dim` that `index` lists."""
    return _written(x, _at(dim, index, x.ndim), value)


def index_put(x: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """`values` written, or added, at the places that a tuple of index tensors says."""
    values = _like(values, x)
    return by_place.index_put(x, tuple(indices), values, accumulate)


def put(x: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    """`source` written, or added, at places of the flattened tensor."""
    flat, places = ops.reshape(x, [-1]), ops.reshape(index, [-1])
    values = ops.reshape(source, [-1])
    found = gather.put_along_axis(flat, places, values, 0, "add" if accumulate else "assign")
    return ops.reshape(found, list(x.shape))


def masked_scatter(x: Any, mask: Any, source: Any) -> Any:
    """The elements of `source` in order where the mask is true."""
    return composed.masked_scatter(x, mask, source)


def select_scatter(x: Any, src: Any, dim: int, index: int) -> Any:
    """`src` as one slice along an axis."""
    return _written(x, _at(dim, index, x.ndim), src)


def slice_scatter(
    x: Any, src: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Any:
    """`src` as the slices from `start` to `end` along an axis."""
    return _written(x, _at(dim, slice(start, end, step), x.ndim), src)


def diagonal_scatter(x: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """`src` on a diagonal of two axes."""
    places = np.arange(int(np.prod(x.shape)), dtype=np.int64).reshape(tuple(x.shape))
    on = np.ascontiguousarray(np.diagonal(places, offset, dim1, dim2))
    return put(x, Base(on), src)


def scatter_reduce(
    x: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """src[i][j] combined into out[index[i][j]][j] for dim 0, and so on.

    Args:
        reduce: "sum", "prod", "mean", "amax" or "amin".
        include_self: whether what stood there counts.
    """
    _need_reduction("scatter_reduce", reduce, ("sum", "prod", "mean", "amax", "amin"))
    src = part_of(src, index)
    if reduce not in ("sum", "mean"):
        return _combined(x, dim, index, src, reduce, include_self)
    ones = creation.ones_like(src)
    start = x
    if not include_self:
        start = gather.put_along_axis(x, index, creation.zeros_like(src), dim)
    total = gather.put_along_axis(start, index, src, dim, "add")
    if reduce == "sum":
        return total
    counts = gather.put_along_axis(creation.ones_like(x), index, ones, dim, "add")
    if not include_self:
        counts = extremes.maximum(counts - 1, creation.ones_like(counts))
    if x.dtype.is_floating_point:
        return total / counts
    return elementwise.floor_divide(total, counts)


def index_reduce(
    x: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """The slices of `source` combined into those of x along `dim` that `index` lists.

    Args:
        reduce: "prod", "mean", "amax" or "amin".
        include_self: whether what stood there counts.

    Raises:
        ShapeError: there is not an index for each slice, or slices are not those of x.
    """
    _need_reduction("index_reduce", reduce, ("prod", "mean", "amax", "amin"))
    axis = axis_of(dim, x.ndim)
    wanted = [*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]]
    fits = index.ndim == 1 and source.ndim == x.ndim
    if not fits or not all(same_size(a, b) for a, b in zip(source.shape, wanted, strict=True)):
        raise ShapeError(
            f"index_reduce: source {show(source.shape)} must be {show(wanted)}: a slice of "
            f"{show(x.shape)} along axis {axis} for each index of {show(index.shape)}"
        )
    column = ops.reshape(index, [-1 if a == axis else 1 for a in range(x.ndim)])
    places = join.expand(column, list(source.shape))
    return scatter_reduce(x, axis, places, source, reduce, include_self=include_self)


def _need_reduction(name: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise RuntimeError(f"{name}: reduce must be one of {', '.join(known)}, got {given!r}")


def _combined(x: Any, dim: int, index: Any, src: Any, how: str, include_self: bool) -> Any:
    """Each place takes an extreme or product; x may be longer than src on the other axes."""
    axis = axis_of(dim, x.ndim)
    part = tuple(slice(None) if a == axis else slice(n) for a, n in enumerate(index.shape))
    found = indices.getitem(x, part)
    if not include_self:
        least = 1 if how == "prod" else _worst(x._array.dtype, how == "amax")
        found = gather.put_along_axis(found, index, creation.full_like(src, least), axis)
    if how == "prod":
        found = scatter.scatter_product(found, index, src, axis)
    else:
        found = scatter.scatter_extreme(found, index, src, axis, how == "amax")
    return found if tuple(found.shape) == tuple(x.shape) else _written(x, part, found)


def _worst(kind: Any, largest: bool) -> Any:
    if kind.kind == "f":
        return -np.inf if largest else np.inf
    bounds = np.iinfo(kind)
    return int(bounds.min if largest else bounds.max)


def fill_diagonal_(x: Any, fill_value: Any, wrap: bool = False) -> Any:
    """Write one number to the main diagonal, in place."""
    count = min(int(n) for n in x.shape)
    along = Base(np.arange(count, dtype=np.int64))
    return x._write(_written(x, (along,) * x.ndim, fill_value))
