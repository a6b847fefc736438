"""Convolution and its adjoints written out with numpy: the references of the convolution tests.

Any number of spatial axes; arguments as in `dyn.kernels.conv`. Computed in float64.
"""

from __future__ import annotations

import itertools

import numpy as np


def padded(x, padding):
    pairs = [(padding[2 * i], padding[2 * i + 1]) for i in range(x.ndim - 2)]
    return np.pad(x, [(0, 0), (0, 0), *pairs])


def taps(window, sizes, stride, dilation):
    """Each position in the window, and the slices of the padded input that it meets."""
    for tap in itertools.product(*(range(k) for k in window)):
        yield (
            tap,
            tuple(
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(tap, dilation, sizes, stride, strict=True)
            ),
        )


def reference_conv(x, w, bias, stride, padding, dilation, groups):
    x, w = padded(x.astype(float), padding), w.astype(float)
    sizes = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], w.shape[2:], stride, dilation, strict=True)
    ]
    parts = []
    for xg, wg in zip(np.split(x, groups, 1), np.split(w, groups, 0), strict=True):
        part = np.zeros((x.shape[0], wg.shape[0], *sizes))
        for tap, where in taps(w.shape[2:], sizes, stride, dilation):
            seen = xg[(slice(None), slice(None), *where)]
            part += np.einsum("nc...,oc->no...", seen, wg[(..., *tap)])
        parts.append(part)
    y = np.concatenate(parts, 1)
    return y if bias is None else y + bias.astype(float).reshape(-1, *[1] * len(sizes))


def reference_conv_transpose(x, w, size, stride, padding, dilation, groups):
    x, w = x.astype(float), w.astype(float)
    full = padded(np.zeros((x.shape[0], w.shape[1] * groups, *size)), padding)
    ci = w.shape[1]
    for i, (xg, wg) in enumerate(zip(np.split(x, groups, 1), np.split(w, groups, 0), strict=True)):
        for tap, where in taps(w.shape[2:], x.shape[2:], stride, dilation):
            target = (slice(None), slice(i * ci, (i + 1) * ci), *where)
            full[target] += np.einsum("no...,oc->nc...", xg, wg[(..., *tap)])
    inner = [slice(padding[2 * i], padding[2 * i] + n) for i, n in enumerate(size)]
    return full[(slice(None), slice(None), *inner)]


def reference_conv_grad_w(g, x, window, stride, padding, dilation, groups):
    x, g = padded(x.astype(float), padding), g.astype(float)
    parts = []
    for xg, gg in zip(np.split(x, groups, 1), np.split(g, groups, 1), strict=True):
        part = np.zeros((gg.shape[1], xg.shape[1], *window))
        for tap, where in taps(window, g.shape[2:], stride, dilation):
            seen = xg[(slice(None), slice(None), *where)]
            axes = (0, *range(2, x.ndim))
            part[(..., *tap)] = np.tensordot(gg, seen, (axes, axes))
        parts.append(part)
    return np.concatenate(parts, 0)
