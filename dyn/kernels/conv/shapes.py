"""What plans of convolution are made from: views of arrays, the channels that meet, bands, words.

A plan's words are what its tasks read; a band is the part of the source under some rows of outputs.
How the work is cut up stands in the plans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from dyn.kernels.conv import copy, tile
from dyn.kernels.conv.bands import Phase
from dyn.kernels.conv.pixels import join_of
from dyn.kernels.vector.factors import meet
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.transpose import transpose_f32, transpose_f64

FAR_WEIGHTS = 1 << 20
"""Bytes of weights that come from beyond the second-level cache."""
UNITS = 8
"""Shares of the work to aim at, so that threads end at the same time."""
BAND_PIXELS = 4096
"""Most outputs per band: limits the tables."""
CHUNKS = 16
LINE = 64
"""Bytes that are left between pixels which would meet in one set of the cache."""
WEIGHT_ORDER = (2, 3, 1, 0)
"""Axes of a weight in the order in which it lies in memory best: [kh][kw][ci][co]."""


class View(NamedTuple):
    """Shape and byte strides of an array; the stride of an axis of size 1 is the element's size."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype

    @staticmethod
    def of(shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype) -> View:
        """The view of an array."""
        pairs = zip(strides, shape, strict=True)
        return View(shape, tuple(s if n > 1 else dtype.itemsize for s, n in pairs), dtype)

    @property
    def has_channels_last(self) -> bool:
        """Whether the channels of a pixel are next to each other."""
        return self.strides[1] == self.dtype.itemsize

    @property
    def has_rows(self) -> bool:
        """Whether the pixels of a row are next to each other."""
        return self.strides[3] == self.dtype.itemsize

    def lies_in(self, order: Sequence[int]) -> bool:
        """Whether the axes, from slowest to fastest, lie in memory in this order without gaps."""
        step = self.dtype.itemsize
        for axis in reversed(order):
            if self.shape[axis] > 1 and self.strides[axis] != step:
                return False
            step *= self.shape[axis]
        return True


class Kernels(NamedTuple):
    """Addresses of the microkernels for one element type, and its vector width."""

    lanes: int
    wide: int
    narrow: int
    lanewise: int
    transpose: int


@cache
def kernels_of(dtype: np.dtype) -> Kernels:
    """The microkernels for float32 or float64."""
    if dtype.itemsize == 4:
        made = (tile.wide_f32, tile.narrow_f32, tile.lanes_f32, transpose_f32)
    else:
        made = (tile.wide_f64, tile.narrow_f64, tile.lanes_f64, transpose_f64)
    return Kernels(max(LANES * 4 // dtype.itemsize, 2), *(kernel.address for kernel in made))


class Channels(NamedTuple):
    """Which weights meet: per group `inner` source channels and `outer` target channels.

    The byte steps in the weight between groups, source channels, target channels and the two axes
    of the window. `lanewise`: every target channel has one source channel, its own.
    """

    groups: int
    inner: int
    outer: int
    group_step: int
    inner_step: int
    outer_step: int
    window_steps: tuple[int, int]
    lanewise: bool


def table(pairs: np.ndarray) -> np.ndarray:
    """Pairs of byte offsets as the tile kernels read them."""
    return np.ascontiguousarray(pairs.reshape(-1, 2), np.int64)


class BandLayout:
    """Where the source is read: in place, or copied with its padding into a band.

    Attributes:
        steps: bytes between images, rows, pixels and channels of what the tiles read.
        copied: whether there is a copy, and its `layout`.
        low: least offset of a tap, per axis; `span`: offsets from the least to the greatest.
        width, row_bytes: pixels and bytes of a row of a band.
        out: rows and columns of outputs.
    """

    def __init__(
        self,
        source: View,
        phases: list[Phase],
        step: tuple[int, int],
        channels: Channels,
        *,
        in_pixels: bool = False,
        rows: int = 0,
    ) -> None:
        """Choose.

        Args:
            source, phases, step, channels: what is convolved, as in the plans.
            in_pixels: whether to ask for a copy with channels last.
            rows: how many of a tile are neighbouring pixels, if any.
        """
        size, lanes = source.dtype.itemsize, kernels_of(source.dtype).lanes
        ends = []
        for axis in range(2):
            offsets = [offset for phase in phases for offset in phase.taps[axis].offsets]
            ends.append((min(offsets), max(offsets)))
        self.low = (ends[0][0], ends[1][0])
        self.span = (ends[0][1] - ends[0][0], ends[1][1] - ends[1][0])
        self.out = tuple(max(p.size[axis] for p in phases) for axis in range(2))
        reach = [(self.out[i] - 1) * step[i] + ends[i][1] for i in range(2)]
        inside = min(self.low) >= 0 and all(
            r < n for r, n in zip(reach, source.shape[2:], strict=True)
        )
        self.width = (self.out[1] - 1) * step[1] + self.span[1] + 1
        count = source.shape[1]
        last = source.has_channels_last or count == 1
        few = channels.inner <= 4 and not channels.lanewise and not in_pixels
        self.planes = not last and few
        self.layout = copy.PIXELS if last else copy.PLANES if few else copy.TRANSPOSED
        ragged = channels.lanewise and count % lanes != 0
        self.pixel_bytes = size * (-(-count // lanes) * lanes if ragged else count)
        spread = not self.planes and meet(step[1] * self.pixel_bytes, rows)
        self.copied = in_pixels or not inside or ragged or spread or (not last and not few)
        self.pixel_bytes += LINE if spread else 0
        self.row_bytes = self.width * (size * count if self.planes else self.pixel_bytes)
        self.step, self.source, self.size = step, source, size

    def height(self, rows: int) -> int:
        """Source rows under `rows` rows of outputs."""
        return (rows - 1) * self.step[0] + self.span[0] + 1

    def rows_within(self, limit: int) -> int:
        """Most rows of outputs whose band takes `limit` bytes, or one."""
        height, width = self.out
        rows = max(1, min(height, BAND_PIXELS // max(width, 1)))
        while rows > 1 and self.height(rows) * self.row_bytes > limit:
            rows -= 1
        return rows

    def images_within(self, limit: int, most: int) -> int:
        """Whole images, at most `most`, whose band takes `limit` bytes, or one."""
        height, width = self.out
        fitting = limit // max(self.height(height) * self.row_bytes, 1)
        return max(1, min(fitting, BAND_PIXELS // max(height * width, 1), most))

    def rows_shared(self, limit: int, shares: int) -> int:
        """Rows of outputs whose band takes `limit` bytes, and that give each share a band.

        Four rows are a band even beyond the limit: what two bands see is read twice.
        """
        height, images = self.out[0], self.source.shape[0]
        rows = height
        while rows > 4 and self.height(rows) * self.row_bytes > limit:
            rows -= 1
        return max(1, min(rows, -(-height * images // shares)))

    def steps(self, rows: int) -> tuple[int, int, int, int]:
        """Bytes between images, rows, pixels and channels in a band of `rows` source rows."""
        if not self.copied:
            n, c, h, w = self.source.strides
            return n, h, w, c
        if self.planes:
            line = self.width * self.size
            return rows * self.row_bytes, line, self.size, rows * line
        return rows * self.row_bytes, self.row_bytes, self.pixel_bytes, self.size


class BandCut(NamedTuple):
    """What a band is for: `images` whole images, or `rows` rows of outputs of one.

    `deep` source rows lie under it, `steps` bytes apart from image to image, row, pixel and channel
    of what the tiles read; there are `per_image` bands for an image and `count` in all.
    """

    images: int
    rows: int
    deep: int
    steps: tuple[int, int, int, int]
    per_image: int
    count: int

    @staticmethod
    def of(layout: BandLayout, images: int, rows: int) -> BandCut:
        """The bands of a source laid out so."""
        deep, batch = layout.height(rows), layout.source.shape[0]
        per_image = -(-layout.out[0] // rows)
        count = per_image * batch if images == 1 else -(-batch // images)
        return BandCut(images, rows, deep, layout.steps(deep), per_image, count)


class Panels(NamedTuple):
    """The target channels in panels of `lanes`: `per_group` for a group, `count` in all.

    `step` bytes lie between the source channels of one and the next. The tile kernel `wide` is for
    more than `narrow_lanes` channels, `narrow` for the others.
    """

    lanes: int
    per_group: int
    count: int
    step: int
    wide: int
    narrow: int
    narrow_lanes: int

    @staticmethod
    def of(dtype: np.dtype, channels: Channels) -> Panels:
        """Two vectors wide; one, if it has room for all, or if each has a source channel."""
        kernels, lanewise = kernels_of(dtype), channels.lanewise
        lanes = kernels.lanes * (1 if lanewise or channels.outer <= kernels.lanes else 2)
        per_group = -(-channels.outer // lanes)
        return Panels(
            lanes=lanes,
            per_group=per_group,
            count=channels.groups * per_group,
            step=lanes * dtype.itemsize if lanewise else 0,
            wide=kernels.wide,
            narrow=kernels.lanewise if lanewise else kernels.narrow,
            narrow_lanes=channels.outer if lanewise else kernels.lanes,
        )


def words_of(count: int, values: Mapping[int, int]) -> np.ndarray:
    """A plan's `count` words: the given ones by number, the others 0."""
    words = np.zeros(count, np.int64)
    words[list(values)] = list(values.values())
    return words


def band_words(source: View, layout: BandLayout, steps: Sequence[int]) -> dict[int, int]:
    """The words that describe a source and its bands."""
    n_step, c_step, h_step, w_step = source.strides
    skipped, before = max(0, layout.low[1]), max(0, -layout.low[1])
    inside = min(source.shape[3] - skipped, layout.width - before)
    joined = kernels_of(source.dtype).transpose
    if source.dtype == np.float32:
        joined = join_of(source.shape[1], inside, steps[2]).address
    return {
        copy.SOURCE_N: n_step,
        copy.SOURCE_H: h_step,
        copy.SOURCE_W: w_step,
        copy.SOURCE_C: c_step,
        copy.HEIGHT: source.shape[2],
        copy.WIDTH: source.shape[3],
        copy.CHANNELS: source.shape[1],
        copy.ELEMENT: source.dtype.itemsize,
        copy.LAYOUT: layout.layout,
        copy.BAND_N: steps[0],
        copy.BAND_H: steps[1],
        copy.BAND_W: steps[2],
        copy.BAND_C: steps[3],
        copy.BAND_WIDTH: layout.width,
        copy.FIRST: layout.low[1],
        copy.TRANSPOSE: kernels_of(source.dtype).transpose,
        copy.JOIN: joined,
        copy.FILL_BAND: copy.fill_band.address,
    }
