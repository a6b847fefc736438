"""Convolution with few output channels: vectors run along a row of pixels.

With channels in the lanes of a vector, few channels would leave most lanes idle. Here the input
lies as planes, a vector holds neighbouring pixels of a row, and the rows of a tile are output
channels: the tile kernel of `tile` with the weights in A and the input in B. Results are
planes, too, and are turned to channels last a row at a time. Stride 1 along the row; forward, and
with a reversed window the gradient by the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types

from dyn.kernels.conv import tile
from dyn.kernels.conv.bands import JOB_BYTES, Phase
from dyn.kernels.conv.shapes import Channels, View, kernels_of, table, words_of
from dyn.kernels.runtime.bytes import clear_bytes, copy_bytes, put_word
from dyn.kernels.runtime.drive import Form
from dyn.kernels.runtime.jit import call_address, microkernel, task
from dyn.kernels.runtime.scratch import buffer, leave, scratch, take
from dyn.kernels.runtime.threads import argument, launch
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.simd import F32, WORD, Emitter, choose, intrinsic, transpose
from dyn.kernels.vector.transpose import transpose_f32
from dyn.kernels.vector.value import branch

MOST_CHANNELS = LANES - 1
"""Output channels from which on vectors of channels are as good."""
BAND_BYTES = 96 * 1024
"""Size of a band: it stays in the second-level cache beside the row of results."""
CHUNKS = 32
"""Most chunks: enough for threads to end at the same time."""
PIXELS = 2 * LANES
"""Pixels of a tile."""


@intrinsic
def _turn(
    typing: Any, source: Any, step: Any, target: Any, channels: Any, left: Any, job: Any
) -> Any:
    """Turn a block of LANES pixels from planes to pixels; add a bias, clamp.

    `left` pixels are left in the row, of `channels` (at most LANES) numbers each. Whole vectors are
    stored as long as they do not reach beyond the row: what they hold beyond the channels is
    overwritten by the pixels that follow.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, step, target, channels, left, job = arguments
        emit = Emitter(builder, F32)
        last = builder.sub(channels, WORD(1))
        rows = []
        for c in range(emit.lanes):
            inside = builder.icmp_signed("<", WORD(c), last)
            index = builder.select(inside, WORD(c), last)
            rows.append(emit.load(builder.add(source, builder.mul(index, step))))
        mask = emit.mask_below(channels)
        bias = builder.load(builder.inttoptr(job, WORD.as_pointer()))
        relu = builder.load(builder.inttoptr(builder.add(job, WORD(8)), WORD.as_pointer()))
        (shift,) = branch(
            builder,
            builder.icmp_signed("!=", bias, WORD(0)),
            lambda: [emit.load(bias, mask)],
            lambda: [emit.numbers(0)],
        )
        relu = builder.icmp_signed("!=", relu, WORD(0))
        floor = emit.splat(builder.select(relu, F32(0.0), F32(float("-inf"))))
        numbers = builder.mul(left, channels)
        for i, found in enumerate(transpose(rows)):
            found = found + shift
            # A comparison with NaN is false, so NaN stays.
            found = choose(found < floor, floor, found)
            start = builder.mul(channels, WORD(i))
            at = builder.add(target, builder.mul(start, WORD(4)))
            end = builder.add(start, WORD(emit.lanes))
            with builder.if_else(builder.icmp_signed("<=", end, numbers)) as (yes, no):
                with yes:
                    emit.store(found, at)
                with no, builder.if_then(builder.icmp_signed(">", left, WORD(i))):
                    emit.store(found, at, mask)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


@microkernel(6)
def turn_row(source, step, target, channels, count, job):
    """Turn a row of `count` pixels, planes `step` bytes apart, to pixels of `channels` numbers.

    `job` holds a bias (address or 0) and whether to clamp.
    """
    for first in range(0, count, LANES):
        at = target + 4 * channels * first
        _turn(source + 4 * first, step, at, channels, count - first, job)


# ---- the task ----------------------------------------------------------------------------------

(
    SOURCE,
    SOURCE_N,
    SOURCE_H,
    SOURCE_W,
    SOURCE_C,
    HEIGHT,
    WIDTH,
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
    SPAN,
    GAP,
    TAPS_DOWN,
    LINE,
    PLANE,
    WEIGHTS,
    RUN,
    B_STEP,
    ROW_TABLE,
    STEP_TABLE,
    SCRATCH,
    SCRATCH_SIZE,
    BIAS,
    RELU,
    TRANSPOSE,
    TILE,
    TURN,
) = range(37)
"""Words of a plan.

A band holds source rows as planes, LINE bytes from row to row and PLANE from plane to plane, with
LEFT zeros before every row. TOP: source row that the first tap sees for output row 0; SPAN: rows
between the first and the last tap, GAP: between taps. Taps above or below the image are left out.
"""
TURN_BIAS, TURN_RELU = tile.FLAGS + 1, tile.FLAGS + 2
"""Words behind those of a tile's job: the job of `turn_row`."""


@task
def planes(plan, chunk, chunks):
    """Do a share of the bands."""
    memory = argument(plan, SCRATCH)
    slot = take(memory)
    job = buffer(memory, slot, argument(plan, SCRATCH_SIZE))
    inner, outer = argument(plan, INNER), argument(plan, OUTER)
    width, height = argument(plan, WIDTH), argument(plan, HEIGHT)
    line, plane = argument(plan, LINE), argument(plan, PLANE)
    per_image, rows = argument(plan, BANDS_PER_IMAGE), argument(plan, ROWS_PER_BAND)
    out_height, out_width = argument(plan, OUT_HEIGHT), argument(plan, OUT_WIDTH)
    step, gap, taps = argument(plan, STEP), argument(plan, GAP), argument(plan, TAPS_DOWN)
    source_w, source_c = argument(plan, SOURCE_W), argument(plan, SOURCE_C)
    result_line = (out_width + PIXELS - 1) // PIXELS * (4 * PIXELS)
    result = job + JOB_BYTES
    band_start = result + result_line * outer
    put_word(job, tile.RUN, argument(plan, RUN))
    put_word(job, tile.A_STEP, 4)
    put_word(job, tile.B_STEP, argument(plan, B_STEP))
    put_word(job, tile.A, argument(plan, WEIGHTS))
    put_word(job, tile.ROW_TABLE, argument(plan, ROW_TABLE))
    put_word(job, tile.COUNT, outer)
    put_word(job, tile.WIDTH, PIXELS)
    put_word(job, tile.BIAS, 0)
    put_word(job, tile.FLAGS, 0)
    put_word(job, TURN_BIAS, argument(plan, BIAS))
    put_word(job, TURN_RELU, argument(plan, RELU))
    bands = argument(plan, IMAGES) * per_image
    before = 4 * argument(plan, LEFT)
    for band in range(bands * chunk // chunks, bands * (chunk + 1) // chunks):
        image, first = band // per_image, band % per_image * rows
        last = min(first + rows, out_height)
        top = max(0, first * step + argument(plan, TOP))
        bottom = min(height, (last - 1) * step + argument(plan, TOP) + argument(plan, SPAN) + 1)
        at = argument(plan, SOURCE) + image * argument(plan, SOURCE_N)
        for row in range(top, bottom):
            to = band_start + (row - top) * line
            source = at + row * argument(plan, SOURCE_H)
            for channel in range(inner):
                clear_bytes(to + channel * plane, before)
                rest = to + channel * plane + before + 4 * width
                clear_bytes(rest, line - before - 4 * width)
            if source_w == 4:
                for channel in range(inner):
                    start = to + channel * plane + before
                    copy_bytes(start, source + channel * source_c, 4 * width)
            else:
                mover = argument(plan, TRANSPOSE)
                call_address(mover, source, source_w, to + before, plane, width, inner)
        for row in range(first, last):
            # The taps that see a row of the image.
            upper = row * step + argument(plan, TOP)
            tap = max(0, (gap - 1 - upper) // gap)
            count = min(taps, (height - 1 - upper) // gap + 1) - tap
            put_word(job, tile.STEP_TABLE, argument(plan, STEP_TABLE) + 16 * inner * tap)
            put_word(job, tile.STEPS, inner * count)
            for pixel in range(0, out_width, PIXELS):
                put_word(job, tile.C, result + 4 * pixel)
                if count > 0:
                    put_word(job, tile.B, band_start + (upper - top) * line + 4 * pixel)
                    call_address(argument(plan, TILE), job)
                else:
                    for channel in range(outer):
                        to = result + channel * result_line + 4 * pixel
                        clear_bytes(to, 4 * PIXELS)
            to = argument(plan, TARGET) + image * argument(plan, TARGET_N)
            to += row * argument(plan, TARGET_H)
            turn = argument(plan, TURN)
            call_address(
                turn, result, result_line, to, outer, out_width, job + 8 * TURN_BIAS
            )  # fmt: skip
    leave(memory, slot)


# ---- plans -------------------------------------------------------------------------------------


def fits(source: View, phases: list[Phase], stride: int, channels: Channels) -> bool:
    """Whether these windows can be done here, and faster than with channels in the lanes."""
    if len(phases) != 1 or stride != 1 or source.dtype != np.float32 or channels.groups != 1:
        return False
    if channels.lanewise or not 1 <= channels.outer <= MOST_CHANNELS:
        return False
    down, across = phases[0].taps
    gaps = [set(np.diff(n).tolist()) for n in (down.offsets, across.offsets)]
    if any(len(g) > 1 for g in gaps):
        return False
    width = phases[0].size[1]
    return 4 * width > 3 * LANES


class PlanesPlan:
    """A plan for given shapes, if it `fits`.

    Attributes:
        packing: what the packed weights depend on besides the weight.
    """

    def __init__(
        self,
        source: View,
        target: View,
        phase: Phase,
        step: int,
        channels: Channels,
        relu: bool,
    ) -> None:
        """Plan; `step` is the stride down the image."""
        self.phase = phase
        inner, outer = channels.inner, channels.outer
        down, across = phase.taps
        height, width = phase.size
        gap = down.offsets[1] - down.offsets[0] if len(down.offsets) > 1 else 1
        run = len(across.offsets)
        gap_w = across.offsets[1] - across.offsets[0] if run > 1 else 1
        span = down.offsets[-1] - down.offsets[0]
        before = max(0, -across.offsets[0])
        pixels = -(-width // PIXELS) * PIXELS + max(across.offsets[-1], 0)
        line = 4 * (max(before + source.shape[3], before + pixels) + LANES)
        rows = max(1, min(height, -(-height * source.shape[0] // CHUNKS)))
        while rows > 1 and ((rows - 1) * step + span + 1) * line * inner > BAND_BYTES:
            rows -= 1
        deep = (rows - 1) * step + span + 1
        per_image = -(-height // rows)
        self.chunks = min(CHUNKS, source.shape[0] * per_image)
        result_line = 4 * -(-width // PIXELS) * PIXELS
        plane = deep * line
        self.scratch_size = JOB_BYTES + result_line * outer + inner * plane
        depth = len(down.offsets) * inner * run
        self.row_table = table(np.arange(outer)[:, None] * np.array([4 * depth, result_line]))
        tap, channel = np.ogrid[: len(down.offsets), :inner]
        first = 4 * (before + across.offsets[0])
        self.step_table = table(
            np.stack(
                np.broadcast_arrays(
                    (tap * inner + channel) * (4 * run), tap * gap * line + channel * plane + first
                ),
                -1,
            )
        )
        self.channels = channels
        self.packing = ("planes", channels, phase.taps)
        x_n, x_c, x_h, x_w = source.strides
        words = words_of(
            TURN + 1,
            {
                SOURCE_N: x_n,
                SOURCE_H: x_h,
                SOURCE_W: x_w,
                SOURCE_C: x_c,
                HEIGHT: source.shape[2],
                WIDTH: source.shape[3],
                INNER: inner,
                TARGET_N: target.strides[0],
                TARGET_H: target.strides[2],
                IMAGES: source.shape[0],
                OUT_HEIGHT: height,
                OUT_WIDTH: width,
                OUTER: outer,
                ROWS_PER_BAND: rows,
                BANDS_PER_IMAGE: per_image,
                STEP: step,
                TOP: down.offsets[0],
                LEFT: before,
                SPAN: span,
                GAP: gap,
                TAPS_DOWN: len(down.offsets),
                LINE: line,
                PLANE: plane,
                RUN: run,
                B_STEP: 4 * gap_w,
                ROW_TABLE: self.row_table.ctypes.data,
                STEP_TABLE: self.step_table.ctypes.data,
                SCRATCH_SIZE: self.scratch_size,
                RELU: relu,
                TRANSPOSE: transpose_f32.address,
                TILE: kernels_of(source.dtype).wide,
                TURN: turn_row.address,
            },
        )
        self.form = Form(words, (SOURCE, TARGET, WEIGHTS, SCRATCH, BIAS))

    def covers(self, size: Sequence[int]) -> bool:
        """Whether every number of the target is computed: True."""
        return True

    def pack(self, w: np.ndarray) -> np.ndarray:
        """The weights as [outer][window rows][inner][window columns]."""
        channels, (down, across) = self.channels, self.phase.taps
        h_step, w_step = channels.window_steps
        turned = np.lib.stride_tricks.as_strided(
            w,
            (channels.outer, max(down.indices) + 1, channels.inner, max(across.indices) + 1),
            (channels.outer_step, h_step, channels.inner_step, w_step),
        )
        return np.ascontiguousarray(turned[:, down.indices][..., across.indices])

    def run(
        self, source: np.ndarray, packed: np.ndarray, bias: np.ndarray | None, target: np.ndarray
    ) -> bool:
        """Compute the target; `packed` is what `pack` returned for the weight. Returns True."""
        memory = scratch(self.scratch_size, self.chunks)
        shift = () if bias is None else (np.ascontiguousarray(bias),)
        words = self.form.filled(source, target, packed, memory, *shift)
        launch(planes, words, self.chunks)
        return True
