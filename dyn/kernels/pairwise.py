"""Euclidean distances of rows side by side, |x - y + epsilon|, and their gradient.

Each row is read once, and no difference is kept. float16 and bfloat16 are computed in float32.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime.drive import Launch, float_word
from dyn.kernels.runtime.memory import empty
from dyn.kernels.vector.half import is_half
from dyn.kernels.vector.rows import Row, RowKernel
from dyn.kernels.vector.simd import F32, F64, choose, fma, total


def _distance(row: Row) -> None:
    """Arrays: x, y, out (one number a row). Parameter: epsilon."""
    epsilon = row.emit.splat(row.parameter(0))

    def add(at, c, mask):
        away = row.load(0, at, mask) - row.load(1, at, mask) + epsilon
        return [fma(away, away, c[0])]

    (sums,) = row.scan(add, [row.zero()])
    row.put(total(*sums).call("sqrt"), 2)


def _distance_grad(row: Row) -> None:
    """Arrays: g and distances (one number a row), x, y, gx. Parameter: epsilon."""
    epsilon = row.emit.splat(row.parameter(0))
    distance = row.number(1)
    factor = row.emit.splat(row.number(0) / choose(distance == 0, 1, distance))

    def write(at, c, mask):
        away = row.load(2, at, mask) - row.load(3, at, mask) + epsilon
        row.finish(away * factor, 4, at, mask)
        return []

    row.scan(write)


_KERNELS = {
    (write, np.dtype(dtype)): RowKernel(f"pairwise{write.__name__}_{dtype}", element, write, count)
    for write, count in ((_distance, 3), (_distance_grad, 5))
    for dtype, element in (("f4", F32), ("f8", F64))
}


@lru_cache(1024)
def _plan(shape: tuple[int, ...], dtype: np.dtype, epsilon: float) -> tuple[Launch, Launch]:
    """The launches of the distances and of their gradient."""
    rows, count, size = math.prod(shape[:-1]), shape[-1], dtype.itemsize
    row, given = size * count, float_word(epsilon)
    return (
        _KERNELS[_distance, dtype].plan(rows, count, (row, row, size), given),
        _KERNELS[_distance_grad, dtype].plan(rows, count, (size, size, row, row, row), given),
    )


def distance(x: np.ndarray, y: np.ndarray, epsilon: float) -> np.ndarray:
    """Root of the sum of (x - y + epsilon) ** 2 along the last axis, of arrays of one shape."""
    if is_half(x.dtype):
        return distance(x.astype(np.float32), y.astype(np.float32), epsilon).astype(x.dtype)
    out = empty(x.shape[:-1], x.dtype)
    _plan(x.shape, x.dtype, epsilon)[0](contiguous(x), contiguous(y), out)
    return out


def distance_grad(
    g: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray, epsilon: float
) -> np.ndarray:
    """The gradient to x; 0 where the distance is 0. That to y is its opposite."""
    if is_half(x.dtype):
        wide = (a.astype(np.float32) for a in (g, x, y, out))
        return distance_grad(*wide, epsilon).astype(x.dtype)
    made = empty(x.shape, x.dtype)
    launch = _plan(x.shape, x.dtype, epsilon)[1]
    launch(contiguous(g), contiguous(out), contiguous(x), contiguous(y), made)
    return made
