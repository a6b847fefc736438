"""Plans of direct convolution: how the work on given shapes is cut up, and the tables it needs.

A plan is made once for shapes, memory layouts and attributes, and remembered; a call copies its
words, fills in addresses and runs a task. No number is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dyn.kernels.conv import bands, copy, tile
from dyn.kernels.conv.bands import Phase, gap_of
from dyn.kernels.conv.reorder import Reorder
from dyn.kernels.conv.shapes import (
    BAND_PIXELS,
    CHUNKS,
    FAR_WEIGHTS,
    UNITS,
    BandCut,
    BandLayout,
    Channels,
    Panels,
    View,
    band_words,
    kernels_of,
    table,
    words_of,
)
from dyn.kernels.runtime.form import Form
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import launch
from dyn.kernels.vector.sums import RELU

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
        pack: makes the panels of a weight.
        packing: what these depend on besides the weight.
    """

    def __init__(
        self,
        source: View,
        target: View,
        phases: list[Phase],
        step: tuple[int, int],
        channels: Channels,
        *,
        relu: bool = False,
    ) -> None:
        self.dtype, self.channels, self.phases = source.dtype, channels, phases
        self.panels = Panels.of(source.dtype, channels)
        self.layout = BandLayout(source, phases, step, channels, rows=tile.WIDE)
        self.cut = BandCut.of(self.layout, *self._cut(source.shape[0]))
        self.splits = self._splits()
        self.chunks = min(CHUNKS, self.cut.count * self.splits)
        band = self.cut.images * self.cut.steps[0] if self.layout.copied else 0
        self.scratch_size = -(-(bands.JOB_BYTES + band) // 64) * 64
        words = self._header(source, target)
        words[bands.FLAGS] = RELU if relu else 0
        self.depths: list[np.ndarray] = []
        self._tables: list[np.ndarray] = []
        for number, phase in enumerate(phases):
            start = bands.HEADER_WORDS + number * bands.PHASE_WORDS
            words[start + bands.PHASE_WEIGHTS] = self._packed_size() * self.dtype.itemsize
            for word, value in self._phase(phase, target).items():
                words[start + word] = value
        self.form = Form(
            [(bands.correlate, self.chunks)],
            words,
            (copy.SOURCE, bands.TARGET, bands.WEIGHTS, bands.BIAS),
            scratch=(bands.SCRATCH, self.scratch_size),
        )
        lanes, count = self.panels.lanes, self.panels.count
        self.packing = (lanes, count, channels, *(d.tobytes() for d in self.depths))
        self.pack = Reorder(self._ordered)

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
        return layout.images_within(BAND_BYTES, images // UNITS), height

    def _header(self, source: View, target: View) -> np.ndarray:
        """The words, those of the phases still zeros."""
        layout, cut, panels = self.layout, self.cut, self.panels
        return words_of(
            bands.HEADER_WORDS + len(self.phases) * bands.PHASE_WORDS,
            {
                **band_words(source, layout, cut.steps),
                bands.TARGET_N: target.strides[0],
                bands.IMAGES: source.shape[0],
                bands.IMAGES_PER_BAND: cut.images,
                bands.ROWS_PER_BAND: cut.rows,
                bands.BANDS_PER_IMAGE: cut.per_image,
                bands.BANDS: cut.count,
                bands.SPLITS: self.splits,
                bands.SOURCE_STEP: layout.step[0],
                bands.TOP: layout.low[0],
                bands.BAND_ROWS: cut.deep,
                bands.COPIED: layout.copied,
                bands.SCRATCH_SIZE: self.scratch_size,
                bands.PANELS: panels.count,
                bands.PANELS_PER_GROUP: panels.per_group,
                bands.PIXELS_AT_ONCE: self._pixels_at_once(),
                bands.PANEL_LANES: panels.lanes,
                bands.GROUP_LANES: self.channels.outer,
                bands.GROUP_STEP: self.channels.inner * cut.steps[3],
                bands.PANEL_STEP: panels.step,
                bands.WIDE: self._wide(),
                bands.NARROW: panels.narrow,
                bands.NARROW_LANES: panels.narrow_lanes,
                bands.PHASES: len(self.phases),
            },
        )

    def _weight_bytes(self) -> int:
        """Bytes of the panels of the phase with the most taps."""
        taps = max(len(p.taps[0].offsets) * len(p.taps[1].offsets) for p in self.phases)
        numbers = self.panels.lanes * self.panels.count
        return taps * self.channels.inner * numbers * self.dtype.itemsize

    def _wide(self) -> int:
        """The kernel of tiles two vectors wide."""
        far = self._weight_bytes() > FAR_WEIGHTS
        return tile.FAR[self.dtype].address if far else self.panels.wide

    def _packed_size(self) -> int:
        """Numbers in the panels of the phases whose `depths` are known."""
        return sum(depth.size for depth in self.depths) * self.panels.lanes * self.panels.count

    def _splits(self) -> int:
        """Shares of the panels."""
        count, size = self.cut.count, self._weight_bytes()
        splits = -(-size // SPLIT_BYTES) if count >= 4 and size > SPLIT_BYTES else 1
        return min(self.panels.count, max(splits, -(-UNITS // count)))

    def _pixels_at_once(self) -> int:
        """Pixels after which the next panel takes its turn: few where all panels stay in L1."""
        return tile.WIDE * tile.NARROW if self._weight_bytes() <= NEAR_BYTES else BAND_PIXELS

    def _pixels(self, phase: Phase, target: View) -> np.ndarray:
        """For each output of a phase in a band, where its window begins and where it goes."""
        cut, step = self.cut, self.layout.step
        band_n, band_h, band_w, _ = cut.steps
        target_n, _, target_h, target_w = target.strides
        height, width = phase.size
        n, i, j = np.ogrid[: cut.images, : min(cut.rows, height), :width]
        pairs = np.broadcast_arrays(
            n * band_n + i * (step[0] * band_h) + j * (step[1] * band_w),
            n * target_n + i * (phase.step[0] * target_h) + j * (phase.step[1] * target_w),
        )
        return table(np.stack(pairs, -1))

    def _runs(self, phase: Phase) -> tuple[int, int, np.ndarray, np.ndarray]:
        """How a window is walked, in runs of numbers at equal distances in the band.

        Returns:
            The length of a run, the bytes between its numbers, where in a window each run begins,
            and the places in the weight of all numbers, in the order of the runs.
        """
        layout, channels = self.layout, self.channels
        _, band_h, band_w, band_c = self.cut.steps
        down = np.array(phase.taps[0].offsets) - layout.low[0]
        right = np.array(phase.taps[1].offsets) - layout.low[1]
        gap = gap_of(phase.taps[1].offsets)
        h_step, w_step = channels.window_steps
        w_down = np.array(phase.taps[0].indices) * h_step
        w_right = np.array(phase.taps[1].indices) * w_step
        inner = np.arange(channels.inner)
        if layout.planes and len(right) > 1 and gap is not None:
            # Planes: the run goes along a row of the window.
            starts = inner[:, None] * band_c + down * band_h + right[0] * band_w
            depth = inner[:, None, None] * channels.inner_step + w_down[:, None] + w_right
            return len(right), gap * band_w, starts.reshape(-1), depth.reshape(-1)
        run = channels.inner
        starts = down[:, None] * band_h + right * band_w
        depth = w_down[:, None, None] + w_right[:, None] + inner * channels.inner_step
        dense = band_c * channels.inner == band_w
        if channels.groups == 1 and dense and gap == 1 and not channels.lanewise:
            run *= len(right)
            starts = starts[:, :1]
        return run, band_c, starts.reshape(-1), depth.reshape(-1)

    def _phase(self, phase: Phase, target: View) -> dict[int, int]:
        """The words of one phase."""
        lanes, size = self.panels.lanes, self.dtype.itemsize
        height, width = phase.size
        _, _, target_h, target_w = target.strides
        row_table = self._pixels(phase, target)
        run, a_step, starts, depth = self._runs(phase)
        b_starts = np.arange(starts.size) * (run * lanes * size)
        step_table = table(np.stack([starts, b_starts], -1))
        self._tables += [row_table, step_table]
        self.depths.append(np.ascontiguousarray(depth, np.int64))
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
            bands.PHASE_PANEL_BYTES: depth.size * lanes * size,
        }

    def covers(self, size: Sequence[int]) -> bool:
        """Whether the phases reach every number of a target of these sizes."""
        return sum(p.size[0] * p.size[1] for p in self.phases) == size[0] * size[1]

    def _ordered(self, w: np.ndarray) -> np.ndarray:
        """The panels of all phases, one after the other."""
        channels, panels, size = self.channels, self.panels, self.dtype.itemsize
        packed = empty((self._packed_size(),), self.dtype)
        at = packed.ctypes.data
        for depth in self.depths:
            run = channels.inner if channels.inner_step == size and not self.layout.planes else 1
            words = words_of(
                copy.PACK_WORDS,
                {
                    copy.PANELS: panels.count,
                    copy.PANELS_PER_GROUP: panels.per_group,
                    copy.PANEL_LANES: panels.lanes,
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
            launch(copy.pack_panels, words, min(CHUNKS, panels.count))
            at += depth.size * panels.lanes * panels.count * size
        return packed

    def run(
        self, source: np.ndarray, packed: np.ndarray, bias: np.ndarray | None, target: np.ndarray
    ) -> bool:
        """Compute the target; `packed` is what `pack` returned for the weight. Returns True."""
        shift = () if bias is None else (np.ascontiguousarray(bias),)
        self.form(source, target, packed, *shift)
        return True
