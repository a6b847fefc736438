"""Adaptive pooling: the axis is cut into a given number of bins, whatever its size.

Bin i of o over n elements reaches from floor(i * n / o) to ceil((i + 1) * n / o); neighbours may
overlap. The mean over a box is the mean of means along each axis, so means go axis by axis.
Arrays are [N, C, spatial...].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np


def bins(size: int, count: int) -> list[tuple[int, int]]:
    """Start and end of each bin."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def adaptive_avg_pool(x: np.ndarray, *, sizes: Sequence[int]) -> np.ndarray:
    """Mean of each bin; [N, C, *sizes]."""
    for axis, count in enumerate(sizes, 2):
        if count == x.shape[axis]:
            continue
        lead = (slice(None),) * axis
        parts = [
            x[(*lead, slice(a, b))].mean(axis=axis, keepdims=True)
            for a, b in bins(x.shape[axis], count)
        ]
        x = np.concatenate(parts, axis=axis)
    return np.array(x)


def adaptive_avg_pool_grad(g: np.ndarray, *, x_shape: Sequence[int]) -> np.ndarray:
    """Each gradient spread evenly over its bin."""
    for axis, size in enumerate(x_shape[2:], 2):
        if size == g.shape[axis]:
            continue
        lead = (slice(None),) * axis
        shape = list(g.shape)
        shape[axis] = size
        total = np.zeros(shape, g.dtype)
        for i, (a, b) in enumerate(bins(size, g.shape[axis])):
            total[(*lead, slice(a, b))] += g[(*lead, slice(i, i + 1))] / g.dtype.type(b - a)
        g = total
    return np.array(g)


def adaptive_max_pool(x: np.ndarray, *, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Largest value of each bin, and its flat position (int32) among the spatial axes."""
    spatial = x.shape[2:]
    place = np.arange(int(np.prod(spatial)), dtype=np.int32).reshape(spatial)
    out = np.empty((*x.shape[:2], *sizes), x.dtype)
    index = np.empty(out.shape, np.int32)
    cuts = [list(enumerate(bins(n, o))) for n, o in zip(spatial, sizes, strict=True)]
    for boxes in itertools.product(*cuts):
        at = tuple(i for i, _ in boxes)
        box = tuple(slice(a, b) for _, (a, b) in boxes)
        seen = x[(slice(None), slice(None), *box)]
        seen = seen.reshape(*x.shape[:2], math.prod(seen.shape[2:]))
        best = seen.argmax(axis=2)
        out[(slice(None), slice(None), *at)] = np.take_along_axis(seen, best[..., None], 2)[..., 0]
        index[(slice(None), slice(None), *at)] = place[box].reshape(-1)[best]
    return out, index
