"""How a product is cut into chunks, and what of it is packed, by sizes and layouts alone.

The numbers below are measured; products are right whatever they are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from dyn.kernels.gemm.pack import PANEL_BYTES, TOGETHER, row_pitch
from dyn.kernels.gemm.tile import EDGES, HEIGHTS, TILE_ROWS, VECTORS
from dyn.kernels.vector.factors import meet
from dyn.kernels.vector.lanes import LANES

DEPTH = 512
"""Steps of k in a block, at most: a tile of A of this depth stays in the first-level cache."""
COLUMNS = 512
"""Columns of a block of B, which stays in the second-level cache."""
VECTOR_BYTES = PANEL_BYTES // VECTORS
CLOSE = 1280
"""Bytes between rows of B up to which the processor prefetches the next one."""
IN_PLACE, CLOSE_IN_PLACE = 160 * 1024, 400 * 1024
"""Elements of B up to which packing costs more than it saves: in general, and where its rows are
CLOSE."""
NEAR = 640
"""Bytes between numbers of a row of A up to which they are read in place: further apart they are
in few sets of the cache, which does not keep them."""
MANY_TILES = 20
"""So many are worth packing even a small B, if its vectors lie across lines of the cache."""
GRAIN = 1 << 19
"""Multiplications worth a chunk of their own."""
MAX_CHUNKS = 40
"""So many that a thread that comes late, or is held up, costs little."""
RESIDENT, LONG, FEW_CHUNKS = 1 << 18, 128, 8
"""Every chunk reads all of one operand. If that has more elements than RESIDENT, which the second-
level cache keeps, chunks are LONG rows or columns, unless that makes less than FEW_CHUNKS."""
MANY_PANELS, LONGER = 8, 4
"""So many of a packed B make chunks of columns, even if there are more rows, up to so many times as
many: then A is what is large, and should be read once."""
PER_TILE = -(-112 // (HEIGHTS[0] * VECTORS))
"""Panels, or tiles, of a chunk where tiles of A are packed: 112 vectors of sums or more for every
step of a packed tile are worth the copy, and neighbours lie in the same lines of the cache."""
PACK_SHARE = 8
"""Products of tile and panel that make packing a panel cheap enough to be done by every chunk."""

STORE = 10
"""Multiplications that take as long as storing a number."""

Steps = tuple[int, int]
"""Strides of a matrix, in bytes."""


def work_of(m: int, n: int, k: int) -> int:
    """What a product costs, in multiplications of one of many rows and columns.

    A sum of few waits for itself, and a vector of B takes as long whatever is used of it.
    """
    return max(m, HEIGHTS[1]) * max(n, LANES) * (k + STORE)


class Packing(NamedTuple):
    """What of a product is packed.

    Attributes:
        whole: columns of B that are read in place.
        panels: how many panels the others make.
        steps: those of k in a block.
        tile: bytes of a packed tile of A; 0 if A is read in place.
    """

    whole: int
    panels: int
    steps: int
    tile: int

    def room(self, panels: int, element: int) -> int:
        """Bytes for a chunk that packs its own panels, at most this many or those of a block."""
        most = min(panels, self.panels, COLUMNS * element // PANEL_BYTES)
        return -(-(self.tile + most * (self.steps | TOGETHER) * PANEL_BYTES) // 64) * 64


@lru_cache(4096)
def packing_of(m: int, n: int, k: int, element: int, a_steps: Steps, b_steps: Steps) -> Packing:
    """What is packed, for sizes, bytes of a number, and strides."""
    panel, tiles = PANEL_BYTES // element, -(-m // HEIGHTS[0])
    most = CLOSE_IN_PLACE if b_steps[0] <= CLOSE else IN_PLACE
    small = n * k <= most and (b_steps[0] % VECTOR_BYTES == 0 or tiles < MANY_TILES)
    in_place = b_steps[1] == element and (small or tiles <= 2 or n <= 2 * panel)
    # A last panel is packed where loads cannot leave out lanes, as they would reach beyond B, and
    # where it would take two narrow tiles instead of one, again and again.
    left = n % panel
    edge = EDGES and (left <= panel // VECTORS or tiles < MANY_TILES)
    whole = (n if edge else n - left) if in_place else 0
    steps = -(-k // -(-k // DEPTH))
    tile = 0
    if k > 32 and n > panel:
        if a_steps[1] > NEAR:
            tile = steps * TILE_ROWS * element
        elif meet(a_steps[0], min(m, HEIGHTS[0])):
            tile = HEIGHTS[0] * row_pitch(steps * element)
    return Packing(whole, -(-(n - whole) // panel), steps, tile)


class Cut(NamedTuple):
    """How a product is cut.

    Attributes:
        chunks, by_rows: into how many pieces and along which side.
        shared: bytes of panels that are packed before, for all chunks; 0 if each packs its own.
        own: bytes of memory of each chunk.
    """

    chunks: int
    by_rows: bool
    shared: int
    own: int


@lru_cache(4096)
def cut_of(m: int, n: int, k: int, element: int, packing: Packing) -> Cut:
    """The cut for sizes and for what is packed; `element`: bytes of a number."""
    tiles, panels, packed = -(-m // HEIGHTS[0]), -(-n * element // PANEL_BYTES), packing.panels
    # Chunks of columns pack what no other chunk reads.
    few = panels < MANY_PANELS or m >= LONGER * n
    by_rows = m >= n and (packing.whole > 0 or few)
    length, units, shared = (m, tiles, n * k) if by_rows else (n, panels, m * k)
    pieces = -(-units // (PER_TILE if packing.tile else 1 if by_rows else 2))
    if shared > RESIDENT:
        pieces = min(pieces, max(FEW_CHUNKS, length // LONG))
    chunks = max(1, min(work_of(m, n, k) // GRAIN, MAX_CHUNKS, pieces))
    if chunks > 1:  # as many for each of two or four threads
        chunks -= chunks % (4 if chunks > 4 else 2)
    if by_rows and chunks > 1 and chunks * packed * PACK_SHARE > tiles * panels:
        before = packed * (k | TOGETHER) * PANEL_BYTES
        return Cut(chunks, by_rows=True, shared=before, own=packing.room(0, element))
    each = panels if by_rows else -(-panels // chunks)
    return Cut(chunks, by_rows, shared=0, own=packing.room(each, element))
