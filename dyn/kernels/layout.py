"""The order in which images [N, C, ...] lie in memory: channels last, or plane by plane.

Shapes stay as they are, only strides change; `axis_last` gives an axis another place.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from dyn.kernels.copy import contiguous, place
from dyn.kernels.runtime.memory import empty, empty_like


def is_channels_last(x: np.ndarray) -> bool:
    """Whether [N, C, ...] lies in memory as [N, ..., C]."""
    return x.transpose(0, *range(2, x.ndim), 1).flags.c_contiguous


def to_channels_last(x: np.ndarray) -> np.ndarray:
    """A copy of x [N, C, ...] that lies channels last."""
    if x.ndim < 3:
        return np.array(x, order="C")
    made = empty(x.shape, x.dtype, order="channels_last")
    place(made, x)
    return made


def channels_last(x: np.ndarray) -> np.ndarray:
    """x [N, C, ...] itself if it lies channels last, else a copy that does."""
    return x if is_channels_last(x) else to_channels_last(x)


def planes(x: np.ndarray) -> np.ndarray:
    """x [N, C, ...] itself if it lies plane by plane, else a copy that does."""
    return contiguous(x)


def dense(x: np.ndarray) -> np.ndarray:
    """x itself if it lies channels last or plane by plane, else a copy that does."""
    if x.flags.c_contiguous or (x.ndim > 2 and is_channels_last(x)):
        return x
    return contiguous(x)


def like(x: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """x itself if it lies in memory as `pattern`, which is dense, does; else a copy that does."""
    if x.strides == pattern.strides or (x.flags.c_contiguous and pattern.flags.c_contiguous):
        return x
    if x.ndim > 2 and pattern.flags.c_contiguous:
        return planes(x)
    if x.ndim > 2 and is_channels_last(pattern):
        return channels_last(x)
    made = empty_like(pattern, x.dtype)
    place(made, x)
    return made


@cache
def axis_last(rank: int, axis: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Orders of axes for `transpose`: with `axis` last, and back. numpy's moveaxis takes 3 us."""
    others = [i for i in range(rank) if i != axis]
    return (*others, axis), (*range(axis), rank - 1, *range(axis, rank - 1))
