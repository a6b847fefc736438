"""Direct convolution, and its gradient by the input: tiles over bands of the source.

Both are the same sum, out[i] = sum over taps of source[i * step + offset(tap)] * weight(tap): the
gradient by the input is one such sum for every phase of the output modulo the stride, with the
window reversed. A band of source rows is padded into a scratch buffer that stays in the cache, and
every tile of the outputs above it reads it. The gradient of the weight is in `weight`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from dyn.kernels.conv import copy, tile
from dyn.kernels.runtime.bytes import put_word
from dyn.kernels.runtime.jit import call_address, task
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument


class Taps(NamedTuple):
    """The taps of one axis that meet the same outputs, by ascending offset in the source."""

    offsets: tuple[int, ...]
    indices: tuple[int, ...]
    """Positions in the weight's window."""


def gap_of(numbers: Sequence[int]) -> int | None:
    """The distance between equally spaced numbers; 1 for a single one, None if they are not."""
    gaps = {after - before for before, after in pairwise(numbers)}
    return 1 if not gaps else gaps.pop() if len(gaps) == 1 else None


class Phase(NamedTuple):
    """Outputs first, first + step, ... (`size` of them) along each of two axes, and their taps."""

    first: tuple[int, int]
    step: tuple[int, int]
    size: tuple[int, int]
    taps: tuple[Taps, Taps]


def _met(pairs: list[tuple[int, int]], count: int, step: int, size: int) -> Taps:
    """The taps (offset, index) that any of `count` outputs, `step` apart, finds in the source.

    One is left in any case: an output that sees padding alone is a sum of zeros.
    """
    pairs = sorted(pairs)
    seen = [
        pair for pair in pairs if any(0 <= i * step + pair[0] < size for i in range(count))
    ] or pairs[:1]
    offsets, indices = zip(*seen, strict=True)
    return Taps(offsets, indices)


def forward_phases(
    out: Sequence[int],
    sizes: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[Phase]:
    """The one phase of a convolution from source `sizes` to output sizes `out`."""
    rows, columns = (
        _met(
            [(k * dilation[axis] - padding[2 * axis], k) for k in range(window[axis])],
            out[axis],
            stride[axis],
            sizes[axis],
        )
        for axis in range(2)
    )
    return [Phase((0, 0), (1, 1), (out[0], out[1]), (rows, columns))]


def full_phase(
    out: Sequence[int], window: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Phase:
    """The phase of a convolution with all taps, also those that see padding alone."""
    rows, columns = (
        Taps(
            tuple(k * dilation[axis] - padding[2 * axis] for k in range(window[axis])),
            tuple(range(window[axis])),
        )
        for axis in range(2)
    )
    return Phase((0, 0), (1, 1), (out[0], out[1]), (rows, columns))


def transposed_phases(
    size: Sequence[int],
    sizes: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[Phase]:
    """The phases of the gradient by an input of `size`, from a gradient of `sizes`.

    Phases that no tap reaches are left out.
    """
    axes = []
    for axis in range(2):
        s, low, d = stride[axis], padding[2 * axis], dilation[axis]
        found = []
        for first in range(min(s, size[axis])):
            count = -(-(size[axis] - first) // s)
            pairs = [
                ((first + low - k * d) // s, k)
                for k in range(window[axis])
                if (first + low - k * d) % s == 0
            ]
            if pairs:
                found.append((first, count, _met(pairs, count, 1, sizes[axis])))
        axes.append(found)
    return [
        Phase((i, j), (stride[0], stride[1]), (rows, columns), (ti, tj))
        for i, rows, ti in axes[0]
        for j, columns, tj in axes[1]
    ]


# ---- the task ----------------------------------------------------------------------------------

(
    TARGET,
    TARGET_N,
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
    SCRATCH,
    SCRATCH_SIZE,
    PANELS,
    PANELS_PER_GROUP,
    PIXELS_AT_ONCE,
    PANEL_LANES,
    GROUP_LANES,
    GROUP_STEP,
    PANEL_STEP,
    BIAS,
    FLAGS,
    WIDE,
    NARROW,
    NARROW_LANES,
    PHASES,
    WEIGHTS,
) = range(copy.BAND_WORDS, copy.BAND_WORDS + 28)
"""Words of a plan after those of its bands.

A unit of work is a band and a share (of SPLITS) of the panels. A band is the source rows of
ROWS_PER_BAND rows of outputs of one image, or of all rows of IMAGES_PER_BAND images. TOP: first
source row of output row 0. GROUP_STEP and PANEL_STEP: bytes between the source channels that two
groups, and two panels of a group, read; WEIGHTS: where the panels of all phases lie. So many pixels
go through all panels at once as keep their results in the cache until whole lines of them are
written.
"""
(
    PHASE_HEIGHT,
    PHASE_WIDTH,
    PHASE_TARGET,
    PHASE_TARGET_H,
    PHASE_ROWS,
    PHASE_STEPS,
    PHASE_STEP_TABLE,
    PHASE_RUN,
    PHASE_A_STEP,
    PHASE_WEIGHTS,
    PHASE_PANEL_BYTES,
) = range(11)
HEADER_WORDS, PHASE_WORDS = 48, 12
JOB_BYTES = 256
"""Of the scratch buffer, for the job of the tile kernel; a multiple of the cache line."""


@task
def correlate(plan, chunk, chunks):
    """Do a share of the units."""
    memory = argument(plan, SCRATCH)
    slot = take(memory)
    job = buffer(memory, slot, argument(plan, SCRATCH_SIZE))
    copy.clear_gaps(plan, job + JOB_BYTES, argument(plan, SCRATCH_SIZE) - JOB_BYTES)
    bands, splits = argument(plan, BANDS), argument(plan, SPLITS)
    panels, source_step = argument(plan, PANELS), argument(plan, SOURCE_STEP)
    per_image, rows_per_band = argument(plan, BANDS_PER_IMAGE), argument(plan, ROWS_PER_BAND)
    images_per_band = argument(plan, IMAGES_PER_BAND)
    element, lanes = argument(plan, copy.ELEMENT), argument(plan, PANEL_LANES)
    group_lanes, per_group = argument(plan, GROUP_LANES), argument(plan, PANELS_PER_GROUP)
    at_once, bias = argument(plan, PIXELS_AT_ONCE), argument(plan, BIAS)
    wide, narrow = argument(plan, WIDE), argument(plan, NARROW)
    narrow_lanes = argument(plan, NARROW_LANES)
    group_step, panel_step = argument(plan, GROUP_STEP), argument(plan, PANEL_STEP)
    units = bands * splits
    put_word(job, tile.B_STEP, lanes * element)
    put_word(job, tile.BIAS, 0)
    put_word(job, tile.FLAGS, argument(plan, FLAGS))
    for unit in range(units * chunk // chunks, units * (chunk + 1) // chunks):
        split, band = unit // bands, unit % bands
        first = band // per_image * images_per_band
        images = min(images_per_band, argument(plan, IMAGES) - first)
        row = band % per_image * rows_per_band
        top = row * source_step + argument(plan, TOP)
        if argument(plan, COPIED):
            a = job + JOB_BYTES
            fill, rows = argument(plan, copy.FILL_BAND), argument(plan, BAND_ROWS)
            call_address(fill, plan, a, first, images, top, rows)
        else:
            a = argument(plan, copy.SOURCE) + first * argument(plan, copy.SOURCE_N)
            a += top * argument(plan, copy.SOURCE_H)
            a += argument(plan, copy.FIRST) * argument(plan, copy.SOURCE_W)
        for number in range(argument(plan, PHASES)):
            phase = plan + 8 * (HEADER_WORDS + number * PHASE_WORDS)
            height, width = argument(phase, PHASE_HEIGHT), argument(phase, PHASE_WIDTH)
            count = min(rows_per_band, height - row) * width * images
            c = argument(plan, TARGET) + first * argument(plan, TARGET_N)
            c += argument(phase, PHASE_TARGET) + row * argument(phase, PHASE_TARGET_H)
            put_word(job, tile.STEPS, argument(phase, PHASE_STEPS))
            put_word(job, tile.STEP_TABLE, argument(phase, PHASE_STEP_TABLE))
            put_word(job, tile.RUN, argument(phase, PHASE_RUN))
            put_word(job, tile.A_STEP, argument(phase, PHASE_A_STEP))
            row_table = argument(phase, PHASE_ROWS)
            weights = argument(plan, WEIGHTS) + argument(phase, PHASE_WEIGHTS)
            panel_bytes = argument(phase, PHASE_PANEL_BYTES)
            for pixel in range(0, count, at_once):
                pixels = min(at_once, count - pixel)
                tiles = (pixels + tile.WIDE - 1) // tile.WIDE
                put_word(job, tile.AHEAD_STEP, (lanes * element + tiles - 1) // tiles)
                put_word(job, tile.ROW_TABLE, row_table + 16 * pixel)
                put_word(job, tile.COUNT, pixels)
                for panel in range(panels * split // splits, panels * (split + 1) // splits):
                    group, part = panel // per_group, panel % per_group
                    lane = group * group_lanes + part * lanes
                    width = min(lanes, group_lanes - part * lanes)
                    put_word(job, tile.WIDTH, width)
                    put_word(job, tile.A, a + group * group_step + part * panel_step)
                    put_word(job, tile.B, weights + panel * panel_bytes)
                    put_word(job, tile.AHEAD, weights + (panel + 1) * panel_bytes)
                    put_word(job, tile.C, c + lane * element)
                    if bias:
                        put_word(job, tile.BIAS, bias + lane * element)
                    call_address(wide if width > narrow_lanes else narrow, job)
    leave(memory, slot)
