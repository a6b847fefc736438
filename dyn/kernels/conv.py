"""Convolution over any number of spatial axes, its transpose and the gradient of its weight.

Arrays are [N, C, spatial...] and weights [Co, Ci / groups, window...]; padding is (low, high) per
axis, flattened. Nothing but choosing and calling kernels belongs here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

Sizes = Sequence[int]


def output_sizes(
    sizes: Sizes, window: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> tuple[int, ...]:
    """Number of window positions along each axis."""
    return tuple(
        (n + padding[2 * i] + padding[2 * i + 1] - dilation[i] * (window[i] - 1) - 1) // stride[i]
        + 1
        for i, n in enumerate(sizes)
    )


def conv(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
    activation: str | None = None,
) -> np.ndarray:
    """Cross-correlation of x [N, Ci, ...] with w [Co, Ci / groups, ...], plus bias [Co]."""
    window = w.shape[2:]
    out = output_sizes(x.shape[2:], window, stride, padding, dilation)
    x_last = _padded(x, padding)
    y = np.zeros((x.shape[0], *out, w.shape[0]), x.dtype)
    for tap, where in _taps(window, out, stride, dilation):
        for ins, outs in _groups(w, groups):
            y[..., outs] += x_last[where][..., ins] @ w[(outs, slice(None), *tap)].T
    if bias is not None:
        y += bias
    if activation == "relu":
        np.maximum(y, 0, out=y)
    return np.moveaxis(y, -1, 1)


def conv_transpose(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    size: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> np.ndarray:
    """Gradient of `conv` by its input: x [N, Co, ...] is spread to [N, Ci, *size], plus bias."""
    window = w.shape[2:]
    x_last = np.moveaxis(x, 1, -1)
    shape = [n + padding[2 * i] + padding[2 * i + 1] for i, n in enumerate(size)]
    full = np.zeros((x.shape[0], *shape, w.shape[1] * groups), x.dtype)
    for tap, where in _taps(window, x.shape[2:], stride, dilation):
        for ins, outs in _groups(w, groups):
            full[where][..., ins] += x_last[..., outs] @ w[(outs, slice(None), *tap)]
    inner = tuple(slice(padding[2 * i], padding[2 * i] + n) for i, n in enumerate(size))
    y = full[(slice(None), *inner)]
    return np.moveaxis(y if bias is None else y + bias, -1, 1)


def conv_grad_w(
    g: np.ndarray,
    x: np.ndarray,
    *,
    window: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> np.ndarray:
    """Gradient of `conv` by its weight, from the output's gradient g [N, Co, ...]."""
    w = np.zeros((g.shape[1], x.shape[1] // groups, *window), x.dtype)
    x_last = _padded(x, padding)
    g_last = np.moveaxis(g, 1, -1)
    for tap, where in _taps(window, g.shape[2:], stride, dilation):
        for ins, outs in _groups(w, groups):
            columns = g_last[..., outs].reshape(-1, outs.stop - outs.start)
            rows = x_last[where][..., ins].reshape(-1, ins.stop - ins.start)
            w[(outs, slice(None), *tap)] = columns.T @ rows
    return w


def _padded(x: np.ndarray, padding: Sizes) -> np.ndarray:
    """x with zeros around it, channels last."""
    pairs = [(padding[2 * i], padding[2 * i + 1]) for i in range(x.ndim - 2)]
    return np.pad(np.moveaxis(x, 1, -1), [(0, 0), *pairs, (0, 0)])


def _taps(
    window: Sizes, out: Sizes, stride: Sizes, dilation: Sizes
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Every position in the window, and where all windows see it in the padded input."""
    for tap in itertools.product(*(range(k) for k in window)):
        where = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s) if n else slice(0)
            for t, d, n, s in zip(tap, dilation, out, stride, strict=True)
        )
        yield tap, (slice(None), *where)


def _groups(w: np.ndarray, groups: int) -> Iterator[tuple[slice, slice]]:
    """Input and output channels of every group."""
    ci, co = w.shape[1], w.shape[0] // groups
    for i in range(groups):
        yield slice(i * ci, (i + 1) * ci), slice(i * co, (i + 1) * co)
