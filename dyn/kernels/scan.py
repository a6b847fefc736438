"""Running sums, products and extremes along an axis, in the order of the elements."""

from __future__ import annotations

import numpy as np


def _work(x):
    return np.dtype(np.int64) if x.dtype.kind in "biu" else x.dtype


def _flip(x, axis, reverse):
    return np.flip(x, axis) if reverse else x


def cumsum(x, axis, reverse):
    """Sum of all elements up to each one along `axis`, or from each one on."""
    out = np.cumsum(_flip(x, axis, reverse), axis=axis, dtype=_work(x))
    return _flip(out, axis, reverse)


def cumprod(x, axis, exclusive):
    """Product of all elements up to each one along `axis`, without it if `exclusive`."""
    if not exclusive:
        return np.cumprod(x, axis=axis, dtype=_work(x))
    out = np.ones(x.shape, _work(x))
    lead = (slice(None),) * axis
    shifted = x[(*lead, slice(None, -1))]
    np.cumprod(shifted, axis=axis, dtype=out.dtype, out=out[(*lead, slice(1, None))])
    return out


def recurrence(a, b, axis, reverse):
    """s[k] = a[k] * s[k - 1] + b[k] along `axis`, starting from zero."""
    a, b = np.broadcast_arrays(a, b)
    a, b = (np.moveaxis(_flip(x, axis, reverse), axis, 0) for x in (a, b))
    out = np.empty(b.shape, b.dtype)
    state = np.zeros(b.shape[1:], b.dtype)
    for k in range(len(b)):
        state = a[k] * state + b[k]
        out[k] = state
    return _flip(np.moveaxis(out, 0, axis), axis, reverse)


def cummax_index(x, axis, largest):
    """Where the largest (or smallest) of all elements up to each one stands; ties: the last.

    NaN counts as larger (or smaller) than anything, as in numpy's running maximum.
    """
    running = (np.maximum if largest else np.minimum).accumulate(x, axis=axis)
    places = np.arange(x.shape[axis]).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    here = (x == running) | (x != x)
    return np.maximum.accumulate(np.where(here, places, 0), axis=axis)
