"""Plans of convolutions along rows of pixels: tiles, bands, words, weights (`planes`).

No number is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dyn.kernels.conv import planes
from dyn.kernels.conv import planes_tile as tile
from dyn.kernels.conv.bands import JOB_BYTES, Phase, gap_of
from dyn.kernels.conv.pixels import part_of, turn_of
from dyn.kernels.conv.plan import steps as band_steps
from dyn.kernels.conv.reorder import Reorder
from dyn.kernels.conv.shapes import Channels, View, words_of
from dyn.kernels.runtime.form import Form
from dyn.kernels.vector.lanes import LANES

MOST_CHANNELS = LANES - 1
"""Output channels from which on vectors of channels are as good."""
BAND_BYTES = 96 * 1024
"""Size of a band: it stays in the second-level cache beside the row of results."""
CHUNKS = 32
"""Most chunks: enough for threads to end at the same time."""
GROUPED = 1.5
"""How many times more sums of a vector other algorithms must take for groups to be done here: all
channels, which are many then, are turned to planes and back."""


def suits(outer: int, width: int) -> bool:
    """Whether rows of `width` outputs fill vectors better than `outer` channels do."""
    return 1 <= outer <= MOST_CHANNELS and 4 * width > 3 * LANES


def fits(source: View, phases: list[Phase], stride: int, channels: Channels) -> bool:
    """Whether these windows can be done here, and faster than with channels in the lanes."""
    if len(phases) != 1 or stride != 1 or source.dtype != np.float32 or channels.lanewise:
        return False
    if not suits(channels.outer, phases[0].size[1]):
        return False
    if channels.groups > 1:
        others = band_steps(source, phases, channels)
        if steps(source, phases[0], channels) * GROUPED > others:
            return False
    return all(gap_of(taps.offsets) is not None for taps in phases[0].taps)


def steps(source: View, phase: Phase, channels: Channels) -> float:
    """Sums of a vector over one number of the window that a convolution takes here."""
    (height, width), (down, across) = phase.size, phase.taps
    taps = len(down.offsets) * len(across.offsets) * channels.inner
    blocks = source.shape[0] * height * -(-width // LANES)
    return blocks * channels.groups * channels.outer * taps


class _Tiles(NamedTuple):
    """How the outputs are cut: `sets` of `together` channels, `rows` rows of `pixels` pixels."""

    sets: int
    together: int
    rows: int
    pixels: int

    @staticmethod
    def of(outer: int, size: tuple[int, int]) -> _Tiles:
        """Tiles for `outer` channels of images of a `size`."""
        sets = -(-outer // tile.MOST)
        together = -(-outer // sets)
        vectors = tile.vectors_of(together)
        height, width = size
        blocks = -(-width // LANES)
        # The vectors of a tile lie in a row, unless more would be empty than below each other.
        if -(-height // vectors) * blocks < height * -(-blocks // vectors):
            return _Tiles(sets, together, vectors, LANES)
        return _Tiles(sets, together, 1, vectors * LANES)


class _Bands(NamedTuple):
    """How the source is cut: bands for `rows` rows of outputs, `per_image` of them.

    A band has `deep` rows of `line` bytes per channel, each behind `left` zeros.
    """

    rows: int
    per_image: int
    deep: int
    line: int
    left: int

    @staticmethod
    def of(source: View, phase: Phase, step: int, tiles: _Tiles) -> _Bands:
        """Bands of a source under tiles; `step` is the stride down."""
        down, across = phase.taps
        height, width = phase.size
        left = max(0, -across.offsets[0])
        reach = -(-width // tiles.pixels) * tiles.pixels
        line = 4 * (max(left + source.shape[3], left + reach + across.offsets[-1]) + LANES)
        window = down.offsets[-1] - down.offsets[0] + 1
        rows = max(1, min(height, -(-height * source.shape[0] // CHUNKS)))
        while rows > 1 and ((rows - 1) * step + window) * line * source.shape[1] > BAND_BYTES:
            rows -= 1
        rows = -(-rows // tiles.rows) * tiles.rows
        return _Bands(rows, -(-height // rows), (rows - 1) * step + window, line, left)


class PlanesPlan:
    """A plan for given shapes, if it `fits`.

    Attributes:
        pack: puts the numbers of a weight in order.
        packing: what that depends on besides the weight.
    """

    def __init__(
        self,
        source: View,
        target: View,
        phase: Phase,
        step: int,
        channels: Channels,
        *,
        relu: bool = False,
    ) -> None:
        """Plan; `step` is the stride down the image."""
        self.phase, self.channels = phase, channels
        self.tiles = _Tiles.of(channels.outer, phase.size)
        self.bands = _Bands.of(source, phase, step, self.tiles)
        self.chunks = min(CHUNKS, source.shape[0] * self.bands.per_image)
        # Results of a row of tiles: lines of pixels, channel by channel, row by row.
        self.result_line = 4 * -(-phase.size[1] // self.tiles.pixels) * self.tiles.pixels
        computed = (channels.groups - 1) * channels.outer + self.tiles.sets * self.tiles.together
        self.result_row = self.result_line * computed
        results = self.result_row * self.tiles.rows
        band = source.shape[1] * self.bands.deep * self.bands.line
        self.scratch_size = JOB_BYTES + results + band
        self.step_table = self._steps()
        self.packing = ("planes", channels, phase.taps)
        self.pack = Reorder(self._ordered)
        words = self._words(source, target, step)
        words[planes.RELU] = relu
        self.form = Form(
            [(planes.planes, self.chunks)],
            words,
            (planes.SOURCE, planes.TARGET, planes.WEIGHTS, planes.BIAS),
            scratch=(planes.SCRATCH, self.scratch_size),
        )

    def _steps(self) -> np.ndarray:
        """Where in a band each row of the window begins, channel by channel."""
        (down, across), bands = self.phase.taps, self.bands
        gap = gap_of(down.offsets) or 1
        tap, channel = np.ogrid[: len(down.offsets), : self.channels.inner]
        starts = (tap * gap + channel * bands.deep) * bands.line
        first = 4 * (bands.left + across.offsets[0])
        return np.ascontiguousarray((starts + first).reshape(-1), np.int64)

    def _words(self, source: View, target: View, step: int) -> np.ndarray:
        """The words, but the addresses of a call."""
        tiles, bands, (groups, inner, outer, *_) = self.tiles, self.bands, self.channels
        down, across = self.phase.taps
        tap_bytes = 4 * inner * len(across.offsets) * tiles.together
        below = tiles.rows > 1
        x_n, x_c, x_h, x_w = source.strides
        return words_of(
            planes.TURN + 1,
            {
                planes.SOURCE_N: x_n,
                planes.SOURCE_H: x_h,
                planes.SOURCE_W: x_w,
                planes.SOURCE_C: x_c,
                planes.HEIGHT: source.shape[2],
                planes.WIDTH: source.shape[3],
                planes.CHANNELS: source.shape[1],
                planes.INNER: inner,
                planes.TARGET_N: target.strides[0],
                planes.TARGET_H: target.strides[2],
                planes.IMAGES: source.shape[0],
                planes.OUT_HEIGHT: self.phase.size[0],
                planes.OUT_WIDTH: self.phase.size[1],
                planes.OUTER: groups * outer,
                planes.ROWS_PER_BAND: bands.rows,
                planes.BANDS_PER_IMAGE: bands.per_image,
                planes.STEP: step,
                planes.TOP: down.offsets[0],
                planes.LEFT: bands.left,
                planes.DEEP: bands.deep,
                planes.GAP: gap_of(down.offsets) or 1,
                planes.TAPS_DOWN: len(down.offsets),
                planes.LINE: bands.line,
                planes.PLANE: bands.deep * bands.line,
                planes.TAP_BYTES: tap_bytes,
                planes.GROUPS: groups,
                planes.GROUP_RESULTS: outer * self.result_line,
                planes.SETS: tiles.sets,
                planes.SET_BYTES: len(down.offsets) * tap_bytes,
                planes.SET_RESULTS: tiles.together * self.result_line,
                planes.RUN: len(across.offsets),
                planes.A_STEP: 4 * tiles.together,
                planes.B_STEP: 4 * (gap_of(across.offsets) or 1),
                planes.ROWS_AT_ONCE: tiles.rows,
                planes.PIXELS_AT_ONCE: tiles.pixels,
                planes.B_BETWEEN: step * bands.line if below else 4 * LANES,
                planes.C_BETWEEN: self.result_row if below else 4 * LANES,
                planes.RESULT_LINE: self.result_line,
                planes.RESULT_ROW: self.result_row,
                planes.STEP_TABLE: self.step_table.ctypes.data,
                planes.SCRATCH_SIZE: self.scratch_size,
                planes.TRANSPOSE: part_of(source.shape[1], source.shape[3], x_w).address,
                planes.TILE: tile.TILES[tiles.together, tile.vectors_of(tiles.together)].address,
                planes.TURN: turn_of(groups * outer, self.phase.size[1]).address,
            },
        )

    def covers(self, size: Sequence[int]) -> bool:
        """Whether every number of the target is computed: True."""
        return True

    def _ordered(self, w: np.ndarray) -> np.ndarray:
        """The weights as [group][set][window rows][inner][window columns][channels of the set]."""
        channels, (down, across) = self.channels, self.phase.taps
        h_step, w_step = channels.window_steps
        turned = np.lib.stride_tricks.as_strided(
            w,
            (channels.groups, max(down.indices) + 1, channels.inner, max(across.indices) + 1,
             channels.outer),
            (channels.group_step, h_step, channels.inner_step, w_step, channels.outer_step),
        )[:, down.indices][:, :, :, across.indices]  # fmt: skip
        sets, together = self.tiles.sets, self.tiles.together
        full = np.zeros((*turned.shape[:4], sets * together), w.dtype)
        full[..., : channels.outer] = turned
        parted = full.reshape(*turned.shape[:4], sets, together)
        return np.ascontiguousarray(parted.transpose(0, 4, 1, 2, 3, 5))

    def run(
        self, source: np.ndarray, packed: np.ndarray, bias: np.ndarray | None, target: np.ndarray
    ) -> bool:
        """Compute the target; `packed` is what `pack` returned for the weight. Returns True."""
        shift = () if bias is None else (np.ascontiguousarray(bias),)
        self.form(source, target, packed, *shift)
        return True
