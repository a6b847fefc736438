"""The parts of an index: what of it is basic (`basic_index.py`) and what are index tensors.

A mask becomes the coordinates where it holds. Rules are numpy's, but that an int beside index
tensors takes its axis away before they are looked at, as in Paddle and PyTorch: there x[0, :, at]
is x[0][:, at], where numpy brings the axes of `at` to the front.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.dim import Dim
from dyn.core.dispatch import apply
from dyn.core.dtype import BOOL, rank
from dyn.core.errors import DTypeError, IndexRangeError
from dyn.core.op import OPS
from dyn.core.tensor import Tensor, holds_tensor
from dyn.ops.basic_index import FULL, NEW, _getitem, canonical
from dyn.ops.infer import show
from dyn.ops.shape import _reshape

_PLAIN = frozenset((int, type(None)))
_WHOLE = slice(None)


def plain_index(item: Any, x: Tensor) -> tuple[tuple[Any, ...], ...] | None:
    """The entries of an index of Python's ints and slices, None and one Ellipsis.

    Axes behind the last one that is named may be left out. None for any other index.
    """
    kind, ndim = item.__class__, x.ndim
    if kind is int or kind is slice:
        return (canonical(item),) if ndim else None
    if kind is not tuple:
        if item is not None and item is not Ellipsis:
            return None
        item = (item,)
    found: list[tuple[Any, ...]] = []
    used, gap = 0, None
    for part in item:
        if part.__class__ is slice:
            start, stop, step = part.start, part.stop, part.step
            if not (
                start.__class__ in _PLAIN and stop.__class__ in _PLAIN and step.__class__ in _PLAIN
            ):
                return None
            found.append(("slice", start, stop, step))
            used += 1
        elif part.__class__ is int:
            found.append(("int", part))
            used += 1
        elif part is None:
            found.append(NEW)
        elif part is Ellipsis and gap is None:
            gap = len(found)
        else:
            return None
    if used > ndim:
        return None
    whole = [FULL] * (ndim - used)
    return (*found, *whole) if gap is None else (*found[:gap], *whole, *found[gap:])


def gathered_axis(item: tuple[Any, ...], ndim: int) -> int | None:
    """The axis that an index of whole slices and, behind them, one integer tensor selects from."""
    *before, last = item
    if not isinstance(last, Tensor) or len(item) > ndim or last._read().dtype.kind not in "iu":
        return None
    whole = all(part.__class__ is slice and part == _WHOLE for part in before)
    return len(before) if whole else None


def are_coordinates(items: tuple[Any, ...], ndim: int) -> bool:
    """Whether an index is of integer tensors of one shape, at most one for each axis."""
    shape = None
    for item in items:
        if not isinstance(item, Tensor):
            return False
        array = item._read()
        if array.dtype.kind not in "iu" or (shape is not None and array.shape != shape):
            return False
        shape = array.shape
    return 0 < len(items) <= ndim


def split_index(x: Tensor, item: Any) -> tuple[tuple[Any, ...], dict[int, Tensor]]:
    """The basic part of an index, and index tensors by the axis of the basic result they select."""
    items = list(item) if isinstance(item, tuple) else [item]
    items = [_as_entry(i) for i in items]
    used = sum(_axes_used(i) for i in items)
    dots = [i for i, entry in enumerate(items) if entry is Ellipsis]
    if len(dots) > 1:
        raise IndexRangeError("an index can hold one Ellipsis ('...') only")
    if used > x.ndim:
        raise IndexRangeError(f"too many indices for a tensor of shape {show(x.shape)}: {used}")
    fill = [slice(None)] * (x.ndim - used)
    at = dots[0] if dots else len(items)
    items = items[:at] + fill + items[at + 1 :]

    basic: list[tuple[Any, ...]] = []
    tensors: dict[int, Tensor] = {}
    out_axis = 0
    for entry in items:
        if isinstance(entry, Tensor):
            if entry._read().dtype == BOOL and not entry.ndim:
                # A single truth value selects from a new axis: its one element, or nothing.
                line = _reshape(entry, shape=(1,))
                tensors[out_axis] = _coordinates(line, line, 0)[0]
                basic.append(NEW)
                out_axis += 1
            elif entry._read().dtype == BOOL:
                own_axis = sum(e[0] != "new" for e in basic)
                for axis, part in enumerate(_coordinates(x, entry, own_axis)):
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
    return tuple(basic), tensors


def _as_entry(item: Any) -> Any:
    if item is None or item is Ellipsis or isinstance(item, (int, slice, Dim, np.integer)):
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
    if isinstance(item, list) and holds_tensor(item):
        return _as_entry(Tensor(item))
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


def places_of(x: Tensor, mask: Tensor, axis: int) -> Tensor:
    """The coordinates where a mask of the axes of x from `axis` on holds, one row each."""
    shape = mask._read().shape
    if x._read().shape[axis : axis + len(shape)] != shape:
        raise IndexRangeError(
            f"a mask of shape {show(shape)} does not fit axis {axis} of {show(x.shape)}"
        )
    return apply(OPS["nonzero"], (mask,))


def _coordinates(x: Tensor, mask: Tensor, axis: int) -> list[Tensor]:
    """One index vector per axis of a mask."""
    where = places_of(x, mask, axis)
    return [_getitem(where, index=(FULL, ("int", i))) for i in range(mask.ndim)]
