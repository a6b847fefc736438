"""Cholesky factors of symmetric matrices, and substitution with triangular ones.

The factor is made as an upper triangle R, x = R.T @ R, whose rows are what the tiles read; a copy
of each panel with the other sign is what they are multiplied by.
Source: Golub & Van Loan, Matrix Computations, 4.2.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.factor import substitution
from dyn.kernels.factor.panel import PANEL
from dyn.kernels.factor.parts import (
    BACKWARD,
    BLOCK,
    SUBSTITUTE,
    UNIT,
    Plan,
    accumulate,
    codes,
    fail,
    failure,
    failures,
    fill,
    pitch_of,
    planned,
    prepare,
    put_out,
    room_of,
)
from dyn.kernels.gemm.pack import PANEL_BYTES
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import call_address, instance, kernel
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import buffer, leave, scratch, take
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.runs import clear_run, copy_elements, pointer

ONE, SIZE = np.float32(1), 4
"""What instances have of their own: a number of their elements, bytes of one."""

SMALL = 8
"""Rows up to which the tiles would cost more than they save."""

X, OUT, FAILED, SCRATCH = range(4)
ARRAYS = 4
BATCH, ROWS, PITCH, UPPER, SPACE, CODES = range(ARRAYS, ARRAYS + 6)
"""Arrays and words of the factorisation: matrices, factors, the note of the first failure, buffers;
number of matrices, their size, bytes from row to row, whether the upper triangle is read and given,
bytes of a buffer; from CODES on what `prepare` reads."""


@kernel
def _small(source, target, n, row, along, one):
    """The factor of a small matrix, element by element; the first minor that is not positive, or 0.

    `row` and `along` are the steps to the next row and column of the lower factor, in elements.
    """
    x, out = pointer(source, one), pointer(target, one)
    for j in range(n):
        for i in range(j):
            out[i * row + j * along] = 0
        for i in range(j, n):
            total = x[i * row + j * along]
            for k in range(j):
                total -= out[i * row + k * along] * out[j * row + k * along]
            if i == j:
                if not total > 0:
                    return j + 1
                pivot = out[j * (row + along)] = np.sqrt(total)
            else:
                out[i * row + j * along] = total / pivot
    return 0


def _cholesky(args, chunk, chunks):
    """Cholesky factors."""
    n, pitch, upper = argument(args, ROWS), argument(args, PITCH), argument(args, UPPER)
    p = room()
    prepare(p, args, CODES, SIZE)
    memory = data(argument(args, SCRATCH))
    slot = take(memory)
    a = buffer(memory, slot, argument(args, SPACE))
    minus = a + n * pitch + PANEL_BYTES
    first, last = bounds(argument(args, BATCH), chunk, chunks, 1)
    row, along = n * SIZE, (SIZE if upper else n * SIZE)
    for matrix in range(first, last):
        source = data(argument(args, X)) + matrix * n * row
        target = data(argument(args, OUT)) + matrix * n * row
        if n <= SMALL:
            steps = (1, n) if upper else (n, 1)
            bad = _small(source, target, n, steps[0], steps[1], ONE)
            if bad:
                fail(data(argument(args, FAILED)), matrix, bad)
            continue
        clear_run(a, argument(args, SPACE))
        for i in range(n):
            diagonal = i * (row + SIZE)
            copy_elements(source + diagonal, along, a + i * (pitch + SIZE), SIZE, n - i)
        bad = 0
        for start in range(0, n, PANEL):
            stop = min(start + PANEL, n)
            for i in range(start, stop):
                here = a + i * (pitch + SIZE)
                accumulate(
                    p, 1, n - i, i - start, minus + i * SIZE, SIZE, pitch,
                    a + start * pitch + i * SIZE, pitch, here, pitch,
                )  # fmt: skip
                value = pointer(here, ONE)[0]
                if not value > 0:
                    bad = i + 1
                    break
                root = math.sqrt(value)
                at, opposite = pointer(here, ONE), minus + (i - start) * pitch + i * SIZE
                for c in range(n - i):
                    at[c] /= root
                    pointer(opposite, ONE)[c] = -at[c]
            if bad:
                break
            for i in range(stop, n, BLOCK):
                accumulate(
                    p, min(BLOCK, n - i), n - i, PANEL, minus + i * SIZE, SIZE, pitch,
                    a + start * pitch + i * SIZE, pitch, a + i * (pitch + SIZE), pitch,
                )  # fmt: skip
        if bad:
            fail(data(argument(args, FAILED)), matrix, bad)
            continue
        for i in range(n):
            if upper:
                clear_run(target, i * SIZE)
                copy_elements(a + i * (pitch + SIZE), SIZE, target + i * SIZE, SIZE, n - i)
            else:
                copy_elements(a + i * SIZE, pitch, target, SIZE, i + 1)
                clear_run(target + (i + 1) * SIZE, (n - 1 - i) * SIZE)
            target += row
    leave(memory, slot)


Y, RESULT, BUFFERS = range(1, 4)
COLUMNS, WIDE, ALONG, ACROSS, HOW, ROOM, OWN = range(ARRAYS + 2, ARRAYS + 9)
"""Arrays and words of substitution: right-hand sides, solutions, buffers; columns, bytes from row
to row in a buffer, bytes between rows and columns of a triangle, how, bytes of a buffer; from OWN
on what `prepare` reads."""


def _triangular(args, chunk, chunks):
    """Solutions of x @ out = y for triangles x."""
    n, columns, pitch = argument(args, ROWS), argument(args, COLUMNS), argument(args, WIDE)
    p = room()
    prepare(p, args, OWN, SIZE)
    memory = data(argument(args, BUFFERS))
    slot = take(memory)
    b = buffer(memory, slot, argument(args, ROOM))
    first, last = bounds(argument(args, BATCH), chunk, chunks, 1)
    for matrix in range(first, last):
        at = matrix * n * columns * SIZE
        fill(b, pitch, data(argument(args, Y)) + at, columns * SIZE, SIZE, n, columns, SIZE)
        call_address(
            argument(p, SUBSTITUTE), p, b, pitch, columns,
            data(argument(args, X)) + matrix * n * n * SIZE, argument(args, ALONG),
            argument(args, ACROSS), n, argument(args, HOW),
        )  # fmt: skip
        put_out(b, pitch, data(argument(args, RESULT)) + at, n, columns, -ONE)
    leave(memory, slot)


_F64 = {"ONE": np.float64(1), "SIZE": 8}
cholesky_f32, triangular_f32 = (
    instance("cholesky_f32", _cholesky),
    instance("triangular_f32", _triangular),
)
cholesky_f64, triangular_f64 = (
    instance("cholesky_f64", _cholesky, **_F64),
    instance("triangular_f64", _triangular, **_F64),
)


@lru_cache(1024)
def _plan(dtype: np.dtype, batch: int, n: int, upper: bool) -> Plan:
    task = cholesky_f32 if dtype == np.float32 else cholesky_f64
    size = dtype.itemsize
    pitch = pitch_of(n, size)
    space = room_of(n, n, size) + PANEL * pitch + PANEL_BYTES
    words = batch, n, pitch, int(upper), space, *codes(dtype)
    return planned(task, ARRAYS, words, space, batch, n, n, n)


def cholesky(x: np.ndarray, *, upper: bool) -> tuple[np.ndarray, tuple[int, int] | None]:
    """The lower factors L of x = L @ L.T, or the upper ones L.T.

    Args:
        x: (..., n, n), float32 or float64, of which the same triangle is read.
        upper: which triangle.

    Returns:
        Them, and what was not positive definite, if anything: number of the matrix and of the
        leading minor.
    """
    out, failed = empty(x.shape, x.dtype), failures()
    if out.size:
        n = x.shape[-1]
        plan = _plan(x.dtype, out.size // (n * n), n, upper)
        plan.launch(contiguous(x), out, failed, scratch(plan.space, plan.chunks))
    return out, failure(failed)


@lru_cache(1024)
def _plan_triangular(
    dtype: np.dtype, batch: int, n: int, columns: int, upper: bool, transpose: bool, unit: bool
) -> Plan:
    task = triangular_f32 if dtype == np.float32 else triangular_f64
    size = dtype.itemsize
    space = room_of(n, columns, size)
    steps = (size, n * size) if transpose else (n * size, size)
    how = (BACKWARD if upper != transpose else 0) | (UNIT if unit else 0)
    words = batch, n, columns, pitch_of(columns, size), *steps, how, space, *codes(dtype)
    return planned(task, ARRAYS, words, space, batch, n, columns, n)


def triangular(
    x: np.ndarray, y: np.ndarray, *, upper: bool, transpose: bool, unit: bool
) -> np.ndarray:
    """The solutions of x @ out = y, or of x.T @ out = y.

    Args:
        x: (..., n, n), float32 or float64; what lies beyond its triangle is not read.
        y: (..., n, k) with the same leading sizes and dtype.
        upper: which triangle x is.
        transpose: whether x is transposed.
        unit: whether its diagonal counts as ones.
    """
    out = empty(y.shape, y.dtype)
    if out.size:
        n, columns = y.shape[-2:]
        batch = out.size // (n * columns)
        if columns == 1:
            launch = substitution.plan(x.dtype, batch, n, upper, transpose, unit)
            launch(contiguous(x), contiguous(y), out)
            return out
        plan = _plan_triangular(x.dtype, batch, n, columns, upper, transpose, unit)
        plan.launch(contiguous(x), contiguous(y), out, scratch(plan.space, plan.chunks))
    return out
