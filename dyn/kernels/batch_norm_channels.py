"""What batch norm computes per channel, of sums over the elements and of the parameters.

A number per channel is so little work that calls of numpy would take longer than small images.
All of it is in float64, whatever the parameters are. The formulas are those of Ioffe & Szegedy,
Batch Normalization, arXiv 1502.03167, section 3.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from dyn.kernels.runtime.jit import kernel

_OWN = "float32[::1]"
_TABLE = "float32[:, ::1]"


@kernel(warm=["(float32[:, :, ::1], float64[:, ::1])"])
def add_samples(sums, added):
    """Sums [samples, channels, number] to [number, channels]."""
    samples, channels, count = sums.shape
    added[:] = 0
    for n in range(samples):
        for c in range(channels):
            for k in range(count):
                added[k, c] += sums[n, c, k]


@kernel(warm=[f"({_OWN}, {_OWN}, {_OWN}, {_OWN}, float64, {_TABLE})"])
def fold(w, b, mean, var, epsilon, table):
    """Factor and shift that do the whole normalisation."""
    for c in range(len(mean)):
        factor = w[c] / math.sqrt(float(var[c]) + epsilon)
        table[0, c] = factor
        table[1, c] = float(b[c]) - mean[c] * factor


@kernel(warm=[f"(float64[:, ::1], {_TABLE}, int64, {_OWN}, {_OWN})"])
def statistics(sums, shift, count, mean, var):
    """Mean and variance from the sums of what is beyond `shift`, and of its square."""
    for c in range(len(mean)):
        away = sums[0, c] / count
        mean[c] = shift[0, c] + away
        square = sums[1, c] / count - away * away
        var[c] = 0.0 if square < 0 else square


@kernel(
    warm=[f"(float64[:, ::1], {', '.join([_OWN] * 5)}, float64, int64, {_OWN}, {_OWN}, {_TABLE})"]
)
def slopes(sums, w, mean, var, g_mean, g_var, epsilon, count, gw, gb, table):
    """Gradients of the parameters; what gx is made with, behind factor and shift."""
    for c in range(len(mean)):
        rstd = 1 / math.sqrt(float(var[c]) + epsilon)
        factor, own = rstd * w[c], sums[1, c] * rstd
        gw[c], gb[c] = own, sums[0, c]
        slope = (2.0 * g_var[c] - factor * own * rstd) / count
        table[2, c] = slope
        table[3, c] = (g_mean[c] - factor * sums[0, c]) / count - slope * mean[c]


@kernel(warm=[f"(float64[:, ::1], {_OWN}, {_OWN}, float64, {_TABLE})"])
def frozen_gradients(sums, w, var, epsilon, made):
    """Gradients of the parameters and of given statistics: of w, b, mean and variance."""
    for c in range(len(var)):
        rstd = 1 / math.sqrt(float(var[c]) + epsilon)
        factor, own = rstd * w[c], sums[1, c] * rstd
        made[0, c], made[1, c] = own, sums[0, c]
        made[2, c], made[3, c] = -factor * sums[0, c], -0.5 * rstd * factor * own


@lru_cache(256)
def _constant(channels: int, number: float, dtype: np.dtype) -> np.ndarray:
    """A vector that stands for a missing scale or bias."""
    return np.full(channels, number, dtype)


def vectors(
    x: np.ndarray, w: np.ndarray | None, b: np.ndarray | None, *given: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Scale and bias, given or not, and other numbers per channel, dense in the dtype of x."""
    w = _constant(x.shape[1], 1.0, x.dtype) if w is None else w
    b = _constant(x.shape[1], 0.0, x.dtype) if b is None else b
    return tuple([np.ascontiguousarray(v, x.dtype) for v in (w, b, *given)])
