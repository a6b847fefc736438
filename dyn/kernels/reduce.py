"""Reductions over axes: sum, mean, max, min and what is summed to undo broadcasting."""

from __future__ import annotations

import numpy as np


def sum(x, axes, keepdims):
    """Sum over `axes`; booleans and integers are summed as int64."""
    dtype = np.int64 if x.dtype.kind in "biu" else x.dtype
    return np.asarray(np.sum(x, axis=axes, keepdims=keepdims, dtype=dtype))


def mean(x, axes, keepdims):
    """Mean over `axes` of floating-point numbers."""
    return np.asarray(np.mean(x, axis=axes, keepdims=keepdims, dtype=x.dtype))


def max(x, axes, keepdims):
    """Largest element over `axes`; NaN if there is one."""
    return np.asarray(np.max(x, axis=axes, keepdims=keepdims))


def min(x, axes, keepdims):
    """Smallest element over `axes`; NaN if there is one."""
    return np.asarray(np.min(x, axis=axes, keepdims=keepdims))


def sum_to(x, shape):
    """Sum over the axes along which an array of `shape` was repeated to give `x`."""
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(
        i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1
    )
    return np.asarray(np.sum(x, axis=axes, dtype=x.dtype)).reshape(shape)
