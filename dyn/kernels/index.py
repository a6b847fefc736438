"""Reading and writing by index arrays: gather, scatter, along an axis or by coordinates.

An array counts as [outer, n, inner]: `n` is the axis of the index, or several axes in one, where
coordinates are turned into row numbers first. The tasks (`index_tasks.py`) find indices outside,
for which a call raises and drops its result. What is read is cut in any way; what is written is cut
by `outer` and by columns of `inner` alone, and a chunk goes through the index in order: of repeated
indices the last value stays, and sums do not depend on threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dyn.kernels import index_tasks as tasks
from dyn.kernels.copy import contiguous, copied, filled, integers
from dyn.kernels.runtime import drive
from dyn.kernels.runtime.memory import empty

GRAIN = 65536
"""Bytes worth a chunk."""
NEAR = 131072
"""Bytes of an array that are read or written at random places at a time: they stay in cache."""


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


def _near(inner: int, item: int, rows: int, outer: int) -> int:
    """Columns of a block of which what is reached at random fits into cache; whole lines."""
    line = max(1, tasks.LINE // item)
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
        tasks.take_rows, drive.chunks_of(out.nbytes, GRAIN), id(x), id(index), id(out), id(failed),
        outer, n, index.size, size, -n if wrap else 0,
    )  # fmt: skip
    return not failed[0]


def gather(x: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    """Slices of x along `axis` at `index` (any rank)."""
    shape, n = x.shape, x.shape[axis]
    x, given = contiguous(x), integers(index)
    out = empty((*shape[:axis], *index.shape, *shape[axis + 1 :]), x.dtype)
    size = math.prod(shape[axis + 1 :]) * x.itemsize
    if not take_rows(x, given, math.prod(shape[:axis]), n, size, out, True):
        checked(index, n)
    return out


def _put(out: np.ndarray, index: np.ndarray, value: np.ndarray, n: int) -> bool:
    """Write rows of `value` to the rows of `out` [n, ...]; whether every index is a row."""
    if not value.size:
        return bool(((index >= -n) & (index < n)).all())
    failed = np.zeros(1, np.int64)
    size = value.nbytes // index.size
    chunks = min(drive.chunks_of(value.nbytes, GRAIN), max(1, size // tasks.LINE))
    drive.run(
        tasks.put_rows, chunks, id(out), id(index), id(value), id(failed), n, index.size, size,
    )  # fmt: skip
    return not failed[0]


def add_rows(out: np.ndarray, index: np.ndarray, value: np.ndarray, outer: int, n: int) -> bool:
    """Add rows of value [outer, rows, ...] to those of out [outer, n, ...], both dense.

    Args:
        index: (rows,) row numbers, int64; negative ones count from the back.

    Returns:
        Whether every index is a row; those that are none were passed over.
    """
    compiled = tasks.ADD_ROWS.get(out.dtype)
    if compiled is None or not value.size:
        inside = bool(((index >= -n) & (index < n)).all())
        if value.size and inside:
            rows = out.reshape(outer, n, -1)
            np.add.at(rows, (slice(None), index), value.reshape(outer, index.size, -1))
        return inside
    failed = np.zeros(1, np.int64)
    inner = value.size // (outer * index.size)
    block = _shared(inner, out.itemsize, outer)
    units = outer * -(-inner // block)
    chunks = min(units, drive.chunks_of(value.nbytes, GRAIN))
    drive.run(
        compiled, chunks, id(out), id(index), id(value), id(failed), outer, n, index.size, inner,
        block,
    )  # fmt: skip
    return not failed[0]


def gather_grad(g: np.ndarray, index: np.ndarray, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros of `shape` with g added where `gather` read."""
    out = filled(shape, 0, g.dtype)
    given = integers(index).reshape(-1)
    if not add_rows(out, given, contiguous(g), math.prod(shape[:axis]), shape[axis]):
        checked(index, shape[axis])
    return out


# ---- by coordinates ----------------------------------------------------------------------------


def _flat_positions(index: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Row number of each coordinate tuple in the last axis of `index`, as a vector.

    Single coordinates are row numbers as they are: negative ones still count from the back, and
    whoever uses them finds those outside.
    """
    depth = index.shape[-1]
    given = integers(index)
    if depth == 1:
        return given.reshape(-1)
    out = np.empty(math.prod(index.shape[:-1]), np.int64)
    failed = np.zeros(1, np.int64)
    sizes = np.array(shape[:depth], np.int64)
    drive.run(
        tasks.flatten, drive.chunks_of(given.nbytes, GRAIN), id(given), id(sizes), id(out),
        id(failed), out.size, depth,
    )  # fmt: skip
    if failed[0]:
        _complain(index, shape)
    return out


def _complain(index: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise IndexError if a coordinate is outside its axis."""
    for axis in range(index.shape[-1]):
        checked(index[..., axis], shape[axis], f"index on axis {axis}:")


def gather_nd(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """x at the coordinates in the last axis of `index`."""
    depth = index.shape[-1]
    rest = x.shape[depth:]
    at = _flat_positions(index, x.shape)
    out = empty((*index.shape[:-1], *rest), x.dtype)
    n = math.prod(x.shape[:depth])
    if not take_rows(contiguous(x), at, 1, n, math.prod(rest) * x.itemsize, out, depth == 1):
        _complain(index, x.shape)
    return out


def scatter_nd(x: np.ndarray, index: np.ndarray, value: np.ndarray, reduction: str) -> np.ndarray:
    """A copy of x with value written or added at coordinates."""
    n = math.prod(x.shape[: index.shape[-1]])
    at = _flat_positions(index, x.shape)
    out, value = copied(x), contiguous(value)
    done = add_rows(out, at, value, 1, n) if reduction == "add" else _put(out, at, value, n)
    if not done:
        _complain(index, x.shape)
    return out


# ---- along an axis -----------------------------------------------------------------------------


def _run_along(
    task: Any, table: np.ndarray, index: np.ndarray, given: np.ndarray, axis: int, reads: bool
) -> bool:
    """Read or write `table` along an axis; whether every index is in range."""
    shape = index.shape
    outer, rows, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
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
    task = tasks.TAKE_ALONG.get(x.itemsize)
    if task is None or not index.size:
        return np.take_along_axis(x[fit], checked(index, x.shape[axis]), axis)
    out = empty(index.shape, x.dtype)
    if not _run_along(task, contiguous(x[fit]), integers(index), out, axis, True):
        checked(index, x.shape[axis])
    return out


def put_along_axis(
    x: np.ndarray, index: np.ndarray, value: np.ndarray, axis: int, reduction: str
) -> np.ndarray:
    """A copy of x with value written or added at index along `axis`."""
    n = x.shape[axis]
    adds = reduction == "add"
    task = tasks.ADD_ALONG.get(x.dtype) if adds else tasks.PUT_ALONG.get(x.itemsize)
    out = copied(x)
    beside = (*x.shape[:axis], *x.shape[axis + 1 :])
    if (
        task is not None
        and index.size
        and (*index.shape[:axis], *index.shape[axis + 1 :]) == beside
    ):
        if not _run_along(task, out, integers(index), contiguous(value), axis, False):
            checked(index, n)
        return out
    where = list(np.ogrid[tuple(slice(size) for size in index.shape)])
    where[axis] = checked(index, n)
    if adds:
        np.add.at(out, tuple(where), value)
    else:
        out[tuple(where)] = value
    return out
