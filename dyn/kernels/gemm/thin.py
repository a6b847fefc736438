"""Matrix products with one row, one column or one step: bound by memory, without tiles.

Plain loops that LLVM vectorises, over arrays with a contiguous axis; sums of a dot product are
reordered by the compiler in a way that does not depend on threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime import drive
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import kernel, task
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer

SUM = ("reassoc", "contract", "nsz")
GRAIN = 32768
"""Multiplications worth a chunk."""


@kernel(fastmath=SUM)
def _dots(a, x, out):
    """out[i] = a[i, :] . x for contiguous rows."""
    for i in range(a.shape[0]):
        total = x[0] * a[i, 0] * 0
        for j in range(a.shape[1]):
            total += a[i, j] * x[j]
        out[i] = total


@kernel(fastmath=("contract", "nsz"))
def _combine(a, x, out):
    """out[:] = sum over i of x[i] * a[i, :] for contiguous rows."""
    for j in range(a.shape[1]):
        out[j] = a[0, j] * x[0]
    for i in range(1, a.shape[0]):
        factor = x[i]
        for j in range(a.shape[1]):
            out[j] += a[i, j] * factor


@kernel(fastmath=SUM)
def _dot_rows(args, chunk, chunks, zero):
    """`_dots` for a share of the rows: (a, x, out, rows, columns)."""
    columns = argument(args, 4)
    a, x = pointer(data(argument(args, 0)), zero), pointer(data(argument(args, 1)), zero)
    out = pointer(data(argument(args, 2)), zero)
    first, last = bounds(argument(args, 3), chunk, chunks, 1)
    for i in range(first, last):
        at, total = i * columns, zero
        for j in range(columns):
            total += a[at + j] * x[j]
        out[i] = total


@task
def _dot_rows_single(args, chunk, chunks):
    """Dot products in float32."""
    _dot_rows(args, chunk, chunks, np.float32(0))


@task
def _dot_rows_double(args, chunk, chunks):
    """Dot products in float64."""
    _dot_rows(args, chunk, chunks, np.float64(0))


_DOT_ROWS = {np.dtype(np.float32): _dot_rows_single, np.dtype(np.float64): _dot_rows_double}


def _dot_all(a: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """out = a @ x for a contiguous matrix, its rows shared by all threads if there are many."""
    if a.size < 2 * GRAIN:
        _dots(a, x, out)
    else:
        chunks = min(len(a), drive.chunks_of(a.size, GRAIN))
        drive.run(_DOT_ROWS[a.dtype], chunks, id(a), id(x), id(out), *a.shape)


def times_vector(a: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """out = a @ x for a matrix of any strides, a vector and a contiguous result."""
    x = contiguous(x)
    if a.flags.c_contiguous:
        _dot_all(a, x, out)
    elif a.flags.f_contiguous:
        _combine(a.T, x, out)
    else:
        _dot_all(contiguous(a), x, out)


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
