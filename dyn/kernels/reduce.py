"""Reductions over axes: sums, means, extremes, products, variance, norms.

Sums are made of fixed chunks, so that a result does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np


def _wide(x):
    return np.dtype(np.int64) if x.dtype.kind in "biu" else x.dtype


def sum(x, axes, keepdims):
    """Sum over `axes`; booleans and integers are summed as int64."""
    return np.asarray(np.sum(x, axis=axes, keepdims=keepdims, dtype=_wide(x)))


def mean(x, axes, keepdims):
    """Mean over `axes` of floating-point numbers."""
    return np.asarray(np.mean(x, axis=axes, keepdims=keepdims, dtype=x.dtype))


def max(x, axes, keepdims):
    """Largest element over `axes`; NaN if there is one."""
    return np.asarray(np.max(x, axis=axes, keepdims=keepdims))


def min(x, axes, keepdims):
    """Smallest element over `axes`; NaN if there is one."""
    return np.asarray(np.min(x, axis=axes, keepdims=keepdims))


def prod(x, axes, keepdims):
    """Product over `axes`; booleans and integers are multiplied as int64."""
    return np.asarray(np.prod(x, axis=axes, keepdims=keepdims, dtype=_wide(x)))


def all(x, axes, keepdims):
    """Whether all elements over `axes` are nonzero."""
    return np.asarray(np.all(x, axis=axes, keepdims=keepdims))


def any(x, axes, keepdims):
    """Whether any element over `axes` is nonzero."""
    return np.asarray(np.any(x, axis=axes, keepdims=keepdims))


def var(x, axes, keepdims, correction):
    """Mean squared distance from the mean over `axes`, divided by the count less `correction`."""
    away = x - np.mean(x, axis=axes, keepdims=True, dtype=x.dtype)
    total = np.sum(away * away, axis=axes, keepdims=keepdims, dtype=x.dtype)
    n = 1
    for axis in axes:
        n *= x.shape[axis]
    return np.asarray(total / x.dtype.type(n - correction))


def logsumexp(x, axes, keepdims):
    """log of the sum of e^x over `axes`, without overflow."""
    top = np.max(x, axis=axes, keepdims=True, initial=-np.inf)
    safe = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    out = np.log(np.sum(np.exp(x - safe), axis=axes, keepdims=True, dtype=x.dtype)) + safe
    return np.asarray(out if keepdims else np.squeeze(out, axes))


def norm(x, axes, keepdims):
    """Square root of the sum of squares over `axes`."""
    return np.asarray(np.sqrt(np.sum(x * x, axis=axes, keepdims=keepdims, dtype=x.dtype)))


def sum_to(x, shape):
    """Sum over the axes along which an array of `shape` was repeated to give `x`."""
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(
        i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1
    )
    return sum(x, axes, False).reshape(shape)
