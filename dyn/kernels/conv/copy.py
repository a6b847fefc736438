"""Moving numbers into the order that the convolution tiles read: bands of images, weight panels.

A band is a piece of the source, padded with zeros, channels last or as planes; a panel holds the
weights of as many output channels as a tile is wide. What is computed with them is elsewhere.
"""

from __future__ import annotations

from typing import Any

from numba import types

from dyn.kernels.runtime.bytes import clear_bytes, copy_bytes
from dyn.kernels.runtime.jit import call_address, kernel, microkernel, task
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.simd import F32, INT32, LANES, WORD, Emitter, intrinsic

# ---- rows --------------------------------------------------------------------------------------


@intrinsic
def _move_f32(typing: Any, source: Any, target: Any, count: Any) -> Any:
    """Copy `count` floats, at most a vector, and fill the vector up with zeros."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target, count = arguments
        emit = Emitter(builder, F32)
        with builder.if_else(builder.icmp_signed(">=", count, WORD(emit.lanes))) as (yes, no):
            with yes:
                emit.store(emit.load(source), target)
            with no:
                emit.store(emit.load(source, emit.mask_below(count)), target)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def copy_number(typing: Any, source: Any, target: Any, size: Any) -> Any:
    """Copy 4 or 8 bytes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target, size = arguments
        for start in (0, 4):
            with builder.if_then(builder.icmp_signed(">", size, WORD(start))):
                at = [
                    builder.inttoptr(builder.add(a, WORD(start)), INT32.as_pointer())
                    for a in (source, target)
                ]
                builder.store(builder.load(at[0]), at[1])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@microkernel(6)
def copy_rows(source, source_step, target, width, rows, count):
    """Copy `rows` rows of `count` words of 4 bytes to rows of `width` words, filled up with zeros.

    `width` is a multiple of LANES and not less than `count`.
    """
    for _ in range(rows):
        for i in range(0, width, LANES):
            _move_f32(source + 4 * i, target + 4 * i, count - i)
        source += source_step
        target += 4 * width


# ---- bands -------------------------------------------------------------------------------------

(
    SOURCE,
    SOURCE_N,
    SOURCE_H,
    SOURCE_W,
    SOURCE_C,
    HEIGHT,
    WIDTH,
    CHANNELS,
    ELEMENT,
    LAYOUT,
    BAND_N,
    BAND_H,
    BAND_W,
    BAND_C,
    BAND_WIDTH,
    FIRST,
    TRANSPOSE,
    JOIN,
    FILL_BAND,
) = range(19)
"""Words that describe a source and its bands; plans go on from `BAND_WORDS`.

Steps SOURCE_N ... SOURCE_C and BAND_N ... BAND_C are in bytes, per image, row, pixel and channel.
HEIGHT, WIDTH and CHANNELS are the source's; ELEMENT is the size of a number. A band is BAND_WIDTH
pixels wide; its first pixel is number FIRST of the source's row, which may be negative. The last
three are addresses of microkernels; JOIN makes pixels of rows of planes.
"""
BAND_WORDS = 19

PIXELS, PLANES, TRANSPOSED = range(3)
"""LAYOUT: both have channels last; both have channels as planes; planes become channels last."""


@kernel(forceinline=True)
def clear_gaps(plan, band, size):
    """Clear memory for bands in which a pixel is wider than its channels: nothing writes between.

    What is left over in memory may be denormal, with which Intel's processors compute very slowly.
    """
    if argument(plan, BAND_W) > argument(plan, CHANNELS) * argument(plan, ELEMENT):
        clear_bytes(band, size)


@microkernel(6)
def fill_band(plan, target, first, images, top, rows):
    """Write `rows` rows of some images, from row `top` (which may be negative), into a band."""
    pixel, line = argument(plan, BAND_W), argument(plan, BAND_H)
    height, element = argument(plan, HEIGHT), argument(plan, ELEMENT)
    channels, layout = argument(plan, CHANNELS), argument(plan, LAYOUT)
    source_h, source_w = argument(plan, SOURCE_H), argument(plan, SOURCE_W)
    source_c, band_c = argument(plan, SOURCE_C), argument(plan, BAND_C)
    start, wide = argument(plan, FIRST), argument(plan, BAND_WIDTH)
    skipped = max(0, start)
    before = min(max(0, -start), wide)
    inner = max(0, min(argument(plan, WIDTH) - skipped, wide - before))
    planes = channels if layout == PLANES else 1
    for image in range(images):
        for plane in range(planes):
            for row in range(rows):
                to = target + image * argument(plan, BAND_N) + plane * band_c + row * line
                h = top + row
                if h < 0 or h >= height:
                    clear_bytes(to, wide * pixel)
                    continue
                clear_bytes(to, before * pixel)
                clear_bytes(to + (before + inner) * pixel, (wide - before - inner) * pixel)
                to += before * pixel
                at = argument(plan, SOURCE) + (first + image) * argument(plan, SOURCE_N)
                at += plane * source_c + h * source_h + skipped * source_w
                if layout == TRANSPOSED:
                    call_address(argument(plan, JOIN), at, source_c, to, pixel, channels, inner)
                elif layout == PLANES or source_w == pixel:
                    copy_bytes(to, at, inner * pixel)
                else:
                    for _ in range(inner):
                        copy_bytes(to, at, channels * element)
                        to += pixel
                        at += source_w


# ---- panels of weights -------------------------------------------------------------------------

(
    PANELS,
    PANELS_PER_GROUP,
    PANEL_LANES,
    GROUP_LANES,
    WEIGHTS,
    GROUP_STEP,
    LANE_STEP,
    DEPTH,
    DEPTH_TABLE,
    PACKED,
    WORD_SIZE,
    RUN_LENGTH,
    TRANSPOSE_BLOCK,
    PACK_PANEL,
) = range(14)
PACK_WORDS = 14
"""Words of a packing plan.

Panel p = group * PANELS_PER_GROUP + j holds lanes j * PANEL_LANES ... of the GROUP_LANES output
channels of its group: [DEPTH][PANEL_LANES] numbers, zeros where there is no channel. The number at
depth k and lane l comes from WEIGHTS + group * GROUP_STEP + l * LANE_STEP + depth_table[k].
RUN_LENGTH: the table runs on by single numbers over so many depths at a time (1: nothing known).
The last two are addresses of microkernels.
"""


@microkernel(3)
def pack_panel(plan, panel, to):
    """Write one panel of weights."""
    depth, lanes = argument(plan, DEPTH), argument(plan, PANEL_LANES)
    lane_step, size = argument(plan, LANE_STEP), argument(plan, WORD_SIZE)
    table, run = argument(plan, DEPTH_TABLE), argument(plan, RUN_LENGTH)
    group = panel // argument(plan, PANELS_PER_GROUP)
    first = panel % argument(plan, PANELS_PER_GROUP) * lanes
    count = min(lanes, argument(plan, GROUP_LANES) - first)
    at = argument(plan, WEIGHTS) + group * argument(plan, GROUP_STEP) + first * lane_step
    if count < lanes:
        clear_bytes(to, depth * lanes * size)
    if lane_step == size:
        for k in range(depth):
            copy_bytes(to, at + argument(table, k), count * size)
            to += lanes * size
    elif run > 1:
        transpose = argument(plan, TRANSPOSE_BLOCK)
        for k in range(0, depth, run):
            source = at + argument(table, k)
            call_address(transpose, source, lane_step, to, lanes * size, count, run)
            to += run * lanes * size
    else:
        for k in range(depth):
            source = at + argument(table, k)
            for lane in range(count):
                copy_number(source + lane * lane_step, to + lane * size, size)
            to += lanes * size


@task
def pack_panels(plan, chunk, chunks):
    """Write a share of the panels to PACKED."""
    panels = argument(plan, PANELS)
    size = argument(plan, DEPTH) * argument(plan, PANEL_LANES) * argument(plan, WORD_SIZE)
    for panel in range(panels * chunk // chunks, panels * (chunk + 1) // chunks):
        to = argument(plan, PACKED) + panel * size
        call_address(argument(plan, PACK_PANEL), plan, panel, to)
