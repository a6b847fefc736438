"""Plans of Winograd's filtering for given shapes: the words that the stages read.

What the stages do with the words stands in `filtering.py`. Weights are transformed in `windows.py`;
those that would then be large have plans of their own in `large.py`, and their gradients in
`weight.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dyn.kernels.conv.shapes import Channels, View, words_of
from dyn.kernels.conv.winograd import filtering as stages
from dyn.kernels.conv.winograd import transform
from dyn.kernels.conv.winograd.filtering import TABLE_BYTES, spacing
from dyn.kernels.conv.winograd.product import PANEL, ROWS, products
from dyn.kernels.conv.winograd.windows import Windows
from dyn.kernels.runtime.form import Form
from dyn.kernels.vector.lanes import LANES

CHUNKS = 32


def tiles_along(out: Sequence[int], gaps: Sequence[int], side: int) -> tuple[int, int]:
    """Tiles along both axes of every lattice of outputs `gaps` apart."""
    down, across = (-(-n // (gap * side)) for n, gap in zip(out, gaps, strict=True))
    return down, across


def at_once(count: int, most: int, fewest: int = 1) -> int:
    """Tiles of a block: a whole number of products, alike in all of up to `most`, of which there
    are `fewest` or more where that many can be filled."""
    blocks = max(-(-count // most), min(fewest, -(-count // ROWS)))
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
            stages.PIECE: self.source.shape[1],
            stages.PANELS: self.panels,
            stages.READ_TILES: stages.read_tiles.address,
            stages.SPREAD: spread.address,
        }

    def target_words(self, *, relu: bool) -> dict[int, int]:
        """The words that follow where the tiles of the target are computed."""
        gather = transform.output2 if self.side == 2 else transform.output4
        y_n, _, y_h, y_w = self.target.strides
        return {
            stages.TARGET_N: y_n,
            stages.TARGET_H: y_h,
            stages.TARGET_W: y_w,
            stages.TILES: self.count,
            stages.RELU: relu,
            stages.WRITE_TILES: stages.write_tiles.address,
            stages.EXPECT_TILES: stages.expect_tiles.address,
            stages.GATHER: gather.address,
            stages.PRODUCTS: products.address,
        }


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
        tiling = Tiling(source, target, low, gaps, side)
        self.windows = Windows(channels, side, channels.inner, reverse=reverse)
        block = at_once(tiling.count, stages.BLOCK, stages.FEWEST)
        v_step, m_step = spacing(block * tiling.v_row), spacing(4 * PANEL * block)
        self.scratch_size = TABLE_BYTES + tiling.frequencies * (v_step + m_step)
        self.chunks = min(CHUNKS, -(-tiling.count // block))
        self.nothing = np.zeros(channels.inner + PANEL, np.float32)
        self.packing = ("winograd", side, reverse, channels)
        words = words_of(
            stages.WORDS,
            {
                **tiling.words(),
                **tiling.target_words(relu=relu),
                stages.TILES_AT_ONCE: block,
                stages.V_STEP: v_step,
                stages.M_STEP: m_step,
                stages.WEIGHT_STEP: self.windows.step,
                stages.NOTHING: self.nothing.ctypes.data,
                stages.SCRATCH_SIZE: self.scratch_size,
                stages.ONE_PANEL: stages.one_panel.address,
            },
        )
        self.form = Form(
            [(stages.fused_tiles, self.chunks)],
            words,
            (stages.SOURCE, stages.TARGET, stages.WEIGHTS, stages.BIAS),
            scratch=(stages.SCRATCH, self.scratch_size),
        )

    def covers(self, size: Sequence[int]) -> bool:
        """Whether every number of the target is computed: True."""
        return True

    def pack(self, w: np.ndarray) -> np.ndarray:
        """The transformed weights."""
        return self.windows.spread(w)

    def run(
        self, source: np.ndarray, weights: np.ndarray, bias: np.ndarray | None, target: np.ndarray
    ) -> bool:
        """Compute the target; `weights` is what `pack` returned.

        Returns:
            Whether all results are finite. If not, some are NaN that the sum over the window would
            not make so, and all are to be computed anew by another algorithm.
        """
        shift = () if bias is None else (np.ascontiguousarray(bias),)
        return not self.form(source, target, weights, *shift)[stages.ALARM]
