"""What all factorisations share: matrices in padded rows, products added by the tiles of `gemm`,
and substitution in blocks.

A matrix is worked on in scratch memory, row after row, each row filled up with zeros to whole
panels of the tiles: these read whole vectors wherever they are. Every sum but those inside a panel
of PANEL columns is a product that the tiles of `gemm` add to a block in place. One matrix is worked
on by one thread, so results do not depend on the number of threads.

Method: Golub & Van Loan, Matrix Computations, 3.1 and 3.2 (blocks), 5.2 (reflections).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.factor.panel import PANEL
from dyn.kernels.gemm import tile as tiles
from dyn.kernels.gemm.pack import (
    A_ROW,
    A_STEP,
    B_STEP,
    BIAS,
    C_ROW,
    ELEMENT,
    FLAGS,
    OWN,
    PACKED_A,
    PACKED_B,
    PANEL_BYTES,
    TALL,
    WHOLE,
    WORDS,
    A,
    B,
    C,
    K,
    M,
    N,
)
from dyn.kernels.gemm.product import multiply
from dyn.kernels.gemm.tile import HEIGHTS
from dyn.kernels.runtime.bytes import put_word
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import call_address, instance, kernel
from dyn.kernels.runtime.threads import argument, atomic_load, compare_swap
from dyn.kernels.vector.runs import clear_run, copy_elements, pointer
from dyn.kernels.vector.sums import ACCUMULATE

BLOCK = 2 * HEIGHTS[0]
"""Rows that substitution solves before the next ones are brought up to date."""
TILES = 2 * len(tiles.TILES_F32)
"""Microkernels of products: from TALL on, those of one vector behind the others."""
FEW = 16
"""Multiplications that are done one by one."""
GRAIN = 1 << 12
"""Work that is worth a chunk, in units of a few nanoseconds."""
PRODUCT, SUBSTITUTE, END = range(WORDS, WORDS + 3)
"""Words behind those of a product: addresses of `multiply` and `substitute`."""
ONE = np.float32(1)
"""What instances of a microkernel have of their own: a number of their elements."""
_NONE = np.iinfo(np.int64).max


@lru_cache
def codes(dtype: np.dtype) -> tuple[int, ...]:
    """Addresses of the microkernels for a dtype, in the order that `prepare` reads them in."""
    made = (
        (substitute_f32, *tiles.TILES_F32, *tiles.NARROW_F32)
        if dtype == np.float32
        else (substitute_f64, *tiles.TILES_F64, *tiles.NARROW_F64)
    )
    return tuple(code.address for code in (multiply, *made))


def pitch_of(columns: int, element: int) -> int:
    """Bytes from a row to the next: whole panels, an odd number of them, so that what lies in one
    column does not meet in few lines of the cache."""
    unit = max(PANEL_BYTES, PANEL * element)
    return (-(-columns * element // unit) | 1) * unit


def room_of(rows: int, columns: int, element: int) -> int:
    """Bytes of a matrix in padded rows; what tiles read beyond the last one is in them."""
    return rows * pitch_of(columns, element) + PANEL_BYTES


class Plan(NamedTuple):
    """A launch, its chunks, and the bytes of a buffer for each thread."""

    launch: Launch
    chunks: int
    space: int


def planned(
    task: Any, arrays: int, words: Sequence[int], space: int, batch: int, rows: int, columns: int,
    depth: int,
) -> Plan:  # fmt: skip
    """The plan of a task, `depth` steps of which go over every one of `batch` matrices."""
    # Tiles go through many numbers at a time, but a row costs something, however short it is.
    work = batch * rows * columns * (4 + depth // 16)
    chunks = max(1, min(batch, chunks_of(work, GRAIN)))
    return Plan(Launch([(task, chunks)], arrays, *words), chunks, space)


@kernel
def prepare(p, args, first, element):
    """Write the words of products that are always the same; codes lie from `first` on."""
    put_word(p, BIAS, 0)
    put_word(p, FLAGS, ACCUMULATE)
    put_word(p, PACKED_A, 0)
    put_word(p, PACKED_B, 0)
    put_word(p, OWN, 0)
    put_word(p, ELEMENT, element)
    put_word(p, PRODUCT, argument(args, first))
    put_word(p, SUBSTITUTE, argument(args, first + 1))
    for i in range(TILES):
        put_word(p, TALL + i, argument(args, first + 2 + i))


@kernel
def accumulate(p, m, n, k, a, a_row, a_step, b, b_row, c, c_row):
    """C += A @ B of (m, k) and (k, n); places and steps in bytes."""
    if m > 0 and n > 0 and k > 0:
        put_word(p, M, m)
        put_word(p, N, n)
        put_word(p, WHOLE, n)
        put_word(p, K, k)
        put_word(p, A, a)
        put_word(p, A_ROW, a_row)
        put_word(p, A_STEP, a_step)
        put_word(p, B, b)
        put_word(p, B_STEP, b_row)
        put_word(p, C, c)
        put_word(p, C_ROW, c_row)
        call_address(argument(p, PRODUCT), p)


@kernel
def fill(target, pitch, source, row, step, rows, columns, element):
    """Bring a matrix into padded rows."""
    for _ in range(rows):
        copy_elements(source, step, target, element, columns)
        clear_run(target + columns * element, pitch - columns * element)
        source += row
        target += pitch
    clear_run(target, PANEL_BYTES)


@kernel
def put_out(source, pitch, target, rows, columns, factor):
    """Bring a matrix, times a number, from padded rows into dense ones."""
    numbers = pointer(target, factor)
    for i in range(rows):
        row = pointer(source + i * pitch, factor)
        for c in range(columns):
            numbers[i * columns + c] = factor * row[c]


UNIT, BACKWARD, NEGATED = 1, 2, 4
"""How to substitute: the diagonal counts as ones; the last row is the first to be solved; T is
given with what is off its diagonal negated."""


def _substitute(p, b, pitch, wide, t, t_row, t_step, n, how):
    """Replace the rows of B by the solution of T @ X = B, or by minus that unless T is NEGATED.

    What is solved is added to the rows that follow, so one of both has the other sign. T is
    triangular; what lies beyond its diagonal is not read.
    """
    backward = how & BACKWARD
    for done in range(0, n, BLOCK):
        count = min(BLOCK, n - done)
        first = n - done - count if backward else done
        known = first + count if backward else 0
        accumulate(
            p, count, wide, done, t + first * t_row + known * t_step, t_row, t_step,
            b + known * pitch, pitch, b + first * pitch, pitch,
        )  # fmt: skip
        for k in range(count):
            row = first + (count - 1 - k if backward else k)
            known = row + 1 if backward else first
            numbers = pointer(b + row * pitch, ONE)
            if k * wide <= FEW:
                # Less than a call of the tiles costs.
                for other in range(known, known + k):
                    factor = pointer(t + row * t_row + other * t_step, ONE)[0]
                    solved = pointer(b + other * pitch, ONE)
                    for c in range(wide):
                        numbers[c] += factor * solved[c]
            else:
                accumulate(
                    p, 1, wide, k, t + row * t_row + known * t_step, t_row, t_step,
                    b + known * pitch, pitch, b + row * pitch, pitch,
                )  # fmt: skip
            divisor = ONE if how & NEGATED else -ONE
            if not how & UNIT:
                divisor *= pointer(t + row * (t_row + t_step), ONE)[0]
            if divisor != ONE:
                for c in range(wide):
                    numbers[c] /= divisor


substitute_f32 = instance("substitute_f32", _substitute)
substitute_f64 = instance("substitute_f64", _substitute, ONE=np.float64(1))


# ---- what cannot be factored -------------------------------------------------------------------

PLACE = 1 << 32


@kernel
def fail(failed, matrix, element):
    """Note that a matrix cannot be factored beyond an element; the first matrix is kept."""
    key = matrix * PLACE + element
    old = atomic_load(failed)
    while key < old and not compare_swap(failed, old, key):
        old = atomic_load(failed)


def failures() -> np.ndarray:
    """What `fail` writes to."""
    return np.array([_NONE])


def failure(failed: np.ndarray) -> tuple[int, int] | None:
    """The first matrix that cannot be factored and the element that it goes up to."""
    key = int(failed[0])
    return None if key == _NONE else divmod(key, PLACE)
