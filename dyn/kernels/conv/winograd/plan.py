"""Plans of Winograd's filtering for given shapes: the words that the stages read, and the weights.

What the stages do with the words stands in `filtering.py` and `weight.py`; the transforms are in
`transform.py`.
"""

from __future__ import annotations

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


class WinogradPlan:
    """A plan for given shapes; the weight meets the source as `channels` says.

    Attributes:
        packing: what the transformed weights depend on besides the weight.
    """

    def __init__(
        self,
        source: View,
        target: View,
        low: tuple[int, int],
        gaps: tuple[int, int],
        channels: Channels,
        side: int,
        relu: bool,
        reverse: bool,
    ) -> None:
        """Plan.

        Args:
            low: padding at the top and at the left.
            gaps: distance between the rows and the columns of a window.
            side: 4 or 2.
            reverse: read the window backwards.
        """
        self.channels, self.side, self.reverse = channels, side, reverse
        inner, outer = channels.inner, channels.outer
        frequencies = self.frequencies = (side + 2) ** 2
        self.panels = -(-outer // PANEL)
        down, across = tiles_along(target.shape[2:], gaps, side)
        tiles = source.shape[0] * gaps[0] * gaps[1] * down * across
        self.weight_step = spacing(4 * PANEL * inner)
        self.fused = self.panels * frequencies * self.weight_step <= FUSED_BYTES
        v_row = 4 * (-(-inner // LANES) * LANES + 16)
        at_once = min(stages.BLOCK, -(-tiles // ROWS) * ROWS)
        held = at_once if self.fused else tiles + ROWS
        v_step, m_step = spacing(held * v_row), spacing(4 * PANEL * at_once)
        self.v_bytes = frequencies * v_step
        fused_bytes = self.v_bytes if self.fused else 0
        self.scratch_size = TABLE_BYTES + fused_bytes + frequencies * m_step
        blocks = -(-tiles // at_once)
        self.chunks = min(CHUNKS, blocks * (1 if self.fused else self.panels))
        self.spread_chunks = min(CHUNKS, tiles)
        self.nothing = np.zeros(inner + PANEL, np.float32)
        small = side == 2
        x_n, _, x_h, x_w = source.strides
        y_n, _, y_h, y_w = target.strides
        words = words_of(
            stages.WORDS,
            {
                stages.SOURCE_N: x_n,
                stages.SOURCE_H: x_h,
                stages.SOURCE_W: x_w,
                stages.HEIGHT: source.shape[2],
                stages.WIDTH: source.shape[3],
                stages.INNER: inner,
                stages.TOP: low[0],
                stages.LEFT: low[1],
                stages.TARGET_N: y_n,
                stages.TARGET_H: y_h,
                stages.TARGET_W: y_w,
                stages.OUT_HEIGHT: target.shape[2],
                stages.OUT_WIDTH: target.shape[3],
                stages.OUTER: outer,
                stages.SIDE: side,
                stages.GAP_H: gaps[0],
                stages.GAP_W: gaps[1],
                stages.TILES_DOWN: down,
                stages.TILES_ACROSS: across,
                stages.TILES: tiles,
                stages.FREQUENCIES: frequencies,
                stages.TILES_AT_ONCE: at_once,
                stages.V_ROW: v_row,
                stages.V_STEP: v_step,
                stages.M_STEP: m_step,
                stages.WEIGHT_STEP: self.weight_step,
                stages.PANELS: self.panels,
                stages.RELU: relu,
                stages.NOTHING: self.nothing.ctypes.data,
                stages.SCRATCH_SIZE: self.scratch_size,
                stages.READ_TILES: stages.read_tiles.address,
                stages.WRITE_TILES: stages.write_tiles.address,
                stages.ONE_PANEL: stages.one_panel.address,
                stages.EXPECT_TILES: stages.expect_tiles.address,
                stages.SPREAD: (transform.input2 if small else transform.input4).address,
                stages.GATHER: (transform.output2 if small else transform.output4).address,
                stages.PRODUCTS: products.address,
            },
        )
        places = (stages.SOURCE, stages.TARGET, stages.WEIGHTS, stages.SCRATCH, stages.V)
        self.form = Form(words, (*places, stages.BIAS))
        taps = np.arange(3)[::-1] if reverse else np.arange(3)
        h_step, w_step = channels.window_steps
        depth = taps[:, None, None] * h_step + taps[:, None] * w_step
        depth = depth + np.arange(inner) * channels.inner_step
        self.depth = np.ascontiguousarray(depth.reshape(-1), np.int64)
        self.packing = ("winograd", side, reverse, channels)

    def covers(self, size: Sequence[int]) -> bool:
        """Whether every number of the target is computed: True."""
        return True

    def pack(self, w: np.ndarray) -> np.ndarray:
        """The transformed weights."""
        channels, inner = self.channels, self.channels.inner
        weights = empty((self.panels * self.frequencies * self.weight_step // 4,), np.float32)
        chunks = min(CHUNKS, self.panels)
        size = TABLE_BYTES + 9 * inner * PANEL * 4
        memory = scratch(size, chunks)
        run = inner if channels.inner_step == 4 else 1
        code = transform.weight2 if self.side == 2 else transform.weight4
        words = words_of(
            WEIGHT_SCRATCH_SIZE + 1,
            {
                copy.PANELS: self.panels,
                copy.PANELS_PER_GROUP: self.panels,
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
                WEIGHT_FREQUENCIES: self.frequencies,
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
        words = self.form.filled(source, target, weights, memory, v, *shift)
        if self.fused:
            launch(stages.fused_tiles, words, self.chunks)
        else:
            launch(stages.spread_tiles, words, self.spread_chunks)
            launch(stages.gather_panels, words, self.chunks)
        return not words[stages.ALARM]
