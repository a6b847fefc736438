"""Normalisation of groups of channels, and sums over neighbouring channels.

A group of an image that lies plane by plane is one piece of memory, which `group_norm_rows.py`
handles as a row; images that lie channels last are transposed, and their results back. Instance
norm is group norm with one channel per group.

Source: Wu & He, Group Normalization, arXiv 1803.08494; Ulyanov et al., Instance Normalization,
arXiv 1607.08022.
"""

from __future__ import annotations

import numpy as np

from dyn.kernels import group_norm_rows as rows
from dyn.kernels.layout import channels_last, planes


def group_norm(
    x: np.ndarray, w: np.ndarray | None, b: np.ndarray | None, *, groups: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(out, mean [N, groups], rstd [N, groups])."""
    if x.dtype not in rows.ELEMENTS:
        wide = (None if v is None else v.astype(np.float32) for v in (x, w, b))
        made = group_norm(next(wide), next(wide), next(wide), groups=groups, epsilon=epsilon)
        return made[0].astype(x.dtype), made[1].astype(x.dtype), made[2].astype(x.dtype)
    if not x.size:
        none = np.zeros((len(x), groups), x.dtype)
        return np.empty_like(x), none, none
    out, mean, rstd = rows.forward(planes(x), w, b, groups, epsilon)
    return _as(out, x), mean, rstd


def _as(made: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A result in the memory layout of x."""
    return made if x.ndim < 3 or x.flags.c_contiguous else channels_last(made)


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
    if x.dtype not in rows.ELEMENTS:
        wide = [None if v is None else v.astype(np.float32) for v in (g, x, w, mean, rstd)]
        made = group_norm_grad(*wide, groups=groups)  # type: ignore[arg-type]
        return made[0].astype(x.dtype), made[1].astype(x.dtype), made[2].astype(x.dtype)
    if not x.size:
        none = np.zeros(x.shape[1], x.dtype)
        return np.empty_like(x), none, none
    gx, gw, gb = rows.backward(planes(g), planes(x), w, mean, rstd, groups)
    return _as(gx, x), gw, gb


def channel_window_sum(x: np.ndarray, *, low: int, high: int) -> np.ndarray:
    """out[:, c] = x[:, c - low] + ... + x[:, c + high], channels beyond the ends being zero.

    For local response normalisation (Krizhevsky, Sutskever & Hinton, 2012, section 3.3).
    """
    out = np.zeros_like(x)
    channels = x.shape[1]
    for shift in range(-low, high + 1):
        first, last = max(0, -shift), min(channels, channels - shift)
        if first < last:
            out[:, first:last] += x[:, first + shift : last + shift]
    return out
