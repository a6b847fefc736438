"""Normalisation of groups of channels, and sums over neighbouring channels.

Sums are made per sample and channel by the formulas of `batch_norm.py` and put together by group;
instance norm is group norm with one channel per group.
"""

from __future__ import annotations

import numpy as np

from dyn.kernels.batch_norm import FLOATS, FORMULAS, GX, MOMENTS, OUT, G, Image, X
from dyn.kernels.layout import dense, like
from dyn.kernels.memory import empty_like

_APPLY, _PROJECT, _GRADIENT = FORMULAS[False, False]


def _by_group(v: np.ndarray, groups: int) -> np.ndarray:
    """[N, C] as [N, groups, channels of a group]."""
    n, c = v.shape
    return v.reshape(n, groups, c // groups)


def _by_channel(v: np.ndarray, channels: int) -> np.ndarray:
    """[N, groups] repeated for the channels of each group: [N, C]."""
    return np.repeat(v, channels // max(v.shape[1], 1), axis=1)


def _statistics(x: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of every group [N, groups], in float64."""
    image = Image(x)
    if not x.size:
        return np.zeros((image.samples, groups)), np.zeros((image.samples, groups))
    shift = x[(slice(None), slice(None), *[0] * (x.ndim - 2))].astype(np.float64)
    sums = MOMENTS.planes(image, {X: x}, shift[None]).astype(np.float64) / image.size
    means = _by_group(shift + sums[0], groups)
    within = _by_group(np.maximum(sums[1] - sums[0] ** 2, 0), groups)
    mean = means.mean(axis=2)
    return mean, (within + (means - mean[:, :, None]) ** 2).mean(axis=2)


def _scaled(w: np.ndarray | None, rstd: np.ndarray, channels: int) -> np.ndarray:
    """What every channel of every sample is multiplied by."""
    wide = _by_channel(rstd, channels)
    return wide if w is None else wide * w


def group_norm(
    x: np.ndarray, w: np.ndarray | None, b: np.ndarray | None, *, groups: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(out, mean [N, groups], rstd [N, groups])."""
    if x.dtype not in FLOATS:
        wide = (None if v is None else v.astype(np.float32) for v in (x, w, b))
        made = group_norm(next(wide), next(wide), next(wide), groups=groups, epsilon=epsilon)
        return made[0].astype(x.dtype), made[1].astype(x.dtype), made[2].astype(x.dtype)
    x = dense(x)
    channels = x.shape[1]
    mean, var = _statistics(x, groups)
    rstd = 1 / np.sqrt(var + epsilon)
    factor = _scaled(w, rstd, channels)
    shift = -_by_channel(mean, channels) * factor
    shift = shift if b is None else shift + b
    out = empty_like(x)
    if x.size:
        _APPLY.planes(Image(x), {X: x, OUT: out}, np.stack([factor, shift]))
    return out, mean.astype(x.dtype), rstd.astype(x.dtype)


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
    if x.dtype not in FLOATS:
        wide = [None if v is None else v.astype(np.float32) for v in (g, x, w, mean, rstd)]
        made = group_norm_grad(*wide, groups=groups)  # type: ignore[arg-type]
        return made[0].astype(x.dtype), made[1].astype(x.dtype), made[2].astype(x.dtype)
    x = dense(x)
    g = like(g, x)
    image = Image(x)
    channels = image.channels
    middle, spread = (_by_channel(v.astype(np.float64), channels) for v in (mean, rstd))
    factor = _scaled(w, rstd.astype(np.float64), channels)
    zeros = np.zeros_like(middle)
    sums = _PROJECT.planes(image, {X: x, G: g}, np.stack([zeros, zeros, middle]))
    plain, centred = sums.astype(np.float64)
    weight = 1.0 if w is None else w
    count = max(image.size * channels // groups, 1)

    def over_group(v: np.ndarray) -> np.ndarray:
        return _by_channel(_by_group(v * weight, groups).sum(axis=2), channels) / count

    # gx = factor * g - rstd * mean(w g) - rstd^3 * mean(w g (x - mean)) * (x - mean).
    slope = -(spread**3) * over_group(centred)
    offset = -spread * over_group(plain) - slope * middle
    gx = empty_like(x)
    if x.size:
        constants = np.stack([factor, zeros, slope, offset])
        _GRADIENT.planes(image, {X: x, G: g, GX: gx}, constants)
    gw = (centred * spread).sum(axis=0)
    return gx, gw.astype(x.dtype), plain.sum(axis=0).astype(x.dtype)


def channel_window_sum(x: np.ndarray, *, low: int, high: int) -> np.ndarray:
    """out[:, c] = x[:, c - low] + ... + x[:, c + high], channels beyond the ends being zero."""
    out = np.zeros_like(x)
    channels = x.shape[1]
    for shift in range(-low, high + 1):
        first, last = max(0, -shift), min(channels, channels - shift)
        if first < last:
            out[:, first:last] += x[:, first + shift : last + shift]
    return out
