"""Resampling of spatial axes: nearest, linear and cubic interpolation, and its transpose.

Interpolation is separable: along one axis every output element is a weighted sum of a few input
elements, whose places and weights depend on the sizes alone. Arrays are [N, C, spatial...].
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

CUBIC = -0.75
"""The free parameter of cubic convolution, as PyTorch, Paddle and ONNX's default have it."""


@lru_cache(maxsize=256)
def taps(
    size: int, count: int, scale: float | None, mode: str, transform: str
) -> tuple[np.ndarray, np.ndarray]:
    """Places (int64) and weights (float64) of the elements that each of `count` outputs sees.

    Args:
        size: elements of the input axis.
        count: elements of the output axis.
        scale: outputs per input, or None for count / size.
        mode: "nearest", "linear" or "cubic".
        transform: how output element i lies over the input: "half_pixel" (i + 0.5) / scale - 0.5,
            "asymmetric" i / scale, "align_corners" with first and last elements on each other.

    Returns:
        Two arrays [count, taps]. Source of the cubic weights: Keys, IEEE TASSP 29 (1981).
    """
    at = np.arange(count, dtype=np.float64)
    ratio = size / count if scale is None else 1.0 / scale
    if transform == "align_corners":
        at = at * ((size - 1) / (count - 1) if count > 1 else 0.0)
    elif transform == "half_pixel":
        at = (at + 0.5) * ratio - 0.5
    else:
        at = at * ratio
    if mode == "nearest":
        # Rounding noise must not push an exact position below its element.
        first = np.floor(at + 1e-9).astype(np.int64)[:, None]
        return np.clip(first, 0, size - 1), np.ones((count, 1))
    first = np.floor(at).astype(np.int64)
    part = at - first
    if mode == "linear":
        places = first[:, None] + np.arange(2)
        weights = np.stack([1 - part, part], 1)
    else:
        places = first[:, None] + np.arange(-1, 3)
        weights = np.stack([_far(part + 1), _near(part), _near(1 - part), _far(2 - part)], axis=1)
    return np.clip(places, 0, size - 1), weights


def _near(d: np.ndarray) -> np.ndarray:
    return ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1


def _far(d: np.ndarray) -> np.ndarray:
    return CUBIC * (((d - 5) * d + 8) * d - 4)


def interpolate(
    x: np.ndarray,
    *,
    sizes: Sequence[int],
    scales: Sequence[float | None],
    mode: str,
    transform: str,
) -> np.ndarray:
    """x at other spatial sizes."""
    for axis, (count, scale) in enumerate(zip(sizes, scales, strict=True), 2):
        places, weights = taps(x.shape[axis], count, scale, mode, transform)
        shape = [1] * x.ndim
        shape[axis] = count
        total = None
        for t in range(places.shape[1]):
            part = np.take(x, places[:, t], axis=axis)
            if mode != "nearest":
                part = part * weights[:, t].astype(x.dtype).reshape(shape)
            total = part if total is None else total + part
        x = total if total is not None else x
    return np.array(x)


def interpolate_grad(
    g: np.ndarray,
    *,
    x_shape: Sequence[int],
    scales: Sequence[float | None],
    mode: str,
    transform: str,
) -> np.ndarray:
    """Each gradient given to the elements it came from, by their weights."""
    for axis, scale in reversed(list(enumerate(scales, 2))):
        size = x_shape[axis]
        places, weights = taps(size, g.shape[axis], scale, mode, transform)
        rows = np.moveaxis(g, axis, 0)
        total = np.zeros((size, *rows.shape[1:]), g.dtype)
        for t in range(places.shape[1]):
            w = weights[:, t].astype(g.dtype).reshape(-1, *[1] * (rows.ndim - 1))
            np.add.at(total, places[:, t], rows * w)
        g = np.moveaxis(total, 0, axis)
    return np.array(g)
