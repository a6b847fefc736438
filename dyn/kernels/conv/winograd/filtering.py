"""Convolution 3 x 3 with stride 1 by Winograd's filtering, and its gradient by the input.

Tiles of m x m outputs (m = 4, or 2 which is more exact) are transformed to n * n frequencies
(n = m + 2), where convolution is one product per frequency: [tiles, Ci] x [Ci, Co]. That takes 4
(2.25) times fewer multiplications than summing over the window.

A thread takes a block of tiles through all three stages while it is in its cache, with weights that
were transformed before; how it is done with large weights stands in `large`. The gradient by the
input is the same with the window reversed and the channels exchanged. The transforms are in
`transform`.
"""

from __future__ import annotations

from dyn.kernels.conv.winograd.product import PANEL, ROWS, rows_of
from dyn.kernels.runtime.bytes import clear_bytes, prefetch, prefetch_write, put_word
from dyn.kernels.runtime.jit import call_address, kernel, microkernel, task
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument

BLOCK = 28 // ROWS * ROWS
"""Tiles that go through all stages together: their transforms and the weights stay in the second-
level cache."""
FEWEST = 4
"""Blocks that threads share."""

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
    PIECE,
    PIECE_STEP,
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
) = range(46)
"""Words of a plan.

Steps SOURCE_N ... TARGET_W are in bytes. Channels: INNER in the source, OUTER in the target. SIDE
is m, GAP the dilation. V holds transformed tiles, V_ROW bytes from tile to tile, V_STEP from
frequency to frequency and PIECE_STEP from one PIECE of the channels to the next; M, the products,
one panel wide, M_STEP; the weights, one panel wide, WEIGHT_STEP. NOTHING: address of zeros that
stand for the padding; behind them, at NOTHING + 4 * INNER, is where outputs beyond the border go.
ALARM is set to 1 when a result is not finite.
"""
WORDS = 46
TABLE_BYTES = 512


def spacing(size: int) -> int:
    """At least `size`, an odd number of cache lines: then steps of it reach all sets of a cache."""
    return (-(-size // 64) | 1) * 64


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
    """Transform `count` tiles of the source to rows at `target`, V_STEP apart per frequency and
    PIECE_STEP for every further piece of the channels."""
    side, width, height = argument(plan, SIDE), argument(plan, WIDTH), argument(plan, HEIGHT)
    nothing, code = argument(plan, NOTHING), argument(plan, SPREAD)
    inner, piece = argument(plan, INNER), argument(plan, PIECE)
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
        to = target
        for low in range(0, inner, piece):
            call_address(code, table, min(piece, inner - low), to, argument(plan, V_STEP))
            if low + piece < inner:
                for tap in range((side + 2) * (side + 2)):
                    put_word(table, tap, argument(table, tap) + 4 * piece)
                to += argument(plan, PIECE_STEP)
        target += argument(plan, V_ROW)


@kernel
def clear_spare(plan, v, count):
    """Clear the rows behind `count` tiles at v that are multiplied, too."""
    size, inner = argument(plan, V_ROW), argument(plan, INNER)
    spare = (rows_of(count) - count) * size
    if spare > 0:
        for low in range(0, inner, argument(plan, PIECE)):
            at = v + count * size + low // argument(plan, PIECE) * argument(plan, PIECE_STEP)
            for frequency in range(argument(plan, FREQUENCIES)):
                clear_bytes(at + frequency * argument(plan, V_STEP), spare)


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
    v_row, v_step = argument(plan, V_ROW), argument(plan, V_STEP)
    m_step, code = argument(plan, M_STEP), argument(plan, PRODUCTS)
    share = PANEL * 4 // ((count + ROWS - 1) // ROWS)
    for frequency in range(frequencies):
        a, c = v + frequency * v_step, m + frequency * m_step
        done = first + count * frequency // frequencies
        following = first + count * (frequency + 1) // frequencies
        if done < following:
            call_address(argument(plan, EXPECT_TILES), plan, done, following, panel)
        call_address(code, count, depth, a, v_row, weights, c, weights + size, share, 0)
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
        clear_spare(plan, v, count)
        for panel in range(argument(plan, PANELS)):
            call_address(argument(plan, ONE_PANEL), plan, panel, first, count, v, m, table)
    leave(memory, slot)
