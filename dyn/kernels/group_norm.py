"""Normalisation of groups of channels, and sums over neighbouring channels.

Group norm treats [N, C, ...] as rows of C / groups channels with all their positions; instance norm
is group norm with one channel per group.
"""

from __future__ import annotations

import math

import numpy as np


def _rows(x: np.ndarray, groups: int) -> np.ndarray:
    """[N, groups, everything of a group]."""
    return x.reshape(x.shape[0], groups, math.prod(x.shape[1:]) // groups)


def _column(v: np.ndarray, ndim: int) -> np.ndarray:
    """[C] shaped to broadcast against [N, C, ...]."""
    return v.reshape((1, -1) + (1,) * (ndim - 2))


def group_norm(
    x: np.ndarray, w: np.ndarray | None, b: np.ndarray | None, *, groups: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(out, mean [N, groups], rstd [N, groups])."""
    rows = _rows(x, groups)
    mean = rows.mean(axis=2)
    centred = rows - mean[:, :, None]
    rstd = 1 / np.sqrt((centred * centred).mean(axis=2) + x.dtype.type(epsilon))
    out = (centred * rstd[:, :, None]).reshape(x.shape)
    if w is not None:
        out = out * _column(w, x.ndim)
    if b is not None:
        out = out + _column(b, x.ndim)
    return out, mean, rstd


def group_norm_grad(
    g: np.ndarray,
    x: np.ndarray,
    w: np.ndarray | None,
    mean: np.ndarray,
    rstd: np.ndarray,
    *,
    groups: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gx, gw [C], gb [C])."""
    axes = (0, *range(2, x.ndim))
    normal = (_rows(x, groups) - mean[:, :, None]) * rstd[:, :, None]
    gw = (g * normal.reshape(x.shape)).sum(axis=axes)
    gb = g.sum(axis=axes)
    scaled = _rows(g if w is None else g * _column(w, x.ndim), groups)
    inner = (scaled * normal).mean(axis=2, keepdims=True)
    outer = scaled.mean(axis=2, keepdims=True)
    gx = rstd[:, :, None] * (scaled - outer - normal * inner)
    return gx.reshape(x.shape), gw, gb


def channel_window_sum(x: np.ndarray, *, low: int, high: int) -> np.ndarray:
    """out[:, c] = x[:, c - low] + ... + x[:, c + high], channels beyond the ends being zero."""
    out = np.zeros_like(x)
    channels = x.shape[1]
    for shift in range(-low, high + 1):
        first, last = max(0, -shift), min(channels, channels - shift)
        if first < last:
            out[:, first:last] += x[:, first + shift : last + shift]
    return out
