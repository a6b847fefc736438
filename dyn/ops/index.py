"""`x[...]` and `x[...] = v` with every kind of index, and selections by a condition.

An index is split into its basic part (ints, slices, None, Ellipsis: `basic_index.py`) and index
tensors or masks (`gather.py`); a mask becomes the coordinates where it holds. Rules are numpy's.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.core.dim import Dim
from dyn.core.dispatch import apply, cast_to, scalar
from dyn.core.dtype import BOOL, I64, common_dtype, rank, scalar_dtype
from dyn.core.errors import DTypeError, IndexRangeError, ShapeError
from dyn.core.op import OPS
from dyn.core.tensor import Tensor
from dyn.ops.basic_index import FULL, _getitem, _setitem, canonical
from dyn.ops.gather import _gather, _gather_nd, _scatter_nd, _where
from dyn.ops.infer import axis_of, broadcast_shapes, show
from dyn.ops.join import _expand, _stack
from dyn.ops.shape import _reshape, _transpose, _unsqueeze
from dyn.ops.sole import write

PythonSlice = slice
"""Python's own; `slice` below is Paddle's function of that name."""


def getitem(x: Tensor, item: Any) -> Tensor:
    """`x[item]` by numpy's rules.

    Ints, slices (negative steps too), None and Ellipsis give a view; index tensors, arrays, lists
    and boolean masks give a copy.
    """
    plain = _plain_index(item, x)
    if plain is not None:
        return apply(_getitem, (x,), (plain,))
    if isinstance(item, Tensor) and x.ndim:
        kind = item._read().dtype.kind
        if kind in "iu":
            return apply(_gather, (x, item), (0,))
        if kind == "b" and item.ndim:
            return apply(_gather_nd, (x, _places(x, item, 0)))
    basic, tensors = _split_index(x, item)
    out = _getitem(x, index=basic) if any(e != FULL for e in basic) else x
    if not tensors:
        return out if out is not x else _getitem(x, index=basic)
    return _read_at(out, tensors)


_PLAIN = frozenset((int, type(None)))


def _plain_index(item: Any, x: Tensor) -> tuple[tuple[Any, ...], ...] | None:
    """The entries of an index of Python's ints and slices alone, at most one for each axis."""
    kind, ndim = item.__class__, x.ndim
    if kind is int or kind is PythonSlice:
        # Axes that are not named stay as they are.
        return (canonical(item),) if ndim else None
    if kind is not tuple or len(item) > ndim:
        return None
    found: list[tuple[Any, ...]] = []
    for part in item:
        if part.__class__ is PythonSlice:
            start, stop, step = part.start, part.stop, part.step
            if not (
                start.__class__ in _PLAIN and stop.__class__ in _PLAIN and step.__class__ in _PLAIN
            ):
                return None
            found.append(("slice", start, stop, step))
        elif part.__class__ is int:
            found.append(("int", part))
        else:
            return None
    return (*found, *[FULL] * (ndim - len(found)))


def setitem(x: Tensor, item: Any, value: Any) -> None:
    """`x[item] = value`: binds x (and what it is a view of) to the value with the region written.

    Raises:
        GradError: x is a leaf that wants a gradient and gradients are recorded.
        ShapeError: the value does not broadcast to the region.
    """
    value = _to_write(x, value)
    plain = _plain_index(item, x)
    beside = (value, *item) if item.__class__ is tuple else (value, item)
    if plain is not None:
        write(x, beside, apply, _setitem, (x, value), (plain,))
        return
    if isinstance(item, Tensor) and x.ndim and item._read().dtype.kind in "iu":
        write(x, beside, _write_at, x, {0: item}, value)
        return
    basic, tensors = _split_index(x, item)
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


def _split_index(x: Tensor, item: Any) -> tuple[tuple[Any, ...], dict[int, Tensor]]:
    """The basic part of an index, and index tensors by the axis of the basic result they select."""
    items = list(item) if isinstance(item, tuple) else [item]
    items = [_as_entry(i) for i in items]
    used = sum(_axes_used(i) for i in items)
    dots = [i for i, entry in enumerate(items) if entry is Ellipsis]
    if len(dots) > 1:
        raise IndexRangeError("an index can hold one Ellipsis ('...') only")
    if used > x.ndim:
        raise IndexRangeError(f"too many indices for a tensor of shape {show(x.shape)}: {used}")
    fill = [PythonSlice(None)] * (x.ndim - used)
    at = dots[0] if dots else len(items)
    items = items[:at] + fill + items[at + 1 :]

    basic: list[tuple[Any, ...]] = []
    tensors: dict[int, Tensor] = {}
    out_axis = 0
    for entry in items:
        if isinstance(entry, Tensor):
            if entry._read().dtype == BOOL:
                for axis, part in enumerate(_coordinates(x, entry, len(basic))):
                    tensors[out_axis + axis] = part
                basic += [FULL] * entry.ndim
                out_axis += entry.ndim
            else:
                tensors[out_axis] = entry
                basic.append(FULL)
                out_axis += 1
            continue
        one = canonical(entry)
        basic.append(one)
        out_axis += one[0] != "int"
    if tensors and any(e[0] == "int" for e in basic):
        # numpy: an integer beside index tensors is an index tensor itself.
        return _ints_as_tensors(basic, tensors)
    return tuple(basic), tensors


def _ints_as_tensors(
    basic: list[tuple[Any, ...]], tensors: dict[int, Tensor]
) -> tuple[tuple[Any, ...], dict[int, Tensor]]:
    moved: dict[int, Tensor] = {}
    out: list[tuple[Any, ...]] = []
    old_axis = 0
    for entry in basic:
        if entry[0] == "int":
            moved[len(out)] = scalar(entry[1], np.dtype(np.int64))
            out.append(FULL)
            continue
        if old_axis in tensors:
            moved[len(out)] = tensors[old_axis]
        out.append(entry)
        old_axis += 1
    return tuple(out), moved


def _as_entry(item: Any) -> Any:
    if item is None or item is Ellipsis or isinstance(item, (int, PythonSlice, Dim, np.integer)):
        if isinstance(item, bool):
            return Tensor(np.array(item))
        return item
    if isinstance(item, Tensor):
        kind = rank(item._read().dtype)
        if kind > 1:
            raise DTypeError(
                f"an index tensor must hold integers or booleans, not {item.dtype.name}"
            )
        return item
    if isinstance(item, (list, np.ndarray, np.bool_, range)):
        array = np.asarray(item)
        if array.size == 0 and not isinstance(item, np.ndarray):
            array = array.astype(np.int64)
        return _as_entry(Tensor(array))
    raise DTypeError(f"{item!r:.60} cannot index a tensor; use ints, slices, None, ... or tensors")


def _axes_used(entry: Any) -> int:
    if entry is None or entry is Ellipsis:
        return 0
    if isinstance(entry, Tensor) and entry._read().dtype == BOOL:
        return entry.ndim
    return 1


def _places(x: Tensor, mask: Tensor, axis: int) -> Tensor:
    """The coordinates where a mask of the axes of x from `axis` on holds, one row each."""
    array = mask._read()
    for i, n in enumerate(array.shape):
        if x._array.shape[axis + i] != n:
            raise IndexRangeError(
                f"a mask of shape {show(array.shape)} does not fit axis {axis} of {show(x.shape)}"
            )
    return OPS["nonzero"](mask)


def _coordinates(x: Tensor, mask: Tensor, axis: int) -> list[Tensor]:
    """One index vector per axis of a mask."""
    where = _places(x, mask, axis)
    return [_getitem(where, index=(FULL, ("int", i))) for i in range(mask.ndim)]


def _aligned(tensors: dict[int, Tensor]) -> tuple[list[int], list[Tensor], tuple[Any, ...]]:
    """Axes, index tensors expanded to their common shape, and that shape."""
    axes = sorted(tensors)
    parts = [tensors[a] for a in axes]
    if len(parts) == 1:
        return axes, parts, tuple(parts[0].shape)
    shape = broadcast_shapes(*(tuple(p.shape) for p in parts))
    parts = [p if tuple(p.shape) == shape else _expand(p, shape=shape) for p in parts]
    return axes, parts, shape


def _stack_last(parts: Sequence[Tensor], ndim: int) -> Tensor:
    whole = [cast_to(p, I64) for p in parts]
    return _unsqueeze(whole[0], axes=(ndim,)) if len(whole) == 1 else _stack(*whole, axis=ndim)


def _adjacent(axes: list[int]) -> bool:
    return axes == list(range(axes[0], axes[-1] + 1))


def _read_at(x: Tensor, tensors: dict[int, Tensor]) -> Tensor:
    axes, parts, shape = _aligned(tensors)
    if len(axes) == 1:
        return _gather(x, parts[0], axis=axes[0])
    rest = [a for a in range(x.ndim) if a not in axes]
    front = x if axes == list(range(len(axes))) else _transpose(x, perm=(*axes, *rest))
    out = _gather_nd(front, _stack_last(parts, len(shape)))
    if _adjacent(axes) and axes[0] > 0:
        k, first = len(shape), axes[0]
        lead = range(k, k + first)
        out = _transpose(out, perm=(*lead, *range(k), *range(k + first, out.ndim)))
    return out


def _write_at(x: Tensor, tensors: dict[int, Tensor], value: Tensor) -> Tensor:
    axes, parts, shape = _aligned(tensors)
    rest = [a for a in range(x.ndim) if a not in axes]
    perm = (*axes, *rest)
    moved = perm != tuple(range(x.ndim))
    front = _transpose(x, perm=perm) if moved else x
    rest_shape = tuple(x.shape[a] for a in rest)
    k = len(shape)
    if _adjacent(axes) and axes[0] > 0:
        # numpy puts adjacent index axes where they were; bring the value's to the front.
        first = axes[0]
        wanted = (*rest_shape[:first], *shape, *rest_shape[first:])
        value = _transpose(
            _spread(value, wanted),
            perm=(*range(first, first + k), *range(first), *range(first + k, len(wanted))),
        )
    else:
        wanted = (*shape, *rest_shape)
        value = _spread(value, wanted)
    out = _scatter_nd(front, _stack_last(parts, k), value, reduction="none")
    return _transpose(out, perm=tuple(int(i) for i in np.argsort(perm))) if moved else out


def _spread(value: Tensor, shape: tuple[Any, ...]) -> Tensor:
    """A value that broadcasts to `shape` in that shape."""
    if tuple(value.shape) == shape:
        return value
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
    return _where(condition, x, y)


def _beside(value: Any, other: Tensor) -> Tensor:
    """A number takes the other tensor's dtype where it can."""
    plain: Any = value
    known = scalar_dtype(plain, other._read().dtype) if np.isscalar(value) else None
    return Tensor(value, dtype=known)


def promoted(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Two tensors, or one and a number, in their common dtype."""
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        x, y = Tensor(x), Tensor(y)
    if not isinstance(x, Tensor):
        x = _beside(x, y)
    if not isinstance(y, Tensor):
        y = _beside(y, x)
    dtype = common_dtype([(a.shape, a.dtype) for a in (x._read(), y._read())])
    return cast_to(x, dtype), cast_to(y, dtype)


def masked_fill(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    """x with `value` where the mask holds."""
    filled = value if isinstance(value, Tensor) else Tensor(value, dtype=x.dtype)
    return _where(mask, cast_to(filled, x._read().dtype), x)


def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The elements of x where the mask (broadcast) holds, as a vector."""
    shape = broadcast_shapes(tuple(x.shape), tuple(mask.shape))
    x = x if tuple(x.shape) == shape else _expand(x, shape=shape)
    mask = mask if tuple(mask.shape) == shape else _expand(mask, shape=shape)
    return _gather_nd(x, OPS["nonzero"](mask))


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
        index[axis % x.ndim] = ("slice", *numbers, int(step))
    return _getitem(x, index=tuple(index))


def crop(x: Tensor, shape: Any = None, offsets: Any = None) -> Tensor:
    """The block of `shape` that starts at `offsets` (a copy); -1 means to the end."""
    offsets = [0] * x.ndim if offsets is None else list(offsets)
    sizes = list(x.shape) if shape is None else list(shape)
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
