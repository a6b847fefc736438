"""Plans of gradients by the input that are scattered: units, tables, weights (`scatter`).

No number is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.kernels.conv import scatter
from dyn.kernels.conv.bands import JOB_BYTES
from dyn.kernels.conv.reorder import Reorder
from dyn.kernels.conv.shapes import FAR_WEIGHTS, UNITS, Channels, View, kernels_of, table, words_of
from dyn.kernels.copy import contiguous, place
from dyn.kernels.runtime.form import Form

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
COPY = 4
"""Work of copying a pixel on its own, in steps of a sum."""


class _Cut:
    """How a result of `size`, scattered from g of `sizes`, is cut into units.

    Attributes:
        images, rows: images of a unit, or rows of g on which its rows of the result are counted.
        per_image: units of an image.
        low, high: least and greatest row of g that reaches the unit, from its first row on.
        height, width: pixels of its buffer.
        across: columns between numbers of the window, which are neighbours in the buffer.
    """

    def __init__(
        self,
        g: View,
        size: Sequence[int],
        window: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        pixel_bytes: int,
    ) -> None:
        count, _, in_height, in_width = g.shape
        span, step, padded = (window[0] - 1) * dilation[0], stride[0], padding[0]
        last = (in_width - 1) * stride[1] + (window[1] - 1) * dilation[1]
        self.across = dilation[1] if window[1] > 1 else 1
        self.width = -(-max(last + 1, padding[2] + size[1]) // self.across) * self.across
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
        pack: makes the panels of a weight.
        packing: what these depend on besides the weight.
    """

    def __init__(
        self,
        g: View,
        target: View,
        window: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int, int, int],
        dilation: tuple[int, int],
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
        met = _met(g.shape[2], target.shape[2], window[0], stride[0], padding[0], dilation[0])
        tables = self._tables(g, cut, met, line, image_bytes, pixel, stride, padding[0])
        self.row_tables = np.zeros((len(tables), max(map(len, tables)), 2), np.int64)
        for own, rows in zip(self.row_tables, tables, strict=True):
            own[: len(rows)] = rows
        self.step_table = np.zeros(2, np.int64)
        self.packing = ("scatter", channels, window, reverse)
        self.pack = Reorder(self._ordered)
        words = words_of(
            scatter.WORDS,
            {
                scatter.GRADIENT_N: g.strides[0],
                scatter.GRADIENT_H: g.strides[2],
                scatter.IN_HEIGHT: g.shape[2],
                scatter.IN_WIDTH: g.shape[3],
                scatter.IMAGES: g.shape[0],
                scatter.IMAGES_PER_UNIT: cut.images,
                scatter.ROWS_PER_UNIT: cut.rows,
                scatter.UNITS_PER_IMAGE: cut.per_image,
                scatter.LOW: cut.low,
                scatter.TARGET_N: target.strides[0],
                scatter.TARGET_H: target.strides[2],
                scatter.HEIGHT: target.shape[2],
                scatter.ROW_BYTES: target.shape[3] * pixel,
                scatter.STRIDE: stride[0],
                scatter.PADDED: padding[0],
                scatter.LINE: line,
                scatter.LEFT: padding[2],
                scatter.IMAGE_BYTES: image_bytes,
                scatter.PIXEL_BYTES: pixel,
                scatter.WINDOW_ROWS: window[0],
                scatter.GAP: dilation[0],
                scatter.ACROSS: cut.across,
                scatter.LATTICE: line // cut.across,
                scatter.WIDTH: target.shape[3],
                scatter.NUMBERS: self.numbers,
                scatter.LANES: self.lanes,
                scatter.ELEMENT: size,
                scatter.INNER: inner,
                scatter.A_STEP: g.strides[1],
                scatter.ROW_TABLES: self.row_tables.ctypes.data,
                scatter.TABLE_BYTES: self.row_tables[0].nbytes if len(tables) > 1 else 0,
                scatter.STEP_TABLE: self.step_table.ctypes.data,
                scatter.SCRATCH_SIZE: self.scratch_size,
                scatter.RELU: relu,
                scatter.WIDE: kernels.wide,
                scatter.NARROW: kernels.narrow,
                scatter.NARROW_LANES: kernels.lanes,
            },
        )
        self.form = Form(
            [(scatter.scatter, self.chunks)],
            words,
            (scatter.GRADIENT, scatter.TARGET, scatter.WEIGHTS, scatter.BIAS),
            scratch=(scatter.SCRATCH, self.scratch_size),
        )

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
            index, lattice = np.divmod(j * stride[1], cut.across)
            target = n * image_bytes + (i * stride[0] - padded) * line
            target = target + lattice * (line // cut.across) + index * pixel
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

    def _ordered(self, w: np.ndarray) -> np.ndarray:
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
        shift = () if bias is None else (np.ascontiguousarray(bias),)
        self.form(g, target, packed, *shift)
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
    if channels.groups != 1 or channels.lanewise:
        return False
    inner, (down, across), lanes = channels.inner, window, kernels_of(g.dtype).lanes
    met = _met(g.shape[2], size[0], down, stride[0], padding[0], dilation[0]).sum()
    panels = -(-across * channels.outer // lanes)
    here = g.shape[0] * met * g.shape[3] * panels * (inner + UPDATE)
    if dilation[1] > 1 and across > 1:
        here += g.shape[0] * size[0] * size[1] * COPY
    if down * across * inner * channels.outer * g.dtype.itemsize > FAR_WEIGHTS:
        pixel = channels.outer * g.dtype.itemsize
        cut = _Cut(g, size, window, stride, padding, dilation, pixel)
        units = -(-g.shape[0] // cut.images) * cut.per_image
        here += units * down * panels * inner * FAR
    return GAIN * here < steps
