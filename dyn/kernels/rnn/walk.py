"""The walk over the steps of a recurrent layer: products with the recurrent weight, then gates.

The batch is cut over the threads: each walks through all steps of its samples and waits for nobody.
Where there are too few samples for that, the columns of the weight are cut, and the threads meet
after each product. Where the cuts are makes no difference to any number. The weight is packed once,
in panels as wide as a register tile; what a step adds to all its rows is then a row of calls of the
microkernels in `gemm/tile.py`. What the gates do is `step.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.gemm import pack as packs
from dyn.kernels.gemm import tile as tiles
from dyn.kernels.gemm.matmul import matmul
from dyn.kernels.gemm.pack import PANEL_BYTES, TOGETHER, pitch
from dyn.kernels.gemm.tile import HEIGHTS, WIDE, tile_for
from dyn.kernels.rnn.step import ARRAYS, BATCH
from dyn.kernels.rnn.step import WORDS as STEP_WORDS
from dyn.kernels.runtime import memory, threads
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import Microkernel, call_address, kernel, task
from dyn.kernels.runtime.threads import argument, bounds, pack, parallel_for
from dyn.kernels.vector.sums import ACCUMULATE
from dyn.kernels.vector.transpose import transpose_f32

(STEPS, RISING, GATES_FIRST, GATES_CODE, PRODUCTS, TALL, MIDDLE, LOW, WIDE_CODE) = range(
    STEP_WORDS, STEP_WORDS + 9
)
"""Words of a walk after those of its step kernel."""
HEADER_WORDS = STEP_WORDS + 9
(A, PACKED, C, BIAS, A_ROW, A_STEP, DEPTH, C_ROW, C_STEP, WIDTH, FLAGS) = range(11)
"""Words of a product: C[t] = A[t] @ B (+ C[t]) (+ bias); steps of time and rows in bytes."""
PRODUCT_WORDS, PRODUCT_ARRAYS = 11, 4
"""Number of words, and how many of them are addresses."""
GRAIN = 1 << 18
"""Multiplications worth a thread."""
STEP_GRAIN = 1 << 16
"""Multiplications of one step worth a thread."""
PACK_GRAIN = 1 << 15
"""Numbers to be packed that are worth a chunk."""
PANEL = PANEL_BYTES // 4


@kernel
def _multiply(p, product, t, first, last, start, end):
    """One product at step t for some rows and columns, panel by panel: one stays in the cache."""
    depth, width = argument(product, DEPTH), argument(product, WIDTH)
    a_row, c_row = argument(product, A_ROW), argument(product, C_ROW)
    a = argument(product, A) + t * argument(product, A_STEP)
    c = argument(product, C) + t * argument(product, C_STEP)
    bias, flags, b = argument(product, BIAS), argument(product, FLAGS), argument(product, PACKED)
    column, between = start, pitch(depth) * PANEL_BYTES
    if last - first <= HEIGHTS[2]:
        while column + WIDE * PANEL <= end:
            shift = bias + 4 * column if bias else 0
            call_address(
                argument(p, WIDE_CODE), between, depth, a + first * a_row, a_row, 4,
                b + column // PANEL * between, PANEL_BYTES, c + first * c_row + 4 * column, c_row,
                last - first, width - column, shift, flags,
            )  # fmt: skip
            column += WIDE * PANEL
    while column < end:
        row = first
        while row < last:
            left = last - row
            tile, rows = tile_for(left, argument(p, TALL), argument(p, MIDDLE), argument(p, LOW))
            shift = bias + 4 * column if bias else 0
            call_address(
                tile, depth, a + row * a_row, a_row, 4, b + column // PANEL * between, PANEL_BYTES,
                c + row * c_row + 4 * column, c_row, rows, width - column, shift,
                flags,
            )  # fmt: skip
            row += rows
        column += PANEL


@task
def _walk(p, chunk, chunks):
    """All steps of some samples."""
    first, last = bounds(argument(p, BATCH), chunk, chunks, HEIGHTS[2])
    if first >= last:
        return
    steps, rising, code = argument(p, STEPS), argument(p, RISING), argument(p, GATES_CODE)
    gates_first = argument(p, GATES_FIRST)
    for s in range(steps):
        t = s if rising else steps - 1 - s
        if gates_first:
            call_address(code, p, t, first, last)
        for number in range(argument(p, PRODUCTS)):
            product = p + 8 * (HEADER_WORDS + number * PRODUCT_WORDS)
            _multiply(p, product, t, first, last, 0, argument(product, WIDTH))
        if not gates_first:
            call_address(code, p, t, first, last)


@task
def _products(args, chunk, chunks):
    """Some columns of the products of all samples at one step."""
    p, t = argument(args, 0), argument(args, 1)
    for number in range(argument(p, PRODUCTS)):
        product = p + 8 * (HEADER_WORDS + number * PRODUCT_WORDS)
        start, end = bounds(argument(product, WIDTH), chunk, chunks, WIDE * PANEL)
        _multiply(p, product, t, 0, argument(p, BATCH), start, end)


@task
def _gates(args, chunk, chunks):
    """The gates of some samples at one step."""
    p, t = argument(args, 0), argument(args, 1)
    first, last = bounds(argument(p, BATCH), chunk, chunks, 1)
    call_address(argument(p, GATES_CODE), p, t, first, last)


@kernel
def _walk_together(pool, products, gates, p, chunks):
    """All steps of all samples, each step shared by all threads."""
    steps, batch = argument(p, STEPS), argument(p, BATCH)
    for s in range(steps):
        args = pack(p, s if argument(p, RISING) else steps - 1 - s)
        if argument(p, GATES_FIRST):
            parallel_for(pool, gates, args, min(chunks, batch))
        parallel_for(pool, products, args, chunks)
        if not argument(p, GATES_FIRST):
            parallel_for(pool, gates, args, min(chunks, batch))


@kernel(forceinline=True)
def _find(words, start, count):
    """Replace `id`s of arrays by where their numbers lie."""
    for k in range(start, start + count):
        words[k] = data(words[k]) if words[k] else 0


@kernel(warm=["(int64, int64, int64, int64, int64[::1], int64, int64)"])
def _drive(pool, code, products, gates, words, chunks, together):
    """Walk; the words still hold `id`s instead of addresses."""
    _find(words, 0, ARRAYS)
    for number in range(words[PRODUCTS]):
        _find(words, HEADER_WORDS + number * PRODUCT_WORDS, PRODUCT_ARRAYS)
    if together:
        _walk_together(pool, products, gates, words.ctypes.data, chunks)
    else:
        parallel_for(pool, code, words.ctypes.data, chunks)


@task
def _pack_part(args, chunk, chunks):
    """A share of the panels of the matrix that the words describe."""
    depth, panels = argument(args, packs.K), argument(args, packs.PACKED_B)
    first, last = bounds(depth, chunk, chunks, TOGETHER)
    call_address(
        argument(args, packs.PACK), args, 0, argument(args, packs.N), first, last - first,
        panels + first * PANEL_BYTES, pitch(depth) * PANEL_BYTES,
    )  # fmt: skip


@kernel(warm=["(int64, int64, int64[::1], int64)"])
def _pack(pool, part, words, chunks):
    parallel_for(pool, part, words.ctypes.data, chunks)


def packed(b: np.ndarray) -> np.ndarray:
    """A float32 matrix [depth, width], one of whose axes is contiguous, in panels.

    Returns:
        [panels, pitch of the depth, PANEL]; what lies beyond width and depth is arbitrary.
    """
    depth, width = b.shape
    panels = -(-width // PANEL)
    made = memory.empty((panels, depth | TOGETHER, PANEL), np.float32)
    words = np.zeros(packs.WORDS, np.int64)
    words[packs.N], words[packs.K], words[packs.ELEMENT] = width, depth, 4
    words[packs.B], words[packs.PACKED_B] = b.ctypes.data, made.ctypes.data
    words[packs.B_STEP], words[packs.B_COLUMN] = b.strides
    words[packs.PACK] = packs.pack_panels.address
    words[packs.TRANSPOSE] = transpose_f32.address
    words[packs.COPY_B] = packs.copy_panel_f32.address
    chunks = max(1, min(made.size // PACK_GRAIN, 16))
    pool = threads.pool() if chunks > 1 else 0
    _pack(pool, _pack_part.address, words, chunks)
    return made


class Product(NamedTuple):
    """A product with a weight that every step does.

    Attributes:
        a: [steps, batch, depth] or, the same for all steps, [batch, depth]; rows contiguous.
        b: [depth, width], one of whose axes is contiguous.
        c: [steps, batch, width] or [batch, width]; rows contiguous.
        bias: [width] or None.
        flags: those of a tile: ACCUMULATE or none.
    """

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    bias: np.ndarray | None
    flags: int

    def words(self, panels: np.ndarray) -> list[int]:
        """The product as words of a walk, arrays as their `id`s."""
        a, c, bias = self.a, self.c, self.bias
        return [
            id(a), id(panels), id(c), 0 if bias is None else id(bias),
            a.strides[-2], a.strides[0] if a.ndim == 3 else 0, a.shape[-1],
            c.strides[-2], c.strides[0] if c.ndim == 3 else 0, c.shape[-1], self.flags,
        ]  # fmt: skip

    def do(self) -> None:
        """The product of the only step there is: packing the weight would not pay."""
        a, c = (v[0] if v.ndim == 3 else v for v in (self.a, self.c))
        found = matmul(a, self.b, bias=self.bias)
        if self.flags & ACCUMULATE:
            c += found
        else:
            c[...] = found


def walk(
    gates: Microkernel,
    arrays: dict[int, int],
    products: list[Product],
    steps: int,
    *,
    rising: bool,
    gates_first: bool,
    made: int = 0,
) -> None:
    """Walk through all steps.

    Args:
        gates: the step kernel.
        arrays: its words, by number, with the `id`s of arrays, which the caller keeps alive, where
            the kernel gets addresses.
        products: what is done at each step besides.
        steps: their number.
        rising: from step 0 on; else from the last step.
        gates_first: the gates come before the products.
        made: multiplications that the caller has made for a sample instead.
    """
    within = products if steps > 1 else []
    panels = [packed(product.b) for product in within]
    header: dict[Any, int] = {
        **arrays,
        STEPS: steps,
        RISING: rising,
        GATES_FIRST: gates_first,
        GATES_CODE: gates.address,
        PRODUCTS: len(within),
        TALL: tiles.tall_f32.address,
        MIDDLE: tiles.middle_f32.address,
        LOW: tiles.low_f32.address,
        WIDE_CODE: tiles.wide_f32.address,
    }
    words = [header.get(k, 0) for k in range(HEADER_WORDS)]
    for product, panel in zip(within, panels, strict=True):
        words += product.words(panel)
    batch, count = arrays[BATCH], threads.get_num_threads()
    work = batch * (made + sum(p.b.size for p in products))
    together = steps > 1 and batch < count * HEIGHTS[1] and work >= 2 * STEP_GRAIN
    if together:
        chunks = min(count, work // STEP_GRAIN)
    else:
        chunks = max(1, min(count, steps * work // GRAIN, -(-batch // HEIGHTS[2])))
    if steps == 1 and not gates_first:
        for product in products:
            product.do()
    pool = threads.pool() if chunks > 1 else 0
    codes = (_walk.address, _products.address, _gates.address)
    _drive(pool, *codes, np.array(words, np.int64), chunks, together)
    if steps == 1 and gates_first:
        for product in products:
            product.do()
