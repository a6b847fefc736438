"""Plans of direct convolution: how the work on given shapes is cut up, and the tables it needs.

A plan is made once for shapes, memory layouts and attributes, and remembered; a call copies its
words, fills in addresses and runs a task. No number is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dyn.kernels.conv import bands, copy, tile
from dyn.kernels.conv.bands import Phase
from dyn.kernels.conv.shapes import (
    BAND_PIXELS,
    CHUNKS,
    UNITS,
    BandLayout,
    Channels,
    View,
    band_words,
    kernels_of,
    table,
    words_of,
)
from dyn.kernels.runtime.drive import Form
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import scratch
from dyn.kernels.runtime.threads import launch

BAND_BYTES = 192 * 1024
"""Size of a band that leaves room in the second-level cache for a panel of weights."""
SPLIT_BYTES = 384 * 1024
"""Weights beyond this are worked through in shares, each for all bands, to stay in the cache."""
NEAR_BYTES = 24 * 1024
"""Weights up to this stay in the first-level cache."""


def steps(source: View, phases: list[Phase], channels: Channels) -> float:
    """Sums of a vector over one number of the window that a convolution takes here."""
    vectors = channels.groups * -(-channels.outer // kernels_of(source.dtype).lanes)
    taps = sum(
        p.size[0] * p.size[1] * len(p.taps[0].offsets) * len(p.taps[1].offsets) for p in phases
    )
    return source.shape[0] * taps * channels.inner * vectors


class BandPlan:
    """A plan of `bands.correlate`.

    Attributes:
        packing: what the panels that `pack` makes of a weight depend on besides the weight.
    """

    def __init__(
        self,
        source: View,
        target: View,
        phases: list[Phase],
        step: tuple[int, int],
        channels: Channels,
        relu: bool,
    ) -> None:
        kernels = kernels_of(source.dtype)
        self.dtype, self.channels, self.phases = source.dtype, channels, phases
        layout = self.layout = BandLayout(source, phases, step, channels)
        narrow = channels.lanewise or channels.outer <= kernels.lanes
        self.lanes = kernels.lanes * (1 if narrow else 2)
        self.panels_per_group = -(-channels.outer // self.lanes)
        self.panels = channels.groups * self.panels_per_group
        images, rows = self._cut(source.shape[0])
        height = layout.height(rows)
        self.steps = layout.steps(height)
        self._tables: list[np.ndarray] = []
        per_image = -(-layout.out[0] // rows)
        count = per_image if images == 1 else -(-source.shape[0] // images)
        if images == 1:
            count = per_image * source.shape[0]
        splits = self._splits(count)
        self.chunks = min(CHUNKS, count * splits)
        band = images * self.steps[0] if layout.copied else 0
        self.scratch_size = -(-(bands.JOB_BYTES + band) // 64) * 64
        size = self.dtype.itemsize
        lanewise = channels.lanewise
        words = words_of(
            bands.HEADER_WORDS + len(phases) * bands.PHASE_WORDS,
            {
                **band_words(source, layout, self.steps),
                bands.TARGET_N: target.strides[0],
                bands.IMAGES: source.shape[0],
                bands.IMAGES_PER_BAND: images,
                bands.ROWS_PER_BAND: rows,
                bands.BANDS_PER_IMAGE: per_image,
                bands.BANDS: count,
                bands.SPLITS: splits,
                bands.SOURCE_STEP: step[0],
                bands.TOP: layout.low[0],
                bands.BAND_ROWS: height,
                bands.COPIED: layout.copied,
                bands.SCRATCH_SIZE: self.scratch_size,
                bands.PANELS: self.panels,
                bands.PANELS_PER_GROUP: self.panels_per_group,
                bands.PIXELS_AT_ONCE: self._pixels_at_once(),
                bands.PANEL_LANES: self.lanes,
                bands.GROUP_LANES: channels.outer,
                bands.GROUP_STEP: channels.inner * self.steps[3],
                bands.PANEL_STEP: self.lanes * size if lanewise else 0,
                bands.FLAGS: tile.RELU if relu else 0,
                bands.WIDE: kernels.wide,
                bands.NARROW: kernels.lanewise if lanewise else kernels.narrow,
                bands.NARROW_LANES: channels.outer if lanewise else kernels.lanes,
                bands.PHASES: len(phases),
            },
        )
        self.depths = []
        for number, phase in enumerate(phases):
            start = bands.HEADER_WORDS + number * bands.PHASE_WORDS
            packed = sum(depth.size for depth in self.depths) * self.lanes * self.panels * size
            words[start + bands.PHASE_WEIGHTS] = packed
            for word, value in self._phase(phase, target, images, rows).items():
                words[start + word] = value
        places = (copy.SOURCE, bands.TARGET, bands.WEIGHTS, bands.SCRATCH, bands.BIAS)
        self.form = Form(words, places)
        self.packing = (self.lanes, self.panels, channels, *(d.tobytes() for d in self.depths))

    def _cut(self, images: int) -> tuple[int, int]:
        """Images and rows of outputs per band."""
        layout = self.layout
        height, width = layout.out
        rows = layout.rows_within(BAND_BYTES)
        if rows < height:
            return 1, -(-height // -(-height // rows))
        if images < UNITS:
            # Few images: cut them, but not into bands whose borders cost more than their inside.
            parts = min(-(-UNITS // images), max(1, height * width // 96), height)
            return 1, -(-height // parts)
        together = BAND_BYTES // max(layout.height(height) * layout.row_bytes, 1)
        together = min(together, BAND_PIXELS // max(height * width, 1), images // UNITS)
        return max(1, together), height

    def _splits(self, count: int) -> int:
        """Shares of the panels."""
        depth = max(len(p.taps[0].offsets) * len(p.taps[1].offsets) for p in self.phases)
        size = depth * self.channels.inner * self.lanes * self.dtype.itemsize * self.panels
        splits = -(-size // SPLIT_BYTES) if count >= 4 and size > SPLIT_BYTES else 1
        return min(self.panels, max(splits, -(-UNITS // count)))

    def _pixels_at_once(self) -> int:
        """Pixels after which the next panel takes its turn: few where all panels stay in L1."""
        taps = max(len(p.taps[0].offsets) * len(p.taps[1].offsets) for p in self.phases)
        size = taps * self.channels.inner * self.lanes * self.dtype.itemsize * self.panels
        return tile.WIDE * tile.NARROW if size <= NEAR_BYTES else BAND_PIXELS

    def _phase(self, phase: Phase, target: View, images: int, rows: int) -> dict[int, int]:
        """The words of one phase."""
        layout, channels, size = self.layout, self.channels, self.dtype.itemsize
        band_n, band_h, band_w, band_c = self.steps
        height, width = phase.size
        target_n, _, target_h, target_w = target.strides
        n, i, j = np.ogrid[:images, : min(rows, height), :width]
        step = layout.step
        pixels = np.stack(
            np.broadcast_arrays(
                n * band_n + i * (step[0] * band_h) + j * (step[1] * band_w),
                n * target_n + i * (phase.step[0] * target_h) + j * (phase.step[1] * target_w),
            ),
            -1,
        )
        row_table = table(pixels)
        down = np.array(phase.taps[0].offsets) - layout.low[0]
        right = np.array(phase.taps[1].offsets) - layout.low[1]
        h_step, w_step = channels.window_steps
        w_down = np.array(phase.taps[0].indices) * h_step
        w_right = np.array(phase.taps[1].indices) * w_step
        inner = np.arange(channels.inner)
        gaps = set(np.diff(right).tolist())
        if layout.planes and len(right) > 1 and len(gaps) == 1:
            # Planes: the run goes along a row of the window.
            run, a_step = len(right), gaps.pop() * band_w
            starts = inner[:, None] * band_c + down * band_h + right[0] * band_w
            depth = inner[:, None, None] * channels.inner_step + w_down[:, None] + w_right
        else:
            run, a_step = channels.inner, band_c
            starts = down[:, None] * band_h + right * band_w
            depth = w_down[:, None, None] + w_right[:, None] + inner * channels.inner_step
            dense = band_c * channels.inner == band_w
            if channels.groups == 1 and dense and gaps <= {1} and not channels.lanewise:
                run *= len(right)
                starts = starts[:, :1]
        starts = starts.reshape(-1)
        b_starts = np.arange(starts.size) * (run * self.lanes * size)
        step_table = table(np.stack([starts, b_starts], -1))
        self._tables += [row_table, step_table]
        self.depths.append(np.ascontiguousarray(depth.reshape(-1), np.int64))
        return {
            bands.PHASE_HEIGHT: height,
            bands.PHASE_WIDTH: width,
            bands.PHASE_TARGET: phase.first[0] * target_h + phase.first[1] * target_w,
            bands.PHASE_TARGET_H: phase.step[0] * target_h,
            bands.PHASE_ROWS: row_table.ctypes.data,
            bands.PHASE_STEPS: starts.size,
            bands.PHASE_STEP_TABLE: step_table.ctypes.data,
            bands.PHASE_RUN: run,
            bands.PHASE_A_STEP: a_step,
            bands.PHASE_PANEL_BYTES: depth.size * self.lanes * size,
        }

    def covers(self, size: Sequence[int]) -> bool:
        """Whether the phases reach every number of a target of these sizes."""
        return sum(p.size[0] * p.size[1] for p in self.phases) == size[0] * size[1]

    def pack(self, w: np.ndarray) -> np.ndarray:
        """The panels of all phases, one after the other."""
        channels, size = self.channels, self.dtype.itemsize
        total = sum(depth.size for depth in self.depths) * self.lanes * self.panels
        packed = empty((total,), self.dtype)
        at = packed.ctypes.data
        for depth in self.depths:
            run = channels.inner if channels.inner_step == size and not self.layout.planes else 1
            words = words_of(
                copy.PACK_WORDS,
                {
                    copy.PANELS: self.panels,
                    copy.PANELS_PER_GROUP: self.panels_per_group,
                    copy.PANEL_LANES: self.lanes,
                    copy.GROUP_LANES: channels.outer,
                    copy.WEIGHTS: w.ctypes.data,
                    copy.GROUP_STEP: channels.group_step,
                    copy.LANE_STEP: channels.outer_step,
                    copy.DEPTH: depth.size,
                    copy.DEPTH_TABLE: depth.ctypes.data,
                    copy.PACKED: at,
                    copy.WORD_SIZE: size,
                    copy.RUN_LENGTH: run,
                    copy.TRANSPOSE_BLOCK: kernels_of(self.dtype).transpose,
                    copy.PACK_PANEL: copy.pack_panel.address,
                },
            )
            launch(copy.pack_panels, words, min(CHUNKS, self.panels))
            at += depth.size * self.lanes * self.panels * size
        return packed

    def run(
        self, source: np.ndarray, packed: np.ndarray, bias: np.ndarray | None, target: np.ndarray
    ) -> bool:
        """Compute the target; `packed` is what `pack` returned for the weight. Returns True."""
        memory = scratch(self.scratch_size, self.chunks)
        shift = () if bias is None else (np.ascontiguousarray(bias),)
        words = self.form.filled(source, target, packed, memory, *shift)
        launch(bands.correlate, words, self.chunks)
        return True
