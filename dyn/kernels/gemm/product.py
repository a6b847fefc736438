"""Loops over the tiles of a matrix product, and how a product is cut into chunks.

A product is cut along its longer side, by sizes alone; each chunk walks over blocks of columns, of
k, and, inside, over row tiles and column panels. What must be packed (`pack.py`) is packed before,
by all threads together. Batches are cut over their matrices. Products with one column or one row
have loops of their own (`thin.py`).

Method: Goto & van de Geijn 2008; blocks follow the cache, sums never follow the threads.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.gemm import pack as packs
from dyn.kernels.gemm import tile as tiles
from dyn.kernels.gemm.pack import (
    A_ROW,
    A_STEP,
    B_COLUMN,
    B_STEP,
    BIAS,
    C_ROW,
    CODES,
    ELEMENT,
    FLAGS,
    LOW,
    MIDDLE,
    PACKED_A,
    PACKED_B,
    PANEL_BYTES,
    TALL,
    TILE_ROWS,
    TOGETHER,
    WHOLE,
    WORDS,
    A,
    B,
    C,
    K,
    M,
    N,
    pitch,
)
from dyn.kernels.gemm.thin import thin, times_vectors
from dyn.kernels.gemm.tile import ACCUMULATE, HEIGHTS, RELU
from dyn.kernels.runtime import memory, threads
from dyn.kernels.runtime.arrays import data, size, stride
from dyn.kernels.runtime.bytes import copy_bytes, put_word
from dyn.kernels.runtime.jit import call_address, kernel, microkernel, task
from dyn.kernels.runtime.threads import argument, bounds, pack, parallel_for
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.transpose import transpose_f32, transpose_f64

DEPTH = 384
"""Steps of k in a block: a panel of B of this depth stays in the first-level cache."""
COLUMNS = 512
"""Columns of a block of B, which stays in the second-level cache."""
IN_PLACE = 160 * 1024
"""Elements of B up to which packing costs more than it saves."""
GRAIN = 1 << 19
"""Multiplications worth a chunk of their own."""
MAX_CHUNKS = 40
"""So many that a thread that comes late, or is held up, costs little."""
RESIDENT, LONG, FEW_CHUNKS = 1 << 18, 128, 16
"""Every chunk reads all of one operand. If that has more elements than RESIDENT, which the second-
level cache keeps, chunks are LONG rows or columns, unless that makes less than FEW_CHUNKS."""
BATCH_CHUNKS = 16
"""Those of a batch have memory for packing each."""
PACK_GRAIN = 1 << 15
"""Numbers to be packed that are worth a chunk."""


@microkernel(1)
def multiply(p):
    """One product on the calling thread, described by the words at `p`."""
    m, n, k = argument(p, M), argument(p, N), argument(p, K)
    element, c_row, bias = argument(p, ELEMENT), argument(p, C_ROW), argument(p, BIAS)
    tall, middle, low = argument(p, TALL), argument(p, MIDDLE), argument(p, LOW)
    whole, packed_a, packed_b = argument(p, WHOLE), argument(p, PACKED_A), argument(p, PACKED_B)
    panel, between = PANEL_BYTES // element, pitch(k)
    row, step = argument(p, A_ROW), argument(p, A_STEP)
    if packed_a:
        row, step = element, TILE_ROWS * element
    # Blocks of k of one depth: a short last one would cost as much to add as a whole one.
    parts = (k + DEPTH - 1) // DEPTH
    span = (k + parts - 1) // parts
    for block in range(0, n, COLUMNS):
        end = min(block + COLUMNS, n)
        for start in range(0, k, span):
            depth = min(span, k - start)
            first_pass, last_pass = start == 0, start + depth == k
            flags = argument(p, FLAGS) & (ACCUMULATE if first_pass else 0)
            flags |= 0 if first_pass else ACCUMULATE
            flags |= argument(p, FLAGS) & RELU if last_pass else 0
            i = 0
            while i < m:
                left = m - i
                height = HEIGHTS[0] if left > HEIGHTS[1] else HEIGHTS[1]
                height = HEIGHTS[2] if left <= HEIGHTS[2] else height
                tile = tall if height == HEIGHTS[0] else middle
                tile = low if height == HEIGHTS[2] else tile
                rows = min(height, left)
                if packed_a:
                    source = packed_a + (i // HEIGHTS[0] * between + start) * step
                else:
                    source = argument(p, A) + i * row + start * step
                target = argument(p, C) + i * c_row
                for j in range(block, end, panel):
                    if j < whole:
                        from_b = argument(p, B) + start * argument(p, B_STEP) + j * element
                        b_by = argument(p, B_STEP)
                    else:
                        from_b = packed_b + ((j - whole) // panel * between + start) * PANEL_BYTES
                        b_by = PANEL_BYTES
                    shift = bias + j * element if bias and last_pass else 0
                    call_address(
                        tile, depth, source, row, step, from_b, b_by, target + j * element, c_row,
                        rows, n - j, shift, flags,
                    )  # fmt: skip
                i += rows


@task
def _pack_part(args, chunk, chunks):
    """A share of the packing: words of the product, the address of `pack_steps`."""
    first, last = bounds(argument(argument(args, 0), K), chunk, chunks, TOGETHER)
    call_address(argument(args, 1), argument(args, 0), first, last)


@task
def _part(args, chunk, chunks):
    """One chunk of a product: its words, the address of `multiply`, the side."""
    p, by_rows = argument(args, 0), argument(args, 2)
    between, element = pitch(argument(p, K)), argument(p, ELEMENT)
    own = room()
    copy_bytes(own, p, 8 * WORDS)
    unit = HEIGHTS[0] if by_rows else PANEL_BYTES // element
    first, last = bounds(argument(p, M if by_rows else N), chunk, chunks, unit)
    if first >= last:
        return
    if by_rows:
        put_word(own, M, last - first)
        put_word(own, A, argument(p, A) + first * argument(p, A_ROW))
        put_word(own, C, argument(p, C) + first * argument(p, C_ROW))
        if argument(p, PACKED_A):
            tiles_before = first // HEIGHTS[0] * between * TILE_ROWS * element
            put_word(own, PACKED_A, argument(p, PACKED_A) + tiles_before)
    else:
        whole = argument(p, WHOLE)
        put_word(own, N, last - first)
        put_word(own, B, argument(p, B) + first * argument(p, B_COLUMN))
        put_word(own, C, argument(p, C) + first * element)
        if argument(p, BIAS):
            put_word(own, BIAS, argument(p, BIAS) + first * element)
        panels_before = max(0, first - whole) // unit * between * PANEL_BYTES
        put_word(own, PACKED_B, argument(p, PACKED_B) + panels_before)
        put_word(own, WHOLE, max(0, min(whole, last) - first))
    call_address(argument(args, 1), own)


@task
def _batch_part(args, chunk, chunks):
    """Some matrices of a batch: (words of one product, multiply, pack_steps, table of offsets,
    matrices, numbers packed, scratch bytes of a chunk)."""
    p, table = argument(args, 0), argument(args, 3)
    own = room()
    copy_bytes(own, p, 8 * WORDS)
    put_word(own, PACKED_B, argument(p, PACKED_B) + chunk * argument(args, 6))
    if argument(p, PACKED_A):
        put_word(own, PACKED_A, argument(p, PACKED_A) + chunk * argument(args, 6))
    first, last = bounds(argument(args, 4), chunk, chunks, 1)
    for i in range(first, last):
        put_word(own, A, argument(p, A) + argument(table, 3 * i))
        put_word(own, B, argument(p, B) + argument(table, 3 * i + 1))
        put_word(own, C, argument(p, C) + argument(table, 3 * i + 2))
        if argument(args, 5):
            call_address(argument(args, 2), own, 0, argument(p, K))
        call_address(argument(args, 1), own)


@kernel(forceinline=True)
def _describe(p, codes, a, a_axis, b, b_axis, c, c_axis, cut):
    """Fill in the words of a product of arrays given by `id`; their rows are the axes named.

    `cut` is (whole, offset of the packed A in the scratch or 0, `id` of the scratch or 0).
    """
    whole, a_at, scratch = cut
    at = data(scratch) if scratch else 0
    put_word(p, M, size(c, c_axis))
    put_word(p, N, size(c, c_axis + 1))
    put_word(p, K, size(a, a_axis + 1))
    put_word(p, A, data(a))
    put_word(p, A_ROW, stride(a, a_axis))
    put_word(p, A_STEP, stride(a, a_axis + 1))
    put_word(p, B, data(b))
    put_word(p, B_STEP, stride(b, b_axis))
    put_word(p, B_COLUMN, stride(b, b_axis + 1))
    put_word(p, C, data(c))
    put_word(p, C_ROW, stride(c, c_axis))
    put_word(p, ELEMENT, stride(c, c_axis + 1))
    put_word(p, BIAS, 0)
    put_word(p, FLAGS, 0)
    put_word(p, WHOLE, whole)
    put_word(p, PACKED_A, at + a_at if a_at else 0)
    put_word(p, PACKED_B, at + PANEL_BYTES)
    for i in range(CODES):
        put_word(p, TALL + i, codes[3 + i])


@kernel
def _drive(pool, part, codes, a, b, c, bias, flags, cut, packed, chunks, side):
    """A product of two matrices; codes are addresses of tasks and microkernels."""
    p = room()
    _describe(p, codes, a, 0, b, 0, c, 0, cut)
    if bias:
        put_word(p, BIAS, data(bias))
    put_word(p, FLAGS, flags)
    if packed:
        parallel_for(pool, codes[2], pack(p, codes[1]), max(1, min(packed // PACK_GRAIN, chunks)))
    if chunks == 1:
        call_address(codes[0], p)
    else:
        parallel_for(pool, part, pack(p, codes[0], side), chunks)


@kernel
def _drive_batch(
    pool, part, codes, a, a_axis, b, b_axis, c, c_axis, cut, table, count, packed, step, chunks
):
    """Many products of the same sizes, at the offsets in the array `table`."""
    p = room()
    _describe(p, codes, a, a_axis, b, b_axis, c, c_axis, cut)
    args = pack(p, codes[0], codes[1], data(table), count, packed, step)
    parallel_for(pool, part, args, chunks)


# ---- from Python -------------------------------------------------------------------------------

_CODES: dict[str, tuple[int, ...]] = {}


def _codes(dtype: np.dtype) -> tuple[int, ...]:
    """Addresses of `multiply`, `pack_steps`, its task, and of the microkernels for a dtype."""
    found = _CODES.get(dtype.char)
    if found is None:
        single = dtype == np.float32
        of_dtype = (
            (tiles.tall_f32, tiles.middle_f32, tiles.low_f32, transpose_f32,
             packs.copy_tile_f32, packs.copy_panel_f32)
            if single
            else (tiles.tall_f64, tiles.middle_f64, tiles.low_f64, transpose_f64,
                  packs.copy_tile_f64, packs.copy_panel_f64)
        )  # fmt: skip
        made = (multiply, packs.pack_steps, _pack_part, *of_dtype)
        found = _CODES[dtype.char] = tuple(k.address for k in made)
    return found


class _Cut(NamedTuple):
    """How a product is cut and what is packed.

    Attributes:
        chunks, by_rows: along which side and into how many pieces.
        whole: columns of B that are read in place.
        a_at: where the packed A lies in the scratch, in bytes; 0 if A is read in place.
        packed: numbers that are packed.
        scratch: bytes.
    """

    chunks: int
    by_rows: bool
    whole: int
    a_at: int
    packed: int
    scratch: int


@lru_cache(4096)
def _cut(m: int, n: int, k: int, element: int, steps_in_a: bool, columns_in_b: bool) -> _Cut:
    """The cut for sizes, and whether steps of k in A and columns of B are neighbours in memory."""
    panel, height = PANEL_BYTES // element, HEIGHTS[0]
    in_place = columns_in_b and (n * k <= IN_PLACE or m <= 2 * height or n <= 2 * panel)
    # The last panel may not be read in place: its vectors would reach beyond B.
    whole = n - n % panel if in_place else 0
    panels = -(-(n - whole) // panel)
    packs_a = not steps_in_a and k > 32 and n > panel
    tall = -(-m // height) if packs_a else 0
    between = k | TOGETHER
    # The first bytes are never used, so that 0 can mean "in place".
    a_at = PANEL_BYTES + panels * between * PANEL_BYTES
    scratch = a_at + tall * between * TILE_ROWS * element
    by_rows = m >= n
    packed = (panels * panel + tall * height) * k
    length, shared = (m, n * k) if by_rows else (n, m * k)
    pieces = -(-length // (height if by_rows else 2 * panel))
    if shared > RESIDENT:
        pieces = min(pieces, max(FEW_CHUNKS, length // LONG))
    chunks = max(1, min(m * n * k // GRAIN, MAX_CHUNKS, pieces))
    return _Cut(chunks, by_rows, whole, a_at if packs_a else 0, packed, scratch)


def product(a: np.ndarray, b: np.ndarray, c: np.ndarray, bias: Any, flags: int) -> None:
    """c = a @ b (+ bias) for matrices of one floating-point dtype; `flags` are those of a tile."""
    m, k = a.shape
    n = b.shape[1]
    if m == 1 or n == 1 or k == 1:
        thin(a, b, c, bias, bool(flags & RELU))
        return
    a, b = _with_unit_step(a), _with_unit_step(b)
    element = c.itemsize
    cut = _cut(m, n, k, element, a.strides[1] == element, b.strides[1] == element)
    scratch = memory.empty((cut.scratch,), np.uint8) if cut.packed else None
    _drive(
        threads.pool() if cut.chunks > 1 else 0,
        _part.address,
        _codes(c.dtype),
        id(a),
        id(b),
        id(c),
        0 if bias is None else id(bias),
        flags,
        (cut.whole, cut.a_at, 0 if scratch is None else id(scratch)),
        cut.packed,
        cut.chunks,
        cut.by_rows,
    )


def _with_unit_step(x: np.ndarray) -> np.ndarray:
    """The matrices themselves if one of their axes is contiguous, else a copy."""
    return x if x.itemsize in x.strides[-2:] else contiguous(x)


@lru_cache(1024)
def _offsets(batch: tuple[int, ...], *steps: tuple[int, ...]) -> np.ndarray:
    """Bytes from the first matrix to each of a batch, in A, B and C in turn: [matrices * 3]."""
    found = np.zeros((*batch, len(steps)), np.int64)
    for axis, length in enumerate(batch):
        shape = [1] * len(batch)
        shape[axis] = length
        by = np.array([own[axis] for own in steps], np.int64)
        found += np.arange(length).reshape(*shape, 1) * by
    return found.reshape(-1)


def _steps(x: np.ndarray, batch: tuple[int, ...]) -> tuple[int, ...]:
    """Bytes between matrices along each axis of the batch; 0 where x is repeated."""
    missing = len(batch) - (x.ndim - 2)
    own = [s if n != 1 else 0 for s, n in zip(x.strides[:-2], x.shape[:-2], strict=True)]
    return (0,) * missing + tuple(own)


def batched(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    """c = a @ b over the leading axes of c, along which a and b are broadcast."""
    if c.shape[-1] == 1 and times_vectors(a, b[..., 0], c):
        return
    if c.shape[-2] == 1 and times_vectors(b.swapaxes(-1, -2), a[..., 0, :], c):
        return
    a, b = _with_unit_step(a), _with_unit_step(b)
    batch = c.shape[:-2]
    count = math.prod(batch)
    offsets = _offsets(batch, _steps(a, batch), _steps(b, batch), _steps(c, batch))
    (m, n), k, element = c.shape[-2:], a.shape[-1], c.itemsize
    cut = _cut(m, n, k, element, a.strides[-1] == element, b.strides[-1] == element)
    chunks = max(1, min(m * n * k * count // GRAIN, count, BATCH_CHUNKS))
    step = -(-cut.scratch // 64) * 64
    scratch = memory.empty((chunks * step,), np.uint8) if cut.packed else None
    _drive_batch(
        threads.pool() if chunks > 1 else 0,
        _batch_part.address,
        _codes(c.dtype),
        id(a),
        a.ndim - 2,
        id(b),
        b.ndim - 2,
        id(c),
        c.ndim - 2,
        (cut.whole, cut.a_at, 0 if scratch is None else id(scratch)),
        id(offsets),
        count,
        cut.packed,
        step,
        chunks,
    )
