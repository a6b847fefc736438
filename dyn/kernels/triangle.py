"""Triangles of matrices, and matrices with given diagonals.

A triangle is made row by row: a run is copied, the rest cleared. Columns are counted in bytes, so
one task serves every dtype.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from dyn.kernels.copy import contiguous, filled
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import task
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import copy_run, fill_elements

GRAIN = 65536
"""Bytes worth a chunk."""


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


def embedded(x: np.ndarray, offset: int, beside: float) -> np.ndarray:
    """Square matrices with the last axis of x on a diagonal and a number everywhere else."""
    size = x.shape[-1] + abs(offset)
    return on_diagonal(x, size, size, offset, beside)


def on_diagonal(
    x: np.ndarray, rows: int, columns: int, offset: int, beside: float = 0
) -> np.ndarray:
    """Matrices with the last axis of x on a diagonal and a number everywhere else."""
    n = x.shape[-1]
    out = filled((*x.shape[:-1], rows, columns), beside, x.dtype)
    first = max(offset, 0) + max(-offset, 0) * columns
    flat = out.reshape(*x.shape[:-1], rows * columns)
    flat[..., first : first + n * (columns + 1) : columns + 1][..., :n] = x
    return out
