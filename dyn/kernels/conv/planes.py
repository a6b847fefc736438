"""Convolution with few output channels: vectors run along a row of pixels.

With channels in the lanes of a vector, few channels would leave most lanes idle. Here the input
lies as planes, a vector holds neighbouring pixels of a row, and the rows of a tile (`planes_tile`)
are output channels. Results are planes, too, and are turned to channels last a row at a time.
Stride 1 along the row; forward, and with a reversed window the gradient by the input.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dyn.kernels.conv import planes_tile as tile
from dyn.kernels.conv.bands import JOB_BYTES, Phase
from dyn.kernels.conv.pixels import turn_row
from dyn.kernels.conv.shapes import Channels, View, words_of
from dyn.kernels.runtime.bytes import clear_bytes, copy_bytes, put_word
from dyn.kernels.runtime.drive import Form
from dyn.kernels.runtime.jit import call_address, kernel, task
from dyn.kernels.runtime.scratch import buffer, leave, scratch, take
from dyn.kernels.runtime.threads import argument, launch
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.transpose import transpose_f32

MOST_CHANNELS = LANES - 1
"""Output channels from which on vectors of channels are as good."""
BAND_BYTES = 96 * 1024
"""Size of a band: it stays in the second-level cache beside the row of results."""
CHUNKS = 32
"""Most chunks: enough for threads to end at the same time."""


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
    DEEP,
    GAP,
    TAPS_DOWN,
    LINE,
    PLANE,
    WEIGHTS,
    TAP_BYTES,
    GROUPS,
    GROUP_BYTES,
    GROUP_RESULTS,
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
) = range(47)
"""Words of a plan.

A band holds DEEP source rows as planes, LINE bytes from row to row and PLANE from plane to plane,
with LEFT zeros before every row and zeros for rows outside the image. TOP: source row that the
first tap sees for output row 0; GAP: rows between taps. A tile computes ROWS_AT_ONCE rows of
PIXELS_AT_ONCE pixels, a group of channels at a time; taps that see none of its rows inside the
image are left out. TAP_BYTES: weights of a row of the window.
"""
TURN_BIAS, TURN_RELU = tile.WORDS, tile.WORDS + 1
"""Words behind those of a tile's job: the job of `turn_row`."""


@kernel(forceinline=True)
def _fill(plan, band, image, top):
    """Copy the source rows from `top` on into a band, in which the columns around them are zero."""
    inner, width, deep = argument(plan, INNER), argument(plan, WIDTH), argument(plan, DEEP)
    line, plane = argument(plan, LINE), argument(plan, PLANE)
    source_w, source_c = argument(plan, SOURCE_W), argument(plan, SOURCE_C)
    before = 4 * argument(plan, LEFT)
    for row in range(top, top + deep):
        to = band + (row - top) * line
        if row < 0 or row >= argument(plan, HEIGHT):
            for channel in range(inner):
                clear_bytes(to + channel * plane + before, 4 * width)
            continue
        source = image + row * argument(plan, SOURCE_H)
        if source_w == 4:
            for channel in range(inner):
                start = to + channel * plane + before
                copy_bytes(start, source + channel * source_c, 4 * width)
        else:
            mover = argument(plan, TRANSPOSE)
            call_address(mover, source, source_w, to + before, plane, width, inner)


@task
def planes(plan, chunk, chunks):
    """Do a share of the bands."""
    memory = argument(plan, SCRATCH)
    slot = take(memory)
    job = buffer(memory, slot, argument(plan, SCRATCH_SIZE))
    outer, height = argument(plan, OUTER), argument(plan, HEIGHT)
    line, taps = argument(plan, LINE), argument(plan, TAPS_DOWN)
    per_image, rows = argument(plan, BANDS_PER_IMAGE), argument(plan, ROWS_PER_BAND)
    out_height, out_width = argument(plan, OUT_HEIGHT), argument(plan, OUT_WIDTH)
    step, gap, groups = argument(plan, STEP), argument(plan, GAP), argument(plan, GROUPS)
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
    bands = argument(plan, IMAGES) * per_image
    clear_bytes(start, argument(plan, INNER) * argument(plan, PLANE))
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
            steps = argument(plan, INNER) * tap
            put_word(job, tile.STEP_TABLE, argument(plan, STEP_TABLE) + 8 * steps)
            put_word(job, tile.STEPS, argument(plan, INNER) * count)
            weights = argument(plan, WEIGHTS) + tap * argument(plan, TAP_BYTES)
            for pixel in range(0, out_width, pixels):
                put_word(job, tile.B, start + (upper - top) * line + 4 * pixel)
                for group in range(groups):
                    put_word(job, tile.A, weights + group * argument(plan, GROUP_BYTES))
                    at = result + group * argument(plan, GROUP_RESULTS) + 4 * pixel
                    put_word(job, tile.C, at)
                    call_address(argument(plan, TILE), job)
            to = argument(plan, TARGET) + number * argument(plan, TARGET_N)
            for i in range(min(at_once, last - row)):
                call_address(
                    argument(plan, TURN), result + i * result_row, result_line,
                    to + (row + i) * argument(plan, TARGET_H), outer, out_width,
                    job + 8 * TURN_BIAS,
                )  # fmt: skip
    leave(memory, slot)


# ---- plans -------------------------------------------------------------------------------------


def suits(outer: int, width: int) -> bool:
    """Whether rows of `width` outputs fill vectors better than `outer` channels do."""
    return 1 <= outer <= MOST_CHANNELS and 4 * width > 3 * LANES


def fits(source: View, phases: list[Phase], stride: int, channels: Channels) -> bool:
    """Whether these windows can be done here, and faster than with channels in the lanes."""
    if len(phases) != 1 or stride != 1 or source.dtype != np.float32 or channels.groups != 1:
        return False
    if channels.lanewise or not suits(channels.outer, phases[0].size[1]):
        return False
    down, across = phases[0].taps
    gaps = [set(np.diff(n).tolist()) for n in (down.offsets, across.offsets)]
    return all(len(g) <= 1 for g in gaps)


def steps(source: View, phase: Phase, channels: Channels) -> float:
    """Sums of a vector over one number of the window that a convolution takes here."""
    (height, width), (down, across) = phase.size, phase.taps
    taps = len(down.offsets) * len(across.offsets) * channels.inner
    return source.shape[0] * height * -(-width // LANES) * channels.outer * taps


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
        self.phase, self.channels = phase, channels
        inner, outer = channels.inner, channels.outer
        down, across = phase.taps
        height, width = phase.size
        gap = down.offsets[1] - down.offsets[0] if len(down.offsets) > 1 else 1
        run = len(across.offsets)
        gap_w = across.offsets[1] - across.offsets[0] if run > 1 else 1
        span = down.offsets[-1] - down.offsets[0]
        self.groups = -(-outer // tile.MOST)
        self.together = -(-outer // self.groups)
        vectors = tile.vectors_of(self.together)
        blocks = -(-width // LANES)
        # The vectors of a tile lie in a row, unless more would be empty than below each other.
        below = -(-height // vectors) * blocks < height * -(-blocks // vectors)
        at_once, pixels = (vectors, LANES) if below else (1, vectors * LANES)
        before = max(0, -across.offsets[0])
        reach = -(-width // pixels) * pixels
        line = 4 * (max(before + source.shape[3], before + reach + across.offsets[-1]) + LANES)
        rows = max(1, min(height, -(-height * source.shape[0] // CHUNKS)))
        while rows > 1 and ((rows - 1) * step + span + 1) * line * inner > BAND_BYTES:
            rows -= 1
        rows = -(-rows // at_once) * at_once
        deep = (rows - 1) * step + span + 1
        per_image = -(-height // rows)
        self.chunks = min(CHUNKS, source.shape[0] * per_image)
        result_line = 4 * reach
        result_row = result_line * self.groups * self.together
        plane = deep * line
        self.scratch_size = JOB_BYTES + result_row * at_once + inner * plane
        tap, channel = np.ogrid[: len(down.offsets), :inner]
        first = 4 * (before + across.offsets[0])
        starts = tap * gap * line + channel * plane + first
        self.step_table = np.ascontiguousarray(starts.reshape(-1), np.int64)
        self.packing = ("planes", channels, phase.taps)
        x_n, x_c, x_h, x_w = source.strides
        tap_bytes = 4 * inner * run * self.together
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
                DEEP: deep,
                GAP: gap,
                TAPS_DOWN: len(down.offsets),
                LINE: line,
                PLANE: plane,
                TAP_BYTES: tap_bytes,
                GROUPS: self.groups,
                GROUP_BYTES: len(down.offsets) * tap_bytes,
                GROUP_RESULTS: self.together * result_line,
                RUN: run,
                A_STEP: 4 * self.together,
                B_STEP: 4 * gap_w,
                ROWS_AT_ONCE: at_once,
                PIXELS_AT_ONCE: pixels,
                B_BETWEEN: step * line if below else 4 * LANES,
                C_BETWEEN: result_row if below else 4 * LANES,
                RESULT_LINE: result_line,
                RESULT_ROW: result_row,
                STEP_TABLE: self.step_table.ctypes.data,
                SCRATCH_SIZE: self.scratch_size,
                RELU: relu,
                TRANSPOSE: transpose_f32.address,
                TILE: tile.TILES[self.together].address,
                TURN: turn_row.address,
            },
        )
        self.form = Form(words, (SOURCE, TARGET, WEIGHTS, SCRATCH, BIAS))

    def covers(self, size: Sequence[int]) -> bool:
        """Whether every number of the target is computed: True."""
        return True

    def pack(self, w: np.ndarray) -> np.ndarray:
        """The weights as [group][window rows][inner][window columns][channels of the group]."""
        channels, (down, across) = self.channels, self.phase.taps
        h_step, w_step = channels.window_steps
        turned = np.lib.stride_tricks.as_strided(
            w,
            (max(down.indices) + 1, channels.inner, max(across.indices) + 1, channels.outer),
            (h_step, channels.inner_step, w_step, channels.outer_step),
        )[down.indices, :][:, :, across.indices]
        full = np.zeros((*turned.shape[:3], self.groups * self.together), w.dtype)
        full[..., : channels.outer] = turned
        grouped = full.reshape(*turned.shape[:3], self.groups, self.together)
        return np.ascontiguousarray(grouped.transpose(3, 0, 1, 2, 4))

    def run(
        self, source: np.ndarray, packed: np.ndarray, bias: np.ndarray | None, target: np.ndarray
    ) -> bool:
        """Compute the target; `packed` is what `pack` returned for the weight. Returns True."""
        memory = scratch(self.scratch_size, self.chunks)
        shift = () if bias is None else (np.ascontiguousarray(bias),)
        words = self.form.filled(source, target, packed, memory, *shift)
        launch(planes, words, self.chunks)
        return True
