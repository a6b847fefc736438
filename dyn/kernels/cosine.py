"""Cosines of the angles between vectors along an axis, and their gradients.

float32 along the last axis is read once, row by row; the rest is made of whole-array functions.
Half precision is computed in float32.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.elementwise import binary
from dyn.kernels.reduce import norm, sum
from dyn.kernels.runtime.drive import Launch, float_word
from dyn.kernels.runtime.memory import empty
from dyn.kernels.vector.half import is_half
from dyn.kernels.vector.rows import Row, RowKernel
from dyn.kernels.vector.simd import F32, choose, fma, total


def _along(row: Row) -> None:
    """Arrays: x, y; one number a row: out, lengths of x and y, and 0 or, if one is none, NaN."""

    def add(at, c, mask):
        x, y = row.load(0, at, mask), row.load(1, at, mask)
        return [fma(x, y, c[0]), fma(x, x, c[1]), fma(y, y, c[2])]

    dot, *squares = (total(*sums) for sums in row.scan(add, [row.zero()] * 3))
    least = row.parameter(0)
    roots = [square.call("sqrt") for square in squares]
    x_length, y_length = (choose(root < least, least, root) for root in roots)
    out = dot / (x_length * y_length)
    for place, number in enumerate((out, x_length, y_length), 2):
        row.put(number, place)
    row.put((out - out) + (x_length - x_length) + (y_length - y_length), 5)


_ALONG = RowKernel("cosine", F32, _along, arrays=6)


@lru_cache(1024)
def _plan(shape: tuple[int, ...], epsilon: float) -> Launch:
    step = 4 * shape[-1]
    rows = math.prod(shape[:-1])
    return _ALONG.plan(rows, shape[-1], (step, step, 4, 4, 4, 4), float_word(epsilon))


_FAR = {np.dtype(np.float32): 1e15, np.dtype(np.float64): 1e150}
"""Lengths from which on products of two are not trusted."""


def cosine(
    x: np.ndarray, y: np.ndarray, axis: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x . y / (|x| |y|), |x|, |y|) for arrays of one shape; lengths are at least `epsilon`."""
    if is_half(x.dtype):
        found = cosine(x.astype(np.float32), y.astype(np.float32), axis, epsilon)
        out, x_length, y_length = (a.astype(x.dtype) for a in found)
        return out, x_length, y_length
    least = x.dtype.type(epsilon)
    if x.dtype == np.float32 and axis == x.ndim - 1:
        out, x_length, y_length, lost = (empty(x.shape[:-1]) for _ in range(4))
        launch = _plan(x.shape, epsilon)
        launch(contiguous(x), contiguous(y), out, x_length, y_length, lost)
        if not lost.any():
            return out, x_length, y_length
    else:
        found = _cosine(x, y, axis, least, least)
        if all(np.isfinite(a).all() for a in found):
            return found
    # Squares have overflowed; or there is NaN or infinity, which stays.
    x_top, y_top = _top(x, axis), _top(y, axis)
    x, y = x / np.expand_dims(x_top, axis), y / np.expand_dims(y_top, axis)
    out, x_length, y_length = _cosine(x, y, axis, least / x_top, least / y_top)
    return out, np.asarray(x_length * x_top), np.asarray(y_length * y_top)


def _cosine(
    x: np.ndarray, y: np.ndarray, axis: int, x_least: Any, y_least: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    dot = sum(binary("multiply", x, y), (axis,), keepdims=False)
    x_length = np.asarray(np.maximum(norm(x, (axis,), keepdims=False), x_least))
    y_length = np.asarray(np.maximum(norm(y, (axis,), keepdims=False), y_least))
    return np.asarray(dot / (x_length * y_length)), x_length, y_length


def _top(x: np.ndarray, axis: int) -> np.ndarray:
    """The size of the largest element along an axis, 1 if it is 0 or infinite."""
    top = np.asarray(np.abs(x).max(axis))
    return np.where((top > 0) & (top < np.inf), top, x.dtype.type(1))


def cosine_grad(
    g: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray, x_length: np.ndarray,
    y_length: np.ndarray, axis: int, epsilon: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Gradients of x and y from that of the cosines; a length of `epsilon` is a constant."""
    if is_half(x.dtype):
        wide = (a.astype(np.float32) for a in (g, x, y, out, x_length, y_length))
        gx, gy = cosine_grad(*wide, axis, epsilon)
        return gx.astype(x.dtype), gy.astype(x.dtype)
    if _FAR[x.dtype] < max(x_length.max(initial=0), y_length.max(initial=0)):
        # A product of lengths overflows: x and y of length 1 instead.
        gx, gy = cosine_grad(
            g,
            x / np.expand_dims(x_length, axis),
            y / np.expand_dims(y_length, axis),
            out,
            np.ones_like(x_length),
            np.ones_like(y_length),
            axis,
            0.0,
        )
        return gx / np.expand_dims(x_length, axis), gy / np.expand_dims(y_length, axis)
    across = np.expand_dims(g / (x_length * y_length), axis)
    turned = g * out

    def gradient(own: np.ndarray, other: np.ndarray, length: np.ndarray) -> np.ndarray:
        free = length > x.dtype.type(epsilon)
        along = np.expand_dims(np.where(free, turned / (length * length), x.dtype.type(0)), axis)
        return binary("subtract", binary("multiply", other, across), binary("multiply", own, along))

    return gradient(x, y, x_length), gradient(y, x, y_length)
