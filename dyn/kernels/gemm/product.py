"""Loops over the tiles of a matrix product.

A product is cut along one side (`cut.py`); each chunk walks over blocks of columns, of k, and,
inside, over row tiles and column panels. What must be packed (`pack.py`) a chunk packs right before
it reads it, while it is in the cache; panels that several chunks of rows read are packed before, by
all threads together. Batches are cut over their matrices. Products with one column or one row have
loops of their own (`thin.py`), and so have those of few rows or columns along k (`dots.py`).

Method: Goto & van de Geijn 2008; blocks follow the cache, sums never follow the threads.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.copy import copied
from dyn.kernels.gemm import pack as packs
from dyn.kernels.gemm import tile as tiles
from dyn.kernels.gemm.cut import COLUMNS, DEPTH, cut_of, packing_of, work_of
from dyn.kernels.gemm.dots import dots_launch
from dyn.kernels.gemm.pack import (
    A_ROW,
    A_STEP,
    B_COLUMN,
    B_STEP,
    BIAS,
    C_ROW,
    CODES,
    COLUMN,
    ELEMENT,
    FLAGS,
    LINE,
    LOW,
    MIDDLE,
    NARROW,
    OWN,
    PACK,
    PACKED_A,
    PACKED_B,
    PANEL_BYTES,
    TALL,
    TOGETHER,
    WHOLE,
    A,
    B,
    C,
    K,
    M,
    N,
    pack_tile,
    pitch,
    row_pitch,
)
from dyn.kernels.gemm.thin import thin, times_vectors
from dyn.kernels.gemm.tile import HEIGHTS, TILE_ROWS, VECTORS, tile_for
from dyn.kernels.runtime import memory
from dyn.kernels.runtime.arrays import data, size, stride
from dyn.kernels.runtime.bytes import prefetch_write, put_word
from dyn.kernels.runtime.drive import Launch
from dyn.kernels.runtime.jit import call_address, kernel, microkernel, task
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.sums import ACCUMULATE, RELU
from dyn.kernels.vector.transpose import transpose_f32, transpose_f64

BATCH_GRAIN = 1 << 17
"""Multiplications of a batch worth a chunk: small matrices reach less of the processor's speed."""
BATCH_CHUNKS = 16
"""Those of a batch have memory for packing each."""
MANY_STEPS = 48
"""A tile of fewer steps of k ends before the lines of C have come that it is written to, one after
the other where a tile ends within a pair of them: they are asked for while the one before it is
computed."""
PACK_GRAIN = 1 << 15
"""Numbers to be packed that are worth a chunk."""


@microkernel(1)
def multiply(p):
    """One product on the calling thread, described by the words at `p`."""
    m, n, k = argument(p, M), argument(p, N), argument(p, K)
    element, c_row, bias = argument(p, ELEMENT), argument(p, C_ROW), argument(p, BIAS)
    whole, packed_a, packed_b = argument(p, WHOLE), argument(p, PACKED_A), argument(p, PACKED_B)
    panel, own = PANEL_BYTES // element, argument(p, OWN)
    vector = panel // VECTORS
    row, step = argument(p, A_ROW), argument(p, A_STEP)
    copied_rows = packed_a and step == element
    if packed_a and not copied_rows:
        row, step = element, TILE_ROWS * element
    fetches = k < MANY_STEPS and n > 2 * panel and c_row % PANEL_BYTES != 0
    # Blocks of k of one depth: a short last one would cost as much to add as a whole one.
    parts = (k + DEPTH - 1) // DEPTH
    span = (k + parts - 1) // parts
    for block in range(0, n, COLUMNS):
        end = min(block + COLUMNS, n)
        for start in range(0, k, span):
            depth = min(span, k - start)
            if copied_rows:
                row = row_pitch(depth * element)
            first_pass, last_pass = start == 0, start + depth == k
            flags = argument(p, FLAGS) & (ACCUMULATE if first_pass else 0)
            flags |= 0 if first_pass else ACCUMULATE
            flags |= argument(p, FLAGS) & RELU if last_pass else 0
            first = max(block, whole)
            between = pitch(span if own else k) * PANEL_BYTES
            panels = packed_b
            if not own:
                panels += (first - whole) // panel * between + start * PANEL_BYTES
            elif first < end:
                call_address(argument(p, PACK), p, first, end, start, depth, panels, between)
            i = 0
            while i < m:
                left = m - i
                # A packed tile has zeros in the rows that are missing.
                if row == element and (left >= HEIGHTS[0] or (packed_a and left > HEIGHTS[1])):
                    tile, rows = COLUMN, min(HEIGHTS[0], left)
                else:
                    tile, rows = tile_for(left, TALL, MIDDLE, LOW)
                if packed_a:
                    source = packed_a
                    pack_tile(p, i, rows, start, depth, source)
                else:
                    source = argument(p, A) + i * row + start * step
                target = argument(p, C) + i * c_row
                j = block
                while j < end:
                    if j < whole:
                        from_b = argument(p, B) + start * argument(p, B_STEP) + j * element
                        b_by = argument(p, B_STEP)
                    else:
                        from_b = panels + (j - first) // panel * between
                        b_by = PANEL_BYTES
                    # Panels are filled up with zeros; what is read in place may end in them.
                    narrow = n - j <= vector or (j < whole and n - j < panel)
                    code = argument(p, tile + NARROW - TALL if narrow else tile)
                    shift = bias + j * element if bias and last_pass else 0
                    if fetches:
                        next_tile = target + j * element + PANEL_BYTES + LINE - 1
                        for at in range(next_tile, next_tile + rows * c_row, c_row):
                            for line in range(at, at + PANEL_BYTES, LINE):
                                prefetch_write(line)
                    call_address(
                        code, depth, source, row, step, from_b, b_by, target + j * element, c_row,
                        rows, n - j, shift, flags,
                    )  # fmt: skip
                    j += vector if narrow else panel
                i += rows


# Words of the tasks: `id`s of arrays, then what follows from shapes and layouts. The table holds
# the offsets of the matrices of a batch, or panels that are kept.
(
    IN_A, IN_B, IN_C, IN_BIAS, SCRATCH, TABLE, AXIS_A, AXIS_B, AXIS_C, READ_WHOLE, TILE_BYTES,
    SHARED, OWN_BYTES, BIASED, KIND, BY_ROWS, COUNT, MULTIPLY, TILES,
) = range(19)  # fmt: skip
ARRAYS = AXIS_A
KEPT = -1
"""Stands in the place of SHARED where the table is the panels of all of B."""


@kernel(forceinline=True)
def _describe(p, args, chunk):
    """Fill in the words of a product (`pack.py`) from those of a task; memory is the chunk's."""
    a, b, c = argument(args, IN_A), argument(args, IN_B), argument(args, IN_C)
    rows, inner, c_rows = argument(args, AXIS_A), argument(args, AXIS_B), argument(args, AXIS_C)
    shared, tile = argument(args, SHARED), argument(args, TILE_BYTES)
    scratch = data(argument(args, SCRATCH))
    memory = scratch + max(shared, 0) + chunk * argument(args, OWN_BYTES)
    panels = scratch if shared > 0 else memory + tile
    if shared == KEPT:
        panels = data(argument(args, TABLE))
    put_word(p, M, size(c, c_rows))
    put_word(p, N, size(c, c_rows + 1))
    put_word(p, K, size(a, rows + 1))
    put_word(p, A, data(a))
    put_word(p, A_ROW, stride(a, rows))
    put_word(p, A_STEP, stride(a, rows + 1))
    put_word(p, B, data(b))
    put_word(p, B_STEP, stride(b, inner))
    put_word(p, B_COLUMN, stride(b, inner + 1))
    put_word(p, C, data(c))
    put_word(p, C_ROW, stride(c, c_rows))
    put_word(p, ELEMENT, stride(c, c_rows + 1))
    put_word(p, BIAS, data(argument(args, IN_BIAS)) if argument(args, BIASED) else 0)
    put_word(p, FLAGS, argument(args, KIND))
    put_word(p, WHOLE, argument(args, READ_WHOLE))
    put_word(p, PACKED_A, memory if tile else 0)
    put_word(p, PACKED_B, panels)
    put_word(p, OWN, 0 if shared else 1)
    for i in range(CODES):
        put_word(p, TALL + i, argument(args, TILES + i))


@task
def pack_part(args, chunk, chunks):
    """A share of the packing."""
    own = room()
    _describe(own, args, 0)
    first, last = bounds(argument(own, K), chunk, chunks, TOGETHER)
    target = argument(own, PACKED_B) + first * PANEL_BYTES
    call_address(
        argument(own, PACK), own, argument(own, WHOLE), argument(own, N), first, last - first,
        target, pitch(argument(own, K)) * PANEL_BYTES,
    )  # fmt: skip


@task
def part(args, chunk, chunks):
    """Some rows or columns of a product, once its operands are packed."""
    own = room()
    _describe(own, args, chunk)
    by_rows, element = argument(args, BY_ROWS), argument(own, ELEMENT)
    unit = HEIGHTS[0] if by_rows else PANEL_BYTES // element
    first, last = bounds(argument(own, M if by_rows else N), chunk, chunks, unit)
    if first >= last:
        return
    if by_rows:
        put_word(own, M, last - first)
        put_word(own, A, argument(own, A) + first * argument(own, A_ROW))
        put_word(own, C, argument(own, C) + first * argument(own, C_ROW))
    else:
        whole = argument(own, WHOLE)
        put_word(own, N, last - first)
        put_word(own, B, argument(own, B) + first * argument(own, B_COLUMN))
        put_word(own, C, argument(own, C) + first * element)
        if argument(own, BIAS):
            put_word(own, BIAS, argument(own, BIAS) + first * element)
        put_word(own, WHOLE, max(0, min(whole, last) - first))
        if argument(args, SHARED) == KEPT:
            before = first // unit * pitch(argument(own, K)) * PANEL_BYTES
            put_word(own, PACKED_B, argument(own, PACKED_B) + before)
    call_address(argument(args, MULTIPLY), own)


@task
def _batch_part(args, chunk, chunks):
    """Some matrices of a batch; every chunk packs into scratch memory of its own."""
    own = room()
    _describe(own, args, chunk)
    table = data(argument(args, TABLE))
    a, b, c = argument(own, A), argument(own, B), argument(own, C)
    first, last = bounds(argument(args, COUNT), chunk, chunks, 1)
    for i in range(first, last):
        put_word(own, A, a + argument(table, 3 * i))
        put_word(own, B, b + argument(table, 3 * i + 1))
        put_word(own, C, c + argument(table, 3 * i + 2))
        call_address(argument(args, MULTIPLY), own)


# ---- from Python -------------------------------------------------------------------------------


@cache
def codes_of(dtype: np.dtype, narrow: bool) -> tuple[int, ...]:
    """Addresses of `multiply` and of the microkernels for a dtype, as the words of a product.

    Those of tiles of one vector are 0 where there are no columns for them.
    """
    wide, of_edges, others = (
        (tiles.TILES_F32, tiles.NARROW_F32,
         (packs.pack_panels, transpose_f32, packs.copy_tile_f32, packs.copy_panel_f32))
        if dtype == np.float32
        else (tiles.TILES_F64, tiles.NARROW_F64,
              (packs.pack_panels, transpose_f64, packs.copy_tile_f64, packs.copy_panel_f64))
    )  # fmt: skip
    edges = [k.address if narrow else 0 for k in of_edges]
    return (*(k.address for k in (multiply, *wide)), *edges, *(k.address for k in others))


def has_edge(n: int, whole: int, element: int) -> bool:
    """Whether tiles of one vector take the last of n columns, `whole` of which are in place."""
    panel = PANEL_BYTES // element
    left = n % panel
    return 0 < left <= panel // VECTORS or n - left < whole


class Ready(NamedTuple):
    """A product of given sizes and layouts, ready to run.

    Attributes:
        launch: runs it; None if an operand must be copied first, as no axis of it is contiguous.
        scratch: bytes of memory for packing.
        table: the offsets of the matrices of a batch.
    """

    launch: Launch | None
    scratch: int
    table: np.ndarray


Layout = tuple[tuple[int, ...], tuple[int, ...]]
"""Shape and strides of an array."""


@lru_cache(4096)
def ready_matrices(a: Layout, b: Layout, biased: bool, flags: int, dtype: np.dtype) -> Ready:
    """The product of two matrices of these layouts; flags are those of a tile."""
    ((m, k), a_steps), ((_, n), b_steps) = a, b
    element = dtype.itemsize
    if element not in a_steps or element not in b_steps:
        return Ready(None, 0, NONE)
    along = None if flags else dots_launch(m, n, k, a_steps, b_steps, biased, dtype)
    if along is not None:
        return Ready(along, 0, NONE)
    packing = packing_of(m, n, k, element, a_steps, b_steps)
    cut = cut_of(m, n, k, element, packing)
    stages = [(part, cut.chunks)]
    if cut.shared:
        packed = cut.shared // element
        stages.insert(0, (pack_part, max(1, min(packed // PACK_GRAIN, cut.chunks))))
    memory_words = packing.whole, packing.tile, cut.shared, cut.own
    words = (0, 0, 0, *memory_words, int(biased), flags, int(cut.by_rows), 1)
    launch = Launch(stages, ARRAYS, *words, *codes_of(dtype, has_edge(n, packing.whole, element)))
    return Ready(launch, cut.shared + cut.chunks * cut.own, NONE)


NONE = np.zeros(1, np.uint8)
"""Stands for an array that there is not."""


def product(a: np.ndarray, b: np.ndarray, c: np.ndarray, bias: Any, flags: int) -> None:
    """c = a @ b (+ bias) for matrices of one floating-point dtype; c is contiguous.

    `flags` are those of a tile.
    """
    if 1 in a.shape or b.shape[1] == 1:
        thin(a, b, c, bias, bool(flags & RELU))
        return
    layouts = (a.shape, a.strides), (b.shape, b.strides)
    ready = ready_matrices(*layouts, bias is not None, flags, c.dtype)
    if ready.launch is None:
        product(_with_unit_step(a), _with_unit_step(b), c, bias, flags)
        return
    scratch = memory.empty((ready.scratch,), np.uint8) if ready.scratch else NONE
    ready.launch(a, b, c, NONE if bias is None else bias, scratch, NONE)


def _with_unit_step(x: np.ndarray) -> np.ndarray:
    """The matrices themselves if one of their axes is contiguous, else a copy."""
    return x if x.itemsize in x.strides[-2:] else copied(x)


def _offsets(batch: tuple[int, ...], *layouts: Layout) -> np.ndarray:
    """Bytes from the first matrix to each of a batch, in each operand in turn: [matrices * 3]."""
    found = np.zeros((*batch, len(layouts)), np.int64)
    for place, (shape, strides) in enumerate(layouts):
        for i, (n, step) in enumerate(zip(shape[-3::-1], strides[-3::-1], strict=True)):
            axis = len(batch) - 1 - i
            if n != 1:  # else it is repeated
                along = [-1 if one == axis else 1 for one in range(len(batch))]
                found[..., place] += (np.arange(n) * step).reshape(along)
    return found.reshape(-1)


@lru_cache(4096)
def ready_batch(a: Layout, b: Layout, c: Layout) -> Ready:
    """The product of batches; c is contiguous."""
    (*batch, m, n), (*_, element) = c
    k, a_steps, b_steps = a[0][-1], a[1][-2:], b[1][-2:]
    if element not in a_steps or element not in b_steps:
        return Ready(None, 0, NONE)
    count, dtype = math.prod(batch), np.dtype(f"f{element}")
    offsets = _offsets(tuple(batch), a, b, c)
    along = dots_launch(m, n, k, a_steps, b_steps, False, dtype, count)
    if along is not None:
        return Ready(along, 0, offsets)
    packing = packing_of(m, n, k, element, a_steps, b_steps)
    own = packing.room(packing.panels, element)
    chunks = max(1, min(count * work_of(m, n, k) // BATCH_GRAIN, count, BATCH_CHUNKS))
    axes = [len(shape) - 2 for shape, _ in (a, b, c)]
    words = (packing.whole, packing.tile, 0, own, 0, 0, 0, count)
    codes = codes_of(dtype, has_edge(n, packing.whole, element))
    launch = Launch([(_batch_part, chunks)], ARRAYS, *axes, *words, *codes)
    return Ready(launch, chunks * own, offsets)


def batched(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    """c = a @ b over the leading axes of c, along which a and b are broadcast; c is contiguous."""
    if c.shape[-1] == 1 and times_vectors(a, b[..., 0], c):
        return
    if c.shape[-2] == 1 and times_vectors(b.swapaxes(-1, -2), a[..., 0, :], c):
        return
    ready = ready_batch((a.shape, a.strides), (b.shape, b.strides), (c.shape, c.strides))
    if ready.launch is None:
        batched(_with_unit_step(a), _with_unit_step(b), c)
        return
    scratch = memory.empty((ready.scratch,), np.uint8) if ready.scratch else NONE
    ready.launch(a, b, c, NONE, scratch, ready.table)
