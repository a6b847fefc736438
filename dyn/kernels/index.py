"""Reading and writing by index arrays: gather, scatter, along an axis or by coordinates.

An array counts as [outer, n, inner]: `n` is the axis of the index, or several axes in one, where
coordinates are turned into row numbers first. Tasks check each index as they use it and go on with
a valid one, so that nothing outside an array is touched; the caller then raises, and the result is
dropped. What is read is cut in any way; what is written is cut by `outer` and by columns of `inner`
alone, and a chunk goes through the index in order: of repeated indices the last value stays, and
sums do not depend on threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dyn.kernels.copy import contiguous, copied
from dyn.kernels.runtime import drive
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import instance, kernel, task
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import copy_run, pointer

GRAIN = 65536
"""Bytes worth a chunk."""
NEAR = 131072
"""Bytes of an array that are read or written at random places at a time: they stay in cache."""
LINE = 64
"""Columns are cut at multiples of so many bytes, so that chunks write to lines of their own."""
_I64 = np.int64(0)
ZERO, SIZE, ADDS = _I64, 8, False
"""What instances of a task have of their own: a zero of the elements, its bytes, what is done."""


def checked(index: np.ndarray, size: int, what: str = "index") -> np.ndarray:
    """`index` counted from the front; IndexError names the first value outside [-size, size)."""
    if index.size == 0:
        return index
    low, high = int(index.min()), int(index.max())
    if low < -size or high >= size:
        bad = low if low < -size else high
        raise IndexError(f"{what} {bad} is out of range for an axis of size {size}")
    return np.where(index < 0, index + size, index) if low < 0 else index


# ---- tasks -------------------------------------------------------------------------------------


@kernel
def _valid(index, at, count, n, lowest):
    """Whether indices at to at + count are all in [lowest, n)."""
    span = np.uint64(n - lowest)
    wrong = np.uint64(0)
    for i in range(at, at + count):
        wrong |= np.uint64(np.uint64(index[i] - lowest) >= span)
    return wrong == 0


@kernel(forceinline=True)
def _wrapped(place, n):
    """An index counted from the front."""
    return place + (n & (place >> 63))


@task
def _take_rows(args, chunk, chunks):
    """Copy rows: (x, index, out, failed, outer, n, rows of the index, bytes of a row, lowest)."""
    x, index = data(argument(args, 0)), pointer(data(argument(args, 1)), _I64)
    out, failed = data(argument(args, 2)), pointer(data(argument(args, 3)), _I64)
    n, count, size = argument(args, 5), argument(args, 6), argument(args, 7)
    start, stop = bounds(argument(args, 4) * count, chunk, chunks, 1)
    while start < stop:
        first = start % count
        run = min(count - first, stop - start)
        source, to = x + start // count * n * size, out + start * size
        start += run
        if not _valid(index, first, run, n, argument(args, 8)):
            failed[0] = 1
        elif size == 4:
            four, small = pointer(to, np.int32(0)), pointer(source, np.int32(0))
            for i in range(run):
                four[i] = small[_wrapped(index[first + i], n)]
        elif size == 8:
            eight, wide = pointer(to, _I64), pointer(source, _I64)
            for i in range(run):
                eight[i] = wide[_wrapped(index[first + i], n)]
        else:
            for i in range(run):
                copy_run(source + _wrapped(index[first + i], n) * size, to + i * size, size)


@task
def _put_rows(args, chunk, chunks):
    """Write rows: (out, index, value, failed, n, rows of the index, bytes of a row)."""
    out, index = data(argument(args, 0)), pointer(data(argument(args, 1)), _I64)
    value, failed = data(argument(args, 2)), pointer(data(argument(args, 3)), _I64)
    n, count, size = argument(args, 4), argument(args, 5), argument(args, 6)
    start, stop = bounds(size, chunk, chunks, LINE)
    if not _valid(index, 0, count, n, -n):
        failed[0] = 1
    else:
        for i in range(count):
            at = _wrapped(index[i], n) * size
            copy_run(value + i * size + start, out + at + start, stop - start)


def _add_rows(args, chunk, chunks):
    """Add rows of numbers: (out, index, value, failed, outer, n, rows, inner, block, zero).

    A unit is a block of columns of one of the outer arrays; `zero` says that they begin as zeros.
    """
    index, failed = pointer(data(argument(args, 1)), _I64), pointer(data(argument(args, 3)), _I64)
    out, value = data(argument(args, 0)), data(argument(args, 2))
    n, count, inner = argument(args, 5), argument(args, 6), argument(args, 7)
    block = argument(args, 8)
    blocks = (inner + block - 1) // block
    start, stop = bounds(argument(args, 4) * blocks, chunk, chunks, 1)
    if not _valid(index, 0, count, n, -n):
        failed[0] = 1
        stop = start
    for unit in range(start, stop):
        low = unit % blocks * block
        wide = min(block, inner - low)
        to = pointer(out + (unit // blocks * n * inner + low) * SIZE, ZERO)
        source = pointer(value + (unit // blocks * count * inner + low) * SIZE, ZERO)
        if argument(args, 9):
            for row in range(n if wide < inner else 1):
                for c in range(wide if wide < inner else n * inner):
                    to[row * inner + c] = ZERO
        if inner == 1:
            for i in range(count):
                to[_wrapped(index[i], n)] += source[i]
        else:
            for i in range(count):
                here, there = _wrapped(index[i], n) * inner, i * inner
                for c in range(wide):
                    to[here + c] += source[there + c]


@task
def _flatten(args, chunk, chunks):
    """Row numbers of coordinates: (index, sizes, out, failed, rows, depth)."""
    index, sizes = pointer(data(argument(args, 0)), _I64), pointer(data(argument(args, 1)), _I64)
    out, failed = pointer(data(argument(args, 2)), _I64), pointer(data(argument(args, 3)), _I64)
    depth = argument(args, 5)
    start, stop = bounds(argument(args, 4), chunk, chunks, 1)
    for axis in range(depth):
        n = sizes[axis]
        wrong = np.uint64(0)
        for i in range(start, stop):
            at = index[i * depth + axis]
            wrong |= np.uint64(np.uint64(at + n) >= np.uint64(2 * n))
            out[i] = (0 if axis == 0 else out[i] * n) + _wrapped(at, n)
        if wrong != 0:
            failed[0] = 1


ALONG = "(x or out, index, out or value, failed, outer, n, rows, inner, depth, width)"
"""Words of tasks of elements [outer, rows, inner] that are matched to an index each. A unit is
`depth` rows of `width` columns of one of the outer arrays; where `inner` is 1, the rows of a unit
are done as if they were its columns."""


@kernel
def _unit(args, unit):
    """Of a unit: where its table, and its elements begin; its rows and columns."""
    n, rows, inner = argument(args, 5), argument(args, 6), argument(args, 7)
    depth, width = argument(args, 8), argument(args, 9)
    tall, wide = (rows + depth - 1) // depth, (inner + width - 1) // width
    outer, left = unit // wide // tall, unit % wide * width
    first = unit // wide % tall * depth
    count, height = min(width, inner - left), min(depth, rows - first)
    if inner == 1:
        count, height = height, 1
    return outer * n * inner + left, (outer * rows + first) * inner + left, height, count


@kernel
def _units(args):
    """How many units there are."""
    rows, inner = argument(args, 6), argument(args, 7)
    depth, width = argument(args, 8), argument(args, 9)
    return argument(args, 4) * ((rows + depth - 1) // depth) * ((inner + width - 1) // width)


def _take_along(args, chunk, chunks):
    """Read elements; words as in ALONG."""
    table, index = data(argument(args, 0)), pointer(data(argument(args, 1)), _I64)
    given, failed = pointer(data(argument(args, 2)), ZERO), pointer(data(argument(args, 3)), _I64)
    n, inner = argument(args, 5), argument(args, 7)
    start, stop = bounds(_units(args), chunk, chunks, 1)
    for unit in range(start, stop):
        base, at, height, count = _unit(args, unit)
        place = pointer(table + base * SIZE, ZERO)
        for _ in range(height):
            if not _valid(index, at, count, n, -n):
                failed[0] = 1
            elif inner == 1:
                for c in range(at, at + count):
                    given[c] = place[_wrapped(index[c], n)]
            else:
                for c in range(count):
                    given[at + c] = place[_wrapped(index[at + c], n) * inner + c]
            at += inner


def _put_along(args, chunk, chunks):
    """Write elements, or add numbers where ADDS; words as in ALONG."""
    table, index = data(argument(args, 0)), pointer(data(argument(args, 1)), _I64)
    given, failed = pointer(data(argument(args, 2)), ZERO), pointer(data(argument(args, 3)), _I64)
    n, inner = argument(args, 5), argument(args, 7)
    start, stop = bounds(_units(args), chunk, chunks, 1)
    step = 0 if inner == 1 else 1
    for unit in range(start, stop):
        base, at, height, count = _unit(args, unit)
        place = pointer(table + base * SIZE, ZERO)
        for _ in range(height):
            if not _valid(index, at, count, n, -n):
                failed[0] = 1
            else:
                for c in range(count):
                    where = _wrapped(index[at + c], n) * inner + c * step
                    if ADDS:
                        place[where] += given[at + c]
                    else:
                        place[where] = given[at + c]
            at += inner


def _instances(name, body, codes, **bound):
    """The task for elements of each kind, by numpy's code."""
    made = {}
    for code in codes:
        zero = np.zeros((), code)[()]
        made[code] = instance(f"{name}_{code}", body, ZERO=zero, SIZE=int(code[1]), **bound)
    return made


_NUMBERS = ("f4", "f8", "i4", "i8")
_WORDS = ("i1", "i2", "i4", "i8")
_ADD_ROWS = {np.dtype(c): t for c, t in _instances("add_rows", _add_rows, _NUMBERS).items()}
_ADD_ALONG = {
    np.dtype(c): t for c, t in _instances("add_along", _put_along, _NUMBERS, ADDS=True).items()
}
_PUT_ALONG = {
    int(c[1]): t for c, t in _instances("put_along", _put_along, _WORDS, ADDS=False).items()
}
_TAKE_ALONG = {int(c[1]): t for c, t in _instances("take_along", _take_along, _WORDS).items()}


def _indices(index: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(index, np.int64)


def _product(sizes: tuple[int, ...]) -> int:
    return math.prod(sizes)


def _shared(inner: int, item: int, outer: int) -> int:
    """Columns of a block: all, unless there is nothing else to share out; whole lines."""
    if outer >= 8:
        return inner
    line = max(1, LINE // item)
    return min(inner, max(line, -(-inner * outer // 8 // line) * line))


def _near(inner: int, item: int, rows: int, outer: int) -> int:
    """Columns of a block of which what is reached at random fits into cache; whole lines."""
    line = max(1, LINE // item)
    near = max(line, NEAR // max(1, rows * item) // line * line)
    return min(_shared(inner, item, outer), near)


# ---- whole rows --------------------------------------------------------------------------------


def take_rows(
    x: np.ndarray, index: np.ndarray, outer: int, n: int, size: int, out: np.ndarray, wrap: bool
) -> bool:
    """Fill `out` with rows of `size` bytes of x [outer, n]; whether every index is a row.

    Args:
        wrap: whether negative indices count from the back.
    """
    if not out.size:
        return bool(((index >= (-n if wrap else 0)) & (index < n)).all())
    if not n:
        return False
    failed = np.zeros(1, np.int64)
    drive.run(
        _take_rows, drive.chunks_of(out.nbytes, GRAIN), id(x), id(index), id(out), id(failed),
        outer, n, index.size, size, -n if wrap else 0,
    )  # fmt: skip
    return not failed[0]


def gather(x: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    """Slices of x along `axis` at `index` (any rank)."""
    shape, n = x.shape, x.shape[axis]
    x, given = contiguous(x), _indices(index)
    out = empty((*shape[:axis], *index.shape, *shape[axis + 1 :]), x.dtype)
    size = _product(shape[axis + 1 :]) * x.itemsize
    if not take_rows(x, given, _product(shape[:axis]), n, size, out, True):
        checked(index, n)
    return out


def _put(out: np.ndarray, index: np.ndarray, value: np.ndarray, n: int) -> bool:
    """Write rows of `value` to the rows of `out` [n, ...]; whether every index is a row."""
    if not value.size:
        return True
    failed = np.zeros(1, np.int64)
    size = value.nbytes // index.size
    chunks = min(drive.chunks_of(value.nbytes, GRAIN), max(1, size // LINE))
    drive.run(
        _put_rows, chunks, id(out), id(index), id(value), id(failed), n, index.size, size,
    )  # fmt: skip
    return not failed[0]


def add_rows(
    out: np.ndarray, index: np.ndarray, value: np.ndarray, outer: int, n: int, zero: bool
) -> bool:
    """Add rows of value [outer, rows, ...] to those of out [outer, n, ...], both dense.

    Args:
        index: (rows,) row numbers, int64; negative ones count from the back.
        zero: `out` holds nothing yet and begins as zeros.

    Returns:
        Whether every index is a row; those that are none were passed over.
    """
    compiled = _ADD_ROWS.get(out.dtype)
    if compiled is None or not value.size:
        if zero:
            out[...] = 0
        inside = bool(((index >= -n) & (index < n)).all())
        if value.size and inside:
            rows = out.reshape(outer, n, -1)
            np.add.at(rows, (slice(None), index), value.reshape(outer, index.size, -1))
        return inside
    failed = np.zeros(1, np.int64)
    inner = value.size // (outer * index.size)
    block = _shared(inner, out.itemsize, outer)
    units = outer * -(-inner // block)
    chunks = min(units, drive.chunks_of(value.nbytes + zero * out.nbytes, GRAIN))
    drive.run(
        compiled, chunks, id(out), id(index), id(value), id(failed), outer, n, index.size, inner,
        block, zero,
    )  # fmt: skip
    return not failed[0]


def gather_grad(g: np.ndarray, index: np.ndarray, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros of `shape` with g added where `gather` read."""
    out = empty(shape, g.dtype)
    given = _indices(index).reshape(-1)
    if not add_rows(out, given, contiguous(g), _product(shape[:axis]), shape[axis], True):
        checked(index, shape[axis])
    return out


# ---- by coordinates ----------------------------------------------------------------------------


def _flat_positions(index: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Row number of each coordinate tuple in the last axis of `index`, as a vector."""
    depth = index.shape[-1]
    given = _indices(index)
    out = np.empty(_product(index.shape[:-1]), np.int64)
    failed = np.zeros(1, np.int64)
    sizes = np.array(shape[:depth], np.int64)
    drive.run(
        _flatten, drive.chunks_of(given.nbytes, GRAIN), id(given), id(sizes), id(out), id(failed),
        out.size, depth,
    )  # fmt: skip
    if failed[0]:
        for axis in range(depth):
            checked(index[..., axis], shape[axis], f"index on axis {axis}:")
    return out


def gather_nd(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """x at the coordinates in the last axis of `index`."""
    depth = index.shape[-1]
    rest = x.shape[depth:]
    at = _flat_positions(index, x.shape)
    out = empty((*index.shape[:-1], *rest), x.dtype)
    n = _product(x.shape[:depth])
    take_rows(contiguous(x), at, 1, n, _product(rest) * x.itemsize, out, False)
    return out


def scatter_nd(x: np.ndarray, index: np.ndarray, value: np.ndarray, reduction: str) -> np.ndarray:
    """A copy of x with value written or added at coordinates."""
    n = _product(x.shape[: index.shape[-1]])
    at = _flat_positions(index, x.shape)
    out, value = copied(x), contiguous(value)
    if reduction == "add":
        add_rows(out, at, value, 1, n, False)
    else:
        _put(out, at, value, n)
    return out


# ---- along an axis -----------------------------------------------------------------------------


def _run_along(
    task: Any, table: np.ndarray, index: np.ndarray, given: np.ndarray, axis: int, reads: bool
) -> bool:
    """Read or write `table` along an axis; whether every index is in range."""
    shape = index.shape
    outer, rows, inner = _product(shape[:axis]), shape[axis], _product(shape[axis + 1 :])
    n = table.shape[axis]
    if not n:
        return False
    failed = np.zeros(1, np.int64)
    width = _near(inner, table.itemsize, n, outer)
    depth = rows
    if reads and outer * -(-inner // width) < 16:
        depth = max(1, -(-rows // 16))
    units = outer * -(-inner // width) * -(-rows // depth)
    drive.run(
        task, min(units, drive.chunks_of(8 * index.size, GRAIN)), id(table), id(index), id(given),
        id(failed), outer, n, rows, inner, depth, width,
    )  # fmt: skip
    return not failed[0]


def take_along_axis(x: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    """out[i, j] = x[i, index[i, j]] at `axis`; x may be longer than index on the other axes."""
    fit = tuple(slice(None) if a == axis else slice(n) for a, n in enumerate(index.shape))
    task = _TAKE_ALONG.get(x.itemsize)
    if task is None or not index.size:
        return np.take_along_axis(x[fit], checked(index, x.shape[axis]), axis)
    out = empty(index.shape, x.dtype)
    if not _run_along(task, contiguous(x[fit]), _indices(index), out, axis, True):
        checked(index, x.shape[axis])
    return out


def put_along_axis(
    x: np.ndarray, index: np.ndarray, value: np.ndarray, axis: int, reduction: str
) -> np.ndarray:
    """A copy of x with value written or added at index along `axis`."""
    n = x.shape[axis]
    adds = reduction == "add"
    task = _ADD_ALONG.get(x.dtype) if adds else _PUT_ALONG.get(x.itemsize)
    out = copied(x)
    beside = (*x.shape[:axis], *x.shape[axis + 1 :])
    if (
        task is not None
        and index.size
        and (*index.shape[:axis], *index.shape[axis + 1 :]) == beside
    ):
        if not _run_along(task, out, _indices(index), contiguous(value), axis, False):
            checked(index, n)
        return out
    where = list(np.ogrid[tuple(slice(size) for size in index.shape)])
    where[axis] = checked(index, n)
    if adds:
        np.add.at(out, tuple(where), value)
    else:
        out[tuple(where)] = value
    return out
