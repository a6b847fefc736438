"""Basic indexing: integers, slices, None and Ellipsis, read (`getitem`) and written (`setitem`).

An index is an attribute: one entry per axis in order, `("int", i)`, `("slice", start, stop, step)`
or `("new",)`. Numbers may be symbolic sizes; a missing start or stop is None, as Python has it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any

import numpy as np

from dyn.core.dim import Dim, maximum, minimum
from dyn.core.errors import IndexRangeError, ShapeError
from dyn.core.op import op
from dyn.core.tensor import Tensor
from dyn.kernels import shape as kernels
from dyn.ops.infer import Type, same_size, show

Index = tuple[tuple[Any, ...], ...]
FULL = ("slice", None, None, None)
"""The entry that takes a whole axis."""
NEW = ("new",)
"""The entry that inserts an axis of size 1."""


def as_slices(index: Index) -> tuple[Any, ...]:
    """The numpy index that an index attribute stands for."""
    out: list[Any] = []
    for entry in index:
        if entry[0] == "int":
            out.append(entry[1])
        elif entry[0] == "new":
            out.append(None)
        else:
            out.append(slice(*entry[1:]))
    return tuple(out)


_ready = lru_cache(4096)(as_slices)


def slice_bounds(entry: tuple[Any, ...], size: Any) -> tuple[Any, Any, int]:
    """Start, stop and step of a slice entry on an axis of `size`, clamped as Python clamps them.

    Works on symbolic sizes; with a negative step, stop may be -1 (before the first element).
    """
    _, start, stop, step = entry
    step = 1 if step is None else step
    if step > 0:
        low: Any = 0 if start is None else _clamp(start, size, 0, size)
        high: Any = size if stop is None else _clamp(stop, size, 0, size)
    else:
        low = size - 1 if start is None else _clamp(start, size, -1, size - 1)
        high = -1 if stop is None else _clamp(stop, size, -1, size - 1)
    return low, high, step


def _clamp(at: Any, size: Any, low: Any, high: Any) -> Any:
    return maximum(low, minimum(_from_start(at, size), high))


def _from_start(at: Any, size: Any) -> Any:
    """A place counted from the start; one below zero, which a size may be, counts from the end."""
    return size + at if at < 0 else at


def slice_length(entry: tuple[Any, ...], size: Any) -> Any:
    """Number of elements a slice entry selects from an axis of `size`."""
    _, start, stop, step = entry
    if start is stop is None and step in (None, 1, -1):
        return size  # which is not negative, though its expression may not show it
    if step in (None, 1) and stop is None and isinstance(start, Dim) and start < 0:
        return minimum(-start, size)  # the last ones; simpler than size - max(0, size + start)
    low, high, step = slice_bounds(entry, size)
    span = high - low if step > 0 else low - high
    count = -(-span // abs(step))
    return maximum(0, count)


def _infer_getitem(x: Type, *, index: Index) -> Type:
    shape: list[Any] = []
    axis = 0
    for entry in index:
        if entry[0] == "new":
            shape.append(1)
            continue
        if axis >= len(x.shape):
            raise IndexRangeError(f"too many indices for a tensor of shape {show(x.shape)}")
        n = x.shape[axis]
        if entry[0] == "int":
            i = entry[1]
            if isinstance(n, int) and isinstance(i, int) and not -n <= i < n:
                raise IndexRangeError(
                    f"index {i} is out of range for axis {axis} of {show(x.shape)} (size {n})"
                )
        else:
            shape.append(slice_length(entry, n))
        axis += 1
    return Type((*shape, *x.shape[axis:]), x.dtype)


@op(infer=_infer_getitem, view=True)
def _getitem(x, *, index):
    """Elements selected by integers and slices. ONNX: Slice, Gather, Squeeze, Unsqueeze."""
    out = x[as_slices(index)]
    return out if isinstance(out, np.ndarray) else np.asarray(out)


def _bound(x: Type, *, index: Index) -> Callable[[np.ndarray], np.ndarray]:
    """`getitem` with the index made ready; numpy gives a number for one of integers alone."""
    taken = itemgetter(as_slices(index))
    return taken if _infer_getitem(x, index=index).shape else lambda x: np.asarray(taken(x))


_getitem.shortcut = _bound


@_getitem.vjp("x")
def _(g, *, index, x_shape):
    return _getitem_grad(g, index=index, shape=x_shape)


@_getitem.fused_vjp("x")
def _(g, *, index, x_shape, into):
    if into is None:
        return kernels.spread(g, _ready(index), x_shape)
    return kernels.add_at(into, _ready(index), g)


@_getitem.writes
def _(base, value, *, index):
    return _setitem(base, value, index=index)


def _infer_getitem_grad(g: Type, *, index: Index, shape: tuple[Any, ...]) -> Type:
    return Type(shape, g.dtype)


@op(infer=_infer_getitem_grad)
def _getitem_grad(g, *, index, shape):
    """Zeros of `shape` with `g` where `index` selects. ONNX: Pad or ScatterElements."""
    return kernels.spread(g, as_slices(index), shape)


@_getitem_grad.vjp("g")
def _(g, *, index):
    return _getitem(g, index=index)


def _infer_setitem(x: Type, value: Type, *, index: Index) -> Type:
    region = _infer_getitem(x, index=index).shape
    given = value.shape
    while len(given) > len(region) and isinstance(given[0], int) and given[0] == 1:
        given = given[1:]
    fits = len(given) <= len(region) and all(
        (isinstance(a, int) and a == 1) or same_size(a, b)
        for a, b in zip(reversed(given), reversed(region), strict=False)
    )
    if not fits:
        raise ShapeError(
            f"a value of shape {show(value.shape)} does not broadcast to the selected region "
            f"{show(region)}"
        )
    return x


@op(infer=_infer_setitem)
def _setitem(x, value, *, index):
    """A copy of x with `value` broadcast into the selected region. ONNX: ScatterElements."""
    return kernels.write(x, as_slices(index), value)


_setitem.shortcut = lambda x, value, index: partial(_written, as_slices(index))


def _written(index: tuple[Any, ...], x: np.ndarray, value: np.ndarray) -> np.ndarray:
    return kernels.write(x, index, value)


@_setitem.vjp("x")
def _(g, *, index):
    return _setitem(g, 0.0, index=index)


@_setitem.fused_vjp("x")
def _(g, *, index):
    return kernels.write(g, _ready(index), np.zeros((), g.dtype))


@_setitem.vjp("value")
def _(g, *, index):
    return _getitem(g, index=index)


@_setitem.fused_vjp("value")
def _(g, *, index):
    return np.asarray(g[_ready(index)])


def canonical(item: Any) -> tuple[Any, ...]:
    """The index entry of one Python index: an int, Dim, slice or None."""
    if item is None:
        return NEW
    if isinstance(item, slice):
        return ("slice", _number(item.start), _number(item.stop), _number(item.step))
    return ("int", _number(item))


def _number(part: Any) -> Any:
    if part is None or part.__class__ is int or isinstance(part, Dim):
        return part
    if isinstance(part, Tensor):
        return part._place()
    return int(part.__index__())
