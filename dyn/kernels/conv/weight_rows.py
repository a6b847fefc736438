"""The gradient of a convolution's weight with few output channels: vectors run along the window.

With output channels in the lanes of a vector, few channels would leave most lanes idle. Here the
input lies with channels last, so that the columns and input channels of a row of the window are
neighbours: a vector holds a piece of such a row, the rows of a tile (`planes_tile`) are output
channels, the reduction runs over pixels. Parts of the batch have sums of their own, added in a
fixed order, so the result does not depend on the threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dyn.kernels.conv import copy, part_sums
from dyn.kernels.conv import planes_tile as tile
from dyn.kernels.conv.bands import JOB_BYTES, Phase, gap_of
from dyn.kernels.conv.shapes import (
    UNITS,
    BandCut,
    BandLayout,
    Channels,
    View,
    band_words,
    words_of,
)
from dyn.kernels.runtime.bytes import clear_bytes, put_word
from dyn.kernels.runtime.form import Form
from dyn.kernels.runtime.jit import call_address, task
from dyn.kernels.runtime.memory import maker
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.lanes import LANES

GAIN = 1.2
"""How much more of the vectors must be of use than with output channels in their lanes."""
BAND_BYTES = 64 * 1024
"""Size of a band: every tile passes over it."""
PART_BYTES = 256 * 1024
"""Largest result: every part of the bands has one."""

(
    GRADIENT,
    IMAGES,
    IMAGES_PER_BAND,
    ROWS_PER_BAND,
    BANDS_PER_IMAGE,
    BANDS,
    SOURCE_STEP,
    TOP,
    BAND_ROWS,
    OUT_HEIGHT,
    OUT_WIDTH,
    SCRATCH,
    SCRATCH_SIZE,
    TILES,
    TILE_TABLE,
    OUTER,
    TOGETHER,
    GROUPS,
    B_STEP,
    B_BETWEEN,
    C_ROW,
    C_BETWEEN,
    STEP_TABLE,
) = range(part_sums.WORDS, part_sums.WORDS + 23)
"""Words of a plan after those of its bands and parts.

A chunk of work is a part of the bands. A tile computes the gradients of TOGETHER output channels
for some vectors of the window; the table has three words for each of the TILES: where its vectors
begin in the band and in the result, and its code. The result holds C_ROW bytes per output channel.
"""
WORDS = part_sums.WORDS + 23


@task
def row_sums(plan, chunk, chunks):
    """Sum over the pixels of a part of the bands."""
    memory = argument(plan, SCRATCH)
    slot = take(memory)
    job = buffer(memory, slot, argument(plan, SCRATCH_SIZE))
    band_start = job + JOB_BYTES
    bands, per_image = argument(plan, BANDS), argument(plan, BANDS_PER_IMAGE)
    images_per_band, rows_per_band = argument(plan, IMAGES_PER_BAND), argument(plan, ROWS_PER_BAND)
    height, width = argument(plan, OUT_HEIGHT), argument(plan, OUT_WIDTH)
    outer, together = argument(plan, OUTER), argument(plan, TOGETHER)
    target = argument(plan, part_sums.SUMS) + chunk * argument(plan, part_sums.STEP)
    tiles, table = argument(plan, TILES), argument(plan, TILE_TABLE)
    put_word(job, tile.RUN, width)
    put_word(job, tile.A_STEP, 4 * outer)
    put_word(job, tile.B_STEP, argument(plan, B_STEP))
    put_word(job, tile.B_BETWEEN, argument(plan, B_BETWEEN))
    put_word(job, tile.C_ROW, argument(plan, C_ROW))
    put_word(job, tile.C_BETWEEN, argument(plan, C_BETWEEN))
    put_word(job, tile.STEP_TABLE, argument(plan, STEP_TABLE))
    put_word(job, tile.ACCUMULATE, 0)
    # Tiles read beyond what is filled, and what is left over may be denormal: slow to compute with.
    clear_bytes(band_start, argument(plan, SCRATCH_SIZE) - JOB_BYTES)
    for band in range(bands * chunk // chunks, bands * (chunk + 1) // chunks):
        first = band // per_image * images_per_band
        images = min(images_per_band, argument(plan, IMAGES) - first)
        row = band % per_image * rows_per_band
        rows = min(rows_per_band, height - row)
        top = row * argument(plan, SOURCE_STEP) + argument(plan, TOP)
        fill, deep = argument(plan, copy.FILL_BAND), argument(plan, BAND_ROWS)
        call_address(fill, plan, band_start, first, images, top, deep)
        put_word(job, tile.STEPS, images * rows)
        gradient = argument(plan, GRADIENT) + 4 * outer * width * (first * height + row)
        for entry in range(0, 3 * tiles, 3):
            put_word(job, tile.B, band_start + argument(table, entry))
            c = target + argument(table, entry + 1)
            for group in range(argument(plan, GROUPS)):
                # The last group reads what the one before does, too, lest it read beyond.
                channel = min(group * together, outer - together)
                put_word(job, tile.A, gradient + 4 * channel)
                put_word(job, tile.C, c + group * together * argument(plan, C_ROW))
                call_address(argument(table, entry + 2), job)
        put_word(job, tile.ACCUMULATE, 1)
    leave(memory, slot)


def _cut_channels(outer: int) -> tuple[int, int]:
    """Groups of output channels, and channels of a group."""
    groups = -(-outer // tile.MOST)
    return groups, -(-outer // groups)


class _Window(NamedTuple):
    """How a window of `rows` rows of vectors is cut into tiles.

    The vectors of a tile lie in a row or `below` each other, whichever gives larger tiles: `parts`.
    """

    rows: int
    vectors: int
    below: bool
    parts: list[int]

    @staticmethod
    def of(rows: int, run: int, together: int) -> _Window:
        """Tiles for a window of `rows` rows of `run` numbers."""
        vectors = -(-run // LANES)
        along, down = tile.parts_of(vectors, together), tile.parts_of(rows, together)
        below = rows * len(along) > vectors * len(down)
        return _Window(rows, vectors, below, down if below else along)

    def starts(self) -> Iterator[tuple[int, int, int]]:
        """First row, first vector and number of vectors of each tile."""
        for other in range(self.vectors if self.below else self.rows):
            first = 0
            for count in self.parts:
                yield (first, other, count) if self.below else (other, first, count)
                first += count


def fits(source: View, gradient: View, phase: Phase, channels: Channels) -> bool:
    """Whether this gradient can be summed here, and faster than with channels in the lanes."""
    _, c, h, w = gradient.shape
    pairs = zip(gradient.strides, (h * w * c * 4, 4, w * c * 4, c * 4), gradient.shape, strict=True)
    dense = all(found == wanted or size == 1 for found, wanted, size in pairs)
    if source.dtype != np.float32 or channels.lanewise or channels.groups != 1 or not dense:
        return False
    down, across = phase.taps
    if any(gap != 1 for gap in np.diff(across.offsets)):
        return False
    rows, run = len(down.offsets), len(across.offsets) * channels.inner
    if c > 2 * LANES or 4 * rows * run * c > PART_BYTES:
        return False
    lanes = LANES * (1 if c <= LANES else 2)
    return run / (-(-run // LANES) * LANES) > GAIN * c / (-(-c // lanes) * lanes)


class WeightRowsPlan:
    """A plan of `row_sums`, if it `fits`; the result is dense, [kh][kw][ci][co]."""

    def __init__(
        self, source: View, gradient: View, phase: Phase, step: tuple[int, int], channels: Channels
    ) -> None:
        layout = BandLayout(source, [phase], step, channels, in_pixels=True)
        cut = BandCut.of(layout, *self._cut(source.shape[0], layout))
        steps = cut.steps
        down, across = phase.taps
        outer = channels.outer
        groups, together = _cut_channels(outer)
        window = _Window.of(len(down.offsets), len(across.offsets) * channels.inner, together)
        line = 4 * LANES * window.vectors
        self.parts = min(cut.count, UNITS)
        # What the last vectors read beyond a row is not used, but must exist.
        gap = gap_of(down.offsets) or 1
        beyond = 2 * line
        self.scratch_size = -(-(JOB_BYTES + cut.images * steps[0] + beyond) // 64) * 64
        n, i = np.ogrid[: cut.images, : cut.rows]
        seen = n * steps[0] + i * (step[0] * steps[1])
        self.step_table = np.ascontiguousarray(seen.reshape(-1), np.int64)
        self.sizes = (groups * together, window.rows, line // 4)
        tiles = [
            (row * gap * steps[1] + 4 * LANES * vector, row * line + 4 * LANES * vector, count)
            for row, vector, count in window.starts()
        ]
        codes = {count: tile.TILES[together, count].address for count in window.parts}
        listed = [word for b, c, count in tiles for word in (b, c, codes[count])]
        self.tile_table = np.array(listed, np.int64)
        # Output channels of the last group are the last rows of the sums.
        rows = np.arange(outer)
        rows[outer - together :] += groups * together - outer
        summed = np.arange(math.prod(self.sizes), dtype=np.int32).reshape(self.sizes)
        used = summed[rows, :, : len(across.offsets) * channels.inner]
        self.places = np.ascontiguousarray(used.transpose(1, 2, 0))
        words = words_of(
            WORDS,
            {
                **band_words(source, layout, steps),
                part_sums.STEP: 4 * math.prod(self.sizes),
                part_sums.PARTS: self.parts,
                part_sums.COUNT: self.places.size,
                part_sums.PLACES: self.places.ctypes.data,
                IMAGES: source.shape[0],
                IMAGES_PER_BAND: cut.images,
                ROWS_PER_BAND: cut.rows,
                BANDS_PER_IMAGE: cut.per_image,
                BANDS: cut.count,
                SOURCE_STEP: step[0],
                TOP: layout.low[0],
                BAND_ROWS: cut.deep,
                OUT_HEIGHT: layout.out[0],
                OUT_WIDTH: layout.out[1],
                SCRATCH_SIZE: self.scratch_size,
                TILES: len(tiles),
                TILE_TABLE: self.tile_table.ctypes.data,
                OUTER: outer,
                TOGETHER: together,
                GROUPS: groups,
                B_STEP: step[1] * steps[2],
                B_BETWEEN: gap * steps[1] if window.below else 4 * LANES,
                C_ROW: window.rows * line,
                C_BETWEEN: line if window.below else 4 * LANES,
                STEP_TABLE: self.step_table.ctypes.data,
            },
        )
        self.form = Form(
            [(row_sums, self.parts), (part_sums.add_parts, 1)],
            words,
            (copy.SOURCE, GRADIENT, part_sums.SUMS, part_sums.RESULT),
            scratch=(SCRATCH, self.scratch_size),
        )
        self.make_sums = maker((self.parts, *self.sizes), np.float32)

    def _cut(self, images: int, layout: BandLayout) -> tuple[int, int]:
        """Images and rows of outputs per band."""
        height, rows = layout.out[0], layout.rows_within(BAND_BYTES)
        if rows < height or images < 2 * UNITS:
            parts = max(-(-height // rows), min(-(-UNITS // images), height))
            return 1, -(-height // parts)
        return layout.images_within(BAND_BYTES, images // UNITS), height

    def run(self, source: np.ndarray, gradient: np.ndarray, target: np.ndarray) -> bool:
        """Compute the target, a dense array of all weights. Returns True."""
        self.form(source, gradient, self.make_sums(), target)
        return True
