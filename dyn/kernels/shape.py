"""Moving elements without computing: reshape, join, cut, pad, in any memory layout.

Results are new arrays but where a view does; channels-last activations stay channels last when they
are joined or padded. Copies are made by `copy.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from dyn.kernels import pads
from dyn.kernels.copy import SMALL, contiguous, place
from dyn.kernels.elementwise.apply import UFUNC_SIZE, binary
from dyn.kernels.layout import is_channels_last
from dyn.kernels.lending import owned
from dyn.kernels.runtime.memory import empty, maker

FEW = 1 << 19
"""Bytes below which numpy joins row-major arrays in less time than it takes to share the work."""


def reshape(x, shape):
    """The elements in row-major order under `shape`; a view where memory allows it."""
    if x.flags.c_contiguous or x.nbytes < SMALL:
        return x.reshape(shape)
    try:
        return x.reshape(shape, copy=False)
    except ValueError:
        return contiguous(x).reshape(shape)


def unsqueeze(x, axes):
    """A view with axes of size 1 at the given positions of the result, in ascending order."""
    sizes = list(x.shape)
    for axis in axes:
        sizes.insert(axis, 1)
    return x.reshape(sizes)


def _order(*xs):
    """The memory order of results: that of activations that all lie channels last, or row-major."""
    first = xs[0]
    last = first.ndim > 2 and not first.flags.c_contiguous and all(map(is_channels_last, xs))
    return "channels_last" if last else "C"


def _owner(x):
    """What the memory of an array belongs to."""
    while isinstance(x.base, np.ndarray):
        x = x.base
    return x if x.base is None else x.base


def _whole(xs, shape, axis):
    """The dense array that neighbours in memory make up, such as parts of a split; else None."""
    owner = _owner(xs[0])
    if any([_owner(x) is not owner for x in xs]):
        return None
    at = xs[0].ctypes.data
    wanted = [xs[0].itemsize * math.prod(shape[a + 1 :]) for a in range(len(shape))]
    for x in xs:
        # An axis of one element has any stride.
        for n, own, step in zip(x.shape, x.strides, wanted, strict=True):
            if n != 1 and own != step:
                return None
        if x.ctypes.data != at:
            return None
        at += x.shape[axis] * wanted[axis]
    return np.lib.stride_tricks.as_strided(xs[0], shape, wanted)


def concat(xs, axis):
    """Arrays one after the other along `axis`; channels-last inputs give such an output.

    What lies one after the other already is not copied.
    """
    first = xs[0]
    sizes = list(first.shape)
    sizes[axis] = sum([x.shape[axis] for x in xs])
    shape = tuple(sizes)
    if first.flags.c_contiguous and sum([x.nbytes for x in xs]) < FEW:
        return np.concatenate(xs, axis=axis)
    if first.nbytes >= SMALL and (whole := _whole(xs, shape, axis)) is not None:
        return whole
    out = empty(shape, first.dtype, _order(*xs))
    start = 0
    before = (slice(None),) * axis
    for x in xs:
        stop = start + x.shape[axis]
        place(out[(*before, slice(start, stop))], x)
        start = stop
    return out


def concat_of(
    shapes: Sequence[tuple[int, ...]], dtype: np.dtype, axis: int
) -> Callable[..., np.ndarray] | None:
    """`concat` for few bytes of arrays of these shapes; None for more."""
    sizes = list(shapes[0])
    sizes[axis] = sum([shape[axis] for shape in shapes])
    if math.prod(sizes) * dtype.itemsize >= FEW:
        return None
    make = maker(tuple(sizes), dtype)

    def run(*xs: np.ndarray) -> np.ndarray:
        if not xs[0].flags.c_contiguous:
            return concat(xs, axis)
        return np.concatenate(xs, axis, make())

    return run


def stack_of(
    shape: tuple[int, ...], dtype: np.dtype, count: int, axis: int
) -> Callable[..., np.ndarray] | None:
    """`stack` for few bytes of `count` arrays of a shape; None for more."""
    whole = (*shape[:axis], count, *shape[axis:])
    if math.prod(whole) * dtype.itemsize >= FEW:
        return None
    make, lead, inner = maker(whole, dtype), math.prod(shape[:axis]), math.prod(shape[axis:])
    if shape and not axis:
        joined = (count * shape[0], *shape[1:])

        def in_rows(*xs: np.ndarray) -> np.ndarray:
            out = make()
            np.concatenate(xs, 0, out.reshape(joined))
            return out

        return in_rows

    def run(*xs: np.ndarray) -> np.ndarray:
        out = make()
        np.concatenate([x.reshape(lead, 1, inner) for x in xs], 1, out.reshape(lead, count, inner))
        return out

    return run


def stack(xs, axis):
    """Arrays of one shape one after the other along a new axis."""
    first = xs[0]
    if axis == first.ndim and first.nbytes * len(xs) < SMALL:
        out = np.empty((*first.shape, len(xs)), first.dtype)
        for i, x in enumerate(xs):
            out[..., i] = x
        return out
    at = (*(slice(None),) * axis, None)
    return concat([x[at] for x in xs], axis)


def unbind(x, axis):
    """Views of the slices along `axis`, without it."""
    before = (slice(None),) * axis
    return tuple([x[(*before, i, Ellipsis)] for i in range(x.shape[axis])])


def unbind_of(
    shape: tuple[int, ...], axis: int
) -> Callable[[np.ndarray], tuple[np.ndarray, ...]] | None:
    """`unbind` for arrays of a shape; None where slices have no axes."""
    if len(shape) < 2:
        return None
    if not axis:
        return tuple
    order = (axis, *range(axis), *range(axis + 1, len(shape)))
    return lambda x: (*x.transpose(order),)


def split(x, sizes, axis):
    """Views of consecutive parts along `axis`."""
    parts, start = [], 0
    before = (slice(None),) * axis
    for n in sizes:
        parts.append(x[(*before, slice(start, start + n))])
        start += n
    return tuple(parts)


def tile(x, repeats):
    """x side by side, `repeats[i]` times along axis i."""
    shape = tuple([n * r for n, r in zip(x.shape, repeats, strict=True)])
    out = empty(shape, x.dtype)
    apart = tuple([size for pair in zip(repeats, x.shape, strict=True) for size in pair])
    whole = np.expand_dims(x, tuple(range(0, 2 * x.ndim, 2)))
    place(out.reshape(apart), np.broadcast_to(whole, apart))
    return out


def write(x, index, value):
    """A copy of x, or x if it was lent, with `value` where the basic index selects.

    Args:
        index: integers, slices, None.
    """
    out = owned(x)
    if value.nbytes < SMALL and (out is x or x.nbytes < SMALL):
        out[index] = value
        return out
    region = out[index]
    if isinstance(region, np.ndarray) and value.size == region.size and value.shape:
        place(region, value.reshape(region.shape))
    else:
        out[index] = value
    return out


def spread(g: np.ndarray, index: tuple[Any, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Zeros of `shape` with `g` where the basic index (integers, slices, None) selects."""
    if math.prod(shape) * g.itemsize < SMALL:
        out = np.zeros(shape, g.dtype)
        out[index] = g
        return out
    low, sizes = [], []
    for item, n in zip((i for i in index if i is not None), shape, strict=False):
        if isinstance(item, slice):
            start, stop, step = item.indices(n)
            if step != 1:
                out = np.zeros(shape, g.dtype)
                out[index] = g
                return out
            low.append(start)
            sizes.append(max(0, stop - start))
        else:
            low.append(item % n)
            sizes.append(1)
    rest = shape[len(low) :]
    source = g.reshape((*sizes, *rest))
    out = empty(shape, g.dtype, _order(source))
    place(out, source, (*low, *[0] * len(rest)), 0)
    return out


def add_at(into: np.ndarray, index: tuple[Any, ...], g: np.ndarray) -> np.ndarray:
    """`into` with `g` added where the basic index selects."""
    region = into[(*index, ...)]
    if g.size < UFUNC_SIZE:
        np.add(region, g, out=region)
    else:
        place(region, binary("add", region, g))
    return into


_BUFFERED = frozenset("biufc")
"""Kinds of elements that numpy gives out as a buffer."""


def strided(x: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """A view that nobody writes to, from the first element of x on; it stays in the memory of x."""
    if x.dtype.kind not in _BUFFERED or not x.size or not x.flags.c_contiguous:
        return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)
    # A quarter of the time that numpy's function takes.
    view = np.ndarray(shape, x.dtype, x, 0, strides)
    view.flags.writeable = False
    return view


def expand_of(
    shape: tuple[int, ...], dtype: np.dtype, wanted: tuple[int, ...]
) -> Callable[[np.ndarray], np.ndarray]:
    """What gives arrays of `shape` the shape `wanted`, repeated along axes without a step."""
    own = [*[1] * (len(wanted) - len(shape)), *shape]
    steps, step = [0] * len(own), dtype.itemsize
    for axis in range(len(own) - 1, -1, -1):
        steps[axis] = step if own[axis] == wanted[axis] != 1 else 0
        step *= own[axis]
    strides = tuple(steps)
    return lambda x: (
        strided(x, wanted, strides) if x.flags.c_contiguous else np.broadcast_to(x, wanted)
    )


def line_of(
    shape: tuple[int, ...], dtype: np.dtype, wanted: tuple[int, ...], axis: int
) -> Callable[[np.ndarray], np.ndarray]:
    """What lays vectors along one axis of the shape `wanted`, repeated along the others."""
    lying = (*[1] * axis, *wanted[axis : axis + 1], *[1] * (len(wanted) - axis - 1))
    steps = tuple(dtype.itemsize if a == axis and n != 1 else 0 for a, n in enumerate(wanted))
    return lambda x: (
        strided(x, wanted, steps)
        if x.flags.c_contiguous
        else np.broadcast_to(x.reshape(lying), wanted)
    )


def repeat_of(
    shape: tuple[int, ...], dtype: np.dtype, count: int, axis: int
) -> Callable[[np.ndarray], np.ndarray]:
    """What repeats each slice along `axis` so many times in its place."""
    n, lead, inner = shape[axis], math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    make = maker((*shape[:axis], n * count, *shape[axis + 1 :]), dtype)
    apart, item = (lead, n, count, inner), dtype.itemsize
    steps = (n * inner * item, inner * item, 0, item)

    def run(x: np.ndarray) -> np.ndarray:
        out = make()
        if out.size:
            place(out.reshape(apart), strided(contiguous(x), apart, steps))
        return out

    return run


@lru_cache(1024)
def _widths(sizes: tuple[int, ...], amounts: Any) -> tuple[Any, Any, Any]:
    """What of an array stays (None: all), the elements added before it, and the new sizes.

    Remembered, because it costs as much as padding a small image.
    """
    ends = [
        (max(0, -low), n - max(0, -high)) for n, (low, high) in zip(sizes, amounts, strict=True)
    ]
    # Behind the slices stands an Ellipsis so that of no axes, too, there is an array.
    cut = (*(slice(*pair) for pair in ends), Ellipsis)
    kept = all(pair == (0, n) for pair, n in zip(ends, sizes, strict=True))
    before = tuple(max(0, low) for low, _ in amounts)
    shape = tuple(n + low + high for n, (low, high) in zip(sizes, amounts, strict=True))
    return None if kept else cut, before, shape


def pad(x, widths, mode, value):
    """`x` with `widths[i] = (before, after)` elements added (or cut, if negative) on axis i."""
    if mode != "constant":
        return pads.pad(x, widths, mode)
    cut, low, shape = _widths(x.shape, widths)
    out = empty(shape, x.dtype, _order(x))
    place(out, x if cut is None else x[cut], low, value)
    return out
