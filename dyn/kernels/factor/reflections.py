"""Orthogonal and upper triangular factors by reflections, a panel at a time.

A panel's reflections together are I - V @ T @ V.T, which three products apply to what is right of
it, and in the end, from the last panel to the first, to the unit matrix.
Source: Schreiber & Van Loan, A storage-efficient WY representation, 1989; signs as in LAPACK.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.factor.panel import PANEL
from dyn.kernels.factor.parts import (
    Plan,
    accumulate,
    codes,
    fill,
    pitch_of,
    planned,
    prepare,
    put_out,
    room_of,
)
from dyn.kernels.gemm.pack import ELEMENT, PANEL_BYTES
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import instance, kernel
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import buffer, leave, scratch, take
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.runs import clear_run, copy_run, pointer

ONE, SIZE = np.float32(1), 4
"""What instances have of their own: a number of their elements, bytes of one."""

X, Q, R, SCRATCH = range(4)
ARRAYS = 4
BATCH, ROWS, COLUMNS, KEPT, PITCH, PITCH_OF_V, SPACE, CODES = range(ARRAYS, ARRAYS + 8)
"""Words: number of matrices, their sizes, columns of Q, bytes from row to row of what is as wide as
a matrix or as Q, and of V; bytes of a buffer; from CODES on what `prepare` reads."""


SMALL, LARGE = 1e-280, 1e280
"""Sums of squares between which float64 loses no digits to numbers that vanish or overflow."""


@kernel
def _squares(a, pitch, rows, factor, one):
    """The sum of the squares of a column times `factor`, but for its first number."""
    total = 0.0
    for i in range(1, rows):
        number = np.float64(pointer(a + i * pitch, one)[0]) * factor
        total += number * number
    return total


@kernel
def _largest(a, pitch, rows, one):
    """The size of the largest number of a column."""
    found = 0.0
    for i in range(rows):
        found = max(found, abs(np.float64(pointer(a + i * pitch, one)[0])))
    return found


@kernel
def _reflect(a, pitch, v, pitch_v, rows, one):
    """Reflect a column so that all but its first number vanish.

    The vector v, which begins with 1, is written; how many times v @ v.T is subtracted is returned.
    """
    factor, total = 1.0, _squares(a, pitch, rows, 1.0, one)
    first = np.float64(pointer(a, one)[0])
    if not SMALL < first * first + total < LARGE:
        # Squares would vanish or overflow: bring the largest number near 1, by a power of two.
        _, exponent = math.frexp(_largest(a, pitch, rows, one))
        factor = math.ldexp(1.0, min(max(-exponent, -1000), 1000))
        first, total = first * factor, _squares(a, pitch, rows, factor, one)
    pointer(v, one)[0] = one
    scale = tau = 0.0
    if total != 0:
        norm = math.sqrt(first * first + total)
        norm = norm if first < 0 else -norm
        tau, scale = (norm - first) / norm, 1 / (first - norm)
        pointer(a, one)[0] = norm / factor
    for i in range(1, rows):
        pointer(v + i * pitch_v, one)[0] = pointer(a + i * pitch, one)[0] * factor * scale
    return tau


@kernel
def _apply(p, v, pitch_v, rows, count, t, t_row, t_step, c, pitch, columns, work):
    """C += V @ T @ V.T @ C for `count` reflections; `work` is room for two panels of rows."""
    element, second = argument(p, ELEMENT), work + PANEL * pitch + PANEL_BYTES
    clear_run(work, 2 * (PANEL * pitch + PANEL_BYTES))
    accumulate(p, count, columns, rows, v, element, pitch_v, c, pitch, work, pitch)
    accumulate(p, count, columns, count, t, t_row, t_step, work, pitch, second, pitch)
    accumulate(p, rows, columns, count, v, pitch_v, element, second, pitch, c, pitch)


@kernel
def _panel(p, a, pitch, v, pitch_v, rows, columns, t, work, one):
    """Reflect the columns of a panel, all rows of which are given; write V and -T.

    T is upper triangular, of rows of PANEL numbers.
    """
    minus, products, size = pointer(t, one), pointer(work, one), argument(p, ELEMENT)
    for j in range(columns):
        below, own = a + j * (pitch + size), v + j * (pitch_v + size)
        tau = _reflect(below, pitch, own, pitch_v, rows - j, one)
        # What v makes of the columns right of it, and of the vectors before it.
        right = columns - 1 - j
        clear_run(work, 4 * PANEL * size)
        accumulate(p, 1, right, rows - j, own, 0, pitch_v, below + size, pitch, work, 0)
        for c in range(right):
            products[c] = -tau * products[c]
        accumulate(p, rows - j, right, 1, own, pitch_v, 0, work, 0, below + size, pitch)
        clear_run(work, 4 * PANEL * size)
        accumulate(p, 1, j, rows - j, own, 0, pitch_v, v + j * pitch_v, pitch_v, work, 0)
        for i in range(j):
            total = one * 0
            for k in range(i, j):
                total += minus[i * PANEL + k] * products[k]
            minus[i * PANEL + j] = -tau * total
        minus[j * PANEL + j] = -tau


def _factors(args, chunk, chunks):
    """Factors of matrices."""
    m, n, kept = argument(args, ROWS), argument(args, COLUMNS), argument(args, KEPT)
    pitch, pitch_v = argument(args, PITCH), argument(args, PITCH_OF_V)
    p = room()
    prepare(p, args, CODES, SIZE)
    memory = data(argument(args, SCRATCH))
    slot = take(memory)
    a = buffer(memory, slot, argument(args, SPACE))
    q = a + m * pitch + PANEL_BYTES
    v = q + m * pitch + PANEL_BYTES
    work = v + m * pitch_v + PANEL_BYTES
    ts = work + 2 * (PANEL * pitch + PANEL_BYTES)
    reflected = min(m - 1, n)
    first, last = bounds(argument(args, BATCH), chunk, chunks, 1)
    for matrix in range(first, last):
        fill(a, pitch, data(argument(args, X)) + matrix * m * n * SIZE, n * SIZE, SIZE, m, n, SIZE)
        clear_run(v, m * pitch_v + PANEL_BYTES)
        for start in range(0, reflected, PANEL):
            count, stop = min(PANEL, reflected - start), min(start + PANEL, reflected)
            t, corner = ts + start * PANEL * SIZE, a + start * (pitch + SIZE)
            reflections = v + start * (pitch_v + SIZE)
            clear_run(t, PANEL * PANEL * SIZE)
            _panel(p, corner, pitch, reflections, pitch_v, m - start, count, t, work, ONE)
            _apply(
                p, reflections, pitch_v, m - start, count, t, SIZE, PANEL * SIZE,
                corner + count * SIZE, pitch, n - stop, work,
            )  # fmt: skip
        clear_run(q, m * pitch + PANEL_BYTES)
        for i in range(kept):
            pointer(q + i * (pitch + SIZE), ONE)[0] = ONE
        panels = (reflected + PANEL - 1) // PANEL
        for k in range(panels):
            start = (panels - 1 - k) * PANEL
            _apply(
                p, v + start * (pitch_v + SIZE), pitch_v, m - start, min(PANEL, reflected - start),
                ts + start * PANEL * SIZE, PANEL * SIZE, SIZE, q + start * (pitch + SIZE), pitch,
                kept - start, work,
            )  # fmt: skip
        put_out(q, pitch, data(argument(args, Q)) + matrix * m * kept * SIZE, m, kept, ONE)
        target = data(argument(args, R)) + matrix * kept * n * SIZE
        for i in range(kept):
            zeros = min(i, n)
            clear_run(target, zeros * SIZE)
            copy_run(a + i * pitch + zeros * SIZE, target + zeros * SIZE, (n - zeros) * SIZE)
            target += n * SIZE
    leave(memory, slot)


factors_f32 = instance("factors_f32", _factors)
factors_f64 = instance("factors_f64", _factors, ONE=np.float64(1), SIZE=8)


@lru_cache(1024)
def _plan(dtype: np.dtype, batch: int, m: int, n: int, kept: int) -> Plan:
    task = factors_f32 if dtype == np.float32 else factors_f64
    size, wide = dtype.itemsize, max(n, kept)
    reflected = min(m, n)
    space = (
        2 * room_of(m, wide, size) + room_of(m, reflected, size) + 2 * room_of(PANEL, wide, size)
    )
    space += room_of(m, reflected, size) + (reflected + PANEL) * PANEL * size
    pitches = pitch_of(wide, size), pitch_of(reflected, size)
    words = batch, m, n, kept, *pitches, space, *codes(dtype)
    return planned(task, ARRAYS, words, space, batch, m, n + kept, 2 * reflected)


def qr(x: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Q (..., m, kept) with orthonormal columns and R (..., kept, n), upper triangular.

    Args:
        x: (..., m, n), float32 or float64.
        kept: the smaller of m and n, or m.
    """
    *batch, m, n = x.shape
    q, r = empty((*batch, m, kept), x.dtype), empty((*batch, kept, n), x.dtype)
    count = math.prod(batch)
    if count and m and (n or kept):
        plan = _plan(x.dtype, count, m, n, kept)
        plan.launch(contiguous(x), q, r, scratch(plan.space, plan.chunks))
    return q, r
