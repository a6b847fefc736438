"""The gradient of a convolution by its input, scattered: every number of g adds to a window.

With its window turned around it is a convolution of stride 1, for small images with much padding.
For a row of the window the columns and channels of the result are neighbours in memory, so a tile
holds a few dozen of them for some pixels of g, and is added to what is there: no padding is ever
multiplied, few channels fill the vectors, and strides need no phases. Against the sums of `bands`
stands that every tile reads and writes the result. Rows of the result, with the padding beside
them, are gathered in a scratch buffer; rows of the window that fall outside of it are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.kernels.conv import tile
from dyn.kernels.conv.bands import JOB_BYTES
from dyn.kernels.conv.shapes import FAR_WEIGHTS, UNITS, Channels, View, kernels_of, table, words_of
from dyn.kernels.copy import contiguous, place
from dyn.kernels.runtime.bytes import clear_bytes, copy_bytes, put_word
from dyn.kernels.runtime.drive import Form
from dyn.kernels.runtime.jit import call_address, kernel, task
from dyn.kernels.runtime.scratch import buffer, leave, scratch, take
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.runs import pointer
from dyn.kernels.vector.sums import ACCUMULATE

FAR = 16
"""Work of reading a vector of weights that are far, in steps of a sum: every unit has to."""
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
    TARGET,
    TARGET_N,
    TARGET_H,
    HEIGHT,
    ROW_BYTES,
    STRIDE,
    PADDED,
    LINE,
    LEFT,
    IMAGE_BYTES,
    PIXEL_BYTES,
    WINDOW_ROWS,
    GAP,
    NUMBERS,
    LANES,
    ELEMENT,
    INNER,
    A_STEP,
    ROW_TABLES,
    TABLE_BYTES,
    WEIGHTS,
    STEP_TABLE,
    SCRATCH,
    SCRATCH_SIZE,
    BIAS,
    RELU,
    WIDE,
    NARROW,
    NARROW_LANES,
) = range(39)
"""Words of a plan.

A unit of work is the rows of the result from ROWS_PER_UNIT * STRIDE times its number on; or all
rows of IMAGES_PER_UNIT images. A buffer holds them, LINE bytes for each, in which the result begins
LEFT bytes from the start. Rows of the window are GAP rows of the result apart, the first of them
PADDED rows before it, and NUMBERS wide, in panels of LANES. Of the pixels of g that a row of the
window is added for there is a table, the next one TABLE_BYTES behind it; or one for all where an
image has several units, from row LOW of g on, counted from ROWS_PER_UNIT times the unit's number.
"""
WORDS = 39
PAIR = 16
"""Bytes of an entry of a table."""


@kernel
def _scatter_row(plan, job, down, row, own, images, result):
    """Add a row of the window times those rows of g that put it among the `own` of a unit."""
    stride, in_width = argument(plan, STRIDE), argument(plan, IN_WIDTH)
    before = argument(plan, PADDED) - down * argument(plan, GAP)
    low = max(row + (before + stride - 1) // stride, 0)
    high = min(row + (own - 1 + before) // stride, argument(plan, IN_HEIGHT) - 1)
    if high < low:
        return
    table = argument(plan, ROW_TABLES) + down * argument(plan, TABLE_BYTES)
    if argument(plan, UNITS_PER_IMAGE) > 1:
        table += PAIR * in_width * (low - row - argument(plan, LOW))
    put_word(job, tile.ROW_TABLE, table)
    put_word(job, tile.COUNT, (high - low + 1) * in_width * images)
    numbers, lanes = argument(plan, NUMBERS), argument(plan, LANES)
    element, narrow = argument(plan, ELEMENT), argument(plan, NARROW_LANES)
    panel_bytes = argument(plan, INNER) * lanes * element
    panels = (numbers + lanes - 1) // lanes
    b = argument(plan, WEIGHTS) + down * panels * panel_bytes
    at = result + down * argument(plan, GAP) * argument(plan, LINE)
    for number in range(0, numbers, lanes):
        width = min(lanes, numbers - number)
        put_word(job, tile.WIDTH, width)
        put_word(job, tile.B, b)
        put_word(job, tile.C, at + number * element)
        call_address(argument(plan, WIDE) if width > narrow else argument(plan, NARROW), job)
        b += panel_bytes


@kernel
def _clamp(at, count, element):
    """Replace negative numbers of a run by zero; NaN stays."""
    if element == 4:
        narrow = pointer(at, np.float32(0))
        for i in range(count):
            narrow[i] = np.float32(0) if narrow[i] < 0 else narrow[i]
    else:
        wide = pointer(at, np.float64(0))
        for i in range(count):
            wide[i] = np.float64(0) if wide[i] < 0 else wide[i]


@task
def scatter(plan, chunk, chunks):
    """Do a share of the units."""
    memory = argument(plan, SCRATCH)
    slot = take(memory)
    job = buffer(memory, slot, argument(plan, SCRATCH_SIZE))
    result = job + JOB_BYTES
    per_image, rows_per_unit = argument(plan, UNITS_PER_IMAGE), argument(plan, ROWS_PER_UNIT)
    images_per_unit, height = argument(plan, IMAGES_PER_UNIT), argument(plan, HEIGHT)
    line, row_bytes, bias = argument(plan, LINE), argument(plan, ROW_BYTES), argument(plan, BIAS)
    stride = argument(plan, STRIDE)
    put_word(job, tile.STEPS, 1)
    put_word(job, tile.STEP_TABLE, argument(plan, STEP_TABLE))
    put_word(job, tile.RUN, argument(plan, INNER))
    put_word(job, tile.A_STEP, argument(plan, A_STEP))
    put_word(job, tile.B_STEP, argument(plan, LANES) * argument(plan, ELEMENT))
    put_word(job, tile.BIAS, 0)
    put_word(job, tile.FLAGS, ACCUMULATE)
    units = (argument(plan, IMAGES) + images_per_unit - 1) // images_per_unit * per_image
    for unit in range(units * chunk // chunks, units * (chunk + 1) // chunks):
        image, row = unit // per_image * images_per_unit, unit % per_image * rows_per_unit
        images = min(images_per_unit, argument(plan, IMAGES) - image)
        image_bytes = argument(plan, IMAGE_BYTES)
        if bias:
            pixel = argument(plan, PIXEL_BYTES)
            for at in range(result, result + line, pixel):
                copy_bytes(at, bias, pixel)
            for at in range(result + line, result + images * image_bytes, line):
                copy_bytes(at, result, line)
        else:
            clear_bytes(result, images * image_bytes)
        a = argument(plan, GRADIENT) + image * argument(plan, GRADIENT_N)
        put_word(job, tile.A, a + row * argument(plan, GRADIENT_H))
        own = min(rows_per_unit * stride, height - row * stride)
        for down in range(argument(plan, WINDOW_ROWS)):
            _scatter_row(plan, job, down, row, own, images, result)
        if argument(plan, RELU):
            element = argument(plan, ELEMENT)
            _clamp(result, images * image_bytes // element, element)
        for i in range(images):
            source = result + i * image_bytes + argument(plan, LEFT)
            to = argument(plan, TARGET) + (image + i) * argument(plan, TARGET_N)
            to += row * stride * argument(plan, TARGET_H)
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
        per_image: units of an image.
        low, high: least and greatest row of g that reaches the unit, from its first row on.
        height, width: pixels of its buffer.
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
        line = step * self.width * pixel_bytes
        if self.rows * line <= FAR_BYTES and count >= UNITS:
            self.images = max(1, min(NEAR_BYTES // (self.rows * line), count // UNITS))
        else:
            wanted = -(-self.rows // max(1, -(-UNITS // count)))
            self.rows = max(1, min(wanted, FAR_BYTES // line))
            self.per_image = -(-size[0] // (self.rows * step))
        self.height = self.rows * step
        self.low = -((span - padded) // step)
        self.high = (self.height - 1 + padded) // step
        if self.per_image == 1:
            self.low, self.high = max(self.low, 0), min(self.high, in_height - 1)


def _met(
    in_height: int, height: int, window: int, stride: int, padded: int, dilation: int
) -> np.ndarray:
    """For each row of g and row of the window, whether these meet in the result."""
    places = np.arange(in_height)[:, None] * stride + np.arange(window) * dilation - padded
    return (places >= 0) & (places < height)


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
        *,
        reverse: bool = False,
        relu: bool = False,
    ) -> None:
        """Plan; `reverse` reads the window backwards, `relu` makes negative results 0."""
        kernels, size = kernels_of(g.dtype), g.dtype.itemsize
        inner, outer = channels.inner, channels.outer
        self.channels, self.window, self.dtype, self.reverse = channels, window, g.dtype, reverse
        self.numbers = window[1] * outer
        self.lanes = kernels.lanes * (1 if self.numbers <= kernels.lanes else 2)
        pixel = outer * size
        cut = _Cut(g, target.shape[2:], window, stride, padding, dilation, pixel)
        line = cut.width * pixel
        image_bytes = cut.height * line
        self.scratch_size = -(-(JOB_BYTES + cut.images * image_bytes) // 64) * 64
        units = -(-g.shape[0] // cut.images) * cut.per_image
        self.chunks = min(CHUNKS, units)
        met = _met(g.shape[2], target.shape[2], window[0], stride[0], padding[0], dilation)
        tables = self._tables(g, cut, met, line, image_bytes, pixel, stride, padding[0])
        self.row_tables = np.zeros((len(tables), max(map(len, tables)), 2), np.int64)
        for own, rows in zip(self.row_tables, tables, strict=True):
            own[: len(rows)] = rows
        self.step_table = np.zeros(2, np.int64)
        self.packing = ("scatter", channels, window, reverse)
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
                TARGET_N: target.strides[0],
                TARGET_H: target.strides[2],
                HEIGHT: target.shape[2],
                ROW_BYTES: target.shape[3] * pixel,
                STRIDE: stride[0],
                PADDED: padding[0],
                LINE: line,
                LEFT: padding[2] * pixel,
                IMAGE_BYTES: image_bytes,
                PIXEL_BYTES: pixel,
                WINDOW_ROWS: window[0],
                GAP: dilation,
                NUMBERS: self.numbers,
                LANES: self.lanes,
                ELEMENT: size,
                INNER: inner,
                A_STEP: g.strides[1],
                ROW_TABLES: self.row_tables.ctypes.data,
                TABLE_BYTES: self.row_tables[0].nbytes if len(tables) > 1 else 0,
                STEP_TABLE: self.step_table.ctypes.data,
                SCRATCH_SIZE: self.scratch_size,
                RELU: relu,
                WIDE: kernels.wide,
                NARROW: kernels.narrow,
                NARROW_LANES: kernels.lanes,
            },
        )
        self.form = Form(words, (GRADIENT, TARGET, WEIGHTS, SCRATCH, BIAS))

    def _tables(
        self, g: View, cut: _Cut, met: np.ndarray, line: int, image_bytes: int, pixel: int,
        stride: tuple[int, int], padded: int,
    ) -> list[np.ndarray]:  # fmt: skip
        """For each pixel of g of a unit, where it lies and where its window begins in the buffer.

        The pixels of a tile should meet different places, lest each waits for the one before.
        """
        g_n, _, g_h, g_w = g.strides

        def pairs(n: Any, i: Any, j: Any) -> np.ndarray:
            source = n * g_n + i * g_h + j * g_w
            target = n * image_bytes + (i * stride[0] - padded) * line + j * (stride[1] * pixel)
            return table(np.stack(np.broadcast_arrays(source, target), -1))

        columns = np.arange(g.shape[3])
        if cut.per_image > 1:
            gap = -(-self.lanes * self.dtype.itemsize // (stride[1] * pixel))
            rows = np.arange(cut.low, cut.high + 1)[:, None]
            return [pairs(0, rows, columns[np.argsort(columns % gap, kind="stable")])]
        n = np.arange(cut.images)[:, None, None]
        return [pairs(n, np.flatnonzero(rows), columns[:, None]) for rows in met.T]

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
        if self.reverse:
            turned = turned[::-1, :, ::-1]
        full = np.zeros((down, channels.inner, panels * self.lanes), w.dtype)
        place(full[..., : self.numbers].reshape(turned.shape), turned)
        grouped = full.reshape(down, channels.inner, panels, self.lanes)
        return contiguous(grouped.swapaxes(1, 2))

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
    inner, (down, across), lanes = channels.inner, window, kernels_of(g.dtype).lanes
    met = _met(g.shape[2], size[0], down, stride[0], padding[0], dilation[0]).sum()
    panels = -(-across * channels.outer // lanes)
    here = g.shape[0] * met * g.shape[3] * panels * (inner + UPDATE)
    if down * across * inner * channels.outer * g.dtype.itemsize > FAR_WEIGHTS:
        pixel = channels.outer * g.dtype.itemsize
        cut = _Cut(g, size, window, stride, padding, dilation[0], pixel)
        units = -(-g.shape[0] // cut.images) * cut.per_image
        here += units * down * panels * inner * FAR
    return GAIN * here < steps
