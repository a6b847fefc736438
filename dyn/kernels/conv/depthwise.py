"""Depthwise convolution and its gradient by the input: plans and the task over bands of rows.

Bands of padded input come from `copy`, phases of the gradient from `bands`, a row of
outputs at a time is computed by `depthwise_tile`. Windows with uneven gaps between their taps, and
float64, are left to `bands`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dyn.kernels.conv import copy
from dyn.kernels.conv import depthwise_tile as tile
from dyn.kernels.conv.bands import JOB_BYTES, Phase, gap_of
from dyn.kernels.conv.shapes import (
    WEIGHT_ORDER,
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
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.lanes import LANES

BAND_BYTES = 128 * 1024
"""Size of a band: it stays in the second-level cache while its rows are read."""
CHUNKS = 32
"""Most chunks: enough for threads to end at the same time."""

# ---- the task ----------------------------------------------------------------------------------

(
    TARGET,
    TARGET_N,
    IMAGES,
    ROWS_PER_BAND,
    BANDS_PER_IMAGE,
    SOURCE_STEP,
    TOP,
    BAND_ROWS,
    COPIED,
    SCRATCH,
    SCRATCH_SIZE,
    WEIGHTS,
    PLAN_BIAS,
    PLAN_RELU,
    PLAN_CHANNELS,
    PHASES,
) = range(copy.BAND_WORDS, copy.BAND_WORDS + 16)
"""Words of a plan after those of its bands, as in `bands`."""
(
    PHASE_HEIGHT,
    PHASE_WIDTH,
    PHASE_TARGET,
    PHASE_TARGET_H,
    PHASE_TARGET_W,
    PHASE_SOURCE,
    PHASE_X_ROW,
    PHASE_X_PIXEL,
    PHASE_TAPS_DOWN,
    PHASE_WEIGHTS,
    PHASE_W_ROW,
    PHASE_W_TAP,
    PHASE_KERNEL,
) = range(13)
HEADER_WORDS, PHASE_WORDS = 40, 13


@task
def depthwise(plan, chunk, chunks):
    """Do a share of the bands."""
    memory = argument(plan, SCRATCH)
    slot = take(memory)
    job = buffer(memory, slot, argument(plan, SCRATCH_SIZE))
    copy.clear_gaps(plan, job + JOB_BYTES, argument(plan, SCRATCH_SIZE) - JOB_BYTES)
    per_image, rows = argument(plan, BANDS_PER_IMAGE), argument(plan, ROWS_PER_BAND)
    bands, step = argument(plan, IMAGES) * per_image, argument(plan, SOURCE_STEP)
    if argument(plan, COPIED):  # behind the band, too, where the last pixels of a tile may lie
        end = JOB_BYTES + argument(plan, copy.BAND_N)
        clear_bytes(job + end, argument(plan, SCRATCH_SIZE) - end)
    put_word(job, tile.BIAS, argument(plan, PLAN_BIAS))
    put_word(job, tile.RELU, argument(plan, PLAN_RELU))
    put_word(job, tile.CHANNELS, argument(plan, PLAN_CHANNELS))
    for band in range(bands * chunk // chunks, bands * (chunk + 1) // chunks):
        image, first = band // per_image, band % per_image * rows
        top = first * step + argument(plan, TOP)
        if argument(plan, COPIED):
            x = job + JOB_BYTES
            fill, deep = argument(plan, copy.FILL_BAND), argument(plan, BAND_ROWS)
            call_address(fill, plan, x, image, 1, top, deep)
        else:
            x = argument(plan, copy.SOURCE) + image * argument(plan, copy.SOURCE_N)
            x += top * argument(plan, copy.SOURCE_H)
            x += argument(plan, copy.FIRST) * argument(plan, copy.SOURCE_W)
        y = argument(plan, TARGET) + image * argument(plan, TARGET_N)
        for row in range(first, first + rows):
            for number in range(argument(plan, PHASES)):
                phase = plan + 8 * (HEADER_WORDS + number * PHASE_WORDS)
                if row >= argument(phase, PHASE_HEIGHT):
                    continue
                at = x + (row - first) * step * argument(plan, copy.BAND_H)
                put_word(job, tile.X, at + argument(phase, PHASE_SOURCE))
                put_word(job, tile.X_ROW, argument(phase, PHASE_X_ROW))
                put_word(job, tile.X_PIXEL, argument(phase, PHASE_X_PIXEL))
                put_word(job, tile.W, argument(plan, WEIGHTS) + argument(phase, PHASE_WEIGHTS))
                put_word(job, tile.W_ROW, argument(phase, PHASE_W_ROW))
                put_word(job, tile.W_TAP, argument(phase, PHASE_W_TAP))
                put_word(job, tile.TAPS_DOWN, argument(phase, PHASE_TAPS_DOWN))
                at = y + argument(phase, PHASE_TARGET) + row * argument(phase, PHASE_TARGET_H)
                put_word(job, tile.Y, at)
                put_word(job, tile.Y_PIXEL, argument(phase, PHASE_TARGET_W))
                put_word(job, tile.COUNT, argument(phase, PHASE_WIDTH))
                call_address(argument(phase, PHASE_KERNEL), job)
    leave(memory, slot)


# ---- plans -------------------------------------------------------------------------------------


def fits(source: View, phases: list[Phase], stride: int) -> bool:
    """Whether there are kernels for these windows."""
    if source.dtype != np.float32 or source.shape[1] < LANES:
        return False
    for phase in phases:
        down, across = phase.taps
        gaps = [gap_of(n) for n in (down.offsets, down.indices, across.offsets, across.indices)]
        if None in gaps or (gaps[2] != 1 and stride != 1):
            return False
        if (len(across.offsets), stride) not in tile.ROWS:
            return False
    return True


def _lattices(phase: Phase) -> list[tuple[Phase, int, int]]:
    """A phase cut into columns that see every gap-th pixel; first pixel and gap of each."""
    gap = gap_of(phase.taps[1].offsets) or 1
    height, width = phase.size
    return [
        (
            phase._replace(
                first=(phase.first[0], phase.first[1] + start * phase.step[1]),
                step=(phase.step[0], phase.step[1] * gap),
                size=(height, -(-(width - start) // gap)),
            ),
            start,
            gap,
        )
        for start in range(min(gap, width))
    ]


def _phase_words(
    lattice: tuple[Phase, int, int],
    target: View,
    layout: BandLayout,
    cut: BandCut,
    channels: Channels,
    window: tuple[int, int],
) -> dict[int, int]:
    """The words of one lattice, as `_lattices` gives it."""
    phase, column, gap = lattice
    down, across = phase.taps
    _, line, pixel, _ = cut.steps
    _, _, target_h, target_w = target.strides
    tap = 4 * channels.outer
    row, h_index, w_index = (gap_of(n) or 1 for n in (down.offsets, down.indices, across.indices))
    first = down.offsets[0] - layout.low[0], column + across.offsets[0] - layout.low[1]
    return {
        PHASE_HEIGHT: phase.size[0],
        PHASE_WIDTH: phase.size[1],
        PHASE_TARGET: phase.first[0] * target_h + phase.first[1] * target_w,
        PHASE_TARGET_H: phase.step[0] * target_h,
        PHASE_TARGET_W: phase.step[1] * target_w,
        PHASE_SOURCE: first[0] * line + first[1] * pixel,
        PHASE_X_ROW: row * line,
        PHASE_X_PIXEL: gap * pixel,
        PHASE_TAPS_DOWN: len(down.offsets),
        PHASE_WEIGHTS: (down.indices[0] * window[1] + across.indices[0]) * tap,
        PHASE_W_ROW: h_index * window[1] * tap,
        PHASE_W_TAP: w_index * tap,
        PHASE_KERNEL: tile.ROWS[len(across.offsets), layout.step[1]].address,
    }


class DepthwisePlan:
    """A plan for given shapes, if it `fits`; weights are packed [kh][kw][channels].

    Attributes:
        packing: what the packed weights depend on besides the weight; None if it lies so.
    """

    def __init__(
        self,
        source: View,
        target: View,
        phases: list[Phase],
        step: tuple[int, int],
        channels: Channels,
        w: View,
        *,
        relu: bool = False,
    ) -> None:
        self.phases = phases
        self.packing = None if w.lies_in(WEIGHT_ORDER) else ("depthwise",)
        window = (w.shape[2], w.shape[3])
        plain = channels._replace(lanewise=False)
        turned = not source.has_channels_last
        layout = BandLayout(source, phases, step, plain, in_pixels=turned)
        lattices = [lattice for phase in phases for lattice in _lattices(phase)]
        layout.copied |= min(phase.size[1] for phase, _, _ in lattices) < tile.PIXELS
        cut = BandCut.of(layout, 1, layout.rows_shared(BAND_BYTES, CHUNKS))
        self.chunks = min(CHUNKS, cut.count)
        # A tile may look beyond the last pixel of a row that is narrower than it.
        slack = tile.PIXELS * step[1] * max(gap for _, _, gap in lattices) * cut.steps[2]
        self.scratch_size = JOB_BYTES + (cut.steps[0] + slack if layout.copied else 0)
        words = words_of(
            HEADER_WORDS + len(lattices) * PHASE_WORDS,
            {
                **band_words(source, layout, cut.steps),
                TARGET_N: target.strides[0],
                IMAGES: source.shape[0],
                ROWS_PER_BAND: cut.rows,
                BANDS_PER_IMAGE: cut.per_image,
                SOURCE_STEP: step[0],
                TOP: layout.low[0],
                BAND_ROWS: cut.deep,
                COPIED: layout.copied,
                SCRATCH_SIZE: self.scratch_size,
                PLAN_RELU: relu,
                PLAN_CHANNELS: channels.outer,
                PHASES: len(lattices),
            },
        )
        for number, lattice in enumerate(lattices):
            start = HEADER_WORDS + number * PHASE_WORDS
            for word, value in _phase_words(lattice, target, layout, cut, channels, window).items():
                words[start + word] = value
        self.form = Form(
            [(depthwise, self.chunks)],
            words,
            (copy.SOURCE, TARGET, WEIGHTS, PLAN_BIAS),
            scratch=(SCRATCH, self.scratch_size),
        )

    def covers(self, size: Sequence[int]) -> bool:
        """Whether the phases reach every number of a target of these sizes."""
        return sum(p.size[0] * p.size[1] for p in self.phases) == size[0] * size[1]

    def pack(self, w: np.ndarray) -> np.ndarray:
        """The weights as [kh][kw][channels]."""
        return np.ascontiguousarray(w.transpose(WEIGHT_ORDER))

    def run(
        self, source: np.ndarray, packed: np.ndarray, bias: np.ndarray | None, target: np.ndarray
    ) -> bool:
        """Compute the target; `packed` is what `pack` returned for the weight. Returns True."""
        shift = () if bias is None else (np.ascontiguousarray(bias),)
        self.form(source, target, packed, *shift)
        return True
