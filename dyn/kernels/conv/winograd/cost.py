"""When Winograd's filtering pays: an estimate of both algorithms in cycles of one thread.

The constants were measured with vectors of eight; what matters is which estimate is smaller. They
depend on shapes alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from dyn.kernels.conv import planes_plan
from dyn.kernels.conv.winograd import large
from dyn.kernels.conv.winograd.plan import tiles_along
from dyn.kernels.conv.winograd.product import PANEL, ROWS, rows_of
from dyn.kernels.vector.lanes import LANES

MARGIN = 0.9
"""Winograd's filtering is taken where it is estimated to need less than this part."""
TILE = 30
"""Cycles that a tile of products needs besides its multiplications."""
READ = {4: 160, 2: 45}
"""Cycles to transform a vector of channels of an input tile, by the tile's side."""
WRITE = {4: 130, 2: 30}
"""Cycles to transform a vector of channels of products back."""
WEIGHT = {4: 150, 2: 75}
"""Cycles to transform a vector of weights."""
ONCE = 0.25
"""Part of them that counts: inference transforms weights once, training at every step."""
LARGE = 0.5
"""The same for large ones: training transforms them for every block of tiles, inference reads them
from far away."""
FAR_SPEED = 10
"""Bytes of large weights that come in a cycle, which bounds the products of few tiles."""
FAR_BYTES = 8 << 20
"""Transformed gradients of weights beyond this leave the cache; a vector of them costs twice as
much again."""
SIDES = (4, 2)


def _whole(rows: int) -> int:
    return -(-rows // ROWS) * ROWS


def _multiply(rows: int, inner: int, outer: int) -> float:
    """Cycles for [rows, inner] x [inner, outer] in tiles: two vectors multiplied a cycle."""
    vectors, tiles = -(-outer // LANES), -(-rows // ROWS)
    return vectors / 2 * (inner * rows / 0.95 + tiles * TILE)


def _direct(images: int, out: Sequence[int], inner: int, outer: int) -> float:
    """Cycles of the sum over the window, with channels or pixels in the vectors."""
    if planes_plan.suits(outer, out[1]):
        return images * out[0] * -(-out[1] // LANES) * outer / 2 * (9 * inner / 0.85)
    return _multiply(_whole(images * out[0] * out[1]), 9 * inner, outer)


def _tiles(images: int, out: Sequence[int], gaps: Sequence[int], side: int) -> int:
    down, across = tiles_along(out, gaps, side)
    return images * gaps[0] * gaps[1] * down * across


def _filtered(tiles: int, inner: int, outer: int, side: int) -> float:
    frequencies = (side + 2) ** 2
    outer = -(-outer // PANEL) * PANEL
    products = frequencies * _multiply(rows_of.py_func(tiles), inner, outer)
    moved = tiles * (READ[side] * -(-inner // LANES) + WRITE[side] * (outer // LANES))
    times = ONCE
    if large.fits(inner, outer, side):
        products = max(products, 4 * frequencies * inner * outer / FAR_SPEED)
        times = LARGE * -(-tiles // large.BLOCK)
    return products + moved + inner * (outer // LANES) * WEIGHT[side] * times


def _filtered_weight(tiles: int, inner: int, outer: int, side: int) -> float:
    frequencies = (side + 2) ** 2
    outer = -(-outer // PANEL) * PANEL
    products = frequencies * _multiply(_whole(inner), tiles, outer) * 1.15
    moved = tiles * READ[side] * (-(-inner // LANES) + outer // LANES)
    times = 3 if frequencies * inner * outer * 4 > FAR_BYTES else 1
    return products + moved + inner * (outer // LANES) * WEIGHT[side] * times


def _best(direct: float, filtered: dict[int, float]) -> int:
    side = min(filtered, key=lambda s: filtered[s])
    return side if filtered[side] < MARGIN * direct else 0


def best_side(
    images: int, out: Sequence[int], gaps: Sequence[int], inner: int, outer: int, precise: bool
) -> int:
    """4, 2 or 0 (sum over the window) for a convolution to `out` and for its gradient by x.

    Args:
        images, inner, outer: size of the batch, channels read and channels written.
        out: height and width of the result.
        gaps: dilation.
        precise: leave out the side 4.
    """
    direct = _direct(images, out, inner, outer)
    sides = SIDES[precise:]
    found = {s: _filtered(_tiles(images, out, gaps, s), inner, outer, s) for s in sides}
    return _best(direct, found)


def best_weight_side(
    images: int, out: Sequence[int], gaps: Sequence[int], inner: int, outer: int, precise: bool
) -> int:
    """4, 2 or 0 for the gradient by the weight; arguments as in `best_side`."""
    direct = _multiply(_whole(9 * inner), images * out[0] * out[1], outer) * 1.15
    sides = SIDES[precise:]
    found = {s: _filtered_weight(_tiles(images, out, gaps, s), inner, outer, s) for s in sides}
    return _best(direct, found)
