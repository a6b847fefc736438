"""`x[...]` and `x[...] = v` with every kind of index, and selections by a condition.

An index is split (`index_parts.py`) into its basic part (ints, slices, None, Ellipsis:
`basic_index.py`) and index tensors or masks (`gather.py`, `places.py`).
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.core.dim import Dim
from dyn.core.dispatch import apply
from dyn.core.dtype import BOOL, common_dtype, scalar_dtype
from dyn.core.errors import ShapeError
from dyn.core.lift import cast_to, scalar
from dyn.core.observe import current
from dyn.core.op import OPS
from dyn.core.tensor import Tensor
from dyn.ops.basic_index import FULL, _getitem, _setitem
from dyn.ops.gather import _gather, _gather_nd, _where
from dyn.ops.index_parts import (
    are_coordinates,
    gathered_axis,
    places_of,
    plain_index,
    split_index,
)
from dyn.ops.infer import axis_of, broadcast_shapes, show
from dyn.ops.join import _expand
from dyn.ops.places import _put_at, _take_at
from dyn.ops.shape import _reshape, _transpose, sizes_of
from dyn.ops.sole import write


def getitem(x: Tensor, item: Any) -> Tensor:
    """`x[item]` by the rules of `index_parts.py`.

    Ints, slices (negative steps too), None and Ellipsis give a view; index tensors, arrays, lists
    and boolean masks give a copy.
    """
    plain = plain_index(item, x)
    if plain is not None:
        return apply(_getitem, (x,), (plain,))
    if isinstance(item, Tensor) and x.ndim:
        kind = item._read().dtype.kind
        if kind in "iu":
            return apply(_gather, (x, item), (0,))
        if kind == "b" and item.ndim:
            return apply(_gather_nd, (x, places_of(x, item, 0)))
    if isinstance(item, tuple) and item:
        axis = gathered_axis(item, x.ndim)
        if axis is not None:
            return apply(_gather, (x, item[-1]), (axis,))
    if isinstance(item, tuple) and are_coordinates(item, x.ndim) and not current():
        return apply(_take_at, (x, *item))
    basic, tensors = split_index(x, item)
    out = _getitem(x, index=basic) if any(e != FULL for e in basic) else x
    if not tensors:
        return out if out is not x else _getitem(x, index=basic)
    return _read_at(out, tensors)


def setitem(x: Tensor, item: Any, value: Any) -> None:
    """`x[item] = value`: binds x (and what it is a view of) to the value with the region written.

    Raises:
        GradError: x is a leaf that wants a gradient and gradients are recorded.
        ShapeError: the value does not broadcast to the region.
    """
    value = _to_write(x, value)
    plain = plain_index(item, x)
    beside = (value, *item) if item.__class__ is tuple else (value, item)
    if plain is not None:
        write(x, beside, apply, _setitem, (x, value), (plain,))
        return
    if isinstance(item, Tensor) and x.ndim and item._read().dtype.kind in "iu":
        if current() or value._array.shape != (*item._array.shape, *x._array.shape[1:]):
            value = _spread(value, (*item.shape, *x.shape[1:]))
        write(x, beside, apply, _put_at, (x, value, item), ("none",))
        return
    basic, tensors = split_index(x, item)
    if not tensors:
        write(x, beside, apply, _setitem, (x, value), (basic,))
        return
    mask = item if isinstance(item, Tensor) and item._read().dtype == BOOL else None
    if mask is not None and value.ndim == 0:
        lead = _reshape(mask, shape=(*mask.shape, *(1,) * (x.ndim - mask.ndim)))
        x._write(_where(lead, value, x))
        return
    if all(e == FULL for e in basic):
        write(x, beside, _write_at, x, tensors, value)
        return
    region = _getitem(x, index=basic)
    x._write(_setitem(x, _write_at(region, tensors, value), index=basic))


def _to_write(x: Tensor, value: Any) -> Tensor:
    """A value as a tensor of the dtype of x."""
    own = x._read().dtype
    if not isinstance(value, Tensor):
        if isinstance(value, Dim):
            value = value.scope.lift(value)
        elif own.kind == "f" and (value.__class__ is float or value.__class__ is int):
            return scalar(value, own)
        else:
            value = Tensor(value, dtype=own)
    return value if value._read().dtype == own else cast_to(value, own)


def _aligned(tensors: dict[int, Tensor]) -> tuple[list[int], list[Tensor], tuple[Any, ...]]:
    """Axes, index tensors expanded to their common shape, and that shape."""
    axes = sorted(tensors)
    parts = [tensors[a] for a in axes]
    first = tuple(parts[0].shape)
    if len(parts) == 1 or (not current() and _same_shapes(parts)):
        return axes, parts, first
    shape = broadcast_shapes(*(tuple(p.shape) for p in parts))
    parts = [p if tuple(p.shape) == shape else _expand(p, shape=shape) for p in parts]
    return axes, parts, shape


def _same_shapes(parts: Sequence[Tensor]) -> bool:
    """Whether all have one shape, in numbers."""
    shape = parts[0]._read().shape
    return all([p._read().shape == shape for p in parts])


def _place(tensors: dict[int, Tensor], rest: list[int]) -> int:
    """Before which of the other axes those of the index tensors go: where they were, if adjacent.

    Tensors without axes count as ints do: they only take an axis away.
    """
    axes = sorted(a for a, part in tensors.items() if part.ndim) or sorted(tensors)
    before = sum(a < axes[0] for a in rest)
    return before if before == sum(a < axes[-1] for a in rest) else 0


def _read_at(x: Tensor, tensors: dict[int, Tensor]) -> Tensor:
    axes, parts, shape = _aligned(tensors)
    if len(axes) == 1:
        return apply(_gather, (x, parts[0]), (axes[0],))
    front, first = x, 0
    if axes != [*range(len(axes))]:
        rest = [a for a in range(x.ndim) if a not in axes]
        front, first = _transpose(x, perm=(*axes, *rest)), _place(tensors, rest)
    out = apply(_take_at, (front, *parts))
    if first:
        k = len(shape)
        lead = range(k, k + first)
        out = _transpose(out, perm=(*lead, *range(k), *range(k + first, out.ndim)))
    return out


def _write_at(x: Tensor, tensors: dict[int, Tensor], value: Tensor) -> Tensor:
    axes, parts, shape = _aligned(tensors)
    if axes == [*range(len(axes))]:
        value = _spread(value, (*shape, *x.shape[len(axes) :]))
        return apply(_put_at, (x, value, *parts), ("none",))
    rest = [a for a in range(x.ndim) if a not in axes]
    perm = (*axes, *rest)
    moved = perm != tuple(range(x.ndim))
    front = _transpose(x, perm=perm) if moved else x
    rest_shape = tuple(x.shape[a] for a in rest)
    k = len(shape)
    first = _place(tensors, rest)
    if first:
        # Adjacent index axes are put where they were; bring the value's to the front.
        wanted = (*rest_shape[:first], *shape, *rest_shape[first:])
        value = _transpose(
            _spread(value, wanted),
            perm=(*range(first, first + k), *range(first), *range(first + k, len(wanted))),
        )
    else:
        wanted = (*shape, *rest_shape)
        value = _spread(value, wanted)
    out = apply(_put_at, (front, value, *parts), ("none",))
    return _transpose(out, perm=tuple(int(i) for i in np.argsort(perm))) if moved else out


def _spread(value: Tensor, shape: tuple[Any, ...]) -> Tensor:
    """A value that broadcasts to `shape` in that shape."""
    if tuple(value.shape) == shape:
        return value
    if not value.ndim:
        return apply(_expand, (value,), (shape,))
    return _expand(_drop_lead(value, len(shape)), shape=shape)


def _drop_lead(value: Tensor, ndim: int) -> Tensor:
    extra = value.ndim - ndim
    if extra <= 0:
        return value
    if any(n != 1 for n in value.shape[:extra]):
        raise ShapeError(f"a value of shape {show(value.shape)} has too many axes for the region")
    return _reshape(value, shape=tuple(value.shape[extra:]))


# ---- by condition, and named slices --------------------------------------------------------------


def where(condition: Tensor, x: Any = None, y: Any = None) -> Any:
    """x where the condition holds, else y, broadcast; without x and y the indices, one per axis."""
    if x is None and y is None:
        found = OPS["nonzero"](condition)
        return tuple(_getitem(found, index=(FULL, ("int", i))) for i in range(condition.ndim))
    if isinstance(condition, Tensor) and condition._read().dtype != BOOL:
        condition = cast_to(condition, BOOL)
    x, y = promoted(x, y)
    return apply(_where, (condition, x, y))


def _beside(value: Any, other: Tensor) -> Tensor:
    """A number takes the other tensor's dtype where it can."""
    if isinstance(value, (bool, int, float, complex)):
        return scalar(value, scalar_dtype(value, other._read().dtype))
    plain: Any = value
    known = scalar_dtype(plain, other._read().dtype) if np.isscalar(value) else None
    return Tensor(value, dtype=known)


def promoted(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Two tensors, or one and a number, in their common dtype."""
    tensors = isinstance(x, Tensor), isinstance(y, Tensor)
    if all(tensors) and x._read().dtype == y._read().dtype:
        return x, y
    if not any(tensors):
        x, y = Tensor(x), Tensor(y)
    if not isinstance(x, Tensor):
        x = _beside(x, y)
    if not isinstance(y, Tensor):
        y = _beside(y, x)
    dtype = common_dtype([(a.shape, a.dtype) for a in (x._read(), y._read())])
    return cast_to(x, dtype), cast_to(y, dtype)


def masked_fill(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    """x with `value` where the mask holds."""
    return apply(_where, (mask, _to_write(x, value), x))


def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The elements of x where the mask (broadcast) holds, as a vector."""
    if current() or not _same_shapes((x, mask)):
        shape = broadcast_shapes(tuple(x.shape), tuple(mask.shape))
        x = x if tuple(x.shape) == shape else _expand(x, shape=shape)
        mask = mask if tuple(mask.shape) == shape else _expand(mask, shape=shape)
    return apply(_gather_nd, (x, apply(OPS["nonzero"], (mask,))))


def slice(input: Tensor, axes: Sequence[int], starts: Sequence[Any], ends: Sequence[Any]) -> Tensor:
    """`input[..., start:end, ...]` on the given axes (a view)."""
    return strided_slice(input, axes, starts, ends, [1] * len(axes))


def strided_slice(
    x: Tensor, axes: Sequence[int], starts: Sequence[Any], ends: Sequence[Any], strides: Any
) -> Tensor:
    """`x[..., start:end:stride, ...]` on the given axes (a view)."""
    index: list[tuple[Any, ...]] = [FULL] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, strides, strict=True):
        numbers = [n.item() if isinstance(n, Tensor) else n for n in (start, end)]
        index[axis_of(axis, x.ndim)] = ("slice", *numbers, int(step))
    return _getitem(x, index=tuple(index))


def crop(x: Tensor, shape: Any = None, offsets: Any = None) -> Tensor:
    """The block of `shape` that starts at `offsets` (a copy); -1 means to the end."""
    offsets = [0] * x.ndim if offsets is None else sizes_of(offsets)
    sizes = list(x.shape) if shape is None else sizes_of(shape)
    ends = [None if n == -1 else o + n for o, n in zip(offsets, sizes, strict=True)]
    index = tuple(("slice", o, e, None) for o, e in zip(offsets, ends, strict=True))
    return OPS["clone"](_getitem(x, index=index))


def index_fill(x: Tensor, index: Tensor, axis: int, value: Any) -> Tensor:
    """A copy of x with a number in the slices along an axis that `index` lists."""
    found = OPS["clone"](x)
    places: list[Any] = [builtins.slice(None)] * axis_of(axis, x.ndim)
    setitem(found, (*places, index), value)
    return found


__all__ = [
    "crop",
    "getitem",
    "index_fill",
    "masked_fill",
    "masked_select",
    "setitem",
    "slice",
    "strided_slice",
    "where",
]
