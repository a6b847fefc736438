"""Resampling of spatial axes: nearest, linear and cubic interpolation, and its transpose.

Interpolation is separable: along one axis every output element is a weighted sum of a few input
elements, whose places and weights depend on the sizes alone; the transpose is such a sum, too.
Arrays are [N, C, spatial...] and results lie in memory as inputs do. The vector code is in
`resample_simd.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dyn.kernels import resample_simd as code
from dyn.kernels.layout import dense
from dyn.kernels.runtime import drive
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import scratch

GRAIN = 16384
"""Numbers read or written that are worth a chunk."""

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


# ---- tables ------------------------------------------------------------------------------------


class _Axis(NamedTuple):
    """What the outputs of an axis take; `words` hold the addresses of `tables`, see `code`."""

    size: int
    count: int
    words: np.ndarray
    tables: tuple[np.ndarray, ...]


_KEPT = np.zeros(6, np.int64)


def _kept(size: int) -> _Axis:
    """An axis that stays as it is."""
    return _Axis(size, size, _KEPT, ())


@lru_cache(maxsize=256)
def _axis(
    size: int,
    count: int,
    scale: float | None,
    mode: str,
    transform: str,
    turned: bool,
    dtype: np.dtype,
) -> _Axis:
    """Tables of an axis of `size` inputs and `count` outputs; `turned` for the gradient."""
    places, weights = taps(size, count, scale, mode, transform)
    outputs = np.repeat(np.arange(count), places.shape[1])
    inputs, weights = places.reshape(-1), weights.reshape(-1)
    if turned:
        size, count = count, size
        outputs, inputs = inputs, outputs
    # What an output takes, and what an input is given to, are neighbours: from first to last.
    first = np.full(count, size)
    np.minimum.at(first, outputs, inputs)
    last = np.full(count, -1)
    np.maximum.at(last, outputs, inputs)
    number = np.maximum(last - first + 1, 0)
    first = np.where(number > 0, first, 0)
    most = max(int(number.max(initial=0)), 1)
    own = np.zeros((count, most))
    np.add.at(own, (outputs, inputs - first[outputs]), weights)
    padded = -(-count // code.GATHER) * code.GATHER
    wide = np.zeros((most, padded), dtype)
    wide[:, :count] = own.T
    # Where an output takes less than others its first input is read again, and left out.
    step = np.arange(most)[:, None]
    offsets = np.zeros((most, padded), np.int64)
    offsets[:, :count] = np.where(step < number, first + step, first) * dtype.itemsize
    limits = np.zeros(padded, dtype)
    limits[:count] = number
    spans = np.ascontiguousarray(np.stack([first, number], 1), np.int64)
    tables = (spans, own.astype(dtype), offsets, wide, limits)
    words = np.array([most, *(table.ctypes.data for table in tables)], np.int64)
    return _Axis(size, count, words, tables)


# ---- runs --------------------------------------------------------------------------------------


def _planes(x: np.ndarray, planes: int, inner: int, rows: _Axis, columns: _Axis) -> np.ndarray:
    """x, which lies as [planes, rows, columns, inner], resampled along rows and columns."""
    out = empty((planes, rows.count, columns.count, inner), x.dtype)
    if not out.size:
        return out
    combine, columns_of = code.CODES[x.dtype]
    per_plane = -(-rows.count // code.BAND)
    chunks = min(planes * per_plane, drive.chunks_of(max(x.size, out.size), GRAIN))
    lines = min(rows.size, code.BAND + int(rows.words[code.TAPS]) + 1)
    space = max(lines * columns.count, columns.size) * inner * x.itemsize
    memory = scratch(space, chunks)
    drive.run(
        code.bands, chunks, id(x), id(out), id(memory), space, planes, rows.size, columns.size,
        rows.count, columns.count, inner, x.itemsize, id(rows.words), id(columns.words),
        combine.address, columns_of.address,
    )  # fmt: skip
    return out


def _resampled(x: np.ndarray, axes: Sequence[_Axis]) -> np.ndarray:
    """x along all spatial axes, in the memory layout of x."""
    x = dense(x)
    shape, channels = x.shape[:2], x.shape[1]
    last = x.ndim > 2 and not x.flags.c_contiguous
    sizes = [axis.size for axis in axes]
    samples, inner = (shape[0], channels) if last else (shape[0] * channels, 1)
    left = list(axes)
    while left:
        # The last two axes at once, then one by one, with all behind it as one run.
        columns = left.pop() if len(left) == len(axes) else None
        rows = left.pop() if left else _kept(1)
        planes = samples * math.prod(sizes[: len(left)])
        if columns is None:
            columns = _kept(math.prod(axis.count for axis in axes[len(left) + 1 :]))
        x = _planes(x, planes, inner, rows, columns)
    counts = [axis.count for axis in axes]
    if not last:
        return x.reshape(*shape, *counts)
    x = x.reshape(shape[0], *counts, channels)
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


def interpolate(
    x: np.ndarray,
    *,
    sizes: Sequence[int],
    scales: Sequence[float | None],
    mode: str,
    transform: str,
) -> np.ndarray:
    """x at other spatial sizes."""
    if x.dtype not in code.CODES:
        wide = x.astype(np.float32)
        made = interpolate(wide, sizes=sizes, scales=scales, mode=mode, transform=transform)
        return made.astype(x.dtype)
    axes = [
        _axis(n, count, scale, mode, transform, False, x.dtype)
        for n, count, scale in zip(x.shape[2:], sizes, scales, strict=True)
    ]
    return _resampled(x, axes)


def interpolate_grad(
    g: np.ndarray,
    *,
    x_shape: Sequence[int],
    scales: Sequence[float | None],
    mode: str,
    transform: str,
) -> np.ndarray:
    """Each gradient given to the elements it came from, by their weights."""
    if g.dtype not in code.CODES:
        wide = g.astype(np.float32)
        made = interpolate_grad(
            wide, x_shape=x_shape, scales=scales, mode=mode, transform=transform
        )
        return made.astype(g.dtype)
    axes = [
        _axis(size, count, scale, mode, transform, True, g.dtype)
        for size, count, scale in zip(x_shape[2:], g.shape[2:], scales, strict=True)
    ]
    return _resampled(g, axes)
