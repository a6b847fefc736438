"""What threads do for `weight.py`: transform tiles, multiply them, and transform the sums back."""

from __future__ import annotations

from typing import Any

from numba import types

from dyn.kernels.conv import tile
from dyn.kernels.conv.winograd import filtering as forward
from dyn.kernels.conv.winograd.filtering import TABLE_BYTES
from dyn.kernels.conv.winograd.product import PANEL
from dyn.kernels.runtime.bytes import prefetch, prefetch_write, put_word
from dyn.kernels.runtime.jit import call_address, kernel, microkernel, task
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.simd import F32, WORD, Emitter, Value, intrinsic, loop, repeat
from dyn.kernels.vector.sums import ACCUMULATE

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
    CHANNELS,
    PARTS,
) = range(forward.WORDS, forward.WORDS + 25)
"""Words after those of `winograd`, whose source is the input and whose target has the sizes of g.

FIRST and COUNT: the tiles of the present block. M holds transformed gradients, M_ROW bytes from
tile to tile and M_STEP from frequency to frequency. SUMS: [frequency][inner][outer], SUMS_ROW bytes
from channel to channel; SUMMED of them, SHARE_STEP apart, make up the sum. RESULT:
[3][3][inner][outer], RESULT_ROW likewise. CHANNELS: input channels of a chunk whose sums stay in
the cache; PARTS: how many chunks share the panels of these.
"""
WORDS = forward.WORDS + 25


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
def next_block(plan, chunk, chunks):
    """Go on to the next block of tiles."""
    first = argument(plan, FIRST) + argument(plan, COUNT)
    left = argument(plan, forward.TILES) - first
    put_word(plan, FIRST, first)
    put_word(plan, COUNT, min(argument(plan, forward.TILES_AT_ONCE), left))


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


@microkernel(8)
def multiply(plan, job, count, v, m, sums, rows, panel):
    """Add the products of `count` tiles, or of the first ones, to one panel of the sums of some
    channels and one of the frequencies, all of which are given by address."""
    row = argument(plan, SUMS_ROW)
    put_word(job, tile.STEPS, 1)
    put_word(job, tile.STEP_TABLE, argument(plan, STEP_TABLE))
    put_word(job, tile.RUN, count)
    put_word(job, tile.A, v)
    put_word(job, tile.A_STEP, argument(plan, forward.V_ROW))
    put_word(job, tile.B, m)
    put_word(job, tile.B_STEP, argument(plan, M_ROW))
    put_word(job, tile.C, sums)
    put_word(job, tile.WIDTH, PANEL)
    put_word(job, tile.BIAS, 0)
    # Whole vectors of gradients are transformed; where the last panel is half empty, it is one.
    half = argument(plan, forward.OUTER) - panel * PANEL <= LANES
    code, high = (
        (argument(plan, NARROW), tile.NARROW) if half else (argument(plan, WIDE), tile.WIDE)
    )
    for top in range(0, rows, high):
        put_word(job, tile.ROW_TABLE, argument(plan, ROW_TABLE) + 16 * top)
        put_word(job, tile.COUNT, min(high, rows - top))
        # The next tile's sums come while this one's are made.
        for following in range(sums + (top + high) * row, sums + (top + 2 * high) * row, row):
            for line in range(following, following + 4 * PANEL, 64):
                prefetch_write(line)
        call_address(code, job)


@kernel
def _multiply_unit(plan, job, unit, count, v, m, sums):
    """The products of all channels for a unit: one panel of one of the frequencies."""
    panels = argument(plan, forward.PANELS)
    frequency, panel = unit // panels, unit % panels
    call_address(
        argument(plan, MULTIPLY), plan, job, count, v + frequency * argument(plan, forward.V_STEP),
        m + frequency * argument(plan, forward.M_STEP) + panel * (4 * PANEL),
        sums + frequency * argument(plan, SUMS_STEP) + panel * (4 * PANEL),
        argument(plan, forward.INNER), panel,
    )  # fmt: skip


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
        _multiply_unit(plan, job, unit, argument(plan, COUNT), v, m, sums)
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
            _multiply_unit(plan, job, unit, count, v, m, sums)
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


@task
def gather_blocks(plan, chunk, chunks):
    """Take some channels and panels through the products of all tiles and back."""
    memory = argument(plan, forward.SCRATCH)
    slot = take(memory)
    table = buffer(memory, slot, argument(plan, forward.SCRATCH_SIZE))
    job = table + TABLE_BYTES
    sums = job + TABLE_BYTES
    inner, outer = argument(plan, forward.INNER), argument(plan, forward.OUTER)
    count, row, step = argument(plan, COUNT), argument(plan, RESULT_ROW), argument(plan, SUMS_STEP)
    panels, parts = argument(plan, forward.PANELS), argument(plan, PARTS)
    first, part = chunk // parts * argument(plan, CHANNELS), chunk % parts
    rows = min(argument(plan, CHANNELS), inner - first)
    put_word(job, tile.FLAGS, 0)
    for panel in range(panels * part // parts, panels * (part + 1) // parts):
        for frequency in range(argument(plan, forward.FREQUENCIES)):
            call_address(
                argument(plan, MULTIPLY), plan, job, count,
                argument(plan, forward.V) + frequency * argument(plan, forward.V_STEP) + 4 * first,
                argument(plan, M) + frequency * argument(plan, forward.M_STEP) + panel * 4 * PANEL,
                sums + frequency * step, rows, panel,
            )  # fmt: skip
        result = argument(plan, RESULT) + first * row + panel * (4 * PANEL)
        for channel in range(rows):
            for tap in range(9):
                put_word(table, tap, result + (tap * inner + channel) * row)
            call_address(
                argument(plan, GATHER_WEIGHT), table, min(PANEL, outer - panel * PANEL),
                sums + channel * argument(plan, SUMS_ROW), step, 0, 0, plan + 8 * forward.ALARM,
            )  # fmt: skip
    leave(memory, slot)
