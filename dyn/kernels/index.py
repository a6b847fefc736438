"""Reading and writing by index arrays: gather, scatter, with range checks.

Indices are checked before any element moves, so an IndexError leaves nothing half done. Additions
at repeated indices go row by row in the order of the index: the sum does not depend on threads.
"""

from __future__ import annotations

import math

import numpy as np

from dyn.kernels.runtime.jit import kernel


def checked(index, size, what="index"):
    """`index` counted from the front; IndexError names the first value outside [-size, size)."""
    if index.size == 0:
        return index
    low, high = int(index.min()), int(index.max())
    if low < -size or high >= size:
        bad = low if low < -size else high
        raise IndexError(f"{what} {bad} is out of range for an axis of size {size}")
    return np.where(index < 0, index + size, index) if low < 0 else index


def gather(x, index, axis):
    """Slices of x along `axis` at `index` (any rank)."""
    return np.take(x, checked(index, x.shape[axis]), axis=axis)


@kernel(warm=("(float32[:,::1], int64[::1], float32[:,::1])",))
def _add_rows(out, index, rows):
    for i in range(index.shape[0]):
        at = index[i]
        for j in range(rows.shape[1]):
            out[at, j] += rows[i, j]


def _compiled(dtype: np.dtype) -> bool:
    """Whether kernels can add numbers of this dtype."""
    return dtype.kind in "fi" and dtype.itemsize >= 4


def add_rows(out, index, rows):
    """out[index[i]] += rows[i] in order; `out` is (n, k) and C-contiguous, `rows` (m, k)."""
    if _compiled(out.dtype):
        _add_rows(out, np.ascontiguousarray(index, np.int64), np.ascontiguousarray(rows))
    else:
        np.add.at(out, index, rows)


def gather_grad(g, index, axis, shape):
    """Zeros of `shape` with g added where `gather` read."""
    index = checked(index, shape[axis])
    moved = g.reshape(*shape[:axis], index.size, *shape[axis + 1 :])
    rest = (*shape[:axis], *shape[axis + 1 :])
    columns = math.prod(rest)
    rows = np.moveaxis(moved, axis, 0).reshape(index.size, columns)
    out = np.zeros((shape[axis], columns), g.dtype)
    add_rows(out, index.reshape(-1), rows)
    return np.moveaxis(out.reshape(shape[axis], *rest), 0, axis)


def _flat_positions(index, shape):
    """Row number of each coordinate tuple in the last axis of `index`."""
    depth = index.shape[-1]
    at = np.zeros(index.shape[:-1], np.int64)
    for axis in range(depth):
        at = at * shape[axis] + checked(index[..., axis], shape[axis], f"index on axis {axis}:")
    return at


def gather_nd(x, index):
    """x at the coordinates in the last axis of `index`."""
    depth = index.shape[-1]
    rest = x.shape[depth:]
    rows = x.reshape((math.prod(x.shape[:depth]), *rest))
    return np.take(rows, _flat_positions(index, x.shape), axis=0)


def scatter_nd(x, index, value, reduction):
    """A copy of x with value written or added at coordinates."""
    depth = index.shape[-1]
    out = np.array(x, order="C")
    rows = out.reshape(math.prod(x.shape[:depth]), math.prod(x.shape[depth:]))
    at = _flat_positions(index, x.shape).reshape(-1)
    given = value.reshape(at.size, rows.shape[1])
    if reduction == "add":
        add_rows(rows, at, given)
    else:
        rows[at] = given
    return out


def take_along_axis(x, index, axis):
    """out[i, j] = x[i, index[i, j]] at `axis`; x may be longer than index on the other axes."""
    index = checked(index, x.shape[axis])
    fit = tuple(slice(None) if a == axis else slice(n) for a, n in enumerate(index.shape))
    return np.take_along_axis(x[fit], index, axis)


@kernel
def _add_along(out, index, value):
    for i in range(index.shape[0]):
        for j in range(index.shape[1]):
            out[i, index[i, j]] += value[i, j]


def put_along_axis(x, index, value, axis, reduction):
    """A copy of x with value written or added at index along `axis`."""
    index = checked(index, x.shape[axis])
    out = np.array(x, order="C")
    fits = axis == x.ndim - 1 and x.shape[:-1] == index.shape[:-1] and index.size
    if reduction == "add" and fits and _compiled(out.dtype):
        rows = math.prod(x.shape[:-1])
        given = (np.ascontiguousarray(v).reshape(rows, -1) for v in (index, value))
        _add_along(out.reshape(rows, -1), *given)
        return out
    where = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    where[axis] = index
    if reduction == "add":
        np.add.at(out, tuple(where), value)
    else:
        out[tuple(where)] = value
    return out
