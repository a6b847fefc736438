"""Products of vectors of three numbers."""

from __future__ import annotations

import numpy as np

from dyn.kernels.runtime.memory import empty


def cross(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """x cross y along an axis of size 3 of the result, the others broadcast."""
    shape = np.broadcast_shapes(x.shape, y.shape)
    out = empty(shape, x.dtype)
    # The axis is counted from the end: x or y may have fewer axes than the result.
    behind = (slice(None),) * (len(shape) - 1 - axis)
    a, b, made = ([t[(..., i, *behind)] for i in range(3)] for t in (x, y, out))
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        np.multiply(a[j], b[k], out=made[i])
        made[i] -= a[k] * b[j]
    return out
