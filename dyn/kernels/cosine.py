"""Cosines of the angles between vectors along an axis, and their gradients.

Made of whole-array functions; half precision is computed in float32.
"""

from __future__ import annotations

import numpy as np

from dyn.kernels.elementwise import binary
from dyn.kernels.reduce import norm, sum


def _is_half(x: np.ndarray) -> bool:
    return x.dtype.itemsize == 2


def cosine(
    x: np.ndarray, y: np.ndarray, axis: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x . y / (|x| |y|), |x|, |y|) for arrays of one shape; lengths are at least `epsilon`."""
    if _is_half(x):
        found = cosine(x.astype(np.float32), y.astype(np.float32), axis, epsilon)
        out, x_length, y_length = (a.astype(x.dtype) for a in found)
        return out, x_length, y_length
    dot = sum(binary("multiply", x, y), (axis,), keepdims=False)
    least = x.dtype.type(epsilon)
    lengths = [np.asarray(np.maximum(norm(a, (axis,), keepdims=False), least)) for a in (x, y)]
    return np.asarray(dot / (lengths[0] * lengths[1])), *lengths


def cosine_grad(
    g: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray, x_length: np.ndarray,
    y_length: np.ndarray, axis: int, epsilon: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Gradients of x and y from that of the cosines; a length of `epsilon` is a constant."""
    if _is_half(x):
        wide = (a.astype(np.float32) for a in (g, x, y, out, x_length, y_length))
        gx, gy = cosine_grad(*wide, axis, epsilon)
        return gx.astype(x.dtype), gy.astype(x.dtype)
    across = np.expand_dims(g / (x_length * y_length), axis)
    turned = g * out

    def gradient(own: np.ndarray, other: np.ndarray, length: np.ndarray) -> np.ndarray:
        free = length > x.dtype.type(epsilon)
        along = np.expand_dims(np.where(free, turned / (length * length), x.dtype.type(0)), axis)
        return binary("subtract", binary("multiply", other, across), binary("multiply", own, along))

    return gradient(x, y, x_length), gradient(y, x, y_length)
