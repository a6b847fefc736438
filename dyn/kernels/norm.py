"""Normalisation: batch statistics, batch norm, layer norm and their gradients.

Batch norm works per channel (axis 1) of [N, C, ...], layer norm per row over trailing axes.
"""

from __future__ import annotations

import numpy as np


def _channels(x: np.ndarray) -> tuple[int, ...]:
    """The axes that batch norm reduces."""
    return (0, *range(2, x.ndim))


def _column(v: np.ndarray, ndim: int) -> np.ndarray:
    """[C] shaped to broadcast against [N, C, ...]."""
    return v.reshape((1, -1) + (1,) * (ndim - 2))


def batch_norm_stats(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance per channel."""
    axes = _channels(x)
    mean = x.mean(axis=axes)
    centred = x - _column(mean, x.ndim)
    return mean, (centred * centred).mean(axis=axes)


def batch_norm_apply(
    x: np.ndarray, scale: np.ndarray, shift: np.ndarray, *, activation: str | None = None
) -> np.ndarray:
    """x * scale + shift per channel."""
    out = x * _column(scale, x.ndim) + _column(shift, x.ndim)
    return np.maximum(out, 0) if activation == "relu" else out


def _fold(
    x: np.ndarray,
    w: np.ndarray | None,
    b: np.ndarray | None,
    mean: np.ndarray,
    var: np.ndarray,
    epsilon: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift per channel that do the whole normalisation."""
    scale = 1 / np.sqrt(var + x.dtype.type(epsilon))
    if w is not None:
        scale = scale * w
    shift = -mean * scale
    return scale, shift if b is None else shift + b


def batch_norm(
    x: np.ndarray, w: np.ndarray | None, b: np.ndarray | None, *, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(out, mean, var): x normalised by its own batch statistics."""
    mean, var = batch_norm_stats(x)
    return batch_norm_apply(x, *_fold(x, w, b, mean, var, epsilon)), mean, var


def batch_norm_infer(
    x: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    w: np.ndarray | None,
    b: np.ndarray | None,
    *,
    epsilon: float,
) -> np.ndarray:
    """x normalised by given statistics."""
    return batch_norm_apply(x, *_fold(x, w, b, mean, var, epsilon))


def batch_norm_grad(
    g: np.ndarray,
    x: np.ndarray,
    w: np.ndarray | None,
    mean: np.ndarray,
    var: np.ndarray,
    g_mean: np.ndarray,
    g_var: np.ndarray,
    *,
    epsilon: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gx, gw, gb) from the gradients of out, mean and var."""
    axes = _channels(x)
    count = x.dtype.type(max(x.size // max(len(mean), 1), 1))
    rstd = 1 / np.sqrt(var + x.dtype.type(epsilon))
    centred = x - _column(mean, x.ndim)
    gb = g.sum(axis=axes)
    gw = (g * centred).sum(axis=axes) * rstd
    # gx = scale * g + k * (x - mean) + l per channel.
    scale = rstd if w is None else w * rstd
    k = (2 * g_var - scale * gw * rstd) / count
    shift = (g_mean - scale * gb) / count
    gx = g * _column(scale, x.ndim) + centred * _column(k, x.ndim) + _column(shift, x.ndim)
    return gx, gw, gb


def layer_norm(
    x: np.ndarray, w: np.ndarray | None, b: np.ndarray | None, *, axes_count: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(out, mean, rstd): rows over the last `axes_count` axes normalised, times w, plus b."""
    axes = tuple(range(x.ndim - axes_count, x.ndim))
    mean = x.mean(axis=axes, keepdims=True)
    centred = x - mean
    rstd = 1 / np.sqrt((centred * centred).mean(axis=axes, keepdims=True) + x.dtype.type(epsilon))
    out = centred * rstd
    if w is not None:
        out = out * w
    if b is not None:
        out = out + b
    return out, mean, rstd


def layer_norm_grad(
    g: np.ndarray,
    x: np.ndarray,
    w: np.ndarray | None,
    mean: np.ndarray,
    rstd: np.ndarray,
    *,
    axes_count: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gx, gw, gb); gw and gb have the shape of the normalised axes."""
    axes = tuple(range(x.ndim - axes_count, x.ndim))
    rows = tuple(range(x.ndim - axes_count))
    normal = (x - mean) * rstd
    gw = (g * normal).sum(axis=rows)
    gb = g.sum(axis=rows)
    scaled = g if w is None else g * w
    inner = (scaled * normal).mean(axis=axes, keepdims=True)
    gx = rstd * (scaled - scaled.mean(axis=axes, keepdims=True) - normal * inner)
    return gx, gw, gb
