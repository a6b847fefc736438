"""Elements moved between channels and spatial axes: pixel shuffling, windows to columns and back.

Arrays are [N, C, H, W]; padding is (top, bottom, left, right).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from dyn.kernels.copy import contiguous, place
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import instances
from dyn.kernels.runtime.memory import empty, maker
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.shape import pad, strided
from dyn.kernels.vector.runs import pointer

GRAIN = 16384
"""Additions worth a chunk."""
ZERO = np.float32(0)
"""Stands for the numbers of the elements' type: that of an instance below."""


def _moved(
    apart: tuple[int, ...], order: tuple[int, ...], shape: tuple[int, ...], dtype: np.dtype
) -> Callable[[np.ndarray], np.ndarray]:
    """What gives an array the axes `apart`, brings them into another order and joins them."""
    make, dealt = maker(shape, dtype), tuple([apart[a] for a in order])

    def run(x: np.ndarray) -> np.ndarray:
        out = make()
        place(out.reshape(dealt), x.reshape(apart).transpose(order))
        return out

    return run


@lru_cache(1024)
def pixel_shuffle_of(
    shape: tuple[int, ...], dtype: np.dtype, factor: int
) -> Callable[[np.ndarray], np.ndarray]:
    """`pixel_shuffle` for arrays of a shape."""
    (n, c, h, w), r = shape, factor
    c //= r * r
    return _moved((n, c, r, r, h, w), (0, 1, 4, 2, 5, 3), (n, c, h * r, w * r), dtype)


def pixel_shuffle(x: np.ndarray, factor: int) -> np.ndarray:
    """[N, C * r * r, H, W] as [N, C, H * r, W * r]."""
    return pixel_shuffle_of(x.shape, x.dtype, factor)(x)


@lru_cache(1024)
def pixel_unshuffle_of(
    shape: tuple[int, ...], dtype: np.dtype, factor: int
) -> Callable[[np.ndarray], np.ndarray]:
    """`pixel_unshuffle` for arrays of a shape."""
    (n, c, h, w), r = shape, factor
    h, w = h // r, w // r
    return _moved((n, c, h, r, w, r), (0, 1, 3, 5, 2, 4), (n, c * r * r, h, w), dtype)


def pixel_unshuffle(x: np.ndarray, factor: int) -> np.ndarray:
    """[N, C, H * r, W * r] as [N, C * r * r, H, W]."""
    return pixel_unshuffle_of(x.shape, x.dtype, factor)(x)


def unfold(
    x: np.ndarray,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    out: Sequence[int],
) -> np.ndarray:
    """The windows of x as columns: [N, C * kh * kw, windows]."""
    n, c = x.shape[:2]
    top, bottom, left, right = padding
    if any(padding):
        x = pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), "constant", 0)
    count = kernel[0] * kernel[1]
    steps, views = x.strides, (n, c, *kernel, *out)
    columns = empty(views, x.dtype)
    (sh, sw), (dh, dw) = stride, dilation
    by = (dh * steps[2], dw * steps[3], sh * steps[2], sw * steps[3])
    windows = strided(x, views, (*steps[:2], *by))
    place(columns, windows)
    return columns.reshape(n, c * count, out[0] * out[1])


def fold(
    x: np.ndarray,
    *,
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    out: Sequence[int],
) -> np.ndarray:
    """Columns added back to where `unfold` took them from: [N, C, *sizes]."""
    if x.dtype not in _FOLD:
        given: dict[str, Any] = {"sizes": sizes, "kernel": kernel, "stride": stride}
        given |= {"padding": padding, "dilation": dilation, "out": out}
        if x.dtype.kind == "c":
            return (fold(x.real, **given) + 1j * fold(x.imag, **given)).astype(x.dtype)
        wide = np.int64 if x.dtype.kind in "iub" else np.float32
        return fold(x.astype(wide), **given).astype(x.dtype)
    n, c = x.shape[0], x.shape[1] // (kernel[0] * kernel[1])
    total = empty((n, c, *sizes), x.dtype)
    numbers = (*sizes, *kernel, *stride, *dilation, padding[0], padding[2], *out)
    _fold_plan(x.dtype, n * c, numbers)(contiguous(x), total)
    return total


def _fold(args, chunk, chunks):
    """Adds the columns of images up, image by image.

    Words: (columns, images; their number, then pairs (along y, along x): sizes, kernel, stride,
    dilation, padding before, windows).
    """
    height, width, kh, kw = (argument(args, 3), argument(args, 4), argument(args, 5),
                             argument(args, 6))  # fmt: skip
    sh, sw, dh, dw = argument(args, 7), argument(args, 8), argument(args, 9), argument(args, 10)
    top, left, oh, ow = (argument(args, 11), argument(args, 12), argument(args, 13),
                         argument(args, 14))  # fmt: skip
    start, stop = bounds(argument(args, 2), chunk, chunks, 1)
    columns, images = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), ZERO)
    for image in range(start, stop):
        into, source = image * height * width, image * kh * kw * oh * ow
        for pixel in range(into, into + height * width):
            images[pixel] = ZERO
        for i in range(kh):
            for j in range(kw):
                # The windows whose element at (i, j) lies within a row.
                first = j * dw - left
                low = max(0, (sw - 1 - first) // sw)
                high = min(ow, (width - 1 - first) // sw + 1)
                for y in range(oh):
                    row = i * dh - top + y * sh
                    if 0 <= row < height:
                        at, pixel = source + y * ow, into + row * width + first
                        for k in range(low, high):
                            images[pixel + k * sw] += columns[at + k]
                source += oh * ow


_FOLD = instances("fold", _fold, "f4 f8 i8")


@lru_cache(1024)
def _fold_plan(dtype: np.dtype, images: int, numbers: tuple[int, ...]) -> Launch:
    height, width, kh, kw, *_, oh, ow = numbers
    work = images * (height * width + kh * kw * oh * ow)
    chunks = max(1, min(images, chunks_of(work, GRAIN)))
    return Launch([(_FOLD[dtype], chunks)], 2, images, *numbers)
