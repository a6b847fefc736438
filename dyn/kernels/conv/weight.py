"""The gradient of a convolution's weight: tiles of it, summed over the pixels of a batch.

Rows of a tile are numbers of the window (row, column, input channel), columns are output channels,
the reduction runs over pixels: the tile kernels of `tile` with the input in A and the gradient
of the output in B. Parts of the batch have sums of their own, added in a fixed order, so the result
does not depend on the threads.
"""

from __future__ import annotations

import numpy as np

from dyn.kernels.conv import copy, part_sums, tile
from dyn.kernels.conv.bands import JOB_BYTES, Phase
from dyn.kernels.conv.copy import copy_rows
from dyn.kernels.conv.shapes import (
    CHUNKS,
    UNITS,
    BandCut,
    BandLayout,
    Channels,
    Panels,
    View,
    band_words,
    table,
    words_of,
)
from dyn.kernels.runtime.bytes import clear_bytes, put_word
from dyn.kernels.runtime.form import Form
from dyn.kernels.runtime.jit import call_address, kernel, task
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.sums import ACCUMULATE

BAND_BYTES = 320 * 1024
"""Size of a band: large, because every band passes over the whole gradient of the weight."""
PART_BYTES = 1 << 20
"""Partial sums larger than this are not worth their memory; output channels are shared out."""

(
    GRADIENT,
    GRADIENT_N,
    GRADIENT_H,
    GRADIENT_W,
    GRADIENT_C,
    IMAGES,
    IMAGES_PER_BAND,
    ROWS_PER_BAND,
    BANDS_PER_IMAGE,
    BANDS,
    SPLITS,
    SOURCE_STEP,
    TOP,
    BAND_ROWS,
    COPIED,
    OUT_HEIGHT,
    OUT_WIDTH,
    SCRATCH,
    SCRATCH_SIZE,
    SCRATCH_PANEL,
    DIRECT_BANDS,
    PANELS,
    PANELS_PER_GROUP,
    PANEL_LANES,
    GROUP_LANES,
    GROUP_STEP,
    PANEL_STEP,
    WIDE,
    NARROW,
    NARROW_LANES,
    WINDOW_ROWS,
    ROW_TABLE,
    STEP_TABLE,
    DIRECT_TABLE,
    A_STEP,
    COPY_ROWS,
) = range(part_sums.WORDS, part_sums.WORDS + 36)
"""Words of a plan after those of its bands and parts.

A unit of work is a part of the bands and a share (of SPLITS) of the panels of output channels. In
the first DIRECT_BANDS bands the gradient is read where it lies; else a panel of it is copied to
SCRATCH_PANEL bytes from the start of the scratch buffer.
"""
WORDS = part_sums.WORDS + 36


@kernel(forceinline=True)
def _copy_panel(plan, source, inside, images, rows, to):
    """Copy `inside` channels of the gradient, from `source` on, under the rows of a band."""
    width, element = argument(plan, OUT_WIDTH), argument(plan, copy.ELEMENT)
    lanes, words = argument(plan, PANEL_LANES), element // 4
    pixel, channel = argument(plan, GRADIENT_W), argument(plan, GRADIENT_C)
    for image in range(images):
        for line in range(rows):
            at = source + image * argument(plan, GRADIENT_N) + line * argument(plan, GRADIENT_H)
            if channel == element:
                copier = argument(plan, COPY_ROWS)
                call_address(copier, at, pixel, to, lanes * words, width, inside * words)
            else:
                if inside < lanes:  # as in `copy.clear_gaps`
                    clear_bytes(to, width * lanes * element)
                mover = argument(plan, copy.TRANSPOSE)
                call_address(mover, at, channel, to, lanes * element, inside, width)
            to += width * lanes * element


@task
def weight_sums(plan, chunk, chunks):
    """Do a share of the units."""
    memory = argument(plan, SCRATCH)
    slot = take(memory)
    job = buffer(memory, slot, argument(plan, SCRATCH_SIZE))
    copy.clear_gaps(plan, job + JOB_BYTES, argument(plan, SCRATCH_SIZE) - JOB_BYTES)
    packed = job + argument(plan, SCRATCH_PANEL)
    parts, splits = argument(plan, part_sums.PARTS), argument(plan, SPLITS)
    bands, panels = argument(plan, BANDS), argument(plan, PANELS)
    per_image, images_per_band = argument(plan, BANDS_PER_IMAGE), argument(plan, IMAGES_PER_BAND)
    rows_per_band, height = argument(plan, ROWS_PER_BAND), argument(plan, OUT_HEIGHT)
    lanes, group_lanes = argument(plan, PANEL_LANES), argument(plan, GROUP_LANES)
    element, per_group = argument(plan, copy.ELEMENT), argument(plan, PANELS_PER_GROUP)
    gradient_w, gradient_c = argument(plan, GRADIENT_W), argument(plan, GRADIENT_C)
    put_word(job, tile.RUN, argument(plan, OUT_WIDTH))
    put_word(job, tile.A_STEP, argument(plan, A_STEP))
    put_word(job, tile.ROW_TABLE, argument(plan, ROW_TABLE))
    put_word(job, tile.COUNT, argument(plan, WINDOW_ROWS))
    put_word(job, tile.BIAS, 0)
    units = parts * splits
    for unit in range(units * chunk // chunks, units * (chunk + 1) // chunks):
        split, part = unit // parts, unit % parts
        target = argument(plan, part_sums.SUMS) + part * argument(plan, part_sums.STEP)
        put_word(job, tile.FLAGS, 0)
        for band in range(bands * part // parts, bands * (part + 1) // parts):
            first = band // per_image * images_per_band
            images = min(images_per_band, argument(plan, IMAGES) - first)
            row = band % per_image * rows_per_band
            rows = min(rows_per_band, height - row)
            top = row * argument(plan, SOURCE_STEP) + argument(plan, TOP)
            if argument(plan, COPIED):
                a = job + JOB_BYTES
                fill, deep = argument(plan, copy.FILL_BAND), argument(plan, BAND_ROWS)
                call_address(fill, plan, a, first, images, top, deep)
            else:
                a = argument(plan, copy.SOURCE) + first * argument(plan, copy.SOURCE_N)
                a += top * argument(plan, copy.SOURCE_H)
                a += argument(plan, copy.FIRST) * argument(plan, copy.SOURCE_W)
            put_word(job, tile.STEPS, images * rows)
            direct = band < argument(plan, DIRECT_BANDS)
            step_table = argument(plan, DIRECT_TABLE if direct else STEP_TABLE)
            put_word(job, tile.STEP_TABLE, step_table)
            put_word(job, tile.B_STEP, gradient_w if direct else lanes * element)
            gradient = argument(plan, GRADIENT) + first * argument(plan, GRADIENT_N)
            gradient += row * argument(plan, GRADIENT_H)
            for panel in range(panels * split // splits, panels * (split + 1) // splits):
                group, index = panel // per_group, panel % per_group
                inside = min(lanes, group_lanes - index * lanes)
                lane = group * group_lanes + index * lanes
                b = gradient + lane * gradient_c
                if not direct:
                    _copy_panel(plan, b, inside, images, rows, packed)
                    b = packed
                channels = group * argument(plan, GROUP_STEP) + index * argument(plan, PANEL_STEP)
                put_word(job, tile.A, a + channels)
                put_word(job, tile.B, b)
                put_word(job, tile.C, target + lane * element)
                put_word(job, tile.WIDTH, inside)
                is_wide = inside > argument(plan, NARROW_LANES)
                call_address(argument(plan, WIDE) if is_wide else argument(plan, NARROW), job)
            put_word(job, tile.FLAGS, ACCUMULATE)
    leave(memory, slot)


def _has_dense_channels(gradient: View) -> bool:
    """Whether the channels of a pixel are next to each other; a single one is."""
    return gradient.has_channels_last or gradient.shape[1] == 1


def _row_table(
    layout: BandLayout, steps: tuple[int, int, int, int], phase: Phase, channels: Channels
) -> np.ndarray:
    """For each number of the window, where its inputs begin and where it goes in the result."""
    down, right = phase.taps
    inner = np.arange(channels.inner)
    h_step, w_step = channels.window_steps
    numbers = np.broadcast_arrays(
        (np.array(down.offsets) - layout.low[0])[:, None, None] * steps[1]
        + (np.array(right.offsets) - layout.low[1])[:, None] * steps[2]
        + inner * steps[3],
        np.array(down.indices)[:, None, None] * h_step
        + np.array(right.indices)[:, None] * w_step
        + inner * channels.inner_step,
    )
    return table(np.stack(numbers, -1))


class WeightPlan:
    """A plan of `weight_sums`.

    `channels.inner_step`, `outer_step` and `window_steps` describe the result, a dense array
    [window rows][window columns][inner][all outer channels].

    Attributes:
        count: numbers of the result.
        parts: of the bands, each with sums of its own; `splits`: shares of the panels.
    """

    def __init__(
        self, source: View, gradient: View, phase: Phase, step: tuple[int, int], channels: Channels
    ) -> None:
        if not _has_dense_channels(gradient) and not gradient.has_rows:
            raise ValueError("the gradient must have dense channels or rows")
        self.dtype, self.layout = source.dtype, BandLayout(source, [phase], step, channels)
        self.panels = Panels.of(source.dtype, channels)
        self.cut = BandCut.of(self.layout, *self._cut(source.shape[0]))
        # Lanewise, `inner` and `groups` are 1: each of the outer channels has one source channel.
        window = len(phase.taps[0].offsets) * len(phase.taps[1].offsets)
        self.count = window * channels.inner * channels.groups * channels.outer
        self.parts, self.splits = self._share()
        self.chunks = min(CHUNKS, self.parts * self.splits)
        band_bytes = self.cut.images * self.cut.steps[0] if self.layout.copied else 0
        # Behind the band lies the copy of a panel of the gradient.
        self.panel_at = JOB_BYTES + -(-band_bytes // 64) * 64
        pixels = self.cut.images * self.cut.rows * self.layout.out[1]
        panel_bytes = pixels * self.panels.lanes * self.dtype.itemsize
        self.scratch_size = -(-(self.panel_at + panel_bytes) // 64) * 64
        self.step_table, self.direct_table = self._step_tables(gradient)
        self.row_table = _row_table(self.layout, self.cut.steps, phase, channels)
        words = self._words(source, gradient, channels)
        self.form = Form(
            [(weight_sums, self.chunks), *part_sums.stages(self.count, self.parts)],
            words,
            (copy.SOURCE, GRADIENT, part_sums.SUMS, part_sums.RESULT),
            scratch=(SCRATCH, self.scratch_size),
        )

    def _words(self, source: View, gradient: View, channels: Channels) -> np.ndarray:
        """The words, but the addresses of a call."""
        layout, cut, panels, size = self.layout, self.cut, self.panels, self.dtype.itemsize
        steps, step = cut.steps, layout.step
        g_n, g_c, g_h, g_w = gradient.strides
        return words_of(
            WORDS,
            {
                **band_words(source, layout, steps),
                GRADIENT_N: g_n,
                GRADIENT_H: g_h,
                GRADIENT_W: g_w,
                GRADIENT_C: size if _has_dense_channels(gradient) else g_c,
                part_sums.STEP: self.count * size,
                part_sums.COUNT: self.count,
                IMAGES: source.shape[0],
                IMAGES_PER_BAND: cut.images,
                ROWS_PER_BAND: cut.rows,
                BANDS_PER_IMAGE: cut.per_image,
                BANDS: cut.count,
                part_sums.PARTS: self.parts,
                SPLITS: self.splits,
                SOURCE_STEP: step[0],
                TOP: layout.low[0],
                BAND_ROWS: cut.deep,
                COPIED: layout.copied,
                OUT_HEIGHT: layout.out[0],
                OUT_WIDTH: layout.out[1],
                SCRATCH_SIZE: self.scratch_size,
                SCRATCH_PANEL: self.panel_at,
                DIRECT_BANDS: self._direct_bands(gradient, channels),
                PANELS: panels.count,
                PANELS_PER_GROUP: panels.per_group,
                PANEL_LANES: panels.lanes,
                GROUP_LANES: channels.outer,
                GROUP_STEP: channels.inner * steps[3],
                PANEL_STEP: panels.step,
                WIDE: panels.wide,
                NARROW: panels.narrow,
                NARROW_LANES: panels.narrow_lanes,
                WINDOW_ROWS: len(self.row_table),
                ROW_TABLE: self.row_table.ctypes.data,
                STEP_TABLE: self.step_table.ctypes.data,
                DIRECT_TABLE: self.direct_table.ctypes.data,
                A_STEP: step[1] * steps[2],
                COPY_ROWS: copy_rows.address,
            },
        )

    def _step_tables(self, gradient: View) -> tuple[np.ndarray, np.ndarray]:
        """For each row of outputs of a band, where the source and the gradient have it.

        Two tables: one for the copy of a panel of the gradient, one for the gradient itself.
        """
        cut, (steps, step) = self.cut, (self.cut.steps, self.layout.step)
        n, i = np.ogrid[: cut.images, : cut.rows]
        seen = n * steps[0] + i * (step[0] * steps[1])
        line = self.layout.out[1] * self.panels.lanes * self.dtype.itemsize
        copied = (n * cut.rows + i) * line
        direct = n * gradient.strides[0] + i * gradient.strides[2]
        return table(np.stack([seen, copied], -1)), table(np.stack([seen, direct], -1))

    def _direct_bands(self, gradient: View, channels: Channels) -> int:
        """Bands in which the gradient can be read where it lies.

        With several panels that would be slow. Vectors that reach beyond the channels of a pixel
        find the next pixel, which is harmless; only behind the last band there may be none.
        """
        n, _, h, w = gradient.strides
        lanes, count = self.panels.lanes, self.cut.count
        several = channels.outer > lanes and not channels.lanewise
        if not _has_dense_channels(gradient) or channels.groups > 1 or several:
            return 0
        if channels.outer % lanes == 0:
            return count
        reach = lanes * gradient.dtype.itemsize
        return count - 1 if n >= h >= w > 0 and gradient.shape[3] * w >= reach else 0

    def _cut(self, images: int) -> tuple[int, int]:
        """Images and rows of outputs per band."""
        layout = self.layout
        height, rows = layout.out[0], layout.rows_within(BAND_BYTES)
        if rows < height or images == 1:
            return 1, -(-height // -(-height // rows))
        return layout.images_within(BAND_BYTES, images), height

    def _share(self) -> tuple[int, int]:
        """Parts of the bands, and shares of the panels."""
        size = self.count * self.dtype.itemsize
        most = UNITS if size <= PART_BYTES // 4 else 2 if size <= PART_BYTES else 1
        parts = min(self.cut.count, most)
        return parts, min(self.panels.count, -(-UNITS // parts))

    def run(self, source: np.ndarray, gradient: np.ndarray, target: np.ndarray) -> bool:
        """Compute the target, a dense array of `count` numbers. Returns True."""
        sums = empty((self.parts, self.count), self.dtype) if self.parts > 1 else target
        self.form(source, gradient, sums, target)
        return True
