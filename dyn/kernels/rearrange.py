"""Elements moved between channels and spatial axes: pixel shuffling, windows to columns and back.

Arrays are [N, C, H, W]; padding is (top, bottom, left, right).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dyn.kernels.copy import contiguous, place
from dyn.kernels.runtime.memory import empty
from dyn.kernels.shape import pad, strided


def pixel_shuffle(x: np.ndarray, factor: int) -> np.ndarray:
    """[N, C * r * r, H, W] as [N, C, H * r, W * r]."""
    n, c, h, w = x.shape
    r = factor
    blocks = x.reshape(n, c // (r * r), r, r, h, w).transpose(0, 1, 4, 2, 5, 3)
    return contiguous(blocks).reshape(n, c // (r * r), h * r, w * r)


def pixel_unshuffle(x: np.ndarray, factor: int) -> np.ndarray:
    """[N, C, H * r, W * r] as [N, C * r * r, H, W]."""
    n, c, h, w = x.shape
    r = factor
    blocks = x.reshape(n, c, h // r, r, w // r, r).transpose(0, 1, 3, 5, 2, 4)
    return contiguous(blocks).reshape(n, c * r * r, h // r, w // r)


def _places(
    kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], out: Sequence[int]
):
    """For each place in the window: its number among the places, and the slices it sees."""
    (kh, kw), (sh, sw), (dh, dw), (oh, ow) = kernel, stride, dilation, out
    for i in range(kh):
        for j in range(kw):
            rows = slice(i * dh, i * dh + (oh - 1) * sh + 1, sh)
            columns = slice(j * dw, j * dw + (ow - 1) * sw + 1, sw)
            yield i * kw + j, rows, columns


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
    n = x.shape[0]
    count = kernel[0] * kernel[1]
    c = x.shape[1] // count
    columns = x.reshape(n, c, count, *out)
    top, bottom, left, right = padding
    total = np.zeros((n, c, sizes[0] + top + bottom, sizes[1] + left + right), x.dtype)
    for number, rows, cols in _places(kernel, stride, dilation, out):
        total[:, :, rows, cols] += columns[:, :, number]
    return total[:, :, top : top + sizes[0], left : left + sizes[1]].copy()
