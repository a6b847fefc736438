"""Resampling of spatial axes: nearest, linear, cubic and smoothed interpolation, and its transpose.

Interpolation is separable: along one axis every output element is a weighted sum of a few input
elements, whose places and weights depend on the sizes alone; the transpose is such a sum, too.
Arrays are [N, C, spatial...] and results lie in memory as inputs do. The vector code is in
`resample_simd.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels import resample_simd as code
from dyn.kernels.layout import dense
from dyn.kernels.runtime import drive
from dyn.kernels.runtime.drive import Launch
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import scratch

GRAIN = 16384
"""Numbers read or written that are worth a chunk."""

CUBIC = -0.75
"""The free parameter of cubic convolution, as PyTorch, Paddle and ONNX's default have it."""
SMOOTH_CUBIC = -0.5
"""That of smoothed cubics, as PyTorch and Pillow have it."""
REACH = {"smooth-linear": 1, "smooth-cubic": 2}
"""How far the weights of a smoothed axis reach, in elements of the longer axis of the two."""


@lru_cache(maxsize=256)
def taps(
    size: int, count: int, scale: float | None, mode: str, transform: str
) -> tuple[np.ndarray, np.ndarray]:
    """Places (int64) and weights (float64) of the elements that each of `count` outputs sees.

    Args:
        size: elements of the input axis.
        count: elements of the output axis.
        scale: outputs per input, or None for count / size.
        mode: "nearest", "linear", "cubic", or "smooth-linear" and "smooth-cubic", whose weights
            reach over all that an output stands for where there are fewer outputs than inputs.
        transform: how output element i lies over the input: "half_pixel" (i + 0.5) / scale - 0.5,
            "asymmetric" i / scale, "align_corners" with first and last elements on each other.

    Returns:
        Two arrays [count, taps]. Source of the cubic weights: Keys, IEEE TASSP 29 (1981).
    """
    if mode in REACH:
        return _smooth_taps(size, count, scale, mode, transform)
    at = np.arange(count, dtype=np.float64)
    ratio = _ratio(size, count, scale, transform)
    at = (at + 0.5) * ratio - 0.5 if transform == "half_pixel" else at * ratio
    if mode == "nearest":
        # Centres lie half an element in. Rounding noise must not push a position below its element.
        half = 0.5 if transform == "half_pixel" else 0.0
        first = np.floor(at + half + 1e-9).astype(np.int64)[:, None]
        return np.clip(first, 0, size - 1), np.ones((count, 1))
    first = np.floor(at).astype(np.int64)
    part = at - first
    if mode == "linear":
        places = first[:, None] + np.arange(2)
        weights = np.stack([1 - part, part], 1)
    else:
        places = first[:, None] + np.arange(-1, 3)
        near, far = _cubic_near, _cubic_far
        weights = np.stack([far(part + 1), near(part), near(1 - part), far(2 - part)], axis=1)
    return np.clip(places, 0, size - 1), weights


def _ratio(size: int, count: int, scale: float | None, transform: str) -> float:
    """Inputs per output."""
    if transform == "align_corners":
        return (size - 1) / (count - 1) if count > 1 else 0.0
    return size / count if scale is None else 1.0 / scale


def _smooth_taps(
    size: int, count: int, scale: float | None, mode: str, transform: str
) -> tuple[np.ndarray, np.ndarray]:
    """`taps` of a smoothed axis: weights by the distance of centres, that add up to 1.

    Aligned corners change the ratio alone, as in PyTorch. Nothing beyond the ends counts.
    """
    ratio = _ratio(size, count, scale, transform)
    wide = max(ratio, 1.0)
    centre = (np.arange(count) + 0.5) * ratio
    low = np.floor(centre - REACH[mode] * wide + 0.5).astype(np.int64)
    most = min(math.ceil(2 * REACH[mode] * wide) + 1, size)
    # What would begin before the axis begins with it: there are then enough taps up to the reach.
    places = np.clip(low, 0, size - most)[:, None] + np.arange(most)
    distance = np.abs(places + 0.5 - centre[:, None]) / wide
    weights = np.maximum(1 - distance, 0.0)
    if mode == "smooth-cubic":
        inside = np.where(distance < 2, _cubic_far(distance, SMOOTH_CUBIC), 0.0)
        weights = np.where(distance < 1, _cubic_near(distance, SMOOTH_CUBIC), inside)
    # What counts nothing is not read, as it may be infinite.
    heaviest = np.take_along_axis(places, weights.argmax(axis=1, keepdims=True), 1)
    places = np.where(weights == 0, heaviest, places)
    return places, weights / weights.sum(axis=1, keepdims=True)


def _cubic_near(d: np.ndarray, a: float = CUBIC) -> np.ndarray:
    """Weight of an element at a distance of up to 1."""
    return ((a + 2) * d - (a + 3)) * d * d + 1


def _cubic_far(d: np.ndarray, a: float = CUBIC) -> np.ndarray:
    """Weight of an element at a distance of 1 to 2."""
    return a * (((d - 5) * d + 8) * d - 4)


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
    transposed: bool,
    dtype: np.dtype,
) -> _Axis:
    """Tables of an axis of `size` inputs and `count` outputs; `transposed` for the gradient."""
    places, weights = taps(size, count, scale, mode, transform)
    outputs = np.repeat(np.arange(count), places.shape[1])
    inputs, weights = places.reshape(-1), weights.reshape(-1)
    if transposed:
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


class _Pass(NamedTuple):
    """A run over one axis or two; `axes` are kept because the launch holds their addresses."""

    launch: Launch
    chunks: int
    space: int
    """Bytes of a chunk's scratch."""
    shape: tuple[int, ...]
    order: str
    """How the result lies in memory."""
    axes: tuple[_Axis, _Axis]


def _pass(planes: int, inner: int, rows: _Axis, columns: _Axis, dtype: np.dtype) -> _Pass:
    """Images [planes, rows, columns, inner] resampled along rows and columns."""
    combine, columns_of = code.CODES[dtype]
    shape = planes, rows.count, columns.count, inner
    read, made = planes * rows.size * columns.size * inner, math.prod(shape)
    per_plane = -(-rows.count // code.BAND)
    chunks = min(planes * per_plane, drive.chunks_of(max(read, made), GRAIN)) if made else 0
    lines = min(rows.size, code.BAND + int(rows.words[code.TAPS]) + 1)
    space = max(lines * columns.count, columns.size) * inner * dtype.itemsize
    launch = Launch(
        [(code.bands, chunks)], 3, space, planes, rows.size, columns.size, rows.count,
        columns.count, inner, dtype.itemsize, id(rows.words), id(columns.words), combine.address,
        columns_of.address,
    )  # fmt: skip
    return _Pass(launch, chunks, space, shape, "C", (rows, columns))


@lru_cache(1024)
def _passes(
    images: tuple[int, int],
    spatial: tuple[int, ...],
    counts: tuple[int, ...],
    scales: tuple[float | None, ...],
    mode: str,
    transform: str,
    transposed: bool,
    dtype: np.dtype,
    last: bool,
) -> list[_Pass]:
    """The passes from spatial sizes to others, by the arguments of `interpolate`.

    Args:
        images: N and C.
        transposed: for the gradient, from `counts` to `spatial`.
        last: whether images lie channels last.
    """
    axes = [
        _axis(size, count, scale, mode, transform, transposed, dtype)
        for size, count, scale in zip(spatial, counts, scales, strict=True)
    ]
    samples, inner = images if last else (images[0] * images[1], 1)
    left, passes = list(axes), []
    while left:
        # The last two axes at once, then one by one, with all behind it as one run.
        columns = left.pop() if len(left) == len(axes) else None
        rows = left.pop() if left else _kept(1)
        planes = samples * math.prod(axis.size for axis in axes[: len(left)])
        if columns is None:
            columns = _kept(math.prod(axis.count for axis in axes[len(left) + 1 :]))
        passes.append(_pass(planes, inner, rows, columns, dtype))
    shape = (*images, *(axis.count for axis in axes))
    passes[-1] = passes[-1]._replace(shape=shape, order="channels_last" if last else "C")
    return passes


def _resampled(
    x: np.ndarray,
    spatial: Any,
    counts: Any,
    scales: Any,
    mode: str,
    transform: str,
    *,
    transposed: bool,
) -> np.ndarray:
    """x along all spatial axes, in the memory layout of x."""
    if x.dtype not in code.CODES:
        wide = x.astype(np.float32)
        given = spatial, counts, scales, mode, transform
        return _resampled(wide, *given, transposed=transposed).astype(x.dtype)
    x = dense(x)
    last = x.ndim > 2 and not x.flags.c_contiguous
    sizes = tuple(spatial), tuple(counts), tuple(scales)
    for one in _passes(x.shape[:2], *sizes, mode, transform, transposed, x.dtype, last):
        out = empty(one.shape, x.dtype, one.order)
        one.launch(x, out, scratch(one.space, one.chunks))
        x = out
    return x


def interpolate(
    x: np.ndarray,
    *,
    sizes: Sequence[int],
    scales: Sequence[float | None],
    mode: str,
    transform: str,
) -> np.ndarray:
    """x at other spatial sizes."""
    return _resampled(x, x.shape[2:], sizes, scales, mode, transform, transposed=False)


def interpolate_grad(
    g: np.ndarray,
    *,
    x_shape: Sequence[int],
    scales: Sequence[float | None],
    mode: str,
    transform: str,
) -> np.ndarray:
    """Each gradient given to the elements it came from, by their weights."""
    return _resampled(g, x_shape[2:], g.shape[2:], scales, mode, transform, transposed=True)
