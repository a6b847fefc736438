"""Pooling over 1 to 3 spatial axes: maximum with its position, mean, and their gradients.

Arrays are [N, C, spatial...]; padding is (low, high) per axis, flattened. Only sliding and adaptive
windows live here; resampling is in `resample.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Window = Sequence[int]


def output_sizes(
    sizes: Window, kernel: Window, stride: Window, padding: Window, dilation: Window, ceil: bool
) -> tuple[int, ...]:
    """Number of window positions per axis; with `ceil` the last window may stick out."""
    found = []
    for i, size in enumerate(sizes):
        low, high = padding[2 * i], padding[2 * i + 1]
        span = size + low + high - dilation[i] * (kernel[i] - 1) - 1
        n = (-(-span // stride[i]) if ceil else span // stride[i]) + 1
        if ceil and (n - 1) * stride[i] >= size + low:
            n -= 1
        found.append(n)
    return tuple(found)


def _padded(
    x: np.ndarray,
    out: Window,
    kernel: Window,
    stride: Window,
    padding: Window,
    dilation: Window,
    fill: Any,
) -> np.ndarray:
    """x with `fill` around it, just wide enough for every window."""
    pads = [(0, 0), (0, 0)]
    for i, n in enumerate(out):
        reach = (n - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1
        pads.append((padding[2 * i], max(reach - x.shape[2 + i] - padding[2 * i], 0)))
    return np.pad(x, pads, constant_values=fill)


def _taps(padded: np.ndarray, out: Window, kernel: Window, stride: Window, dilation: Window) -> Any:
    """For every position in the window: that position, and what it sees for all windows."""
    for tap in itertools.product(*(range(k) for k in kernel)):
        where = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilation, out, stride, strict=True)
        )
        yield tap, padded[(slice(None), slice(None), *where)]


def max_pool(
    x: np.ndarray,
    *,
    kernel: Window,
    stride: Window,
    padding: Window,
    dilation: Window,
    ceil_mode: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Largest value in each window (NaN wins), and its flat position among the spatial axes.

    Returns:
        out [N, C, positions...] and index, int32, of the same shape: the first winner's position
        in x's spatial axes, row-major.
    """
    spatial = x.shape[2:]
    out_sizes = output_sizes(spatial, kernel, stride, padding, dilation, ceil_mode)
    low = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    padded = _padded(x, out_sizes, kernel, stride, padding, dilation, low)
    place = _padded(
        np.arange(int(np.prod(spatial)), dtype=np.int32).reshape(1, 1, *spatial),
        out_sizes, kernel, stride, padding, dilation, -1,
    )  # fmt: skip
    best: Any = None
    index: Any = None
    values = _taps(padded, out_sizes, kernel, stride, dilation)
    places = _taps(place, out_sizes, kernel, stride, dilation)
    for (_, value), (_, position) in zip(values, places, strict=True):
        position = np.broadcast_to(position, value.shape)
        if best is None:
            best, index = value.copy(), position.copy()
            continue
        better = (value > best) | ((value != value) & (best == best)) | (index < 0)
        better &= position >= 0
        best[better] = value[better]
        index[better] = position[better]
    return best, index


def max_pool_grad(g: np.ndarray, index: np.ndarray, *, x_shape: Window) -> np.ndarray:
    """Each gradient added at the position that won; zero elsewhere."""
    planes = int(np.prod(x_shape[:2]))
    size = int(np.prod(x_shape[2:]))
    flat = index.reshape(planes, math.prod(index.shape[2:])).astype(np.int64)
    flat = flat + np.arange(planes, dtype=np.int64)[:, None] * size
    total = np.zeros(planes * size, g.dtype)
    np.add.at(total, flat.ravel(), g.ravel())
    return total.reshape(tuple(x_shape))


def _counts(
    spatial: Window,
    out: Window,
    kernel: Window,
    stride: Window,
    padding: Window,
    exclusive: bool,
    divisor: int | None,
) -> np.ndarray:
    """What each window's sum is divided by, [1, 1, positions...]."""
    total = np.ones((1, 1, *(1 for _ in out)))
    for i, n in enumerate(out):
        low, high = padding[2 * i], padding[2 * i + 1]
        start = np.arange(n) * stride[i] - low
        end = np.minimum(start + kernel[i], spatial[i] + high)
        if exclusive:
            start, end = np.maximum(start, 0), np.minimum(end, spatial[i])
        total = total * (end - start).reshape([-1 if j == i + 2 else 1 for j in range(total.ndim)])
    return np.full_like(total, divisor) if divisor else total


def avg_pool(
    x: np.ndarray,
    *,
    kernel: Window,
    stride: Window,
    padding: Window,
    ceil_mode: bool = False,
    exclusive: bool = True,
    divisor: int | None = None,
) -> np.ndarray:
    """Mean of each window. `exclusive`: padding does not count; `divisor` replaces the count."""
    ones = (1,) * len(kernel)
    spatial = x.shape[2:]
    out = output_sizes(spatial, kernel, stride, padding, ones, ceil_mode)
    padded = _padded(x, out, kernel, stride, padding, ones, 0)
    total: Any = 0
    for _, value in _taps(padded, out, kernel, stride, ones):
        total = total + value
    counts = _counts(spatial, out, kernel, stride, padding, exclusive, divisor)
    return (total / counts).astype(x.dtype)


def avg_pool_grad(
    g: np.ndarray,
    *,
    x_shape: Window,
    kernel: Window,
    stride: Window,
    padding: Window,
    ceil_mode: bool = False,
    exclusive: bool = True,
    divisor: int | None = None,
) -> np.ndarray:
    """Each gradient spread evenly over its window."""
    ones = (1,) * len(kernel)
    spatial = tuple(x_shape[2:])
    out = g.shape[2:]
    share = g / _counts(spatial, out, kernel, stride, padding, exclusive, divisor).astype(g.dtype)
    padded = _padded(np.zeros(tuple(x_shape), g.dtype), out, kernel, stride, padding, ones, 0)
    for _, value in _taps(padded, out, kernel, stride, ones):
        value += share
    where = tuple(slice(padding[2 * i], padding[2 * i] + n) for i, n in enumerate(spatial))
    return padded[(slice(None), slice(None), *where)].copy()
