"""Plans of Winograd's filtering for given shapes: the words that the stages read, and the weights.

What the stages do with the words stands in `filtering.py` and `weight.py`; the transforms are in
`transform.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dyn.kernels.conv import copy
from dyn.kernels.conv.shapes import Channels, View, kernels_of, words_of
from dyn.kernels.conv.winograd import filtering as stages
from dyn.kernels.conv.winograd import transform
from dyn.kernels.conv.winograd.filtering import TABLE_BYTES
from dyn.kernels.conv.winograd.product import PANEL, ROWS, products
from dyn.kernels.runtime.bytes import put_word
from dyn.kernels.runtime.drive import Form
from dyn.kernels.runtime.jit import call_address, task
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import buffer, leave, scratch, take
from dyn.kernels.runtime.threads import argument, launch
from dyn.kernels.vector.lanes import LANES

FUSED_BYTES = 3 << 20
"""Transformed weights beyond this are too large to be read again for every block."""
CHUNKS = 32

# ---- weights -----------------------------------------------------------------------------------

(
    WEIGHT_INNER,
    WEIGHT_FREQUENCIES,
    WEIGHT_APART,
    WEIGHT_TRANSFORM,
    WEIGHT_SCRATCH,
    WEIGHT_SCRATCH_SIZE,
) = range(copy.PACK_PANEL + 1, copy.PACK_PANEL + 7)
"""Words after those of a packing plan, whose PACKED gets [panel][frequency][inner][PANEL]."""


@task
def spread_weights(plan, chunk, chunks):
    """Pack a share of the panels, then transform them."""
    memory = argument(plan, WEIGHT_SCRATCH)
    slot = take(memory)
    table = buffer(memory, slot, argument(plan, WEIGHT_SCRATCH_SIZE))
    packed = table + TABLE_BYTES
    inner, apart = argument(plan, WEIGHT_INNER), argument(plan, WEIGHT_APART)
    panels, code = argument(plan, copy.PANELS), argument(plan, WEIGHT_TRANSFORM)
    for panel in range(panels * chunk // chunks, panels * (chunk + 1) // chunks):
        call_address(argument(plan, copy.PACK_PANEL), plan, panel, packed)
        to = argument(plan, copy.PACKED) + panel * argument(plan, WEIGHT_FREQUENCIES) * apart
        for channel in range(inner):
            for tap in range(9):
                put_word(table, tap, packed + (tap * inner + channel) * (4 * PANEL))
            call_address(code, table, PANEL, to + channel * (4 * PANEL), apart)
    leave(memory, slot)


# ---- plans -------------------------------------------------------------------------------------


def spacing(size: int) -> int:
    """At least `size`, an odd number of cache lines: then steps of it reach all sets of a cache."""
    return (-(-size // 64) | 1) * 64


def tiles_along(out: Sequence[int], gaps: Sequence[int], side: int) -> tuple[int, int]:
    """Tiles along both axes of every lattice of outputs `gaps` apart."""
    down, across = (-(-n // (gap * side)) for n, gap in zip(out, gaps, strict=True))
    return down, across


def _at_once(count: int, most: int) -> int:
    """Tiles of a block: a whole number of products, alike in all of up to `most`, of which there
    are FEWEST or more where that many can be filled."""
    blocks = max(-(-count // most), min(stages.FEWEST, -(-count // ROWS)))
    return -(-count // (blocks * ROWS)) * ROWS


class Tiling:
    """How outputs are cut into tiles of side x side, `gaps` apart, and what that makes of a source.

    Attributes:
        along: tiles down and across each lattice of outputs; `count`: tiles in all.
        frequencies: numbers that a tile of one channel is transformed to.
        panels: of PANEL target channels.
        v_row: bytes from tile to tile of transformed sources, a row beside whole vectors.
    """

    def __init__(
        self, source: View, target: View, low: tuple[int, int], gaps: tuple[int, int], side: int
    ) -> None:
        """Cut the outputs of `target`; `low` is the padding at the top and at the left."""
        self.source, self.target, self.low, self.gaps, self.side = source, target, low, gaps, side
        self.along = tiles_along(target.shape[2:], gaps, side)
        self.count = source.shape[0] * math.prod(gaps) * math.prod(self.along)
        self.frequencies = (side + 2) ** 2
        self.panels = -(-target.shape[1] // PANEL)
        self.v_row = 4 * (-(-source.shape[1] // LANES) * LANES + 16)

    def words(self) -> dict[int, int]:
        """The words of a plan that follow, whatever is done with the tiles."""
        x_n, _, x_h, x_w = self.source.strides
        spread = transform.input2 if self.side == 2 else transform.input4
        return {
            stages.SOURCE_N: x_n,
            stages.SOURCE_H: x_h,
            stages.SOURCE_W: x_w,
            stages.HEIGHT: self.source.shape[2],
            stages.WIDTH: self.source.shape[3],
            stages.INNER: self.source.shape[1],
            stages.TOP: self.low[0],
            stages.LEFT: self.low[1],
            stages.OUT_HEIGHT: self.target.shape[2],
            stages.OUT_WIDTH: self.target.shape[3],
            stages.OUTER: self.target.shape[1],
            stages.SIDE: self.side,
            stages.GAP_H: self.gaps[0],
            stages.GAP_W: self.gaps[1],
            stages.TILES_DOWN: self.along[0],
            stages.TILES_ACROSS: self.along[1],
            stages.FREQUENCIES: self.frequencies,
            stages.V_ROW: self.v_row,
            stages.PANELS: self.panels,
            stages.READ_TILES: stages.read_tiles.address,
            stages.SPREAD: spread.address,
        }


def _places(channels: Channels, *, reverse: bool) -> np.ndarray:
    """Where in a weight its numbers lie, as [3][3][inner]; `reverse` reads windows backwards."""
    taps = np.arange(3)[::-1] if reverse else np.arange(3)
    h_step, w_step = channels.window_steps
    window = taps[:, None, None] * h_step + taps[:, None] * w_step
    places = window + np.arange(channels.inner) * channels.inner_step
    return np.ascontiguousarray(places.reshape(-1), np.int64)


class WinogradPlan:
    """A plan for given shapes; the weight meets the source as `channels` says.

    Attributes:
        packing: what the transformed weights depend on besides the weight.
        fused: whether a block of tiles goes through all stages at once; else all tiles are
            transformed first.
    """

    def __init__(
        self,
        source: View,
        target: View,
        low: tuple[int, int],
        gaps: tuple[int, int],
        channels: Channels,
        side: int,
        *,
        relu: bool = False,
        reverse: bool = False,
    ) -> None:
        """Plan.

        Args:
            low: padding at the top and at the left.
            gaps: distance between the rows and the columns of a window.
            side: 4 or 2.
            relu: whether negative results become 0.
            reverse: read the window backwards.
        """
        self.channels = channels
        tiling = self.tiling = Tiling(source, target, low, gaps, side)
        self.weight_step = spacing(4 * PANEL * channels.inner)
        self.fused = tiling.panels * tiling.frequencies * self.weight_step <= FUSED_BYTES
        self.at_once = _at_once(tiling.count, stages.BLOCK if self.fused else stages.FAR_BLOCK)
        held = self.at_once if self.fused else tiling.count + ROWS
        self.v_step, self.m_step = spacing(held * tiling.v_row), spacing(4 * PANEL * self.at_once)
        self.v_bytes = tiling.frequencies * self.v_step
        fused_bytes = self.v_bytes if self.fused else 0
        self.scratch_size = TABLE_BYTES + fused_bytes + tiling.frequencies * self.m_step
        blocks = -(-tiling.count // self.at_once)
        self.chunks = min(CHUNKS, blocks * (1 if self.fused else tiling.panels))
        self.spread_chunks = min(CHUNKS, tiling.count)
        self.nothing = np.zeros(channels.inner + PANEL, np.float32)
        self.depth = _places(channels, reverse=reverse)
        self.packing = ("winograd", side, reverse, channels)
        words = self._words(target)
        words[stages.RELU] = relu
        places = (stages.SOURCE, stages.TARGET, stages.WEIGHTS, stages.SCRATCH, stages.V)
        self.form = Form(words, (*places, stages.BIAS))

    def _words(self, target: View) -> np.ndarray:
        """The words, but the addresses of a call."""
        tiling = self.tiling
        gather = transform.output2 if tiling.side == 2 else transform.output4
        y_n, _, y_h, y_w = target.strides
        return words_of(
            stages.WORDS,
            {
                **tiling.words(),
                stages.TARGET_N: y_n,
                stages.TARGET_H: y_h,
                stages.TARGET_W: y_w,
                stages.TILES: tiling.count,
                stages.TILES_AT_ONCE: self.at_once,
                stages.V_STEP: self.v_step,
                stages.M_STEP: self.m_step,
                stages.WEIGHT_STEP: self.weight_step,
                stages.NOTHING: self.nothing.ctypes.data,
                stages.SCRATCH_SIZE: self.scratch_size,
                stages.WRITE_TILES: stages.write_tiles.address,
                stages.ONE_PANEL: stages.one_panel.address,
                stages.EXPECT_TILES: stages.expect_tiles.address,
                stages.GATHER: gather.address,
                stages.PRODUCTS: products.address,
            },
        )

    def covers(self, size: Sequence[int]) -> bool:
        """Whether every number of the target is computed: True."""
        return True

    def pack(self, w: np.ndarray) -> np.ndarray:
        """The transformed weights."""
        channels, inner, tiling = self.channels, self.channels.inner, self.tiling
        size = tiling.panels * tiling.frequencies * self.weight_step
        weights = empty((size // 4,), np.float32)
        chunks = min(CHUNKS, tiling.panels)
        size = TABLE_BYTES + 9 * inner * PANEL * 4
        memory = scratch(size, chunks)
        run = inner if channels.inner_step == 4 else 1
        code = transform.weight2 if tiling.side == 2 else transform.weight4
        words = words_of(
            WEIGHT_SCRATCH_SIZE + 1,
            {
                copy.PANELS: tiling.panels,
                copy.PANELS_PER_GROUP: tiling.panels,
                copy.PANEL_LANES: PANEL,
                copy.GROUP_LANES: channels.outer,
                copy.WEIGHTS: w.ctypes.data,
                copy.LANE_STEP: channels.outer_step,
                copy.DEPTH: 9 * inner,
                copy.DEPTH_TABLE: self.depth.ctypes.data,
                copy.PACKED: weights.ctypes.data,
                copy.WORD_SIZE: 4,
                copy.RUN_LENGTH: run,
                copy.TRANSPOSE_BLOCK: kernels_of(w.dtype).transpose,
                copy.PACK_PANEL: copy.pack_panel.address,
                WEIGHT_INNER: inner,
                WEIGHT_FREQUENCIES: tiling.frequencies,
                WEIGHT_APART: self.weight_step,
                WEIGHT_TRANSFORM: code.address,
                WEIGHT_SCRATCH: memory.ctypes.data,
                WEIGHT_SCRATCH_SIZE: size,
            },
        )
        launch(spread_weights, words, chunks)
        return weights

    def run(
        self, source: np.ndarray, weights: np.ndarray, bias: np.ndarray | None, target: np.ndarray
    ) -> bool:
        """Compute the target; `weights` is what `pack` returned.

        Returns:
            Whether all results are finite. If not, some are NaN that the sum over the window would
            not make so, and all are to be computed anew by another algorithm.
        """
        memory = scratch(self.scratch_size, max(self.chunks, self.spread_chunks))
        v = memory if self.fused else empty((self.v_bytes // 4,), np.float32)
        shift = () if bias is None else (np.ascontiguousarray(bias),)
        arrays = (source, target, weights, memory, v, *shift)
        if self.fused:
            words = self.form.run(stages.fused_tiles, self.chunks, *arrays)
        else:
            words = self.form.run(stages.spread_tiles, self.spread_chunks, *arrays)
            launch(stages.gather_panels, words, self.chunks)
        return not words[stages.ALARM]
