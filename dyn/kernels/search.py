"""Positions and order: the k largest, unique, nonzero, counts, places among edges."""

from __future__ import annotations

import numpy as np

from dyn.kernels.order import ordered


def topk(x, k, axis, largest):
    """(values, indices) of the k largest (or smallest) along `axis`, in order; ties by position."""
    if axis == x.ndim - 1:
        return ordered(x, k, largest)
    values, indices = ordered(np.moveaxis(x, axis, -1), k, largest)
    return np.moveaxis(values, -1, axis), np.moveaxis(indices, -1, axis)


def unique(x, axis):
    """(values, first positions, inverse, counts), values in ascending order."""
    values, index, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    return values, index, inverse.reshape(-1), counts


def bincount(x, weights, minlength):
    """How often (or with what weight) each integer occurs."""
    if x.size and x.min() < 0:
        raise ValueError(f"bincount counts integers from 0 on, got {x.min()}")
    counts = np.bincount(x, weights, minlength)
    return counts if weights is None else counts.astype(weights.dtype)


def searchsorted(edges, x, right):
    """How many elements of the last axis of `edges` lie below (or, `right`, not above) `x`."""
    side = "right" if right else "left"
    if edges.ndim == 1:
        return np.asarray(np.searchsorted(edges, x, side))
    out = np.empty(x.shape, np.int64)
    for at in np.ndindex(x.shape[:-1]):
        out[at] = np.searchsorted(edges[at], x[at], side)
    return out
