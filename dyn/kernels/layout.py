"""The order in which images [N, C, ...] lie in memory: channels last, or plane by plane.

Shapes stay as they are, only strides change.
"""

from __future__ import annotations

import math

import numpy as np

from dyn.kernels.memory import empty_like
from dyn.kernels.relayout import to_channels_last

FLOATS = (np.float32, np.float64)


def is_channels_last(x: np.ndarray) -> bool:
    """Whether [N, C, ...] lies in memory as [N, ..., C]."""
    return x.transpose(0, *range(2, x.ndim), 1).flags.c_contiguous


def channels_last(x: np.ndarray) -> np.ndarray:
    """x [N, C, ...] itself if it lies channels last, else a copy that does."""
    if is_channels_last(x):
        return x
    if x.dtype in FLOATS and x.flags.c_contiguous:
        n, c = x.shape[:2]
        return _last(to_channels_last(x.reshape(n, c, math.prod(x.shape[2:]), 1)), x.shape)
    order = (0, *range(2, x.ndim), 1)
    return _last(np.ascontiguousarray(x.transpose(order)), x.shape)


def _last(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Memory in the order [N, ..., C] as an image of `shape`."""
    n, c, *spatial = shape
    flat = x if x.flags.c_contiguous else x.transpose(0, *range(2, x.ndim), 1)
    return flat.reshape(n, *spatial, c).transpose(0, len(shape) - 1, *range(1, len(shape) - 1))


def planes(x: np.ndarray) -> np.ndarray:
    """x [N, C, ...] itself if it lies plane by plane, else a copy that does."""
    if x.flags.c_contiguous:
        return x
    if x.dtype in FLOATS and x.ndim > 2 and is_channels_last(x):
        # The same transpose the other way round: positions take the place of channels.
        n, c = x.shape[:2]
        pixels = x.transpose(0, *range(2, x.ndim), 1).reshape(n, math.prod(x.shape[2:]), c, 1)
        return to_channels_last(pixels).transpose(0, 2, 3, 1).reshape(x.shape)
    return np.ascontiguousarray(x)


def dense(x: np.ndarray) -> np.ndarray:
    """x itself if it lies channels last or plane by plane, else a copy that does."""
    if x.flags.c_contiguous or (x.ndim > 2 and is_channels_last(x)):
        return x
    return np.ascontiguousarray(x)


def like(x: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """x itself if it lies in memory as `pattern`, which is dense, does; else a copy that does."""
    if x.strides == pattern.strides or (x.flags.c_contiguous and pattern.flags.c_contiguous):
        return x
    if x.ndim > 2 and pattern.flags.c_contiguous:
        return planes(x)
    if x.ndim > 2 and is_channels_last(pattern):
        return channels_last(x)
    made = empty_like(pattern, x.dtype)
    made[...] = x
    return made
