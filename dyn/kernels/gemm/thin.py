"""Matrix products with one row, one column or one step: bound by memory, without tiles.

Plain loops that LLVM vectorises, over arrays with a contiguous axis; sums of a dot product are
reordered by the compiler in a way that does not depend on threads.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime import drive
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import SUM, instances, kernel
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer

GRAIN = 32768
"""Multiplications worth a chunk."""
PART = 256
"""Columns that are worth going over all rows for: shorter pieces are not foreseen by the cache."""
ZERO = np.float32(0)
"""Stands for the zero of each dtype in its instance of a task."""


@kernel(fastmath=("contract", "nsz"))
def _combine(args, chunk, chunks, zero):
    """out[i, :] = sum over r of x[i, r] * a[i, r, :]: (a, x, out, matrices, rows, columns, parts).

    A chunk does some of the `parts` of the columns of all matrices. Four rows at a time, so that
    the sums are read and written less often.
    """
    rows, columns, parts = argument(args, 4), argument(args, 5), argument(args, 6)
    a, x = pointer(data(argument(args, 0)), zero), pointer(data(argument(args, 1)), zero)
    out = pointer(data(argument(args, 2)), zero)
    begin, end = bounds(argument(args, 3) * parts, chunk, chunks, 1)
    for unit in range(begin, end):
        i = unit // parts
        first, last = bounds(columns, unit % parts, parts, PART)
        to = i * columns
        for j in range(first, last):
            out[to + j] = zero
        r, at, by = 0, i * rows * columns, i * rows
        while r + 3 < rows:
            p, q, s, t = x[by + r], x[by + r + 1], x[by + r + 2], x[by + r + 3]
            b, c, d = at + columns, at + 2 * columns, at + 3 * columns
            for j in range(first, last):
                out[to + j] += a[at + j] * p + a[b + j] * q + a[c + j] * s + a[d + j] * t
            r, at = r + 4, at + 4 * columns
        while r < rows:
            p = x[by + r]
            for j in range(first, last):
                out[to + j] += a[at + j] * p
            r, at = r + 1, at + columns


@kernel(fastmath=SUM)
def _dot_rows(args, chunk, chunks, zero):
    """out[i] = a[i, :] . x[i // each, :] for some rows: (a, x, out, rows, columns, each)."""
    columns, each = argument(args, 4), argument(args, 5)
    a, x = pointer(data(argument(args, 0)), zero), pointer(data(argument(args, 1)), zero)
    out = pointer(data(argument(args, 2)), zero)
    first, last = bounds(argument(args, 3), chunk, chunks, 1)
    for i in range(first, last):
        at, by, total = i * columns, i // each * columns, zero
        for j in range(columns):
            total += a[at + j] * x[by + j]
        out[i] = total


def _combine_task(args, chunk, chunks):
    _combine(args, chunk, chunks, ZERO)


def _dot_rows_task(args, chunk, chunks):
    _dot_rows(args, chunk, chunks, ZERO)


_COMBINE = instances("combine", _combine_task, "f4 f8")
_DOT_ROWS = instances("dot_rows", _dot_rows_task, "f4 f8")


def _combine_all(a: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """Vectors times contiguous matrices (..., rows, columns)."""
    _combining(a.shape, a.dtype)(a, x, out)


def _dot_all(a: np.ndarray, x: np.ndarray, out: np.ndarray, each: int) -> None:
    """Rows of contiguous matrices times vectors, one for every `each` of them."""
    _dotting(a.shape, a.dtype, each)(a, x, out)


@lru_cache(1024)
def _combining(shape: tuple[int, ...], dtype: np.dtype) -> drive.Launch:
    count, (rows, columns) = math.prod(shape[:-2]), shape[-2:]
    chunks = drive.chunks_of(math.prod(shape), GRAIN)
    parts = min(-(-chunks // max(count, 1)), max(1, columns // PART))
    return drive.Launch(
        [(_COMBINE[dtype], min(chunks, count * parts))], 3, count, rows, columns, parts
    )


@lru_cache(1024)
def _dotting(shape: tuple[int, ...], dtype: np.dtype, each: int) -> drive.Launch:
    rows, columns = math.prod(shape[:-1]), shape[-1]
    chunks = min(rows, drive.chunks_of(rows * columns, GRAIN))
    return drive.Launch([(_DOT_ROWS[dtype], chunks)], 3, rows, columns, each)


def ready_vector(a: np.ndarray, x: np.ndarray) -> drive.Launch | None:
    """a @ x for a matrix and a vector, of which a launch needs the addresses alone.

    Returns:
        What runs with (matrix, vector, result); None unless both are dense in memory.
    """
    if not x.flags.c_contiguous:
        return None
    if a.flags.c_contiguous:
        return _dotting(a.shape, a.dtype, len(a))
    return _combining(a.T.shape, a.dtype) if a.flags.f_contiguous else None


def times_vector(a: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """out = a @ x for a matrix of any strides, a vector and a contiguous result."""
    x = contiguous(x)
    if a.flags.c_contiguous:
        _dot_all(a, x, out, len(a))
    elif a.flags.f_contiguous:
        _combine_all(a.T, x, out)
    else:
        _dot_all(contiguous(a), x, out, len(a))


def times_vectors(a: np.ndarray, x: np.ndarray, c: np.ndarray) -> bool:
    """c = a @ x for matrices (..., m, k), each with a vector (..., k) of its own, c contiguous.

    Returns:
        Whether it was done: not where a vector serves several matrices, or neither the rows nor the
        columns of the matrices follow one another in memory.
    """
    if a.shape[:-2] != x.shape[:-1]:
        return False
    turned = a.swapaxes(-1, -2)
    if a.flags.c_contiguous:
        _dot_all(a, contiguous(x), c, a.shape[-2])
    elif turned.flags.c_contiguous:
        _combine_all(turned, contiguous(x), c)
    else:
        return False
    return True


def thin(a: np.ndarray, b: np.ndarray, c: np.ndarray, bias: Any, relu: bool) -> None:
    """c = a @ b (+ bias) (relu), where a has one row or column, or b one column."""
    if a.shape[1] == 1:
        np.multiply(a, b, out=c)
    elif b.shape[1] == 1:
        times_vector(a, b[:, 0], c.reshape(-1))
    else:
        times_vector(b.T, a[0], c.reshape(-1))
    if bias is not None:
        np.add(c, bias, out=c)
    if relu:
        np.maximum(c, 0, out=c)
