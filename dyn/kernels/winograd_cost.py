"""When Winograd's filtering pays: an estimate of both algorithms in cycles of one thread.

The constants were measured with vectors of eight; what matters is which estimate is smaller. They
depend on shapes alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from dyn.kernels.lanes import LANES
from dyn.kernels.winograd_product import PANEL, ROWS

MARGIN = 0.85
"""Winograd's filtering is taken where it is estimated to need less than this part."""
READ = {4: 150, 2: 40}
"""Cycles to transform a vector of channels of an input tile, by the tile's side."""
WRITE = {4: 105, 2: 20}
"""Cycles to transform a vector of channels of products back."""
WEIGHT = {4: 150, 2: 75}
"""Cycles to transform a vector of weights; counted half, as inference does it once."""
FAR_BYTES = 8 << 20
"""Transformed weights beyond this leave the cache; a vector of them costs twice as much again."""
SIDES = (4, 2)


def _multiply(rows: int, inner: int, outer: int) -> float:
    """Cycles of rows x inner x outer multiplications, two vectors of them a cycle."""
    return rows * inner * (-(-outer // LANES)) / 2 / 0.93


def _direct(pixels: int, inner: int, outer: int) -> float:
    return _multiply(9 * pixels, inner, outer)


def _tiles(images: int, out: Sequence[int], side: int) -> int:
    return images * -(-out[0] // side) * -(-out[1] // side)


def _filtered(images: int, out: Sequence[int], inner: int, outer: int, side: int) -> float:
    frequencies, tiles = (side + 2) ** 2, _tiles(images, out, side)
    outer = -(-outer // PANEL) * PANEL
    products = _multiply(frequencies * (-(-tiles // ROWS) * ROWS), inner, outer)
    moved = tiles * (READ[side] * -(-inner // LANES) + WRITE[side] * (outer // LANES))
    far = frequencies * inner * outer * 4 > FAR_BYTES
    weights = inner * (outer // LANES) * WEIGHT[side] * (3 if far else 1)
    return products + moved + weights / 2


def _filtered_weight(images: int, out: Sequence[int], inner: int, outer: int, side: int) -> float:
    frequencies, tiles = (side + 2) ** 2, _tiles(images, out, side)
    outer = -(-outer // PANEL) * PANEL
    products = _multiply(frequencies * (-(-inner // ROWS) * ROWS), tiles, outer) * 1.15
    moved = tiles * READ[side] * (-(-inner // LANES) + outer // LANES)
    far = frequencies * inner * outer * 4 > FAR_BYTES
    weights = inner * (outer // LANES) * WEIGHT[side] * (3 if far else 1)
    return products + moved + weights


def _best(direct: float, filtered: dict[int, float]) -> int:
    side = min(filtered, key=lambda s: filtered[s])
    return side if filtered[side] < MARGIN * direct else 0


def best_side(images: int, out: Sequence[int], inner: int, outer: int, precise: bool) -> int:
    """4, 2 or 0 (sum over the window) for a convolution to `out` and for its gradient by x.

    Args:
        images, inner, outer: size of the batch, channels read and channels written.
        out: height and width of the result.
        precise: leave out the side 4.
    """
    direct = _direct(images * out[0] * out[1], inner, outer)
    sides = SIDES[precise:]
    return _best(direct, {s: _filtered(images, out, inner, outer, s) for s in sides})


def best_weight_side(images: int, out: Sequence[int], inner: int, outer: int, precise: bool) -> int:
    """4, 2 or 0 for the gradient by the weight; arguments as in `best_side`."""
    direct = _multiply(9 * inner, images * out[0] * out[1], outer) * 1.15
    sides = SIDES[precise:]
    return _best(direct, {s: _filtered_weight(images, out, inner, outer, s) for s in sides})
