"""The gradient of the weight of a 3 x 3 convolution with stride 1, by Winograd's filtering.

With the tiles and frequencies of `winograd`, and g the gradient of the output,
    gw = G' [sum over tiles of (B' x B) * (A g A')] G.
The sum is one product per frequency, [Ci, tiles] x [tiles, Co].

Few channels: a thread takes blocks of tiles through transforms and products while they are in its
cache, with the sums. Every share of the blocks has sums of its own, which are added up at last.
Many channels: tiles are transformed in blocks that stay in the last-level cache, and frequencies
and panels are shared out among the threads. How tiles are shared follows from the shapes alone, so
every number is summed in the same order by any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from dyn.kernels.conv import tile
from dyn.kernels.conv.shapes import View, kernels_of, table, words_of
from dyn.kernels.conv.winograd import filtering as forward
from dyn.kernels.conv.winograd import transform
from dyn.kernels.conv.winograd.filtering import TABLE_BYTES, spacing
from dyn.kernels.conv.winograd.plan import Tiling
from dyn.kernels.conv.winograd.product import PANEL
from dyn.kernels.runtime.bytes import prefetch, prefetch_write, put_word
from dyn.kernels.runtime.drive import Form
from dyn.kernels.runtime.jit import call_address, microkernel, task
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import buffer, leave, scratch, take
from dyn.kernels.runtime.threads import argument, launch
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.simd import F32, WORD, Emitter, Value, intrinsic, loop, repeat
from dyn.kernels.vector.sums import ACCUMULATE

BLOCK_BYTES = 16 << 20
"""Transforms of a block of tiles."""
NEAR_BYTES = {16: 1792 << 10, 8: 768 << 10, 4: 768 << 10}[LANES]
"""Transforms and sums that stay in the second-level cache."""
FEWEST = 32
"""Tiles of a block with which reading the sums for each block is no more than the products."""
CHUNKS = 32
SHARES, EVEN = 8, 4
"""Sums for few channels: so many, or of few tiles so many, that 2 and 4 threads share evenly."""

(
    GRADIENT,
    GRADIENT_N,
    GRADIENT_H,
    GRADIENT_W,
    FIRST,
    COUNT,
    M,
    M_ROW,
    SUMS,
    SUMS_STEP,
    SUMS_ROW,
    SHARE_STEP,
    SUMMED,
    RESULT,
    RESULT_ROW,
    ROW_TABLE,
    STEP_TABLE,
    WIDE,
    NARROW,
    READ_GRADIENTS,
    SPREAD_GRADIENT,
    MULTIPLY,
    GATHER_WEIGHT,
) = range(forward.WORDS, forward.WORDS + 23)
"""Words after those of `winograd`, whose source is the input and whose target has the sizes of g.

FIRST and COUNT: the tiles of the present block. M holds transformed gradients, M_ROW bytes from
tile to tile and M_STEP from frequency to frequency. SUMS: [frequency][inner][outer], SUMS_ROW bytes
from channel to channel; SUMMED of them, SHARE_STEP apart, make up the sum. RESULT:
[3][3][inner][outer], RESULT_ROW likewise.
"""
WORDS = forward.WORDS + 23


@microkernel(5)
def read_gradients(plan, first, count, target, table):
    """Transform `count` tiles of the gradient to rows at `target`, M_STEP apart per frequency."""
    side, width = argument(plan, forward.SIDE), argument(plan, forward.OUT_WIDTH)
    height, nothing = argument(plan, forward.OUT_HEIGHT), argument(plan, forward.NOTHING)
    code, step = argument(plan, SPREAD_GRADIENT), argument(plan, forward.M_STEP)
    for number in range(first, first + count):
        image, row, column, gap_h, gap_w = forward.corner(plan, number)
        step_h, step_w = argument(plan, GRADIENT_H), argument(plan, GRADIENT_W)
        at = argument(plan, GRADIENT) + image * argument(plan, GRADIENT_N)
        at += row * step_h + column * step_w
        step_h, step_w = step_h * gap_h, step_w * gap_w
        for i in range(side):
            for j in range(side):
                inside = row + i * gap_h < height and column + j * gap_w < width
                put_word(table, i * side + j, at + j * step_w if inside else nothing)
            if gap_w == 1:
                for line in range(at + side * step_w, at + 2 * side * step_w, 64):
                    prefetch(line)
            at += step_h
        call_address(code, table, argument(plan, forward.OUTER), target, step)
        target += argument(plan, M_ROW)


@task
def spread_both(plan, chunk, chunks):
    """Transform a share of a block's tiles of input and gradient."""
    memory = argument(plan, forward.SCRATCH)
    slot = take(memory)
    table = buffer(memory, slot, argument(plan, forward.SCRATCH_SIZE))
    tiles, first = argument(plan, COUNT), argument(plan, FIRST)
    start, stop = tiles * chunk // chunks, tiles * (chunk + 1) // chunks
    v = argument(plan, forward.V) + start * argument(plan, forward.V_ROW)
    m = argument(plan, M) + start * argument(plan, M_ROW)
    read = argument(plan, forward.READ_TILES)
    call_address(read, plan, first + start, stop - start, v, table)
    read = argument(plan, READ_GRADIENTS)
    call_address(read, plan, first + start, stop - start, m, table)
    leave(memory, slot)


@microkernel(7)
def multiply(plan, job, number, count, v, m, sums):
    """Add the products of `count` tiles, or of the first ones, to the sums of one panel of one of
    the frequencies: `number` is that of the panel, over all frequencies."""
    panels, outer = argument(plan, forward.PANELS), argument(plan, forward.OUTER)
    inner, row = argument(plan, forward.INNER), argument(plan, SUMS_ROW)
    frequency, panel = number // panels, number % panels
    at = sums + frequency * argument(plan, SUMS_STEP) + panel * (4 * PANEL)
    put_word(job, tile.STEPS, 1)
    put_word(job, tile.STEP_TABLE, argument(plan, STEP_TABLE))
    put_word(job, tile.RUN, count)
    put_word(job, tile.A, v + frequency * argument(plan, forward.V_STEP))
    put_word(job, tile.A_STEP, argument(plan, forward.V_ROW))
    put_word(job, tile.B, m + frequency * argument(plan, forward.M_STEP) + panel * (4 * PANEL))
    put_word(job, tile.B_STEP, argument(plan, M_ROW))
    put_word(job, tile.C, at)
    put_word(job, tile.WIDTH, PANEL)
    put_word(job, tile.BIAS, 0)
    # Whole vectors of gradients are transformed; where the last panel is half empty, it is one.
    half = outer - panel * PANEL <= LANES
    code, rows = (
        (argument(plan, NARROW), tile.NARROW) if half else (argument(plan, WIDE), tile.WIDE)
    )
    for top in range(0, inner, rows):
        put_word(job, tile.ROW_TABLE, argument(plan, ROW_TABLE) + 16 * top)
        put_word(job, tile.COUNT, min(rows, inner - top))
        # The next tile's sums come while this one's are made.
        for following in range(at + (top + rows) * row, at + (top + 2 * rows) * row, row):
            for line in range(following, following + 4 * PANEL, 64):
                prefetch_write(line)
        call_address(code, job)


@task
def multiply_block(plan, chunk, chunks):
    """Add a block's products to the sums of a share of frequencies and panels."""
    memory = argument(plan, forward.SCRATCH)
    slot = take(memory)
    job = buffer(memory, slot, argument(plan, forward.SCRATCH_SIZE))
    put_word(job, tile.FLAGS, ACCUMULATE if argument(plan, FIRST) else 0)
    v, m, sums = argument(plan, forward.V), argument(plan, M), argument(plan, SUMS)
    units = argument(plan, forward.FREQUENCIES) * argument(plan, forward.PANELS)
    for unit in range(units * chunk // chunks, units * (chunk + 1) // chunks):
        call_address(argument(plan, MULTIPLY), plan, job, unit, argument(plan, COUNT), v, m, sums)
    leave(memory, slot)


@task
def fused_tiles(plan, chunk, chunks):
    """Take a share of the blocks of tiles through transforms and products, to sums of its own."""
    memory = argument(plan, forward.SCRATCH)
    slot = take(memory)
    table = buffer(memory, slot, argument(plan, forward.SCRATCH_SIZE))
    job = table + TABLE_BYTES
    v = job + TABLE_BYTES
    frequencies = argument(plan, forward.FREQUENCIES)
    m = v + frequencies * argument(plan, forward.V_STEP)
    sums = argument(plan, SUMS) + chunk * argument(plan, SHARE_STEP)
    tiles, at_once = argument(plan, forward.TILES), argument(plan, forward.TILES_AT_ONCE)
    blocks = (tiles + at_once - 1) // at_once
    put_word(job, tile.FLAGS, 0)
    for block in range(blocks * chunk // chunks, blocks * (chunk + 1) // chunks):
        first = block * at_once
        count = min(at_once, tiles - first)
        call_address(argument(plan, forward.READ_TILES), plan, first, count, v, table)
        call_address(argument(plan, READ_GRADIENTS), plan, first, count, m, table)
        for unit in range(frequencies * argument(plan, forward.PANELS)):
            call_address(argument(plan, MULTIPLY), plan, job, unit, count, v, m, sums)
        put_word(job, tile.FLAGS, ACCUMULATE)
    leave(memory, slot)


@intrinsic
def _join(typing: Any, at: Any, apart: Any, shares: Any, count: Any) -> Any:
    """Add to a row of `count` sums those of the other shares, `apart` bytes from one another."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        at, apart, shares, count = arguments
        emit = Emitter(builder, F32)

        def vector(offset: Any, _: list[Value]) -> list[Value]:
            place = Value(builder, builder.add(at, offset))

            def add(carried: list[Value]) -> list[Value]:
                following = carried[0] + place.made(apart)
                return [following, carried[1] + emit.load(following.value)]

            others = builder.sub(shares, WORD(1))
            _, total = repeat(builder, others, add, [place, emit.load(place.value)])
            emit.store(total, place.value)
            return []

        loop(builder, WORD(0), builder.mul(count, WORD(emit.size)), WORD(emit.bytes), vector)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@task
def gather_weights(plan, chunk, chunks):
    """Transform the sums of a share of the input channels back."""
    memory = argument(plan, forward.SCRATCH)
    slot = take(memory)
    table = buffer(memory, slot, argument(plan, forward.SCRATCH_SIZE))
    inner, outer = argument(plan, forward.INNER), argument(plan, forward.OUTER)
    code, step = argument(plan, GATHER_WEIGHT), argument(plan, SUMS_STEP)
    row, shares = argument(plan, RESULT_ROW), argument(plan, SUMMED)
    for channel in range(inner * chunk // chunks, inner * (chunk + 1) // chunks):
        for tap in range(9):
            put_word(table, tap, argument(plan, RESULT) + (tap * inner + channel) * row)
        sums = argument(plan, SUMS) + channel * argument(plan, SUMS_ROW)
        if shares > 1:
            for frequency in range(argument(plan, forward.FREQUENCIES)):
                _join(sums + frequency * step, argument(plan, SHARE_STEP), shares, outer)
        call_address(code, table, outer, sums, step, 0, 0, plan + 8 * forward.ALARM)
    leave(memory, slot)


class WinogradWeightPlan:
    """A plan for given shapes."""

    def __init__(
        self,
        source: View,
        gradient: View,
        low: tuple[int, int],
        gaps: tuple[int, int],
        side: int,
    ) -> None:
        """Plan; `low` is the padding at the top and left, `gaps` the dilation, `side` 4 or 2."""
        tiling = self.tiling = Tiling(source, gradient, low, gaps, side)
        inner, outer = source.shape[1], gradient.shape[1]
        self.m_row = 4 * (tiling.panels * PANEL + 16)
        self.sums_row = spacing(4 * tiling.panels * PANEL)
        sums = tiling.frequencies * inner * self.sums_row
        a_tile = tiling.frequencies * (tiling.v_row + self.m_row)
        near = (NEAR_BYTES - sums) // a_tile
        self.fused = near >= FEWEST and tiling.count >= EVEN * FEWEST
        fitting = near if self.fused else max(BLOCK_BYTES // a_tile, 64)
        blocks = -(-tiling.count // fitting)
        if self.fused and blocks < SHARES:
            blocks = EVEN if blocks <= EVEN else SHARES
        self.block = -(-tiling.count // blocks)
        self.v_step = spacing(self.block * tiling.v_row)
        self.m_step = spacing(self.block * self.m_row)
        self.shares = min(SHARES, -(-tiling.count // self.block)) if self.fused else 1
        transforms = tiling.frequencies * self.v_step, tiling.frequencies * self.m_step
        self.scratch_size = 2 * TABLE_BYTES + (sum(transforms) if self.fused else 0)
        self.sizes = [size // 4 for size in (self.shares * sums, *transforms)]
        self.share_step = sums
        self.spread_chunks = min(CHUNKS, self.block)
        self.product_chunks = min(CHUNKS, tiling.frequencies * tiling.panels)
        self.gather_chunks = min(CHUNKS, inner)
        self.nothing = np.zeros(max(inner, outer), np.float32)
        self.row_table = table(np.arange(inner)[:, None] * np.array([4, self.sums_row]))
        self.step_table = table(np.zeros((1, 2)))
        places = (forward.SOURCE, GRADIENT, RESULT, forward.SCRATCH, SUMS, forward.V, M)
        self.form = Form(self._words(source, gradient), places)

    def _words(self, source: View, gradient: View) -> np.ndarray:
        """The words, but the addresses of a call and the tiles of a block."""
        tiling, kernels = self.tiling, kernels_of(source.dtype)
        small = tiling.side == 2
        g_n, _, g_h, g_w = gradient.strides
        return words_of(
            WORDS,
            {
                **tiling.words(),
                forward.TILES: tiling.count,
                forward.TILES_AT_ONCE: self.block,
                forward.V_STEP: self.v_step,
                forward.M_STEP: self.m_step,
                forward.NOTHING: self.nothing.ctypes.data,
                forward.SCRATCH_SIZE: self.scratch_size,
                GRADIENT_N: g_n,
                GRADIENT_H: g_h,
                GRADIENT_W: g_w,
                M_ROW: self.m_row,
                SUMS_STEP: source.shape[1] * self.sums_row,
                SUMS_ROW: self.sums_row,
                SHARE_STEP: self.share_step,
                SUMMED: self.shares,
                RESULT_ROW: 4 * gradient.shape[1],
                ROW_TABLE: self.row_table.ctypes.data,
                STEP_TABLE: self.step_table.ctypes.data,
                WIDE: kernels.wide,
                NARROW: kernels.narrow,
                READ_GRADIENTS: read_gradients.address,
                SPREAD_GRADIENT: (transform.gradient2 if small else transform.gradient4).address,
                MULTIPLY: multiply.address,
                GATHER_WEIGHT: (transform.back2 if small else transform.back4).address,
            },
        )

    def run(self, source: np.ndarray, gradient: np.ndarray, target: np.ndarray) -> bool:
        """Compute the target, a dense array [3][3][inner][outer].

        Returns:
            Whether all results are finite; if not, they are to be computed anew in another way.
        """
        memory = scratch(self.scratch_size, CHUNKS)
        sizes = self.sizes[:1] if self.fused else self.sizes
        made = [empty((size,), np.float32) for size in sizes]
        words = self.form.filled(source, gradient, target, memory, *made)
        if self.fused:
            launch(fused_tiles, words, self.shares)
        else:
            self._by_stages(words)
        launch(gather_weights, words, self.gather_chunks)
        return not words[forward.ALARM]

    def _by_stages(self, words: np.ndarray) -> None:
        """Transform a block of tiles, multiply it, and so on."""
        for first in range(0, self.tiling.count, self.block):
            words[FIRST] = first
            words[COUNT] = min(self.block, self.tiling.count - first)
            launch(spread_both, words, self.spread_chunks)
            launch(multiply_block, words, self.product_chunks)
