"""Convolution with few output channels, or few in each group: vectors run along a row of pixels.

With channels in the lanes of a vector, few channels would leave most lanes idle. Here the input
lies as planes, a vector holds neighbouring pixels of a row, and the rows of a tile (`planes_tile`)
are output channels. Results are planes, too, and are turned to channels last a row at a time.
Stride 1 along the row; forward, and with a reversed window the gradient by the input.
"""

from __future__ import annotations

from dyn.kernels.conv import planes_tile as tile
from dyn.kernels.conv.bands import JOB_BYTES
from dyn.kernels.runtime.bytes import clear_bytes, copy_bytes, put_word
from dyn.kernels.runtime.jit import call_address, kernel, task
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument

(
    SOURCE,
    SOURCE_N,
    SOURCE_H,
    SOURCE_W,
    SOURCE_C,
    HEIGHT,
    WIDTH,
    CHANNELS,
    INNER,
    TARGET,
    TARGET_N,
    TARGET_H,
    IMAGES,
    OUT_HEIGHT,
    OUT_WIDTH,
    OUTER,
    ROWS_PER_BAND,
    BANDS_PER_IMAGE,
    STEP,
    TOP,
    LEFT,
    DEEP,
    GAP,
    TAPS_DOWN,
    LINE,
    PLANE,
    WEIGHTS,
    TAP_BYTES,
    GROUPS,
    GROUP_RESULTS,
    SETS,
    SET_BYTES,
    SET_RESULTS,
    RUN,
    A_STEP,
    B_STEP,
    ROWS_AT_ONCE,
    PIXELS_AT_ONCE,
    B_BETWEEN,
    C_BETWEEN,
    RESULT_LINE,
    RESULT_ROW,
    STEP_TABLE,
    SCRATCH,
    SCRATCH_SIZE,
    BIAS,
    RELU,
    TRANSPOSE,
    TILE,
    TURN,
) = range(50)
"""Words of a plan.

A band holds DEEP source rows as planes, LINE bytes from row to row and PLANE from plane to plane,
with LEFT zeros before every row and zeros for rows outside the image. TOP: source row that the
first tap sees for output row 0; GAP: rows between taps. A tile computes ROWS_AT_ONCE rows of
PIXELS_AT_ONCE pixels for one of the equal SETS of a group's channels; taps that see none of its
rows inside the image are left out. TAP_BYTES: weights of a row of the window. What the last set of
a group computes beyond its channels is written over by the next group.
"""
TURN_BIAS, TURN_RELU = tile.WORDS, tile.WORDS + 1
"""Words behind those of a tile's job: the job of `turn_row`."""


@kernel(forceinline=True)
def _fill(plan, band, image, top):
    """Copy the source rows from `top` on into a band, in which the columns around them are zero."""
    channels, width, deep = argument(plan, CHANNELS), argument(plan, WIDTH), argument(plan, DEEP)
    line, plane = argument(plan, LINE), argument(plan, PLANE)
    source_w, source_c = argument(plan, SOURCE_W), argument(plan, SOURCE_C)
    before = 4 * argument(plan, LEFT)
    for row in range(top, top + deep):
        to = band + (row - top) * line
        if row < 0 or row >= argument(plan, HEIGHT):
            for channel in range(channels):
                clear_bytes(to + channel * plane + before, 4 * width)
            continue
        source = image + row * argument(plan, SOURCE_H)
        if source_w == 4:
            for channel in range(channels):
                start = to + channel * plane + before
                copy_bytes(start, source + channel * source_c, 4 * width)
        else:
            mover = argument(plan, TRANSPOSE)
            call_address(mover, source, source_w, to + before, plane, width, channels)


@task
def planes(plan, chunk, chunks):
    """Do a share of the bands."""
    memory = argument(plan, SCRATCH)
    slot = take(memory)
    job = buffer(memory, slot, argument(plan, SCRATCH_SIZE))
    inner, outer, height = argument(plan, INNER), argument(plan, OUTER), argument(plan, HEIGHT)
    line, taps = argument(plan, LINE), argument(plan, TAPS_DOWN)
    per_image, rows = argument(plan, BANDS_PER_IMAGE), argument(plan, ROWS_PER_BAND)
    out_height, out_width = argument(plan, OUT_HEIGHT), argument(plan, OUT_WIDTH)
    step, gap, sets = argument(plan, STEP), argument(plan, GAP), argument(plan, SETS)
    at_once, pixels = argument(plan, ROWS_AT_ONCE), argument(plan, PIXELS_AT_ONCE)
    result_line, result_row = argument(plan, RESULT_LINE), argument(plan, RESULT_ROW)
    result = job + JOB_BYTES
    start = result + result_row * at_once
    put_word(job, tile.RUN, argument(plan, RUN))
    put_word(job, tile.A_STEP, argument(plan, A_STEP))
    put_word(job, tile.B_STEP, argument(plan, B_STEP))
    put_word(job, tile.B_BETWEEN, argument(plan, B_BETWEEN))
    put_word(job, tile.C_BETWEEN, argument(plan, C_BETWEEN))
    put_word(job, tile.C_ROW, result_line)
    put_word(job, tile.ACCUMULATE, 0)
    put_word(job, TURN_BIAS, argument(plan, BIAS))
    put_word(job, TURN_RELU, argument(plan, RELU))
    bands, group_bytes = argument(plan, IMAGES) * per_image, inner * argument(plan, PLANE)
    clear_bytes(start, argument(plan, CHANNELS) * argument(plan, PLANE))
    for band in range(bands * chunk // chunks, bands * (chunk + 1) // chunks):
        number, first = band // per_image, band % per_image * rows
        last = min(first + rows, out_height)
        top = first * step + argument(plan, TOP)
        _fill(plan, start, argument(plan, SOURCE) + number * argument(plan, SOURCE_N), top)
        for row in range(first, last, at_once):
            # The taps that see a row of the image from one of the rows of outputs.
            upper = row * step + argument(plan, TOP)
            lower = upper + (at_once - 1) * step
            tap = max(0, (gap - 1 - lower) // gap)
            count = min(taps, (height - 1 - upper) // gap + 1) - tap
            if count <= 0:  # one tap, which sees zeros
                tap, count = 0, 1
            put_word(job, tile.STEP_TABLE, argument(plan, STEP_TABLE) + 8 * inner * tap)
            put_word(job, tile.STEPS, inner * count)
            weights = argument(plan, WEIGHTS) + tap * argument(plan, TAP_BYTES)
            for group in range(argument(plan, GROUPS)):
                seen = start + group * group_bytes + (upper - top) * line
                results = result + group * argument(plan, GROUP_RESULTS)
                for pixel in range(0, out_width, pixels):
                    put_word(job, tile.B, seen + 4 * pixel)
                    for part in range(sets):
                        a = weights + (group * sets + part) * argument(plan, SET_BYTES)
                        put_word(job, tile.A, a)
                        c = results + part * argument(plan, SET_RESULTS) + 4 * pixel
                        put_word(job, tile.C, c)
                        call_address(argument(plan, TILE), job)
            to = argument(plan, TARGET) + number * argument(plan, TARGET_N)
            for i in range(min(at_once, last - row)):
                call_address(
                    argument(plan, TURN), result + i * result_row, result_line,
                    to + (row + i) * argument(plan, TARGET_H), outer, out_width,
                    job + 8 * TURN_BIAS,
                )  # fmt: skip
    leave(memory, slot)
