"""The gradient of the weight of a 3 x 3 convolution with stride 1, by Winograd's filtering.

With the tiles and frequencies of `winograd`, and g the gradient of the output,
    gw = G' [sum over tiles of (B' x B) * (A g A')] G.
The sum is one product per frequency, [Ci, tiles] x [tiles, Co].

Few channels: a thread takes blocks of tiles through transforms and products while they are in its
cache, with the sums. Every share of the blocks has sums of its own, which are added up at last.
Many channels: tiles are transformed in blocks that stay in the last-level cache, and frequencies
and panels are shared out among the threads. Many channels of few tiles, whose sums would be most of
what goes through memory: tiles are transformed at once, and a thread takes some channels and one
panel after the other through all products and back. How tiles are shared follows from the shapes
alone, so every number is summed in the same order by any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.kernels.conv import tile
from dyn.kernels.conv.shapes import View, kernels_of, table, words_of
from dyn.kernels.conv.winograd import filtering as forward
from dyn.kernels.conv.winograd import transform
from dyn.kernels.conv.winograd import weight_tasks as tasks
from dyn.kernels.conv.winograd.filtering import TABLE_BYTES, spacing
from dyn.kernels.conv.winograd.plan import Tiling
from dyn.kernels.conv.winograd.product import PANEL
from dyn.kernels.runtime.form import Form
from dyn.kernels.runtime.memory import empty
from dyn.kernels.vector.lanes import LANES

BLOCK_BYTES = 16 << 20
"""Transforms of a block of tiles."""
NEAR_BYTES = {16: 1792 << 10, 8: 768 << 10, 4: 768 << 10}[LANES]
"""Transforms and sums that stay in the second-level cache."""
CHANNELS = 4 * tile.WIDE
"""Channels whose sums for a panel stay there, with the transforms of few tiles: FEW_BYTES."""
FEW_BYTES = 1 << 20
FEWEST = 32
"""Tiles of a block with which reading the sums for each block is no more than the products."""
CHUNKS = 32
SHARES, EVEN = 8, 4
"""Sums for few channels: so many, or of few tiles so many, that 2 and 4 threads share evenly."""


class WinogradWeightPlan:
    """A plan for given shapes."""

    def __init__(
        self,
        source: View,
        gradient: View,
        low: tuple[int, int],
        gaps: tuple[int, int],
        side: int,
    ) -> None:
        """Plan; `low` is the padding at the top and left, `gaps` the dilation, `side` 4 or 2."""
        tiling = self.tiling = Tiling(source, gradient, low, gaps, side)
        inner, outer = source.shape[1], gradient.shape[1]
        frequencies, panels = tiling.frequencies, tiling.panels
        self.m_row = 4 * (panels * PANEL + 16)
        self.sums_row = spacing(4 * panels * PANEL)
        sums = frequencies * inner * self.sums_row
        a_tile = frequencies * (tiling.v_row + self.m_row)
        near = (NEAR_BYTES - sums) // a_tile
        self.by_tiles = near >= FEWEST and tiling.count >= EVEN * FEWEST
        fitting = near if self.by_tiles else max(BLOCK_BYTES // a_tile, 64)
        blocks = -(-tiling.count // fitting)
        if self.by_tiles and blocks < SHARES:
            blocks = EVEN if blocks <= EVEN else SHARES
        self.by_channels = near < 0 and 4 * CHANNELS * frequencies * tiling.count <= FEW_BYTES
        if self.by_channels:
            blocks = 1
        self.block = -(-tiling.count // blocks)
        self.v_step = spacing(self.block * tiling.v_row)
        self.m_step = spacing(self.block * self.m_row)
        transforms = frequencies * self.v_step, frequencies * self.m_step
        self.shares = min(SHARES, -(-tiling.count // self.block)) if self.by_tiles else 1
        self.sums_step = inner * self.sums_row
        blocks_of_channels, self.parts, own = -(-inner // CHANNELS), 1, 0
        if self.by_tiles:
            own = sum(transforms)
        elif self.by_channels:
            self.sums_row = 4 * PANEL
            self.sums_step = spacing(CHANNELS * self.sums_row)
            own, sums = frequencies * self.sums_step, 0
            self.parts = min(panels, -(-SHARES // blocks_of_channels))
        self.channel_chunks = blocks_of_channels * self.parts
        self.scratch_size = 2 * TABLE_BYTES + own
        self.share_step = sums
        self.sizes = [size // 4 for size in (self.shares * sums, *transforms)]
        self.spread_chunks = min(CHUNKS, self.block)
        self.product_chunks = min(CHUNKS, tiling.frequencies * tiling.panels)
        self.gather_chunks = min(CHUNKS, inner)
        self.nothing = np.zeros(max(inner, outer), np.float32)
        self.row_table = table(np.arange(inner)[:, None] * np.array([4, self.sums_row]))
        self.step_table = table(np.zeros((1, 2)))
        sources = forward.SOURCE, tasks.GRADIENT, tasks.RESULT
        self.form = Form(
            self._stages(blocks),
            self._words(source, gradient),
            (*sources, tasks.SUMS, forward.V, tasks.M),
            scratch=(forward.SCRATCH, self.scratch_size),
        )

    def _stages(self, blocks: int) -> list[tuple[Any, int]]:
        """What is run, one after the other, for so many blocks."""
        if self.by_tiles:
            return [(tasks.fused_tiles, self.shares), (tasks.gather_weights, self.gather_chunks)]
        block = [(tasks.next_block, 1), (tasks.spread_both, self.spread_chunks)]
        if self.by_channels:
            return [*block, (tasks.gather_blocks, self.channel_chunks)]
        block.append((tasks.multiply_block, self.product_chunks))
        return [*block * blocks, (tasks.gather_weights, self.gather_chunks)]

    def _words(self, source: View, gradient: View) -> np.ndarray:
        """The words, but the addresses of a call; the present block has no tiles yet."""
        tiling, kernels = self.tiling, kernels_of(source.dtype)
        spread, gather = (
            (transform.gradient2, transform.back2)
            if tiling.side == 2
            else (transform.gradient4, transform.back4)
        )
        g_n, _, g_h, g_w = gradient.strides
        return words_of(
            tasks.WORDS,
            {
                **tiling.words(),
                forward.TILES: tiling.count,
                forward.TILES_AT_ONCE: self.block,
                forward.V_STEP: self.v_step,
                forward.M_STEP: self.m_step,
                forward.NOTHING: self.nothing.ctypes.data,
                forward.SCRATCH_SIZE: self.scratch_size,
                tasks.GRADIENT_N: g_n,
                tasks.GRADIENT_H: g_h,
                tasks.GRADIENT_W: g_w,
                tasks.M_ROW: self.m_row,
                tasks.SUMS_STEP: self.sums_step,
                tasks.SUMS_ROW: self.sums_row,
                tasks.SHARE_STEP: self.share_step,
                tasks.SUMMED: self.shares,
                tasks.RESULT_ROW: 4 * gradient.shape[1],
                tasks.ROW_TABLE: self.row_table.ctypes.data,
                tasks.STEP_TABLE: self.step_table.ctypes.data,
                tasks.WIDE: kernels.wide,
                tasks.NARROW: kernels.narrow,
                tasks.READ_GRADIENTS: tasks.read_gradients.address,
                tasks.SPREAD_GRADIENT: spread.address,
                tasks.MULTIPLY: tasks.multiply.address,
                tasks.GATHER_WEIGHT: gather.address,
                tasks.CHANNELS: CHANNELS,
                tasks.PARTS: self.parts,
            },
        )

    def run(self, source: np.ndarray, gradient: np.ndarray, target: np.ndarray) -> bool:
        """Compute the target, a dense array [3][3][inner][outer].

        Returns:
            Whether all results are finite; if not, they are to be computed anew in another way.
        """
        sizes = self.sizes[:1] if self.by_tiles else self.sizes
        made = [empty((size,), np.float32) for size in sizes]
        return not self.form(source, gradient, target, *made)[forward.ALARM]
