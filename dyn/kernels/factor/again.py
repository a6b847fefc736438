"""Solving with factors that were kept: x.T @ out = y where P @ x = L @ U.

x.T = U.T @ L.T @ P, so two triangular systems are solved, and the rows put back. A unit matrix on
the right, whose solutions are transposed inverses, is done a few columns at a time: above them the
first system has zeros. Source: Golub & Van Loan, Matrix Computations, 3.4.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.factor.lu import Kept
from dyn.kernels.factor.parts import (
    BACKWARD,
    SUBSTITUTE,
    UNIT,
    Plan,
    codes,
    fail,
    failure,
    failures,
    fill,
    pitch_of,
    planned,
    prepare,
    room_of,
)
from dyn.kernels.factor.small import SMALL, solve_plainly
from dyn.kernels.gemm.pack import PANEL_BYTES
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import call_address, instance, kernel
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import buffer, leave, scratch, take
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.runs import clear_run, copy_run, pointer

ONE, SIZE = np.float32(1), 4
"""What instances have of their own: a number of their elements, bytes of one."""
_I64 = np.int64(0)

FACTORS, ORDER, Y, OUT, FAILED, SCRATCH = range(6)
ARRAYS = 6
"""Arrays of the task: factors, the order of their rows, right-hand sides, results; the note of the
first failure; buffers."""
BATCH, ROWS, COLUMNS, PITCH, GIVEN, SPACE, CODES = range(ARRAYS, ARRAYS + 7)
"""Words: number of matrices, their rows, columns of right-hand sides, bytes from row to row of a
buffer; whether right-hand sides are given; bytes of a buffer; from CODES on those of `prepare`."""
STRIP = 2 * PANEL_BYTES
"""Bytes of the columns of a unit matrix that are done together: whole panels of the tiles."""


@kernel
def _zero_on_diagonal(x, n):
    """The first zero on the diagonal, counted from 1, or 0."""
    for i in range(n):
        if x[i * (n + 1)] == 0:
            return i + 1
    return 0


def _again(args, chunk, chunks):
    """Solutions of x.T @ out = y; transposed inverses where there is no y."""
    n, columns, given = argument(args, ROWS), argument(args, COLUMNS), argument(args, GIVEN)
    p = room()
    prepare(p, args, CODES, SIZE)
    memory, pitch = data(argument(args, SCRATCH)), argument(args, PITCH)
    slot = take(memory)
    b = buffer(memory, slot, argument(args, SPACE))
    plain = n <= SMALL or columns == 1
    pitch = columns * SIZE if plain else pitch
    start, stop = bounds(argument(args, BATCH), chunk, chunks, 1)
    for i in range(start, stop):
        x = data(argument(args, FACTORS)) + i * n * n * SIZE
        rows = pointer(data(argument(args, ORDER)) + i * n * 8, _I64)
        y, target = data(argument(args, Y)), data(argument(args, OUT)) + i * n * columns * SIZE
        bad = _zero_on_diagonal(pointer(x, ONE), n)
        if bad:
            fail(data(argument(args, FAILED)), i, bad)
            continue
        if given:
            fill(b, pitch, y + i * n * columns * SIZE, columns * SIZE, SIZE, n, columns, SIZE)
        else:
            clear_run(b, n * pitch)
            for j in range(n):
                pointer(b + j * (pitch + SIZE), ONE)[0] = ONE
        if plain:
            solve_plainly(x, b, n, columns, SIZE, ONE)
        else:
            # Each substitution changes the sign.
            wide = columns if given else STRIP // SIZE
            for low in range(0, columns, wide):
                first = 0 if given else low
                call_address(
                    argument(p, SUBSTITUTE), p, b + first * pitch + low * SIZE, pitch,
                    min(wide, columns - low), x + first * (n + 1) * SIZE, SIZE, n * SIZE,
                    n - first, 0,
                )  # fmt: skip
            call_address(
                argument(p, SUBSTITUTE), p, b, pitch, columns, x, SIZE, n * SIZE, n,
                UNIT | BACKWARD,
            )  # fmt: skip
        for j in range(n):
            copy_run(b + j * pitch, target + rows[j] * columns * SIZE, columns * SIZE)
    leave(memory, slot)


again_f32 = instance("again_f32", _again)
again_f64 = instance("again_f64", _again, ONE=np.float64(1), SIZE=8)


@lru_cache(1024)
def _plan(dtype: np.dtype, batch: int, n: int, columns: int, given: bool) -> Plan:
    task = again_f32 if dtype == np.float32 else again_f64
    size = dtype.itemsize
    space = room_of(n, columns, size)
    words = batch, n, columns, pitch_of(columns, size), int(given), space, *codes(dtype)
    return planned(task, ARRAYS, words, space, batch, n, columns, n)


def transposed_solutions(
    kept: Kept, y: np.ndarray | None
) -> tuple[np.ndarray, tuple[int, int] | None]:
    """The solutions of x.T @ out = y, or the transposed inverses of x without y.

    Args:
        kept: factors of x, (..., n, n), float32 or float64.
        y: (..., n, k) with the same leading sizes and dtype.

    Returns:
        Them, and where a pivot was zero, if any was: number of the matrix and of the pivot.
    """
    factors, order = kept
    out, failed = empty(factors.shape if y is None else y.shape, factors.dtype), failures()
    if out.size:
        n, columns = out.shape[-2:]
        plan = _plan(out.dtype, out.size // (n * columns), n, columns, y is not None)
        sides = factors if y is None else contiguous(y)
        memory = scratch(plan.space, plan.chunks)
        plan.launch(factors, order, sides, out, failed, memory)
    return out, failure(failed)
