"""The walk over the steps of a recurrent layer: products with the recurrent weight, then gates.

The batch is cut over the threads: each walks through all steps of its samples and waits for nobody.
A sample's numbers do not depend on where the batch is cut. The weight is packed once, in panels as
wide as a register tile; what a step adds to all its rows is then a row of calls of the microkernels
in `gemm_tile.py`. What the gates do is `rnn_step.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dyn.kernels import gemm_pack as packs
from dyn.kernels import gemm_tile as tiles
from dyn.kernels import memory, threads
from dyn.kernels.arrays import data
from dyn.kernels.conv_copy import transpose_f32
from dyn.kernels.gemm import matmul
from dyn.kernels.gemm_pack import PANEL_BYTES, TOGETHER, pitch
from dyn.kernels.gemm_tile import ACCUMULATE, HEIGHTS
from dyn.kernels.jit import Microkernel, call_address, kernel, task
from dyn.kernels.rnn_step import ARRAYS, BATCH
from dyn.kernels.rnn_step import WORDS as STEP_WORDS
from dyn.kernels.threads import argument, bounds, pack, parallel_for

(STEPS, RISING, GATES_FIRST, GATES_CODE, PRODUCTS, TALL, MIDDLE, LOW) = range(
    STEP_WORDS, STEP_WORDS + 8
)
"""Words of a walk after those of its step kernel."""
HEADER_WORDS = STEP_WORDS + 8
(A, PACKED, C, BIAS, A_ROW, A_STEP, DEPTH, C_ROW, C_STEP, WIDTH, FLAGS) = range(11)
"""Words of a product: C[t] = A[t] @ B (+ C[t]) (+ bias); steps of time and rows in bytes."""
PRODUCT_WORDS, PRODUCT_ARRAYS = 11, 4
"""Number of words, and how many of them are addresses."""
GRAIN = 1 << 18
"""Multiplications worth a thread."""
PACK_GRAIN = 1 << 15
"""Numbers to be packed that are worth a chunk."""
PANEL = PANEL_BYTES // 4


@kernel
def _multiply(p, product, t, first, last):
    """One product at step t for some rows, panel by panel: a panel stays in the cache."""
    depth, width = argument(product, DEPTH), argument(product, WIDTH)
    a_row, c_row = argument(product, A_ROW), argument(product, C_ROW)
    a = argument(product, A) + t * argument(product, A_STEP)
    c = argument(product, C) + t * argument(product, C_STEP)
    bias, flags, b = argument(product, BIAS), argument(product, FLAGS), argument(product, PACKED)
    for column in range(0, width, PANEL):
        row = first
        while row < last:
            left = last - row
            height = HEIGHTS[0] if left > HEIGHTS[1] else HEIGHTS[1]
            height = HEIGHTS[2] if left <= HEIGHTS[2] else height
            tile = argument(p, TALL) if height == HEIGHTS[0] else argument(p, MIDDLE)
            tile = argument(p, LOW) if height == HEIGHTS[2] else tile
            shift = bias + 4 * column if bias else 0
            call_address(
                tile, depth, a + row * a_row, a_row, 4, b + column * pitch(depth) * 4, PANEL_BYTES,
                c + row * c_row + 4 * column, c_row, min(height, left), width - column, shift,
                flags,
            )  # fmt: skip
            row += height


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
            _multiply(p, p + 8 * (HEADER_WORDS + number * PRODUCT_WORDS), t, first, last)
        if not gates_first:
            call_address(code, p, t, first, last)


@kernel(forceinline=True)
def _find(words, start, count):
    """Replace `id`s of arrays by where their numbers lie."""
    for k in range(start, start + count):
        words[k] = data(words[k]) if words[k] else 0


@kernel(warm=["(int64, int64, int64[::1], int64)"])
def _drive(pool, code, words, chunks):
    """Walk; the words still hold `id`s instead of addresses."""
    _find(words, 0, ARRAYS)
    for number in range(words[PRODUCTS]):
        _find(words, HEADER_WORDS + number * PRODUCT_WORDS, PRODUCT_ARRAYS)
    parallel_for(pool, code, words.ctypes.data, chunks)


@task
def _pack_part(args, chunk, chunks):
    """A share of the panels: words of the matrix, address of `pack_steps`."""
    first, last = bounds(argument(argument(args, 0), packs.K), chunk, chunks, TOGETHER)
    call_address(argument(args, 1), argument(args, 0), first, last)


@kernel(warm=["(int64, int64, int64, int64[::1], int64)"])
def _pack(pool, part, code, words, chunks):
    parallel_for(pool, part, pack(words.ctypes.data, code), chunks)


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
    words[packs.TRANSPOSE] = transpose_f32.address
    words[packs.COPY_B] = packs.copy_panel_f32.address
    chunks = max(1, min(made.size // PACK_GRAIN, 16))
    pool = threads.pool() if chunks > 1 else 0
    _pack(pool, _pack_part.address, packs.pack_steps.address, words, chunks)
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
    rising: bool,
    gates_first: bool,
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
    }
    words = [header.get(k, 0) for k in range(HEADER_WORDS)]
    for product, panel in zip(within, panels, strict=True):
        words += product.words(panel)
    batch = arrays[BATCH]
    work = steps * batch * sum(p.b.size for p in products)
    chunks = max(1, min(threads.get_num_threads(), work // GRAIN, -(-batch // HEIGHTS[2])))
    if steps == 1 and not gates_first:
        for product in products:
            product.do()
    pool = threads.pool() if chunks > 1 else 0
    _drive(pool, _walk.address, np.array(words, np.int64), chunks)
    if steps == 1 and gates_first:
        for product in products:
            product.do()
