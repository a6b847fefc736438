"""Products with a weight that is asked for again: its panels are packed once and kept.

In inference a layer multiplies by the same matrix in every call, and packing it takes up to half of
a product of few rows. From the second request on, the panels of the whole matrix (`pack.py`) are
kept beside it (`runtime/derived.py`). The first request, the only one where every step of training
has new weights, is left to the loops that pack what they need right before they read it.
"""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np

from dyn.kernels.gemm.cut import cut_of, packing_of
from dyn.kernels.gemm.dots import dots_launch
from dyn.kernels.gemm.pack import PANEL_BYTES, pitch
from dyn.kernels.gemm.product import (
    ARRAYS,
    KEPT,
    NONE,
    PACK_GRAIN,
    Layout,
    Ready,
    codes_of,
    has_edge,
    pack_part,
    part,
)
from dyn.kernels.runtime import memory
from dyn.kernels.runtime.derived import derived
from dyn.kernels.runtime.drive import Launch, chunks_of

LEAST, LEAST_TURNED = 1 << 18, 1 << 13
"""Elements of a weight beyond which its panels are kept: of one whose rows lie together, smaller
ones of which are read in place, and of one that is turned around as it is packed."""
FEW_ROWS = 8
"""Rows up to which dot products with the columns of a weight are as fast without panels."""
MOST_ROWS = 256
"""Rows up to which packing is a share of the product that counts."""


def panels_of(w: np.ndarray, transposed: bool) -> np.ndarray | None:
    """The panels of a weight (k, n), or (n, k) if `transposed`; None when it is first asked for.

    w is the array that lives as long as the weight has its value.
    """
    return derived(w, ("panels", transposed), partial(packed, w, transposed), _nothing)


def _nothing() -> None:
    """What is kept at the first request."""


def packed(w: np.ndarray, transposed: bool) -> np.ndarray:
    """The panels of a weight, as in `panels_of`; one of its axes is contiguous."""
    b = w.T if transposed else w
    (k, n), element = b.shape, b.itemsize
    panels = -(-n * element // PANEL_BYTES)
    made = memory.empty((panels * pitch(k) * PANEL_BYTES,), np.uint8)
    words = (0, 0, 0, 0, 0, KEPT, 0, 0, 0, 0, 1)
    launch = Launch(
        [(pack_part, chunks_of(k * n, PACK_GRAIN))],
        ARRAYS,
        *words,
        *codes_of(b.dtype, narrow=False),
    )
    # The loops read k and n from operands: here those of a product of one row.
    launch(np.empty((1, k), b.dtype), b, np.empty((1, n), b.dtype), NONE, NONE, made)
    return made


@lru_cache(4096)
def ready_kept(a: Layout, b: Layout, biased: bool, dtype: np.dtype, flags: int = 0) -> Ready | None:
    """The product of two matrices of these layouts; its table is the panels of the second.

    Flags are those of a tile.

    None where it would gain nothing, or an operand must be copied first.
    """
    ((m, k), a_steps), ((_, n), b_steps) = a, b
    element = dtype.itemsize
    if element not in a_steps or element not in b_steps:
        return None
    least = LEAST if b_steps[1] == element else LEAST_TURNED
    if not 1 < m <= MOST_ROWS or 1 in (n, k) or n * k <= least:
        return None
    if m <= FEW_ROWS and dots_launch(m, n, k, a_steps, b_steps, biased, dtype) is not None:
        return None
    packing = packing_of(m, n, k, element, a_steps, b_steps)._replace(whole=0, panels=0)
    cut = cut_of(m, n, k, element, packing)
    words = (0, 0, 0, 0, packing.tile, KEPT, cut.own, int(biased), flags, int(cut.by_rows), 1)
    codes = codes_of(dtype, has_edge(n, 0, element))
    launch = Launch([(part, cut.chunks)], ARRAYS, *words, *codes)
    return Ready(launch, cut.chunks * cut.own, NONE)
