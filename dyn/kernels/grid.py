"""Sampling of images at given places, and its gradients.

Images are [N, C, H, W], grids [N, h, w, 2] with x and y between -1 and 1. Places between pixels are
interpolated; places outside read zeros, the nearest border pixel, or the image reflected at its
borders. Images of many channels that lie channels last are done as they lie, others plane by
plane: in `grid_simd.py`, mode "bicubic" in `grid_cubic.py`. Reading is cut into places, scattering
into images and channels, so that results do not depend on threads.

Source: Jaderberg et al., Spatial Transformer Networks, arXiv 1506.02025, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from dyn.kernels import grid_cubic, grid_simd
from dyn.kernels.copy import contiguous, filled
from dyn.kernels.grid_places import ARRAYS, BLOCK, PADDINGS
from dyn.kernels.layout import channels_last, is_channels_last
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.memory import empty, maker

GRAIN = 8192
"""Pixels read or written that are worth a chunk."""
TAPS = {"bilinear": 4, "nearest": 4, "bicubic": 16}
"""About how many pixels of each channel a place costs."""
FEW = 8
"""Channels below which vectors of them would be mostly empty."""
LINE = 64
"""Bytes of neighbouring channels that are given back together."""
SHARES = 8
"""Into how many shares at least gradients are cut, where they are long enough."""

TASKS = {way: {**tasks, **grid_cubic.TASKS[way]} for way, tasks in grid_simd.TASKS.items()}

Shape = tuple[int, ...]


@lru_cache(1024)
def _launch(
    way: str, shape: Shape, places: int, dtype: np.dtype, last: bool, attrs: tuple[Any, ...]
) -> Launch:
    """A task over images of `shape` and so many places of each."""
    n, channels, height, width = shape
    if height * width >= 2**31:
        raise ValueError(f"an image of {height} x {width} pixels has more than 2**31 of them")
    mode, padding, align = attrs
    task = TASKS[way][dtype.name, mode, last]
    # Finding a place costs about as much as reading it.
    chunks = chunks_of(TAPS[mode] * n * (channels + 1) * places, GRAIN)
    group = channels
    if way == "scatter":
        line = max(1, LINE // dtype.itemsize) if last else 1
        groups = -(-min(chunks, SHARES) // n)
        group = -(-channels // groups // line) * line
        units = n * -(-channels // group)
    else:
        units = n * -(-places // BLOCK)
    words = n, channels, group, height, width, places, PADDINGS.index(padding), int(align)
    return Launch([(task, min(chunks, units))], ARRAYS, *words)


def _lies_last(x: np.ndarray, width: int) -> bool:
    """Whether images so wide are done channels last; those of a single column always are."""
    return width == 1 or (x.shape[1] >= FEW and is_channels_last(x))


def _laid(x: np.ndarray, last: bool) -> np.ndarray:
    return channels_last(x) if last else contiguous(x)


def _empty(shape: Shape, dtype: Any, last: bool) -> np.ndarray:
    return empty(shape, dtype, "channels_last" if last else "C")


def grid_sample(
    x: np.ndarray, grid: np.ndarray, *, mode: str, padding: str, align_corners: bool
) -> np.ndarray:
    """x at the places of the grid: [N, C, h, w]. `mode` is a key of TAPS."""
    if x.dtype.itemsize < 4:
        wide = (v.astype(np.float32) for v in (x, grid))
        made = grid_sample(*wide, mode=mode, padding=padding, align_corners=align_corners)
        return made.astype(x.dtype)
    shape = (*x.shape[:2], *grid.shape[1:3])
    if not x.size or not math.prod(shape):
        return filled(shape, 0, x.dtype)
    last = _lies_last(x, x.shape[3])
    x, grid, out = _laid(x, last), contiguous(grid), _empty(shape, x.dtype, last)
    attrs = mode, padding, align_corners
    launch = _launch("sample", x.shape, math.prod(shape[2:]), x.dtype, last, attrs)
    launch(x, grid, out, x)
    return out


def bound(
    x: Shape,
    grid: Shape,
    dtype: np.dtype,
    otherwise: Callable[[np.ndarray, np.ndarray], np.ndarray],
    attrs: tuple[str, str, bool],
) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """`grid_sample` of images of one shape that lie plane by plane; None for those never done so.

    Args:
        otherwise: what does the same for images in another order.
        attrs: mode, padding and whether the corners are aligned.
    """
    shape = (*x[:2], *grid[1:3])
    if dtype.itemsize < 4 or not math.prod(x) or not math.prod(shape) or x[3] == 1:
        return None
    launch = _launch("sample", x, math.prod(shape[2:]), dtype, False, attrs)
    make = maker(shape, dtype)

    def run(x: np.ndarray, grid: np.ndarray) -> np.ndarray:
        if not (x.flags.c_contiguous and grid.flags.c_contiguous):
            return otherwise(x, grid)
        out = make()
        launch(x, grid, out, x)
        return out

    return run


def grid_sample_grad_x(
    g: np.ndarray, grid: np.ndarray, *, x_shape: Shape, mode: str, padding: str, align_corners: bool
) -> np.ndarray:
    """Each gradient given to the pixels that its place read, by their weights: `x_shape`."""
    if g.dtype.itemsize < 4:
        wide = (v.astype(np.float32) for v in (g, grid))
        made = grid_sample_grad_x(
            *wide, x_shape=x_shape, mode=mode, padding=padding, align_corners=align_corners
        )
        return made.astype(g.dtype)
    shape = tuple(x_shape)
    if not g.size or not math.prod(shape):
        return filled(shape, 0, g.dtype)
    last = _lies_last(g, shape[3])
    g, grid = _laid(g, last), contiguous(grid)
    n, channels, height, width = shape
    out = filled((n, height, width, channels) if last else shape, 0, g.dtype)
    out = out.transpose(0, 3, 1, 2) if last else out
    attrs = mode, padding, align_corners
    _launch("scatter", shape, math.prod(g.shape[2:]), g.dtype, last, attrs)(g, grid, out, g)
    return out


def grid_sample_grad_grid(
    g: np.ndarray, x: np.ndarray, grid: np.ndarray, *, mode: str, padding: str, align_corners: bool
) -> np.ndarray:
    """What moving each place would change, weighted by g: [N, h, w, 2]; zeros for "nearest"."""
    if mode == "nearest" or not x.size or not g.size:
        return filled(grid.shape, 0, grid.dtype)
    if x.dtype.itemsize < 4:
        wide = (v.astype(np.float32) for v in (g, x, grid))
        made = grid_sample_grad_grid(*wide, mode=mode, padding=padding, align_corners=align_corners)
        return made.astype(grid.dtype)
    last = _lies_last(x, x.shape[3])
    g, x, grid = _laid(g, last), _laid(x, last), contiguous(grid)
    out = empty(grid.shape, grid.dtype)
    attrs = mode, padding, align_corners
    launch = _launch("grid_grad", x.shape, math.prod(g.shape[2:]), x.dtype, last, attrs)
    launch(x, grid, out, g)
    return out
