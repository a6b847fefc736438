"""Matrix products with one row, one column or one step: bound by memory, without tiles.

Rows of a matrix are added up a few at a time as they lie, or each is a plain loop that LLVM
vectorises; it reorders the sum of a dot product in a way that does not depend on threads.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime import drive
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.bytes import clear_bytes
from dyn.kernels.runtime.jit import SUM, instance, instances, kernel
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer
from dyn.kernels.vector.simd import F32, F64, WORD, Emitter, Value, fma, intrinsic

GRAIN = 32768
"""Multiplications worth a chunk."""
PART = 256
"""Columns that are worth going over all rows for: shorter pieces are not foreseen by the cache."""
HEIGHT = 8
"""Rows that are added at a time."""
NEAR = 1 << 21
"""Bytes of a matrix that may still be in the second-level cache; rows of larger ones are
prefetched."""
LINE = 16
"""Columns are cut at multiples of it: numbers of a line of the cache, or of two in float64."""
ZERO, SIZE = np.float32(0), 4
"""Stand for the zero and the bytes of each dtype in its instance of a task."""


def _adding(element: ir.Type, height: int, *, ahead: bool = False) -> Any:
    """The generator of out[:] += sum over `height` rows of x[r] * a[r, :], of `count` numbers each.

    `step` is the bytes from row to row; `ahead`: the rows that are next are prefetched.
    """

    @intrinsic
    def add_rows(typing: Any, a: Any, step: Any, x: Any, out: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, step, x, out, count = arguments
            emit = Emitter(builder, element)
            rows = [builder.add(a, builder.mul(step, WORD(r))) for r in range(height)]
            factors = [emit.splat_at(builder.add(x, WORD(r * emit.size))) for r in range(height)]
            far = builder.mul(step, WORD(height))

            def add(offset: Any, carried: list[Value], mask: Any) -> list[Value]:
                place = builder.add(out, offset)
                found = emit.load(place, mask)
                for row, factor in zip(rows, factors, strict=True):
                    at = builder.add(row, offset)
                    found = fma(emit.load(at, mask), factor, found)
                    if ahead:
                        emit.fetch(builder.add(at, far))
                emit.store(found, place, mask)
                return []

            emit.row(count, add)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), generate

    return add_rows


add_rows, add_row = _adding(F32, HEIGHT), _adding(F32, 1)
"""Stand for those of each dtype in its instance of a task; these are of float32."""


def _combine(args, chunk, chunks):
    """out[i, :] = sum over r of x[i, r] * a[i, r, :]: (a, x, out, matrices, rows, columns, parts).

    A chunk does some of the `parts` of the columns of all matrices, HEIGHT rows at a time, so that
    the sums are read and written less often.
    """
    rows, columns, parts = argument(args, 4), argument(args, 5), argument(args, 6)
    a, x, out = data(argument(args, 0)), data(argument(args, 1)), data(argument(args, 2))
    begin, end = bounds(argument(args, 3) * parts, chunk, chunks, 1)
    step, whole = columns * SIZE, rows - rows % HEIGHT
    for unit in range(begin, end):
        i = unit // parts
        first, last = bounds(columns, unit % parts, parts, LINE)
        to, count = out + i * step + first * SIZE, last - first
        at, by = a + i * rows * step + first * SIZE, x + i * rows * SIZE
        clear_bytes(to, count * SIZE)
        for r in range(0, whole, HEIGHT):
            add_rows(at + r * step, step, by + r * SIZE, to, count)
        for r in range(whole, rows):
            add_row(at + r * step, step, by + r * SIZE, to, count)


def _combining_tasks(name: str, *, ahead: bool) -> dict[np.dtype, Any]:
    """The task by dtype."""
    return {
        np.dtype(code): instance(
            f"{name}_{code}",
            _combine,
            SIZE=np.dtype(code).itemsize,
            add_rows=_adding(element, HEIGHT, ahead=ahead),
            add_row=_adding(element, 1),
        )
        for code, element in (("f4", F32), ("f8", F64))
    }


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


def _dot_rows_task(args, chunk, chunks):
    _dot_rows(args, chunk, chunks, ZERO)


_COMBINE = _combining_tasks("combine", ahead=False)
_COMBINE_FAR = _combining_tasks("combine_far", ahead=True)
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
    task = (_COMBINE_FAR if rows * columns * dtype.itemsize > NEAR else _COMBINE)[dtype]
    return drive.Launch([(task, min(chunks, count * parts))], 3, count, rows, columns, parts)


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
