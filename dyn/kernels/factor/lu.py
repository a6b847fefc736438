"""LU factors with the largest element of each column as the pivot, and what they are used for:
determinants, solutions, inverses.

P @ x = L @ U; in scratch memory L has a negative sign. What a gradient will need is kept: both
factors in one matrix, L below the diagonal, which is that of U, and the order of the rows. What is
solved with them again is in `again.py`. Source: Golub & Van Loan, Matrix Computations, 3.4.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dyn.kernels.copy import contiguous, filled
from dyn.kernels.factor.panel import eliminate_f32, eliminate_f64
from dyn.kernels.factor.parts import (
    BACKWARD,
    END,
    NEGATED,
    PANEL,
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
from dyn.kernels.factor.small import SMALL, eliminate_small, pivot_of, substitute_small
from dyn.kernels.gemm.pack import PANEL_BYTES
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.bytes import put_word
from dyn.kernels.runtime.jit import call_address, instance, kernel
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import buffer, leave, scratch, take
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.runs import clear_run, copy_run, pointer

ONE, SIZE = np.float32(1), 4
"""What instances have of their own: a number of their elements, bytes of one."""
_I64 = np.int64(0)

X, Y, OUT, SIZES, FAILED, SCRATCH, FACTORS, ORDER = range(8)
ARRAYS = 8
"""Arrays of the tasks: matrices, right-hand sides, results, logarithms; the note of the first
failure; buffers; the factors, and for each row of them the number of the row of the matrix."""
BATCH, ROWS, COLUMNS, PITCH, PITCH_OF_Y, FLAG, SPACE, FACTOR, STEP, CODES = range(
    ARRAYS, ARRAYS + 10
)
"""Words: number of matrices, their rows, columns of right-hand sides, bytes from row to row of
both; ASKED and KEPT; bytes of a buffer; the address of
`factor` and of the step within a panel; from CODES on what `prepare` reads."""
ASKED, KEPT = 1, 2
"""Logarithms are wanted, or right-hand sides given; the factors are kept."""
ELIMINATE = END
"""Word behind those of `prepare`: the address of the step within a panel."""
LINE = 64


def _room_of_order(n: int) -> int:
    """Bytes of what `factor` writes beside the factors."""
    return -(-8 * (n + 2) // LINE) * LINE


@kernel(fastmath=("contract", "nsz"))
def _exchange(x, pitch, i, j):
    """Exchange two rows."""
    for c in range(pitch):
        x[i * pitch + c], x[j * pitch + c] = x[j * pitch + c], x[i * pitch + c]


def _factor(p, a, pitch, n, order):
    """Factor in place.

    At `order` are written the rows in the order of the pivots, the sign of the exchanges, and the
    place of the first pivot that is zero, counted from 1, or 0.
    """
    x, rows, eliminate = pointer(a, ONE), pointer(order, _I64), argument(p, ELIMINATE)
    wide = pitch // SIZE
    # Where `eliminate` writes the row of the next pivot: the sign's place is free until the end.
    sign, bad, found = 1, 0, order + 8 * n
    for i in range(n):
        rows[i] = i
    for start in range(0, n, PANEL):
        stop = min(start + PANEL, n)
        at = pivot_of(x, wide, n, start)
        for j in range(start, stop):
            if at != j:
                _exchange(x, wide, at, j)
                rows[at], rows[j] = rows[j], rows[at]
                sign = -sign
            if x[j * wide + j] != 0:
                panel_row = a + j * pitch + start * SIZE
                call_address(eliminate, panel_row, pitch, n - 1 - j, j - start, found)
                at = j + rows[n]
            else:
                bad = bad if bad else j + 1
                at = pivot_of(x, wide, n, j + 1) if j + 1 < stop else j
        top, below, right = a + start * (pitch + SIZE), a + stop * pitch, stop * SIZE
        beside = a + start * pitch + right
        call_address(
            argument(p, SUBSTITUTE), p, beside, pitch, n - stop, top, pitch, SIZE, stop - start,
            UNIT | NEGATED,
        )  # fmt: skip
        accumulate(
            p, n - stop, n - stop, PANEL, below + start * SIZE, pitch, SIZE, beside, pitch,
            below + right, pitch,
        )  # fmt: skip
    rows[n], rows[n + 1] = sign, bad


factor_f32 = instance("factor_f32", _factor)
factor_f64 = instance("factor_f64", _factor, ONE=np.float64(1), SIZE=8)


@kernel
def _keep(args, matrix, n, a, pitch, order, one, element):
    """Write factors in padded rows, and the order of their rows, to where they are kept."""
    target = data(argument(args, FACTORS)) + matrix * n * n * element
    for i in range(n):
        row, kept = pointer(a + i * pitch, one), pointer(target + i * n * element, one)
        for c in range(i):
            kept[c] = -row[c]
        for c in range(i, n):
            kept[c] = row[c]
    copy_run(order, data(argument(args, ORDER)) + matrix * n * 8, n * 8)


def _determinants(args, chunk, chunks):
    """Determinants, or signs and logarithms."""
    n, pitch, flag = argument(args, ROWS), argument(args, PITCH), argument(args, FLAG)
    logarithm, keeps = flag & ASKED, flag & KEPT
    out = pointer(data(argument(args, OUT)), ONE)
    sizes = pointer(data(argument(args, SIZES)), ONE)
    p = room()
    prepare(p, args, CODES, SIZE)
    put_word(p, ELIMINATE, argument(args, STEP))
    memory = data(argument(args, SCRATCH))
    slot = take(memory)
    a = buffer(memory, slot, argument(args, SPACE))
    order = a + n * pitch + PANEL_BYTES
    start, stop = bounds(argument(args, BATCH), chunk, chunks, 1)
    along = n + 1 if n <= SMALL else pitch // SIZE + 1
    for i in range(start, stop):
        source = data(argument(args, X)) + i * n * n * SIZE
        if n <= SMALL:
            # Where they are kept, the factors are made in their place.
            at = data(argument(args, FACTORS)) + i * n * n * SIZE if keeps else a
            rows = pointer(data(argument(args, ORDER)) + i * n * 8 if keeps else order, _I64)
            copy_run(source, at, n * n * SIZE)
            x = pointer(at, ONE)
            odd = eliminate_small(x, x, n, 0, rows) % 2 == 1
        else:
            x = pointer(a, ONE)
            fill(a, pitch, source, n * SIZE, SIZE, n, n, SIZE)
            call_address(argument(args, FACTOR), p, a, pitch, n, order)
            odd = pointer(order, _I64)[n] < 0
            if keeps:
                _keep(args, i, n, a, pitch, order, ONE, SIZE)
        sign, total = (-ONE if odd else ONE), 0.0
        for j in range(n):
            value = x[j * along]
            if logarithm:
                total += math.log(abs(value))
                sign = -sign if value < 0 else (sign if value > 0 else sign * value)
            else:
                sign *= value
        out[i] = sign
        if logarithm:
            sizes[i] = total
    leave(memory, slot)


def _solutions(args, chunk, chunks):
    """Solutions of x @ out = y; inverses where there are as many columns and no y."""
    n, columns, flag = argument(args, ROWS), argument(args, COLUMNS), argument(args, FLAG)
    given, keeps = flag & ASKED, flag & KEPT
    y, out = data(argument(args, Y)), data(argument(args, OUT))
    p = room()
    prepare(p, args, CODES, SIZE)
    put_word(p, ELIMINATE, argument(args, STEP))
    memory = data(argument(args, SCRATCH))
    pitch, pitch_of_b = argument(args, PITCH), argument(args, PITCH_OF_Y)
    slot = take(memory)
    a = buffer(memory, slot, argument(args, SPACE))
    b = a + n * pitch + PANEL_BYTES
    order = b + n * pitch_of_b + PANEL_BYTES
    rows = pointer(order, _I64)
    start, stop = bounds(argument(args, BATCH), chunk, chunks, 1)
    for i in range(start, stop):
        source, target = data(argument(args, X)) + i * n * n * SIZE, out + i * n * columns * SIZE
        if n <= SMALL:
            at = data(argument(args, FACTORS)) + i * n * n * SIZE if keeps else a
            own = pointer(data(argument(args, ORDER)) + i * n * 8 if keeps else order, _I64)
            copy_run(source, at, n * n * SIZE)
            if given:
                copy_run(y + i * n * columns * SIZE, target, n * columns * SIZE)
            else:
                clear_run(target, n * n * SIZE)
                for j in range(n):
                    pointer(target, ONE)[j * (n + 1)] = ONE
            x, solved = pointer(at, ONE), pointer(target, ONE)
            bad = eliminate_small(x, solved, n, columns, own) // 2
            if bad:
                fail(data(argument(args, FAILED)), i, bad)
            else:
                substitute_small(x, solved, n, columns)
            continue
        fill(a, pitch, source, n * SIZE, SIZE, n, n, SIZE)
        call_address(argument(args, FACTOR), p, a, pitch, n, order)
        if rows[n + 1]:
            fail(data(argument(args, FAILED)), i, rows[n + 1])
            continue
        if keeps:
            _keep(args, i, n, a, pitch, order, ONE, SIZE)
        clear_run(b, n * pitch_of_b + PANEL_BYTES)
        for j in range(n):
            row = b + j * pitch_of_b
            if given:
                copy_run(y + (i * n + rows[j]) * columns * SIZE, row, columns * SIZE)
            else:
                pointer(row, ONE)[rows[j]] = ONE
        for how in (UNIT | NEGATED, BACKWARD):
            call_address(argument(p, SUBSTITUTE), p, b, pitch_of_b, columns, a, pitch, SIZE, n, how)
        put_out(b, pitch_of_b, target, n, columns, -ONE)
    leave(memory, slot)


determinants_f32, solutions_f32 = (
    instance(f"{name}_f32", body)
    for name, body in (("determinants", _determinants), ("solutions", _solutions))
)
determinants_f64, solutions_f64 = (
    instance(f"{name}_f64", body, ONE=np.float64(1), SIZE=8)
    for name, body in (("determinants", _determinants), ("solutions", _solutions))
)
_DETERMINANTS = {np.dtype(np.float32): determinants_f32, np.dtype(np.float64): determinants_f64}
_SOLUTIONS = {np.dtype(np.float32): solutions_f32, np.dtype(np.float64): solutions_f64}
_ELIMINATE = {np.dtype(np.float32): eliminate_f32, np.dtype(np.float64): eliminate_f64}
_FACTOR = {np.dtype(np.float32): factor_f32, np.dtype(np.float64): factor_f64}


# ---- from Python -------------------------------------------------------------------------------


@lru_cache(1024)
def _plan(tasks: str, dtype: np.dtype, batch: int, n: int, columns: int, flag: int) -> Plan:
    """For `batch` matrices; `columns` is 0 for determinants."""
    task = (_SOLUTIONS if tasks == "solutions" else _DETERMINANTS)[dtype]
    size = dtype.itemsize
    space = room_of(n, n, size) + room_of(n, columns, size) + _room_of_order(n)
    words = batch, n, columns, pitch_of(n, size), pitch_of(columns, size), flag, space
    own = (code[dtype].address for code in (_FACTOR, _ELIMINATE))
    every = *words, *own, *codes(dtype)
    return planned(task, ARRAYS, every, space, batch, n, n + columns, n)


class Kept(NamedTuple):
    """Factors of matrices for later.

    Attributes:
        factors: (..., n, n), L below the diagonal and U.
        order: (..., n), the row of the matrix that each of their rows comes from, int64.
    """

    factors: np.ndarray
    order: np.ndarray


def _kept(x: np.ndarray) -> Kept:
    return Kept(empty(x.shape, x.dtype), empty(x.shape[:-1], np.dtype(np.int64)))


def determinants(x: np.ndarray) -> tuple[np.ndarray, Kept]:
    """Determinants of (..., n, n), float32 or float64, and the factors."""
    out, kept = empty(x.shape[:-2], x.dtype), _kept(x)
    _determine(contiguous(x), out, out, kept, KEPT)
    return out, kept


def logarithms(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, Kept]:
    """Sign and logarithm of the size of determinants of (..., n, n), float32 or float64."""
    sign, sizes, kept = empty(x.shape[:-2], x.dtype), empty(x.shape[:-2], x.dtype), _kept(x)
    _determine(contiguous(x), sign, sizes, kept, KEPT | ASKED)
    return sign, sizes, kept


def _determine(x: np.ndarray, out: np.ndarray, sizes: np.ndarray, kept: Kept, flag: int) -> None:
    if out.size:
        plan = _plan("determinants", x.dtype, out.size, x.shape[-1], 0, flag)
        memory = scratch(plan.space, plan.chunks)
        plan.launch(x, x, out, sizes, memory, memory, *kept)


def inverses(x: np.ndarray) -> tuple[np.ndarray, tuple[int, int] | None]:
    """The inverses of (..., n, n), float32 or float64, and what `solutions` says of a failure."""
    out, failed = empty(x.shape, x.dtype), failures()
    if out.size:
        n = x.shape[-1]
        plan = _plan("solutions", x.dtype, out.size // (n * n), n, n, 0)
        x = contiguous(x)
        plan.launch(x, x, out, out, failed, scratch(plan.space, plan.chunks), x, x)
    return out, failure(failed)


def solutions(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, tuple[int, int] | None, Kept]:
    """The solutions of x @ out = y.

    Args:
        x: (..., n, n), float32 or float64.
        y: (..., n, k) with the same leading sizes and dtype.

    Returns:
        Them; where a pivot was zero, if any was: number of the matrix and of the pivot; and the
        factors.
    """
    out, failed = empty(y.shape, x.dtype), failures()
    if not out.size:
        # Nothing is solved, so nothing is factored, and nobody reads the factors.
        order = filled(x.shape[:-1], 0, np.dtype(np.int64))
        return out, None, Kept(filled(x.shape, 0, x.dtype), order)
    kept = _kept(x)
    n, columns = y.shape[-2:]
    plan = _plan("solutions", x.dtype, out.size // (n * columns), n, columns, ASKED | KEPT)
    memory = scratch(plan.space, plan.chunks)
    plan.launch(contiguous(x), contiguous(y), out, out, failed, memory, *kept)
    return out, failure(failed), kept
