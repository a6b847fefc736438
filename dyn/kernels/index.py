"""Reading and writing by index arrays: gather, scatter, along an axis or by coordinates.

An array counts as [outer, n, inner]: `n` is the axis of the index, or several axes in one, where
coordinates are turned into row numbers first. The tasks (`index_tasks.py`) find indices outside,
for which a call raises and drops its result. What is read is cut in any way; what is written is cut
by `outer` and by columns of `inner` alone, and a chunk goes through the index in order: of repeated
indices the last value stays, and sums do not depend on threads.

What follows from shapes is worked out once: functions named `..._of` return what does the work for
arrays of these shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from dyn.kernels import index_tasks as tasks
from dyn.kernels.copy import contiguous, filled, integers
from dyn.kernels.lending import onto, owned
from dyn.kernels.runtime import drive
from dyn.kernels.runtime.drive import Launch
from dyn.kernels.runtime.memory import maker

GRAIN = 65536
"""Bytes worth a chunk."""
NEAR = 131072
"""Bytes of an array that are read or written at random places at a time: they stay in cache."""

PARTS, BROAD = 4, 4
"""Blocks of columns that rows are added in, at most, and lines of a block, at least."""

Shape = tuple[int, ...]
_WORD = np.dtype(np.int64)
unfailed = partial(np.zeros, 1, _WORD)
"""What a task notes in whether an index is outside its axis."""


def words_of(dtype: np.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """What makes an index of this dtype one of dense int64."""
    return contiguous if dtype == _WORD else integers


def checked(index: np.ndarray, size: int, what: str = "index") -> np.ndarray:
    """`index` counted from the front; IndexError names the first value outside [-size, size)."""
    if index.size == 0:
        return index
    low, high = int(index.min()), int(index.max())
    if low < -size or high >= size:
        bad = low if low < -size else high
        raise IndexError(f"{what} {bad} is out of range for an axis of size {size}")
    return np.where(index < 0, index + size, index) if low < 0 else index


def _shared(inner: int, item: int, outer: int) -> int:
    """Columns of a block: all, unless there is nothing else to share out; whole lines."""
    if outer >= 8:
        return inner
    line = max(1, tasks.LINE // item)
    return min(inner, max(line, -(-inner * outer // 8 // line) * line))


def parted(inner: int, item: int, outer: int) -> int:
    """Columns of a block where every block finds all rows anew, which takes as long as adding a
    line or two: no more than PARTS blocks, and no narrower ones than BROAD lines.
    """
    line = max(1, tasks.LINE // item)
    return min(inner, max(BROAD * line, -(-inner * outer // PARTS // line) * line))


def _near(inner: int, item: int, rows: int, outer: int) -> int:
    """Columns of a block of which what is reached at random fits into cache; whole lines."""
    line = max(1, tasks.LINE // item)
    near = max(line, NEAR // max(1, rows * item) // line * line)
    return min(_shared(inner, item, outer), near)


# ---- whole rows --------------------------------------------------------------------------------


@lru_cache(4096)
def taking(outer: int, n: int, rows: int, size: int, wrap: bool) -> Launch:
    """The launch over (x, index, out, failed) that takes rows."""
    chunks = drive.chunks_of(outer * rows * size, GRAIN)
    return Launch([(tasks.take_rows, chunks)], 4, outer, n, rows, size, -n if wrap else 0)


@lru_cache(4096)
def gather_of(
    shape: Shape, dtype: np.dtype, given: Shape, index_dtype: np.dtype, axis: int
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """`gather` along `axis` for x of `shape` and an index of the shape `given`."""
    n, outer, size = shape[axis], math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    whole = (*shape[:axis], *given, *shape[axis + 1 :])
    make, words = maker(whole, dtype), words_of(index_dtype)
    if not n or not math.prod(whole):

        def nothing(x: np.ndarray, index: np.ndarray) -> np.ndarray:
            checked(index, n)
            return make()

        return nothing
    launch = taking(outer, n, math.prod(given), size * dtype.itemsize, True)

    def run(x: np.ndarray, index: np.ndarray) -> np.ndarray:
        out, failed = make(), unfailed()
        launch(contiguous(x), words(index), out, failed)
        if failed[0]:
            checked(index, n)
        return out

    return run


def gather(x: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    """Slices of x along `axis` at `index` (any rank)."""
    return gather_of(x.shape, x.dtype, index.shape, index.dtype, axis)(x, index)


@lru_cache(4096)
def putting(n: int, rows: int, size: int) -> Launch:
    """The launch over (out, index, value, failed) that writes rows."""
    chunks = min(drive.chunks_of(rows * size, GRAIN), max(1, size // tasks.LINE))
    return Launch([(tasks.put_rows, chunks)], 4, n, rows, size)


@lru_cache(4096)
def adding(dtype: np.dtype, outer: int, n: int, rows: int, inner: int) -> Launch | None:
    """The launch over (out, index, value, failed) that adds rows; None for other dtypes."""
    compiled = tasks.ADD_ROWS.get(dtype)
    if compiled is None:
        return None
    block = parted(inner, dtype.itemsize, outer)
    chunks = drive.chunks_of(outer * rows * inner * dtype.itemsize, GRAIN)
    chunks = min(outer * -(-inner // block), chunks)
    return Launch([(compiled, chunks)], 4, outer, n, rows, inner, block)


def add_rows(out: np.ndarray, index: np.ndarray, value: np.ndarray, outer: int, n: int) -> bool:
    """Add rows of value [outer, rows, ...] to those of out [outer, n, ...], both dense.

    Args:
        index: (rows,) row numbers, int64; negative ones count from the back.

    Returns:
        Whether every index is a row; those that are none were passed over.
    """
    size, rows = value.size, index.size
    launch = adding(out.dtype, outer, n, rows, size // (outer * rows)) if size else None
    if launch is None:
        inside = bool(((index >= -n) & (index < n)).all())
        if size and inside:
            places = out.reshape(outer, n, -1)
            np.add.at(places, (slice(None), index), value.reshape(outer, rows, -1))
        return inside
    failed = unfailed()
    launch(out, index, value, failed)
    return not failed[0]


def gather_grad(g: np.ndarray, index: np.ndarray, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros of `shape` with g added where `gather` read."""
    out = filled(shape, 0, g.dtype)
    given = integers(index).reshape(-1)
    if not add_rows(out, given, contiguous(g), math.prod(shape[:axis]), shape[axis]):
        checked(index, shape[axis])
    return out


def index_add(x: np.ndarray, value: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    """A copy of x with slices of value added along `axis` at the row numbers `index`."""
    given, shape = integers(index).reshape(-1), x.shape
    out = owned(x)
    if not add_rows(out, given, contiguous(value), math.prod(shape[:axis]), shape[axis]):
        checked(index, shape[axis])
    return out


# ---- by coordinates ----------------------------------------------------------------------------


@lru_cache(4096)
def _flattening(
    shape: Shape, given: Shape, index_dtype: np.dtype
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """What makes row numbers of the coordinates in the last axis of an index of the shape `given`.

    Called with the index and where to note that one is outside. Single coordinates are row numbers
    as they are: negative ones still count from the back, and whoever uses them finds those outside.
    """
    depth, rows, words = given[-1], math.prod(given[:-1]), words_of(index_dtype)
    if depth == 1:
        return lambda index, failed: words(index)
    if depth == 0:
        return lambda index, failed: np.zeros(rows, _WORD)
    chunks, sizes = drive.chunks_of(rows * depth * 8, GRAIN), np.array(shape[:depth], _WORD)
    launch = Launch([(tasks.flatten, chunks)], 4, rows, depth)

    def run(index: np.ndarray, failed: np.ndarray) -> np.ndarray:
        out = np.empty(rows, _WORD)
        launch(words(index), sizes, out, failed)
        return out

    return run


def _complain(index: np.ndarray, shape: Shape) -> None:
    """Raise IndexError if a coordinate is outside its axis."""
    for axis in range(index.shape[-1]):
        checked(index[..., axis], shape[axis], f"index on axis {axis}:")


@lru_cache(4096)
def gather_nd_of(
    shape: Shape, dtype: np.dtype, given: Shape, index_dtype: np.dtype
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """`gather_nd` for x of `shape` and an index of the shape `given`."""
    depth, rows, whole = given[-1], math.prod(given[:-1]), (*given[:-1], *shape[given[-1] :])
    n, make, flat = math.prod(shape[:depth]), maker(whole, dtype), None
    launch = None
    if n and math.prod(whole):
        flat = _flattening(shape, given, index_dtype)
        size = math.prod(whole) // rows * dtype.itemsize
        launch = taking(1, n, rows, size, depth == 1)

    def run(x: np.ndarray, index: np.ndarray) -> np.ndarray:
        if launch is None or flat is None:
            _complain(index, shape)
            return make()
        out, failed = make(), unfailed()
        # What is outside its own axis may still be a row: then it is read in vain.
        launch(contiguous(x), flat(index, failed), out, failed)
        if failed[0]:
            _complain(index, shape)
        return out

    return run


def gather_nd(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """x at the coordinates in the last axis of `index`."""
    return gather_nd_of(x.shape, x.dtype, index.shape, index.dtype)(x, index)


@lru_cache(4096)
def scatter_nd_of(
    shape: Shape, dtype: np.dtype, given: Shape, index_dtype: np.dtype, reduction: str
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """`scatter_nd` for x of `shape` and an index of the shape `given`."""
    depth, rows = given[-1], math.prod(given[:-1])
    n, inner = math.prod(shape[:depth]), math.prod(shape[depth:])
    flat, launch = _flattening(shape, given, index_dtype), None
    if n and rows * inner:
        adds = reduction == "add"
        launch = (
            adding(dtype, 1, n, rows, inner) if adds else putting(n, rows, inner * dtype.itemsize)
        )

    def run(x: np.ndarray, index: np.ndarray, value: np.ndarray) -> np.ndarray:
        failed = unfailed()
        at = flat(index, failed)
        if failed[0] or launch is None:
            _complain(index, shape)
        out = owned(x)
        if launch is not None:
            launch(out, at, contiguous(value), failed)
            if failed[0]:
                _complain(index, shape)
        elif value.size:
            add_rows(out, at.reshape(-1), contiguous(value), 1, n)
        return out

    return run


def scatter_nd(x: np.ndarray, index: np.ndarray, value: np.ndarray, reduction: str) -> np.ndarray:
    """A copy of x with value written or added at coordinates."""
    run = scatter_nd_of(x.shape, x.dtype, index.shape, index.dtype, reduction)
    return run(x, index, value)


# ---- along an axis -----------------------------------------------------------------------------


@lru_cache(4096)
def _along(task: Any, shape: Shape, axis: int, n: int, item: int, reads: bool) -> Launch:
    """The launch over (table, index, given, failed) for an index of `shape`."""
    outer, rows, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    width = _near(inner, item, n, outer)
    depth = rows
    if reads and outer * -(-inner // width) < 16:
        depth = max(1, -(-rows // 16))
    units = outer * -(-inner // width) * -(-rows // depth)
    chunks = min(units, drive.chunks_of(8 * math.prod(shape), GRAIN))
    return Launch([(task, chunks)], 4, outer, n, rows, inner, depth, width)


@lru_cache(4096)
def take_along_of(
    shape: Shape, dtype: np.dtype, given: Shape, index_dtype: np.dtype, axis: int
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """`take_along_axis` for x of `shape` and an index of the shape `given`."""
    fit = tuple(slice(None) if a == axis else slice(n) for a, n in enumerate(given))
    n, cut = shape[axis], shape[:axis] + shape[axis + 1 :] != given[:axis] + given[axis + 1 :]
    wide = any(given[a] > shape[a] for a in range(len(shape)) if a != axis)
    task = tasks.TAKE_ALONG.get(dtype.itemsize)
    if task is None or wide or not math.prod(given) or not n:

        def by_numpy(x: np.ndarray, index: np.ndarray) -> np.ndarray:
            return np.take_along_axis(x[fit], checked(index, n), axis)

        return by_numpy
    launch = _along(task, given, axis, n, dtype.itemsize, True)
    make, words = maker(given, dtype), words_of(index_dtype)

    def run(x: np.ndarray, index: np.ndarray) -> np.ndarray:
        out, failed = make(), unfailed()
        launch(contiguous(x[fit] if cut else x), words(index), out, failed)
        if failed[0]:
            checked(index, n)
        return out

    return run


def take_along_axis(x: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    """out[i, j] = x[i, index[i, j]] at `axis`; x may be longer than index on the other axes."""
    return take_along_of(x.shape, x.dtype, index.shape, index.dtype, axis)(x, index)


_COMBINE = {"add": np.add, "max": np.maximum, "min": np.minimum, "mul": np.multiply}


def _put_along_anywhere(
    x: np.ndarray, index: np.ndarray, value: np.ndarray, axis: int, reduction: str
) -> np.ndarray:
    """`put_along_axis` where the index may be shorter than x on other axes, too."""
    out = owned(x)
    where = list(np.ogrid[tuple(slice(size) for size in index.shape)])
    where[axis] = checked(index, x.shape[axis])
    if reduction == "none":
        out[tuple(where)] = value
    else:
        _COMBINE[reduction].at(out, tuple(where), value)
    return out


@lru_cache(4096)
def put_along_of(
    shape: Shape, dtype: np.dtype, given: Shape, index_dtype: np.dtype, axis: int, reduction: str
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """`put_along_axis` for x of `shape` and an index and a value of the shape `given`."""
    n, combining = shape[axis], tasks.COMBINE_ALONG.get(reduction)
    task = combining.get(dtype) if combining else tasks.PUT_ALONG.get(dtype.itemsize)
    cut = shape[:axis] + shape[axis + 1 :] != given[:axis] + given[axis + 1 :]
    if task is None or cut or not math.prod(given) or not n:
        return partial(_put_along_anywhere, axis=axis, reduction=reduction)
    launch, words = _along(task, given, axis, n, dtype.itemsize, False), words_of(index_dtype)

    def run(x: np.ndarray, index: np.ndarray, value: np.ndarray) -> np.ndarray:
        out, failed = owned(x), unfailed()
        launch(out, words(index), contiguous(value), failed)
        if failed[0]:
            checked(index, n)
        return out

    return run


def spread_along(g: np.ndarray, index: np.ndarray, shape: Shape, axis: int) -> np.ndarray:
    """Zeros of `shape` with g added at index along `axis`."""
    return onto(filled(shape, 0, g.dtype), put_along_axis, index, g, axis, "add")


def put_along_axis(
    x: np.ndarray, index: np.ndarray, value: np.ndarray, axis: int, reduction: str
) -> np.ndarray:
    """A copy of x with value written at index along `axis`, or combined as `_COMBINE` says."""
    run = put_along_of(x.shape, x.dtype, index.shape, index.dtype, axis, reduction)
    return run(x, index, value)
