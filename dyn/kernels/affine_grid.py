"""Grids of affine maps, as sampling wants them, and the gradient of the maps.

A map [2, 3] takes (x, y, 1) of an output's pixel to a place in the input; x and y are evenly spaced
between -1 and 1. The gradient is summed along each row, then in float64 over rows: rows are cut
into parts by sizes alone, each with a sum of its own.

Source: Jaderberg et al., Spatial Transformer Networks, arXiv 1506.02025.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import SUM, instances, kernel
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer

GRAIN = 8192
"""Places that are worth a chunk."""
THETA, PLACES, COUNT, HEIGHT, WIDTH, ALIGN, PARTS = range(7)
"""Words: `id`s of maps or their sums, and of places; number of maps; sizes; whether the ends are
the centres of the outer pixels; into how many parts the rows of a map are cut."""
ZERO, SIZE = np.float32(0), 4
"""What instances of a task have of their own: a zero of the elements and its bytes."""


@kernel(forceinline=True)
def _end(place, size, align, zero):
    """Where a pixel of an axis lies; a single one lies in the middle."""
    inner = align if size > 1 else 0
    return type(zero)(2 * place + 1 - inner) / type(zero)(size - inner) - type(zero)(1)


def _places(args, chunk, chunks):
    """Some rows of places."""
    height, width, align = argument(args, HEIGHT), argument(args, WIDTH), argument(args, ALIGN)
    start, stop = bounds(argument(args, COUNT) * height, chunk, chunks, 1)
    for row in range(start, stop):
        theta = pointer(data(argument(args, THETA)) + row // height * 6 * SIZE, ZERO)
        out = pointer(data(argument(args, PLACES)) + row * width * 2 * SIZE, ZERO)
        y = _end(row % height, height, align, ZERO)
        to_x, to_y = theta[0], theta[3]
        first_x, first_y = theta[1] * y + theta[2], theta[4] * y + theta[5]
        for j in range(width):
            x = _end(j, width, align, ZERO)
            out[2 * j] = to_x * x + first_x
            out[2 * j + 1] = to_y * x + first_y


@kernel(fastmath=SUM)
def _sums(g, width, align, zero):
    """Sums over a row: of both gradients by x, and of both."""
    by_x, by_y, all_x, all_y = zero, zero, zero, zero
    for j in range(width):
        x = _end(j, width, align, zero)
        by_x += g[2 * j] * x
        by_y += g[2 * j + 1] * x
        all_x += g[2 * j]
        all_y += g[2 * j + 1]
    return by_x, by_y, all_x, all_y


def _maps(args, chunk, chunks):
    """Some parts of the sums that maps get, [maps, parts, 2, 3]."""
    height, width, align = argument(args, HEIGHT), argument(args, WIDTH), argument(args, ALIGN)
    parts = argument(args, PARTS)
    start, stop = bounds(argument(args, COUNT) * parts, chunk, chunks, 1)
    for part in range(start, stop):
        made = pointer(data(argument(args, THETA)) + part * 6 * 8, np.float64(0))
        for k in range(6):
            made[k] = 0.0
        first, last = bounds(height, part % parts, parts, 1)
        for i in range(first, last):
            at = (part // parts * height + i) * width * 2 * SIZE
            g = pointer(data(argument(args, PLACES)) + at, ZERO)
            y = _end(i, height, align, ZERO)
            by_x, by_y, all_x, all_y = _sums(g, width, align, ZERO)
            made[0] += by_x
            made[1] += all_x * y
            made[2] += all_x
            made[3] += by_y
            made[4] += all_y * y
            made[5] += all_y


_PLACES = instances("affine_places", _places, "f4 f8")
_MAPS = instances("affine_maps", _maps, "f4 f8")


@lru_cache(1024)
def _launch(
    count: int, height: int, width: int, dtype: np.dtype, align: bool, gradient: bool
) -> tuple[Launch, int]:
    """The task over so many maps, and the parts that each map's sum has."""
    parts = min(height, chunks_of(height * width, GRAIN)) if gradient else height
    chunks = min(count * parts, chunks_of(count * height * width, GRAIN))
    task = (_MAPS if gradient else _PLACES)[dtype]
    return Launch([(task, chunks)], 2, count, height, width, int(align), parts), parts


def affine_grid(
    theta: np.ndarray, *, sizes: tuple[int, int, int], align_corners: bool
) -> np.ndarray:
    """Places [N, h, w, 2] that the maps [N, 2, 3] take the pixels of [N, h, w] to."""
    if theta.dtype.itemsize < 4:
        wide = affine_grid(theta.astype(np.float32), sizes=sizes, align_corners=align_corners)
        return wide.astype(theta.dtype)
    out = empty((*sizes, 2), theta.dtype)
    if out.size:
        _launch(*sizes, theta.dtype, align_corners, False)[0](contiguous(theta), out)
    return out


def affine_grid_grad(g: np.ndarray, *, align_corners: bool) -> np.ndarray:
    """The gradient of the maps: sums of g times (x, y, 1), [N, 2, 3]."""
    if g.dtype.itemsize < 4:
        wide = affine_grid_grad(g.astype(np.float32), align_corners=align_corners)
        return wide.astype(g.dtype)
    count, height, width, _ = g.shape
    if not g.size:
        return np.zeros((count, 2, 3), g.dtype)
    launch, parts = _launch(count, height, width, g.dtype, align_corners, True)
    made = np.empty((count, parts, 2, 3))
    launch(made, contiguous(g))
    return (made[:, 0] if parts == 1 else made.sum(axis=1)).astype(g.dtype)
