"""Convolution with few output channels, or few in each group: vectors run along a row of pixels.

With channels in the lanes of a vector, few channels would leave most lanes idle. Here the input
lies as planes, a vector holds neighbouring pixels of a row, and the rows of a tile (`planes_tile`)
are output channels. Results are planes, too, and are turned to channels last a row at a time.
Stride 1 along the row; forward, and with a reversed window the gradient by the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dyn.kernels.conv import planes_tile as tile
from dyn.kernels.conv.bands import JOB_BYTES, Phase, gap_of
from dyn.kernels.conv.pixels import part_of, turn_of
from dyn.kernels.conv.plan import steps as band_steps
from dyn.kernels.conv.reorder import Reorder
from dyn.kernels.conv.shapes import Channels, View, words_of
from dyn.kernels.runtime.bytes import clear_bytes, copy_bytes, put_word
from dyn.kernels.runtime.form import Form
from dyn.kernels.runtime.jit import call_address, kernel, task
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.lanes import LANES

MOST_CHANNELS = LANES - 1
"""Output channels from which on vectors of channels are as good."""
BAND_BYTES = 96 * 1024
"""Size of a band: it stays in the second-level cache beside the row of results."""
CHUNKS = 32
"""Most chunks: enough for threads to end at the same time."""
GROUPED = 1.5
"""How many times more sums of a vector other algorithms must take for groups to be done here: all
channels, which are many then, are turned to planes and back."""


# ---- the task ----------------------------------------------------------------------------------

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


# ---- plans -------------------------------------------------------------------------------------


def suits(outer: int, width: int) -> bool:
    """Whether rows of `width` outputs fill vectors better than `outer` channels do."""
    return 1 <= outer <= MOST_CHANNELS and 4 * width > 3 * LANES


def fits(source: View, phases: list[Phase], stride: int, channels: Channels) -> bool:
    """Whether these windows can be done here, and faster than with channels in the lanes."""
    if len(phases) != 1 or stride != 1 or source.dtype != np.float32 or channels.lanewise:
        return False
    if not suits(channels.outer, phases[0].size[1]):
        return False
    if channels.groups > 1:
        others = band_steps(source, phases, channels)
        if steps(source, phases[0], channels) * GROUPED > others:
            return False
    return all(gap_of(taps.offsets) is not None for taps in phases[0].taps)


def steps(source: View, phase: Phase, channels: Channels) -> float:
    """Sums of a vector over one number of the window that a convolution takes here."""
    (height, width), (down, across) = phase.size, phase.taps
    taps = len(down.offsets) * len(across.offsets) * channels.inner
    blocks = source.shape[0] * height * -(-width // LANES)
    return blocks * channels.groups * channels.outer * taps


class _Tiles(NamedTuple):
    """How the outputs are cut: `sets` of `together` channels, `rows` rows of `pixels` pixels."""

    sets: int
    together: int
    rows: int
    pixels: int

    @staticmethod
    def of(outer: int, size: tuple[int, int]) -> _Tiles:
        """Tiles for `outer` channels of images of a `size`."""
        sets = -(-outer // tile.MOST)
        together = -(-outer // sets)
        vectors = tile.vectors_of(together)
        height, width = size
        blocks = -(-width // LANES)
        # The vectors of a tile lie in a row, unless more would be empty than below each other.
        if -(-height // vectors) * blocks < height * -(-blocks // vectors):
            return _Tiles(sets, together, vectors, LANES)
        return _Tiles(sets, together, 1, vectors * LANES)


class _Bands(NamedTuple):
    """How the source is cut: bands for `rows` rows of outputs, `per_image` of them.

    A band has `deep` rows of `line` bytes per channel, each behind `left` zeros.
    """

    rows: int
    per_image: int
    deep: int
    line: int
    left: int

    @staticmethod
    def of(source: View, phase: Phase, step: int, tiles: _Tiles) -> _Bands:
        """Bands of a source under tiles; `step` is the stride down."""
        down, across = phase.taps
        height, width = phase.size
        left = max(0, -across.offsets[0])
        reach = -(-width // tiles.pixels) * tiles.pixels
        line = 4 * (max(left + source.shape[3], left + reach + across.offsets[-1]) + LANES)
        window = down.offsets[-1] - down.offsets[0] + 1
        rows = max(1, min(height, -(-height * source.shape[0] // CHUNKS)))
        while rows > 1 and ((rows - 1) * step + window) * line * source.shape[1] > BAND_BYTES:
            rows -= 1
        rows = -(-rows // tiles.rows) * tiles.rows
        return _Bands(rows, -(-height // rows), (rows - 1) * step + window, line, left)


class PlanesPlan:
    """A plan for given shapes, if it `fits`.

    Attributes:
        pack: puts the numbers of a weight in order.
        packing: what that depends on besides the weight.
    """

    def __init__(
        self,
        source: View,
        target: View,
        phase: Phase,
        step: int,
        channels: Channels,
        *,
        relu: bool = False,
    ) -> None:
        """Plan; `step` is the stride down the image."""
        self.phase, self.channels = phase, channels
        self.tiles = _Tiles.of(channels.outer, phase.size)
        self.bands = _Bands.of(source, phase, step, self.tiles)
        self.chunks = min(CHUNKS, source.shape[0] * self.bands.per_image)
        # Results of a row of tiles: lines of pixels, channel by channel, row by row.
        self.result_line = 4 * -(-phase.size[1] // self.tiles.pixels) * self.tiles.pixels
        computed = (channels.groups - 1) * channels.outer + self.tiles.sets * self.tiles.together
        self.result_row = self.result_line * computed
        results = self.result_row * self.tiles.rows
        band = source.shape[1] * self.bands.deep * self.bands.line
        self.scratch_size = JOB_BYTES + results + band
        self.step_table = self._steps()
        self.packing = ("planes", channels, phase.taps)
        self.pack = Reorder(self._ordered)
        words = self._words(source, target, step)
        words[RELU] = relu
        self.form = Form(
            [(planes, self.chunks)],
            words,
            (SOURCE, TARGET, WEIGHTS, BIAS),
            scratch=(SCRATCH, self.scratch_size),
        )

    def _steps(self) -> np.ndarray:
        """Where in a band each row of the window begins, channel by channel."""
        (down, across), bands = self.phase.taps, self.bands
        gap = gap_of(down.offsets) or 1
        tap, channel = np.ogrid[: len(down.offsets), : self.channels.inner]
        starts = (tap * gap + channel * bands.deep) * bands.line
        first = 4 * (bands.left + across.offsets[0])
        return np.ascontiguousarray((starts + first).reshape(-1), np.int64)

    def _words(self, source: View, target: View, step: int) -> np.ndarray:
        """The words, but the addresses of a call."""
        tiles, bands, (groups, inner, outer, *_) = self.tiles, self.bands, self.channels
        down, across = self.phase.taps
        tap_bytes = 4 * inner * len(across.offsets) * tiles.together
        below = tiles.rows > 1
        x_n, x_c, x_h, x_w = source.strides
        return words_of(
            TURN + 1,
            {
                SOURCE_N: x_n,
                SOURCE_H: x_h,
                SOURCE_W: x_w,
                SOURCE_C: x_c,
                HEIGHT: source.shape[2],
                WIDTH: source.shape[3],
                CHANNELS: source.shape[1],
                INNER: inner,
                TARGET_N: target.strides[0],
                TARGET_H: target.strides[2],
                IMAGES: source.shape[0],
                OUT_HEIGHT: self.phase.size[0],
                OUT_WIDTH: self.phase.size[1],
                OUTER: groups * outer,
                ROWS_PER_BAND: bands.rows,
                BANDS_PER_IMAGE: bands.per_image,
                STEP: step,
                TOP: down.offsets[0],
                LEFT: bands.left,
                DEEP: bands.deep,
                GAP: gap_of(down.offsets) or 1,
                TAPS_DOWN: len(down.offsets),
                LINE: bands.line,
                PLANE: bands.deep * bands.line,
                TAP_BYTES: tap_bytes,
                GROUPS: groups,
                GROUP_RESULTS: outer * self.result_line,
                SETS: tiles.sets,
                SET_BYTES: len(down.offsets) * tap_bytes,
                SET_RESULTS: tiles.together * self.result_line,
                RUN: len(across.offsets),
                A_STEP: 4 * tiles.together,
                B_STEP: 4 * (gap_of(across.offsets) or 1),
                ROWS_AT_ONCE: tiles.rows,
                PIXELS_AT_ONCE: tiles.pixels,
                B_BETWEEN: step * bands.line if below else 4 * LANES,
                C_BETWEEN: self.result_row if below else 4 * LANES,
                RESULT_LINE: self.result_line,
                RESULT_ROW: self.result_row,
                STEP_TABLE: self.step_table.ctypes.data,
                SCRATCH_SIZE: self.scratch_size,
                TRANSPOSE: part_of(source.shape[1], source.shape[3], x_w).address,
                TILE: tile.TILES[tiles.together, tile.vectors_of(tiles.together)].address,
                TURN: turn_of(groups * outer, self.phase.size[1]).address,
            },
        )

    def covers(self, size: Sequence[int]) -> bool:
        """Whether every number of the target is computed: True."""
        return True

    def _ordered(self, w: np.ndarray) -> np.ndarray:
        """The weights as [group][set][window rows][inner][window columns][channels of the set]."""
        channels, (down, across) = self.channels, self.phase.taps
        h_step, w_step = channels.window_steps
        turned = np.lib.stride_tricks.as_strided(
            w,
            (channels.groups, max(down.indices) + 1, channels.inner, max(across.indices) + 1,
             channels.outer),
            (channels.group_step, h_step, channels.inner_step, w_step, channels.outer_step),
        )[:, down.indices][:, :, :, across.indices]  # fmt: skip
        sets, together = self.tiles.sets, self.tiles.together
        full = np.zeros((*turned.shape[:4], sets * together), w.dtype)
        full[..., : channels.outer] = turned
        parted = full.reshape(*turned.shape[:4], sets, together)
        return np.ascontiguousarray(parted.transpose(0, 4, 1, 2, 3, 5))

    def run(
        self, source: np.ndarray, packed: np.ndarray, bias: np.ndarray | None, target: np.ndarray
    ) -> bool:
        """Compute the target; `packed` is what `pack` returned for the weight. Returns True."""
        shift = () if bias is None else (np.ascontiguousarray(bias),)
        self.form(source, target, packed, *shift)
        return True
