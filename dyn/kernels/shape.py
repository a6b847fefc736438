"""Moving elements without computing: reshape, join, cut, pad, in any memory layout.

numpy moves memory at bandwidth already; what is added here is that results are new array objects
and that channels-last activations stay channels-last when they are joined.
"""

from __future__ import annotations

import numpy as np


def reshape(x, shape):
    """The elements in row-major order under `shape`; a view where memory allows it."""
    return x.reshape(shape)


def concat(xs, axis):
    """Arrays one after the other along `axis`; 4-D channels-last inputs give such an output."""
    first = xs[0]
    if first.ndim == 4 and not first.flags.c_contiguous and _channels_last(xs):
        joined = np.concatenate([x.transpose(0, 2, 3, 1) for x in xs], axis=(0, 3, 1, 2)[axis])
        return joined.transpose(0, 3, 1, 2)
    return np.concatenate(xs, axis=axis)


def _channels_last(xs):
    return all(x.transpose(0, 2, 3, 1).flags.c_contiguous for x in xs)


def split(x, sizes, axis):
    """Views of consecutive parts along `axis`."""
    parts, start = [], 0
    before = (slice(None),) * axis
    for n in sizes:
        parts.append(x[(*before, slice(start, start + n))])
        start += n
    return tuple(parts)


def pad(x, pads, mode, value):
    """`x` with `pads[i] = (before, after)` elements added (or cut, if negative) on axis i."""
    cut = tuple(
        slice(max(0, -low), x.shape[i] - max(0, -high)) for i, (low, high) in enumerate(pads)
    )
    x = x[cut]
    widths = [(max(0, low), max(0, high)) for low, high in pads]
    if mode == "constant":
        return np.pad(x, widths, constant_values=value)
    return np.pad(
        x, widths, mode={"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    )
