"""Gated linear units: halves of an array along an axis, read where they lie.

The first half is multiplied by the sigmoid of the second; the gradient of both goes into one array.
"""

from __future__ import annotations

import numpy as np

from dyn.kernels.copy import place
from dyn.kernels.elementwise import binary, ternary
from dyn.kernels.runtime.memory import empty


def _halves(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Views of the two halves."""
    before, half = (slice(None),) * axis, x.shape[axis] // 2
    return x[(*before, slice(None, half))], x[(*before, slice(half, None))]


def glu(x: np.ndarray, axis: int) -> np.ndarray:
    """The first half times the sigmoid of the second."""
    return binary("gated", *_halves(x, axis))


def glu_grad(g: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    """The gradient of both halves."""
    a, b = _halves(x, axis)
    out = empty(x.shape, x.dtype)
    for half, found in zip(
        _halves(out, axis), (binary("gated", g, b), ternary("gated_grad", g, a, b)), strict=True
    ):
        place(half, found)
    return out
