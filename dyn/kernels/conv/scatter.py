"""The gradient of a convolution by its input, scattered: every number of g adds to a window.

For a row of the window the columns and channels of the result are neighbours in memory, so a tile
holds a few dozen of them for some pixels of g, and is added to what is there: no padding is ever
multiplied, few channels fill the vectors, and strides need no phases. Against the sums of `bands`
stands that every tile reads and writes the result. Results are gathered in a scratch buffer with
the padding around them; rows at the border of two buffers are computed for both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dyn.kernels.conv import tile
from dyn.kernels.conv.bands import JOB_BYTES
from dyn.kernels.conv.shapes import UNITS, Channels, View, kernels_of, table, words_of
from dyn.kernels.runtime.bytes import clear_bytes, copy_bytes, put_word
from dyn.kernels.runtime.drive import Form
from dyn.kernels.runtime.jit import call_address, task
from dyn.kernels.runtime.scratch import buffer, leave, scratch, take
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.sums import ACCUMULATE

GAIN = 1.1
"""How much less work than the sums of `bands` it must be."""
UPDATE = 8
"""Work of reading and writing a tile, in steps of its sum."""
NEAR_BYTES = 32 * 1024
"""Size of results of several images that are gathered together, in the first-level cache."""
FAR_BYTES = 128 * 1024
"""Size of results of an image beyond which they are gathered in pieces."""
CHUNKS = 32

(
    GRADIENT,
    GRADIENT_N,
    GRADIENT_H,
    IN_HEIGHT,
    IN_WIDTH,
    IMAGES,
    IMAGES_PER_UNIT,
    ROWS_PER_UNIT,
    UNITS_PER_IMAGE,
    LOW,
    HIGH,
    TARGET,
    TARGET_N,
    TARGET_H,
    HEIGHT,
    ROW_BYTES,
    STRIDE,
    LINE,
    TOP,
    LEFT,
    IMAGE_BYTES,
    PIXEL_BYTES,
    WINDOW_ROWS,
    WINDOW_STEP,
    NUMBERS,
    LANES,
    ELEMENT,
    INNER,
    A_STEP,
    ROW_TABLE,
    WEIGHTS,
    STEP_TABLE,
    SCRATCH,
    SCRATCH_SIZE,
    BIAS,
    WIDE,
    NARROW,
    NARROW_LANES,
) = range(38)
"""Words of a plan.

A unit of work is the rows of the result from ROWS_PER_UNIT * STRIDE times its number on, and the
rows LOW to HIGH of g, counted from ROWS_PER_UNIT times its number, that reach them; or all rows of
IMAGES_PER_UNIT images. A buffer holds LINE bytes for a row of the result; the first row of the
unit is its row number TOP, at LEFT bytes from the start. WINDOW_STEP: bytes between the places of
two rows of the window. A row of the window is NUMBERS wide, in panels of LANES.
"""
WORDS = 38


@task
def scatter(plan, chunk, chunks):
    """Do a share of the units."""
    memory = argument(plan, SCRATCH)
    slot = take(memory)
    job = buffer(memory, slot, argument(plan, SCRATCH_SIZE))
    result = job + JOB_BYTES
    in_height, in_width = argument(plan, IN_HEIGHT), argument(plan, IN_WIDTH)
    per_image, rows_per_unit = argument(plan, UNITS_PER_IMAGE), argument(plan, ROWS_PER_UNIT)
    images_per_unit, height = argument(plan, IMAGES_PER_UNIT), argument(plan, HEIGHT)
    element, numbers, lanes = (
        argument(plan, ELEMENT),
        argument(plan, NUMBERS),
        argument(plan, LANES),
    )
    panel_bytes = argument(plan, INNER) * lanes * element
    line, row_bytes, bias = argument(plan, LINE), argument(plan, ROW_BYTES), argument(plan, BIAS)
    own_rows = rows_per_unit * argument(plan, STRIDE)
    put_word(job, tile.STEPS, 1)
    put_word(job, tile.STEP_TABLE, argument(plan, STEP_TABLE))
    put_word(job, tile.RUN, argument(plan, INNER))
    put_word(job, tile.A_STEP, argument(plan, A_STEP))
    put_word(job, tile.B_STEP, lanes * element)
    put_word(job, tile.BIAS, 0)
    put_word(job, tile.FLAGS, ACCUMULATE)
    units = (argument(plan, IMAGES) + images_per_unit - 1) // images_per_unit * per_image
    for unit in range(units * chunk // chunks, units * (chunk + 1) // chunks):
        image, row = unit // per_image * images_per_unit, unit % per_image * rows_per_unit
        images = min(images_per_unit, argument(plan, IMAGES) - image)
        if bias:
            pixel = argument(plan, PIXEL_BYTES)
            for at in range(result, result + line, pixel):
                copy_bytes(at, bias, pixel)
            for at in range(result + line, result + images * argument(plan, IMAGE_BYTES), line):
                copy_bytes(at, result, line)
        else:
            clear_bytes(result, images * argument(plan, IMAGE_BYTES))
        # Rows of g that there are; the table begins at LOW.
        low = max(row + argument(plan, LOW), 0)
        high = min(row + argument(plan, HIGH), in_height - 1)
        skipped = (low - row - argument(plan, LOW)) * in_width
        put_word(job, tile.ROW_TABLE, argument(plan, ROW_TABLE) + 16 * skipped)
        count = (high - low + 1) * in_width * images
        put_word(job, tile.COUNT, count)
        a = argument(plan, GRADIENT) + image * argument(plan, GRADIENT_N)
        put_word(job, tile.A, a + row * argument(plan, GRADIENT_H))
        b = argument(plan, WEIGHTS)
        for down in range(argument(plan, WINDOW_ROWS)):
            for number in range(0, numbers, lanes):
                width = min(lanes, numbers - number)
                put_word(job, tile.WIDTH, width)
                put_word(job, tile.B, b)
                at = result + down * argument(plan, WINDOW_STEP) + number * element
                put_word(job, tile.C, at)
                if count > 0:
                    is_wide = width > argument(plan, NARROW_LANES)
                    call_address(argument(plan, WIDE) if is_wide else argument(plan, NARROW), job)
                b += panel_bytes
        own = min(own_rows, height - row * argument(plan, STRIDE))
        for i in range(images):
            source = result + i * argument(plan, IMAGE_BYTES) + argument(plan, LEFT)
            source += argument(plan, TOP) * line
            to = argument(plan, TARGET) + (image + i) * argument(plan, TARGET_N)
            to += row * argument(plan, STRIDE) * argument(plan, TARGET_H)
            for _ in range(own):
                copy_bytes(to, source, row_bytes)
                source += line
                to += argument(plan, TARGET_H)
    leave(memory, slot)


# ---- plans -------------------------------------------------------------------------------------


class _Cut:
    """How a result of `size`, scattered from g of `sizes`, is cut into units.

    Attributes:
        images, rows: images of a unit, or rows of g on which its rows of the result are counted.
        low, high: least and greatest row of g that reaches the unit, from its first row on.
        height, width: pixels of its buffer, of which the rows begin at `top`.
    """

    def __init__(
        self,
        g: View,
        size: Sequence[int],
        window: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: int,
        pixel_bytes: int,
    ) -> None:
        count, _, in_height, in_width = g.shape
        span, step, padded = (window[0] - 1) * dilation, stride[0], padding[0]
        self.width = max((in_width - 1) * stride[1] + window[1], padding[2] + size[1])
        self.rows, self.images, self.per_image = max(-(-size[0] // step), 1), 1, 1
        whole = self._buffer_height(span, step) * self.width * pixel_bytes
        if whole <= FAR_BYTES and count >= UNITS:
            self.images = max(1, min(NEAR_BYTES // whole, count // UNITS))
        else:
            line = step * self.width * pixel_bytes
            wanted = -(-self.rows // max(1, -(-UNITS // count)))
            self.rows = max(1, min(wanted, FAR_BYTES // line - 2 * span // step))
            self.per_image = -(-size[0] // (self.rows * step))
        self.height, self.top = self._buffer_height(span, step), span + step
        self.low = -((span - padded) // step)
        self.high = (self.rows * step - 1 + padded) // step
        if self.per_image == 1:
            self.low, self.high = max(self.low, 0), min(self.high, in_height - 1)

    def _buffer_height(self, span: int, step: int) -> int:
        """Rows of a buffer: those of the unit and those that its rows of g reach besides."""
        return self.rows * step + 2 * span + step

    def steps(self, inner: int, numbers: int, lanes: int, images: int) -> float:
        """Steps of sums of a vector, and of updates."""
        rows = max(0, self.high - self.low + 1) * self.per_image
        return images * rows * (inner + UPDATE) * -(-numbers // lanes)


class ScatterPlan:
    """A plan of `scatter`.

    Attributes:
        packing: what the panels that `pack` makes of a weight depend on besides the weight.
    """

    def __init__(
        self,
        g: View,
        target: View,
        window: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int, int, int],
        dilation: int,
        channels: Channels,
    ) -> None:
        kernels, size = kernels_of(g.dtype), g.dtype.itemsize
        inner, outer = channels.inner, channels.outer
        self.channels, self.window, self.dtype = channels, window, g.dtype
        self.numbers = window[1] * outer
        self.lanes = kernels.lanes * (1 if self.numbers <= kernels.lanes else 2)
        pixel = outer * size
        cut = _Cut(g, target.shape[2:], window, stride, padding, dilation, pixel)
        line = cut.width * pixel
        image_bytes = cut.height * line
        self.scratch_size = -(-(JOB_BYTES + cut.images * image_bytes) // 64) * 64
        units = -(-g.shape[0] // cut.images) * cut.per_image
        self.chunks = min(CHUNKS, units)
        self.row_table = self._rows(g, cut, line, image_bytes, pixel, stride, padding[0])
        self.step_table = np.zeros(2, np.int64)
        self.packing = ("scatter", channels, window)
        words = words_of(
            WORDS,
            {
                GRADIENT_N: g.strides[0],
                GRADIENT_H: g.strides[2],
                IN_HEIGHT: g.shape[2],
                IN_WIDTH: g.shape[3],
                IMAGES: g.shape[0],
                IMAGES_PER_UNIT: cut.images,
                ROWS_PER_UNIT: cut.rows,
                UNITS_PER_IMAGE: cut.per_image,
                LOW: cut.low,
                HIGH: cut.high,
                TARGET_N: target.strides[0],
                TARGET_H: target.strides[2],
                HEIGHT: target.shape[2],
                ROW_BYTES: target.shape[3] * pixel,
                STRIDE: stride[0],
                LINE: line,
                TOP: cut.top,
                LEFT: padding[2] * pixel,
                IMAGE_BYTES: image_bytes,
                PIXEL_BYTES: pixel,
                WINDOW_ROWS: window[0],
                WINDOW_STEP: dilation * line,
                NUMBERS: self.numbers,
                LANES: self.lanes,
                ELEMENT: size,
                INNER: inner,
                A_STEP: g.strides[1],
                ROW_TABLE: self.row_table.ctypes.data,
                STEP_TABLE: self.step_table.ctypes.data,
                SCRATCH_SIZE: self.scratch_size,
                WIDE: kernels.wide,
                NARROW: kernels.narrow,
                NARROW_LANES: kernels.lanes,
            },
        )
        self.form = Form(words, (GRADIENT, TARGET, WEIGHTS, SCRATCH, BIAS))

    def _rows(
        self, g: View, cut: _Cut, line: int, image_bytes: int, pixel: int,
        stride: tuple[int, int], padded: int,
    ) -> np.ndarray:  # fmt: skip
        """For each pixel of g of a unit, where it lies and where its window begins in the buffer.

        The pixels of a tile should meet different places, lest each waits for the one before.
        """
        g_n, _, g_h, g_w = g.strides
        rows = np.arange(cut.low, cut.high + 1)
        n, i, j = np.ogrid[: cut.images, : len(rows), : g.shape[3]]
        y = rows[i]
        top = (y * stride[0] - padded + cut.top) * line
        pairs = (
            n * g_n + y * g_h + j * g_w,
            n * image_bytes + top + j * (stride[1] * pixel),
        )
        found = np.stack(np.broadcast_arrays(*pairs), -1)
        if cut.per_image == 1:
            return table(found.swapaxes(1, 2))
        gap = -(-self.lanes * self.dtype.itemsize // (stride[1] * pixel))
        return table(found[:, :, np.argsort(np.arange(g.shape[3]) % gap, kind="stable")])

    def covers(self, size: Sequence[int]) -> bool:
        """Whether every number of the target is computed: True."""
        return True

    def pack(self, w: np.ndarray) -> np.ndarray:
        """The weights as [window rows][panels][inner][numbers of the panel]."""
        channels, (down, across) = self.channels, self.window
        panels = -(-self.numbers // self.lanes)
        turned = np.lib.stride_tricks.as_strided(
            w,
            (down, channels.inner, across, channels.outer),
            (channels.window_steps[0], channels.inner_step,
             channels.window_steps[1], channels.outer_step),
        )  # fmt: skip
        full = np.zeros((down, channels.inner, panels * self.lanes), w.dtype)
        full[..., : self.numbers] = turned.reshape(down, channels.inner, -1)
        grouped = full.reshape(down, channels.inner, panels, self.lanes)
        return np.ascontiguousarray(grouped.swapaxes(1, 2))

    def run(
        self, g: np.ndarray, packed: np.ndarray, bias: np.ndarray | None, target: np.ndarray
    ) -> bool:
        """Compute the target; `packed` is what `pack` returned for the weight. Returns True."""
        memory = scratch(self.scratch_size, self.chunks)
        shift = () if bias is None else (np.ascontiguousarray(bias),)
        self.form.run(scatter, self.chunks, g, target, packed, memory, *shift)
        return True


def fits(
    g: View,
    size: Sequence[int],
    window: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    channels: Channels,
    steps: float,
) -> bool:
    """Whether this gradient can be scattered, in fewer than `steps` sums of a vector."""
    if channels.groups != 1 or channels.lanewise or dilation[1] != 1:
        return False
    cut = _Cut(g, size, window, stride, padding, dilation[0], channels.outer * g.dtype.itemsize)
    numbers, lanes = window[1] * channels.outer, kernels_of(g.dtype).lanes
    rows = cut.steps(channels.inner, numbers, lanes, g.shape[0])
    return GAIN * rows * g.shape[3] * window[0] < steps
