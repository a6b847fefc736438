"""Normalisation of groups of channels, and sums over neighbouring channels.

Images that lie plane by plane have kernels of their own (`group_norm_rows.py`). For those that lie
channels last sums are made per sample and channel by the formulas of `batch_norm.py` and put
together by group. Instance norm is group norm with one channel per group.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.kernels import group_norm_rows
from dyn.kernels.batch_norm import FLOATS, FORMULAS, GX, MOMENTS, OUT, G, Image, X
from dyn.kernels.layout import dense, like
from dyn.kernels.memory import empty_like

_APPLY, _PROJECT, _GRADIENT = FORMULAS[False, False]


def _statistics(x: np.ndarray, image: Image, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of every group [N, groups, 1], in float64."""
    n = image.samples
    if not x.size:
        return np.zeros((n, groups, 1)), np.zeros((n, groups, 1))
    shift = x[(slice(None), slice(None), *[0] * (x.ndim - 2))].astype(np.float64)
    sums = MOMENTS.planes(image, {X: x}, image.numbers(x.dtype, shift)) / image.size
    means = (shift + sums[:, :, 0]).reshape(n, groups, -1)
    within = np.maximum(sums[:, :, 1] - sums[:, :, 0] ** 2, 0).reshape(n, groups, -1)
    mean = means.mean(axis=2, keepdims=True)
    return mean, (within + (means - mean) ** 2).mean(axis=2, keepdims=True)


def _by_group(w: np.ndarray | None, groups: int) -> Any:
    """A vector [C] as [groups, channels of a group]; 1 if there is none."""
    return 1.0 if w is None else w.reshape(groups, -1)


def _table(image: Image, groups: int, dtype: Any, *constants: Any) -> np.ndarray:
    """Constants [N, groups, channels of a group], each size perhaps 1, as `planes` takes them."""
    sizes = image.samples, groups, image.channels // max(groups, 1)
    made = np.empty((*sizes, len(constants)), dtype)
    for k, constant in enumerate(constants):
        made[..., k] = constant
    return made.reshape(image.samples, image.channels, len(constants))


def group_norm(
    x: np.ndarray, w: np.ndarray | None, b: np.ndarray | None, *, groups: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(out, mean [N, groups], rstd [N, groups])."""
    if x.dtype not in FLOATS:
        wide = (None if v is None else v.astype(np.float32) for v in (x, w, b))
        made = group_norm(next(wide), next(wide), next(wide), groups=groups, epsilon=epsilon)
        return made[0].astype(x.dtype), made[1].astype(x.dtype), made[2].astype(x.dtype)
    x = dense(x)
    image = Image(x)
    if x.size and not image.last:
        return group_norm_rows.forward(x, w, b, groups, epsilon)
    mean, var = _statistics(x, image, groups)
    rstd = 1 / np.sqrt(var + epsilon)
    out = empty_like(x)
    if x.size:
        factor = rstd * _by_group(w, groups)
        shift = -mean * factor
        shift = shift if b is None else shift + _by_group(b, groups)
        _APPLY.planes(image, {X: x, OUT: out}, _table(image, groups, x.dtype, factor, shift))
    return out, mean.astype(x.dtype)[:, :, 0], rstd.astype(x.dtype)[:, :, 0]


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
    if x.size and not image.last:
        return group_norm_rows.backward(g, x, w, mean, rstd, groups)
    gx = empty_like(x)
    if not x.size:
        none = np.zeros(image.channels, x.dtype)
        return gx, none, none
    middle, spread = (v.astype(np.float64)[:, :, None] for v in (mean, rstd))
    weight = _by_group(w, groups)
    arrays = {X: x, G: g}
    sums = _PROJECT.planes(image, arrays, _table(image, groups, x.dtype, 0, 0, middle))
    plain, centred = np.moveaxis(sums, 2, 0).reshape(2, image.samples, groups, -1)
    # gx = factor * g - rstd * mean(w g) - rstd^3 * mean(w g (x - mean)) * (x - mean).
    own = spread / (image.size * image.channels // groups)
    slope = -own * spread * spread * (centred * weight).sum(axis=2, keepdims=True, dtype=np.float64)
    offset = -own * (plain * weight).sum(axis=2, keepdims=True, dtype=np.float64) - slope * middle
    constants = _table(image, groups, x.dtype, spread * weight, 0, slope, offset)
    _GRADIENT.planes(image, {**arrays, GX: gx}, constants)
    gw = (centred * spread).sum(axis=0).reshape(-1)
    gb = plain.sum(axis=0, dtype=np.float64).reshape(-1)
    return gx, gw.astype(x.dtype), gb.astype(x.dtype)


def channel_window_sum(x: np.ndarray, *, low: int, high: int) -> np.ndarray:
    """out[:, c] = x[:, c - low] + ... + x[:, c + high], channels beyond the ends being zero."""
    out = np.zeros_like(x)
    channels = x.shape[1]
    for shift in range(-low, high + 1):
        first, last = max(0, -shift), min(channels, channels - shift)
        if first < last:
            out[:, first:last] += x[:, first + shift : last + shift]
    return out
