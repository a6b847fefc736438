"""Triangles of matrices, and matrices with given diagonals.

A triangle is made row by row: a run is copied, the rest cleared. Columns are counted in bytes, so
one task serves every dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from operator import methodcaller

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.ranges import full_of
from dyn.kernels.reduce.reductions import FEW, sum
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import task
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.half import is_half
from dyn.kernels.vector.runs import copy_run, fill_elements

GRAIN = 65536
"""Bytes worth a chunk."""
_FLOATS = frozenset((np.dtype(np.float32), np.dtype(np.float64)))


@task
def _triangles(args, chunk, chunks):
    """Rows of triangles: (x, out, all rows, rows and columns of a matrix, diagonal, item, upper).

    Columns are done as bytes.
    """
    rows, item = argument(args, 3), argument(args, 6)
    wide, diagonal = argument(args, 4) * item, argument(args, 5)
    start, stop = bounds(argument(args, 2), chunk, chunks, 1)
    source = data(argument(args, 0)) + start * wide
    target = data(argument(args, 1)) + start * wide
    for row in range(start, stop):
        # Elements left of the place where the triangle ends, or begins.
        left = row % rows + diagonal + (0 if argument(args, 7) else 1)
        left = min(max(left * item, 0), wide)
        if argument(args, 7):
            fill_elements(target, 0, 1, left)
            copy_run(source + left, target + left, wide - left)
        else:
            copy_run(source, target, left)
            fill_elements(target + left, 0, 1, wide - left)
        source += wide
        target += wide


def triangle(x: np.ndarray, diagonal: int, *, upper: bool) -> np.ndarray:
    """The part of the last two axes on and above (or, lower, on and below) a diagonal."""
    out = empty(x.shape, x.dtype)
    if x.size:
        _plan(x.shape, x.itemsize, diagonal, upper)(contiguous(x), out)
    return out


@lru_cache(1024)
def _plan(shape: tuple[int, ...], item: int, diagonal: int, upper: bool) -> Launch:
    """The launch over (x, out) for matrices that have elements."""
    rows, columns = shape[-2:]
    every = math.prod(shape[:-1])
    chunks = min(every, chunks_of(every * columns * item, GRAIN))
    diagonal = max(-rows - 1, min(columns + 1, diagonal))
    return Launch([(_triangles, chunks)], 2, every, rows, columns, diagonal, item, upper)


def on_diagonal_of(
    shape: tuple[int, ...],
    dtype: np.dtype,
    rows: int,
    columns: int,
    offset: int,
    beside: float = 0,
) -> Callable[[np.ndarray], np.ndarray]:
    """`on_diagonal` for arrays of a shape."""
    n, lead = shape[-1], shape[:-1]
    whole, flat = (*lead, rows, columns), (*lead, rows * columns)
    first = max(offset, 0) + max(-offset, 0) * columns
    places = (..., slice(first, first + (n - 1) * (columns + 1) + 1 if n else 0, columns + 1))
    make = full_of(whole, beside, dtype)

    def run(x: np.ndarray) -> np.ndarray:
        out = make()
        out.reshape(flat)[places] = x
        return out

    return run


def on_diagonal(
    x: np.ndarray, rows: int, columns: int, offset: int, beside: float = 0
) -> np.ndarray:
    """Matrices with the last axis of x on a diagonal and a number everywhere else."""
    return on_diagonal_of(x.shape, x.dtype, rows, columns, offset, beside)(x)


def unit_of(rows: int, columns: int, dtype: np.dtype) -> Callable[[], np.ndarray]:
    """What makes matrices of ones where row and column are equal, else zeros."""
    make = full_of((rows, columns), 0, dtype)
    ones = slice(None, min(rows, columns) * columns, columns + 1)

    def run() -> np.ndarray:
        out = make()
        out.reshape(-1)[ones] = 1
        return out

    return run


def trace_of(
    shape: tuple[int, ...], dtype: np.dtype, offset: int
) -> Callable[[np.ndarray], np.ndarray]:
    """What sums a diagonal of the last two axes of arrays of a shape; integers as int64."""
    taken, kept = methodcaller("diagonal", offset, -2, -1), len(shape) - 2
    wide = np.dtype(np.int64) if dtype.kind in "biu" else dtype
    if is_half(dtype) or min(shape[-2:]) > FEW:
        return lambda x: sum(taken(x), (kept,), keepdims=False)
    make = partial(np.empty, shape[:-2], wide)
    if len(shape) == 2 and dtype in _FLOATS:
        # In half the time that a reduction takes.
        ones = np.ones(taken(np.broadcast_to(False, shape)).shape, dtype)

        def run(x: np.ndarray) -> np.ndarray:
            out = make()
            np.dot(taken(x), ones, out)  # which gives a scalar, not `out`
            return out

        return run
    return lambda x: np.add.reduce(taken(x), kept, wide, make())
