"""Winograd's filtering with weights that, transformed, would not fit into the cache.

All tiles are transformed first. Then every thread takes its own panels of output channels, each for
blocks of tiles, and adds up the products of one piece of the source's channels after the other;
at last they are transformed back. A weight that is asked for once, as in training, is transformed
piece by piece right before: it leaves memory as it is, a quarter as large, and its transforms never
reach it. Where tiles are few that would be most of the work, and transforms are kept in inference.
What is read next is asked for during the products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dyn.kernels.conv.shapes import Channels, View, words_of
from dyn.kernels.conv.winograd import filtering as stages
from dyn.kernels.conv.winograd import windows
from dyn.kernels.conv.winograd.filtering import spacing
from dyn.kernels.conv.winograd.plan import CHUNKS, Tiling, at_once
from dyn.kernels.conv.winograd.product import PANEL, ROWS
from dyn.kernels.conv.winograd.windows import Windows
from dyn.kernels.runtime.form import Form
from dyn.kernels.runtime.jit import call_address, task
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.lanes import LANES

LARGE_BYTES = 3 << 20
"""Transformed weights beyond this are too large to be read again for every block of tiles."""
PIECE = 64
"""Channels of the source whose transforms for one panel stay in the second-level cache."""
BLOCK = {16: 168, 8: 84, 4: 84}[LANES] // ROWS * ROWS
"""Tiles whose products with one panel stay there, too."""

KEPT, EXPECT_PIECE = range(stages.WORDS, stages.WORDS + 2)
WINDOWS = stages.WORDS + 2
"""Words after those of `filtering`: the address of transformed weights that were kept, or 0; the
address of a microkernel; and from WINDOWS on those of `windows`."""
WORDS = WINDOWS + windows.WORDS


@task
def spread_tiles(plan, chunk, chunks):
    """Transform a share of the tiles."""
    memory = argument(plan, stages.SCRATCH)
    slot = take(memory)
    table = buffer(memory, slot, argument(plan, stages.SCRATCH_SIZE))
    tiles = argument(plan, stages.TILES)
    first = tiles * chunk // chunks
    count = tiles * (chunk + 1) // chunks - first
    target = argument(plan, stages.V) + first * argument(plan, stages.V_ROW)
    call_address(argument(plan, stages.READ_TILES), plan, first, count, target, table)
    if chunk == chunks - 1:
        stages.clear_spare(plan, argument(plan, stages.V), tiles)
    leave(memory, slot)


@task
def gather_panels(plan, chunk, chunks):
    """Take a share of the panels, each for all blocks of tiles, through the products and back."""
    memory = argument(plan, stages.SCRATCH)
    slot = take(memory)
    table = buffer(memory, slot, argument(plan, stages.SCRATCH_SIZE))
    weight, kept = plan + 8 * WINDOWS, argument(plan, KEPT)
    own = table + argument(weight, windows.SCRATCH_SIZE)
    frequencies, inner = argument(plan, stages.FREQUENCIES), argument(plan, stages.INNER)
    step, m_step = argument(weight, windows.STEP), argument(plan, stages.M_STEP)
    m = own + frequencies * step
    v_row, v_step = argument(plan, stages.V_ROW), argument(plan, stages.V_STEP)
    tiles, block = argument(plan, stages.TILES), argument(plan, stages.TILES_AT_ONCE)
    pieces, blocks = (inner + PIECE - 1) // PIECE, (tiles + block - 1) // block
    units = argument(plan, stages.PANELS) * blocks
    for unit in range(units * chunk // chunks, units * (chunk + 1) // chunks):
        panel, first = unit // blocks, unit % blocks * block
        count = min(block, tiles - first)
        for piece in range(pieces):
            low = piece * PIECE
            v = argument(plan, stages.V) + piece * argument(plan, stages.PIECE_STEP)
            v += first * v_row
            b, ahead, ahead_step = own, v, 4 * ROWS
            if kept == 0:
                code = argument(weight, windows.SPREAD_PIECE)
                call_address(code, weight, panel, low, table, own)
            else:
                b = kept + (panel * pieces + piece) * frequencies * step
                ahead, ahead_step = b, PANEL * 4 // ((count + ROWS - 1) // ROWS)
            for frequency in range(frequencies):
                if piece == pieces - 1:
                    start = first + count * frequency // frequencies
                    stop = first + count * (frequency + 1) // frequencies
                    call_address(argument(plan, stages.EXPECT_TILES), plan, start, stop, panel)
                elif kept == 0:
                    code = argument(plan, EXPECT_PIECE)
                    call_address(code, weight, panel, low + PIECE, frequency, frequencies)
                ahead += v_step if kept == 0 else step
                call_address(
                    argument(plan, stages.PRODUCTS), count, min(PIECE, inner - low),
                    v + frequency * v_step, v_row, b + frequency * step, m + frequency * m_step,
                    ahead, ahead_step, piece,
                )  # fmt: skip
        call_address(argument(plan, stages.WRITE_TILES), plan, first, count, m, panel, table)
    leave(memory, slot)


def fits(inner: int, outer: int, side: int) -> bool:
    """Whether the transformed weights for `inner` channels of the source and `outer` of the target
    are large."""
    return -(-outer // PANEL) * PANEL * inner * (side + 2) ** 2 * 4 > LARGE_BYTES


class LargeWinogradPlan:
    """A plan for given shapes and large weights, which meet the source as `channels` says.

    Attributes:
        packing: what the transformed weights depend on besides the weight.
        as_is: whether a weight that is asked for only once is best read as it is.
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
        """Plan; arguments as those of `WinogradPlan`."""
        tiling = Tiling(source, target, low, gaps, side)
        self.windows = Windows(channels, side, PIECE, reverse=reverse)
        self.as_is = not self.windows.copied
        self.packing = ("winograd", side, reverse, channels)
        v_row = 4 * PIECE
        v_step = spacing((tiling.count + ROWS) * v_row)
        self.v_size = -(-channels.inner // PIECE) * tiling.frequencies * v_step // 4
        block = at_once(tiling.count, BLOCK)
        m_step = spacing(4 * PANEL * block)
        here = tiling.frequencies * (self.windows.step + m_step)
        self.scratch_size = self.windows.scratch_size + here
        self.chunks = min(CHUNKS, -(-tiling.count // block) * tiling.panels)
        self.spread_chunks = min(CHUNKS, tiling.count)
        self.nothing = np.zeros(channels.inner + PANEL, np.float32)
        words = words_of(
            WORDS,
            {
                **tiling.words(),
                **tiling.target_words(relu=relu),
                stages.TILES_AT_ONCE: block,
                stages.V_ROW: v_row,
                stages.V_STEP: v_step,
                stages.PIECE: PIECE,
                stages.PIECE_STEP: tiling.frequencies * v_step,
                stages.M_STEP: m_step,
                stages.NOTHING: self.nothing.ctypes.data,
                stages.SCRATCH_SIZE: self.scratch_size,
                EXPECT_PIECE: windows.expect_piece.address,
            },
        )
        words[WINDOWS:] = self.windows.words
        self.once, self.again = (
            Form(
                [(spread_tiles, self.spread_chunks), (gather_panels, self.chunks)],
                words,
                (stages.SOURCE, stages.TARGET, stages.V, weights, stages.BIAS),
                scratch=(stages.SCRATCH, self.scratch_size),
            )
            for weights in (WINDOWS + windows.WEIGHTS, KEPT)
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
        """Compute the target; `weights` is what `pack` returned, or the weight `as_is`.

        Returns:
            Whether all results are finite. If not, some are NaN that the sum over the window would
            not make so, and all are to be computed anew by another algorithm.
        """
        v = empty((self.v_size,), np.float32)
        shift = () if bias is None else (np.ascontiguousarray(bias),)
        form = self.once if weights.ndim == 4 else self.again
        return not form(source, target, v, weights, *shift)[stages.ALARM]
