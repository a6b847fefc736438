"""Convolution 3 x 3 with stride 1 by Winograd's filtering, and its gradient by the input.

Tiles of m x m outputs (m = 4, or 2 which is more exact) are transformed to n * n frequencies
(n = m + 2), where convolution is one product per frequency: [tiles, Ci] x [Ci, Co]. That takes 4
(2.25) times fewer multiplications than summing over the window.

Small weights: a thread takes a block of tiles through all three stages while it is in its cache.
Large weights: all tiles are transformed first, then every thread takes its own panels of output
channels through the products and back. The gradient by the input is the same with the window
reversed and the channels exchanged. The transforms are in `winograd_transform`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dyn.kernels import conv_copy as copy
from dyn.kernels import winograd_transform as transform
from dyn.kernels.conv_ir import prefetch, prefetch_write, put_word
from dyn.kernels.conv_plan import Channels, View, kernels_of, words_of
from dyn.kernels.jit import call_address, kernel, microkernel, task
from dyn.kernels.lanes import LANES
from dyn.kernels.memory import empty
from dyn.kernels.scratch import buffer, leave, scratch, take
from dyn.kernels.threads import argument, launch
from dyn.kernels.winograd_product import PANEL, ROWS, products

BLOCK = 24 // ROWS * ROWS or ROWS
"""Tiles that go through all stages together."""
FUSED_BYTES = 3 << 20
"""Transformed weights beyond this are too large to be read again for every block."""
CHUNKS = 32

(
    SOURCE,
    SOURCE_N,
    SOURCE_H,
    SOURCE_W,
    HEIGHT,
    WIDTH,
    INNER,
    TOP,
    LEFT,
    TARGET,
    TARGET_N,
    TARGET_H,
    TARGET_W,
    OUT_HEIGHT,
    OUT_WIDTH,
    OUTER,
    SIDE,
    GAP_H,
    GAP_W,
    TILES_DOWN,
    TILES_ACROSS,
    TILES,
    FREQUENCIES,
    TILES_AT_ONCE,
    V,
    V_ROW,
    V_STEP,
    M_STEP,
    WEIGHTS,
    WEIGHT_STEP,
    PANELS,
    BIAS,
    RELU,
    ALARM,
    NOTHING,
    SCRATCH,
    SCRATCH_SIZE,
    READ_TILES,
    WRITE_TILES,
    ONE_PANEL,
    EXPECT_TILES,
    SPREAD,
    GATHER,
    PRODUCTS,
) = range(44)
"""Words of a plan.

Steps SOURCE_N ... TARGET_W are in bytes. Channels: INNER in the source, OUTER in the target. SIDE
is m, GAP the dilation. V holds transformed tiles, V_ROW bytes from tile to tile and V_STEP from
frequency to frequency; M, the products, one panel wide, M_STEP; the weights, one panel wide,
WEIGHT_STEP. NOTHING: address of zeros that stand for the padding; behind them, at NOTHING + 4 *
INNER, is where outputs beyond the border go. ALARM is set to 1 when a result is not finite.
"""
WORDS = 44
TABLE_BYTES = 512


@kernel(forceinline=True)
def corner(plan, number):
    """Image, first row and first column of the outputs of a tile, and its pixel steps.

    With a window that skips pixels (GAP), outputs that far apart make an image of their own.
    """
    down, across = argument(plan, TILES_DOWN), argument(plan, TILES_ACROSS)
    gap_h, gap_w, side = argument(plan, GAP_H), argument(plan, GAP_W), argument(plan, SIDE)
    lattice, place = number // (down * across), number % (down * across)
    row = lattice // gap_w % gap_h + place // across * side * gap_h
    column = lattice % gap_w + place % across * side * gap_w
    return lattice // (gap_w * gap_h), row, column, gap_h, gap_w


@microkernel(5)
def read_tiles(plan, first, count, target, table):
    """Transform `count` tiles of the source to rows at `target`, V_STEP apart per frequency."""
    side, width, height = argument(plan, SIDE), argument(plan, WIDTH), argument(plan, HEIGHT)
    nothing, code = argument(plan, NOTHING), argument(plan, SPREAD)
    for number in range(first, first + count):
        image, row, column, gap_h, gap_w = corner(plan, number)
        h0, w0 = row - argument(plan, TOP), column - argument(plan, LEFT)
        step_h, step_w = argument(plan, SOURCE_H), argument(plan, SOURCE_W)
        at = argument(plan, SOURCE) + image * argument(plan, SOURCE_N) + h0 * step_h + w0 * step_w
        step_h, step_w = step_h * gap_h, step_w * gap_w
        for i in range(side + 2):
            inside = 0 <= h0 + i * gap_h < height
            for j in range(side + 2):
                seen = inside and 0 <= w0 + j * gap_w < width
                put_word(table, i * (side + 2) + j, at + j * step_w if seen else nothing)
            if gap_w == 1:
                following = at + (side + 2) * step_w
                for line in range(following, following + side * step_w, 64):
                    prefetch(line)
            at += step_h
        call_address(code, table, argument(plan, INNER), target, argument(plan, V_STEP))
        target += argument(plan, V_ROW)


@microkernel(6)
def write_tiles(plan, first, count, source, panel, table):
    """Transform the products of `count` tiles back, to one panel of the target's channels."""
    side, width, height = (
        argument(plan, SIDE),
        argument(plan, OUT_WIDTH),
        argument(plan, OUT_HEIGHT),
    )
    code, bias = argument(plan, GATHER), argument(plan, BIAS)
    nowhere = argument(plan, NOTHING) + 4 * argument(plan, INNER)
    channels = min(PANEL, argument(plan, OUTER) - panel * PANEL)
    if bias:
        bias += 4 * panel * PANEL
    for number in range(first, first + count):
        image, row, column, gap_h, gap_w = corner(plan, number)
        step_h, step_w = argument(plan, TARGET_H), argument(plan, TARGET_W)
        at = argument(plan, TARGET) + image * argument(plan, TARGET_N) + 4 * panel * PANEL
        at += row * step_h + column * step_w
        for i in range(side):
            for j in range(side):
                inside = row + i * gap_h < height and column + j * gap_w < width
                put_word(table, i * side + j, at + j * gap_w * step_w if inside else nowhere)
            at += gap_h * step_h
        step = argument(plan, M_STEP)
        relu, alarm = argument(plan, RELU), plan + 8 * ALARM
        call_address(code, table, channels, source, step, bias, relu, alarm)
        source += 4 * PANEL


@microkernel(4)
def expect_tiles(plan, first, last, panel):
    """Ask for the cache lines that `write_tiles` is going to write for some tiles."""
    side = argument(plan, SIDE)
    for number in range(first, last):
        image, row, column, gap_h, gap_w = corner(plan, number)
        step_h, step_w = argument(plan, TARGET_H), argument(plan, TARGET_W)
        at = argument(plan, TARGET) + image * argument(plan, TARGET_N) + 4 * panel * PANEL
        at += row * step_h + column * step_w
        for i in range(side):
            for j in range(side):
                prefetch_write(at + i * gap_h * step_h + j * gap_w * step_w)


@microkernel(7)
def one_panel(plan, panel, first, count, v, m, table):
    """The products of `count` tiles, whose transforms are at v, with one panel; and back."""
    frequencies, depth = argument(plan, FREQUENCIES), argument(plan, INNER)
    size = argument(plan, WEIGHT_STEP)
    weights = argument(plan, WEIGHTS) + panel * frequencies * size
    rows = (count + ROWS - 1) // ROWS
    v_row, v_step = argument(plan, V_ROW), argument(plan, V_STEP)
    m_step, code = argument(plan, M_STEP), argument(plan, PRODUCTS)
    for frequency in range(frequencies):
        a, c = v + frequency * v_step, m + frequency * m_step
        done = first + count * frequency // frequencies
        following = first + count * (frequency + 1) // frequencies
        if done < following:
            call_address(argument(plan, EXPECT_TILES), plan, done, following, panel)
        call_address(code, rows, depth, a, v_row, weights, c)
        weights += size
    call_address(argument(plan, WRITE_TILES), plan, first, count, m, panel, table)


@task
def fused_tiles(plan, chunk, chunks):
    """Take a share of the blocks of tiles through all stages."""
    memory = argument(plan, SCRATCH)
    slot = take(memory)
    table = buffer(memory, slot, argument(plan, SCRATCH_SIZE))
    v = table + TABLE_BYTES
    m = v + argument(plan, FREQUENCIES) * argument(plan, V_STEP)
    tiles, at_once = argument(plan, TILES), argument(plan, TILES_AT_ONCE)
    blocks = (tiles + at_once - 1) // at_once
    for block in range(blocks * chunk // chunks, blocks * (chunk + 1) // chunks):
        first = block * at_once
        count = min(at_once, tiles - first)
        call_address(argument(plan, READ_TILES), plan, first, count, v, table)
        for panel in range(argument(plan, PANELS)):
            call_address(argument(plan, ONE_PANEL), plan, panel, first, count, v, m, table)
    leave(memory, slot)


@task
def spread_tiles(plan, chunk, chunks):
    """Transform a share of the tiles."""
    memory = argument(plan, SCRATCH)
    slot = take(memory)
    table = buffer(memory, slot, argument(plan, SCRATCH_SIZE))
    tiles = argument(plan, TILES)
    first = tiles * chunk // chunks
    count = tiles * (chunk + 1) // chunks - first
    target = argument(plan, V) + first * argument(plan, V_ROW)
    call_address(argument(plan, READ_TILES), plan, first, count, target, table)
    leave(memory, slot)


@task
def gather_panels(plan, chunk, chunks):
    """Take a share of the panels, each for all blocks of tiles, through the products and back."""
    memory = argument(plan, SCRATCH)
    slot = take(memory)
    table = buffer(memory, slot, argument(plan, SCRATCH_SIZE))
    m = table + TABLE_BYTES
    tiles, at_once = argument(plan, TILES), argument(plan, TILES_AT_ONCE)
    blocks = (tiles + at_once - 1) // at_once
    units = argument(plan, PANELS) * blocks
    for unit in range(units * chunk // chunks, units * (chunk + 1) // chunks):
        panel, first = unit // blocks, unit % blocks * at_once
        count = min(at_once, tiles - first)
        v = argument(plan, V) + first * argument(plan, V_ROW)
        call_address(argument(plan, ONE_PANEL), plan, panel, first, count, v, m, table)
    leave(memory, slot)


# ---- weights -----------------------------------------------------------------------------------

(
    WEIGHT_INNER,
    WEIGHT_FREQUENCIES,
    WEIGHT_APART,
    WEIGHT_TRANSFORM,
    WEIGHT_SCRATCH,
    WEIGHT_SCRATCH_SIZE,
) = range(copy.PACK_PANEL + 1, copy.PACK_PANEL + 7)
"""Words after those of a packing plan, whose PACKED gets [panel][frequency][inner][PANEL]."""


@task
def spread_weights(plan, chunk, chunks):
    """Pack a share of the panels, then transform them."""
    memory = argument(plan, WEIGHT_SCRATCH)
    slot = take(memory)
    table = buffer(memory, slot, argument(plan, WEIGHT_SCRATCH_SIZE))
    packed = table + TABLE_BYTES
    inner, apart = argument(plan, WEIGHT_INNER), argument(plan, WEIGHT_APART)
    panels, code = argument(plan, copy.PANELS), argument(plan, WEIGHT_TRANSFORM)
    for panel in range(panels * chunk // chunks, panels * (chunk + 1) // chunks):
        call_address(argument(plan, copy.PACK_PANEL), plan, panel, packed)
        to = argument(plan, copy.PACKED) + panel * argument(plan, WEIGHT_FREQUENCIES) * apart
        for channel in range(inner):
            for tap in range(9):
                put_word(table, tap, packed + (tap * inner + channel) * (4 * PANEL))
            call_address(code, table, PANEL, to + channel * (4 * PANEL), apart)
    leave(memory, slot)


# ---- plans -------------------------------------------------------------------------------------


def spacing(size: int) -> int:
    """At least `size`, an odd number of cache lines: then steps of it reach all sets of a cache."""
    return (-(-size // 64) | 1) * 64


def tiles_along(out: Sequence[int], gaps: Sequence[int], side: int) -> tuple[int, int]:
    """Tiles along both axes of every lattice of outputs `gaps` apart."""
    down, across = (-(-n // (gap * side)) for n, gap in zip(out, gaps, strict=True))
    return down, across


class WinogradPlan:
    """A plan for given shapes; the weight meets the source as `channels` says.

    Attributes:
        packing: what the transformed weights depend on besides the weight.
    """

    def __init__(
        self,
        source: View,
        target: View,
        low: tuple[int, int],
        gaps: tuple[int, int],
        channels: Channels,
        side: int,
        relu: bool,
        reverse: bool,
    ) -> None:
        """Plan.

        Args:
            low: padding at the top and at the left.
            gaps: distance between the rows and the columns of a window.
            side: 4 or 2.
            reverse: read the window backwards.
        """
        self.channels, self.side, self.reverse = channels, side, reverse
        inner, outer = channels.inner, channels.outer
        frequencies = self.frequencies = (side + 2) ** 2
        self.panels = -(-outer // PANEL)
        down, across = tiles_along(target.shape[2:], gaps, side)
        tiles = source.shape[0] * gaps[0] * gaps[1] * down * across
        self.weight_step = spacing(4 * PANEL * inner)
        self.fused = self.panels * frequencies * self.weight_step <= FUSED_BYTES
        v_row = 4 * (-(-inner // LANES) * LANES + 16)
        at_once = min(BLOCK, -(-tiles // ROWS) * ROWS)
        held = at_once if self.fused else tiles + ROWS
        v_step, m_step = spacing(held * v_row), spacing(4 * PANEL * at_once)
        self.v_bytes = frequencies * v_step
        fused_bytes = self.v_bytes if self.fused else 0
        self.scratch_size = TABLE_BYTES + fused_bytes + frequencies * m_step
        blocks = -(-tiles // at_once)
        self.chunks = min(CHUNKS, blocks * (1 if self.fused else self.panels))
        self.spread_chunks = min(CHUNKS, tiles)
        self.nothing = np.zeros(inner + PANEL, np.float32)
        small = side == 2
        x_n, _, x_h, x_w = source.strides
        y_n, _, y_h, y_w = target.strides
        self.words = words_of(
            WORDS,
            {
                SOURCE_N: x_n,
                SOURCE_H: x_h,
                SOURCE_W: x_w,
                HEIGHT: source.shape[2],
                WIDTH: source.shape[3],
                INNER: inner,
                TOP: low[0],
                LEFT: low[1],
                TARGET_N: y_n,
                TARGET_H: y_h,
                TARGET_W: y_w,
                OUT_HEIGHT: target.shape[2],
                OUT_WIDTH: target.shape[3],
                OUTER: outer,
                SIDE: side,
                GAP_H: gaps[0],
                GAP_W: gaps[1],
                TILES_DOWN: down,
                TILES_ACROSS: across,
                TILES: tiles,
                FREQUENCIES: frequencies,
                TILES_AT_ONCE: at_once,
                V_ROW: v_row,
                V_STEP: v_step,
                M_STEP: m_step,
                WEIGHT_STEP: self.weight_step,
                PANELS: self.panels,
                RELU: relu,
                NOTHING: self.nothing.ctypes.data,
                SCRATCH_SIZE: self.scratch_size,
                READ_TILES: read_tiles.address,
                WRITE_TILES: write_tiles.address,
                ONE_PANEL: one_panel.address,
                EXPECT_TILES: expect_tiles.address,
                SPREAD: (transform.input2 if small else transform.input4).address,
                GATHER: (transform.output2 if small else transform.output4).address,
                PRODUCTS: products.address,
            },
        )
        taps = np.arange(3)[::-1] if reverse else np.arange(3)
        h_step, w_step = channels.window_steps
        depth = taps[:, None, None] * h_step + taps[:, None] * w_step
        depth = depth + np.arange(inner) * channels.inner_step
        self.depth = np.ascontiguousarray(depth.reshape(-1), np.int64)
        self.packing = ("winograd", side, reverse, channels)

    def covers(self, size: Sequence[int]) -> bool:
        """Whether every number of the target is computed: True."""
        return True

    def pack(self, w: np.ndarray) -> np.ndarray:
        """The transformed weights."""
        channels, inner = self.channels, self.channels.inner
        weights = empty((self.panels * self.frequencies * self.weight_step // 4,), np.float32)
        chunks = min(CHUNKS, self.panels)
        size = TABLE_BYTES + 9 * inner * PANEL * 4
        memory = scratch(size, chunks)
        run = inner if channels.inner_step == 4 else 1
        code = transform.weight2 if self.side == 2 else transform.weight4
        words = words_of(
            WEIGHT_SCRATCH_SIZE + 1,
            {
                copy.PANELS: self.panels,
                copy.PANELS_PER_GROUP: self.panels,
                copy.PANEL_LANES: PANEL,
                copy.GROUP_LANES: channels.outer,
                copy.WEIGHTS: w.ctypes.data,
                copy.LANE_STEP: channels.outer_step,
                copy.DEPTH: 9 * inner,
                copy.DEPTH_TABLE: self.depth.ctypes.data,
                copy.PACKED: weights.ctypes.data,
                copy.WORD_SIZE: 4,
                copy.RUN_LENGTH: run,
                copy.TRANSPOSE_BLOCK: kernels_of(w.dtype).transpose,
                copy.PACK_PANEL: copy.pack_panel.address,
                WEIGHT_INNER: inner,
                WEIGHT_FREQUENCIES: self.frequencies,
                WEIGHT_APART: self.weight_step,
                WEIGHT_TRANSFORM: code.address,
                WEIGHT_SCRATCH: memory.ctypes.data,
                WEIGHT_SCRATCH_SIZE: size,
            },
        )
        launch(spread_weights, words, chunks)
        return weights

    def run(
        self, source: np.ndarray, weights: np.ndarray, bias: np.ndarray | None, target: np.ndarray
    ) -> bool:
        """Compute the target; `weights` is what `pack` returned.

        Returns:
            Whether all results are finite. If not, some are NaN that the sum over the window would
            not make so, and all are to be computed anew by another algorithm.
        """
        words = self.words.copy()
        if bias is not None:
            bias = np.ascontiguousarray(bias)
        memory = scratch(self.scratch_size, max(self.chunks, self.spread_chunks))
        words[SOURCE] = source.ctypes.data
        words[TARGET] = target.ctypes.data
        words[WEIGHTS] = weights.ctypes.data
        words[BIAS] = 0 if bias is None else bias.ctypes.data
        words[SCRATCH] = memory.ctypes.data
        if self.fused:
            launch(fused_tiles, words, self.chunks)
        else:
            v = empty((self.v_bytes // 4,), np.float32)
            words[V] = v.ctypes.data
            launch(spread_tiles, words, self.spread_chunks)
            launch(gather_panels, words, self.chunks)
        return not words[ALARM]
