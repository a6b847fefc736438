"""Cross products of vectors of three numbers, which may lie along any axis.

Dense arrays are done vector by vector in one pass, other ones as three products of whole arrays.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import instances
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer

GRAIN = 16384
"""Elements worth a chunk."""
ZERO = np.float32(0)
"""What instances of a task have of their own: a zero of the elements."""


def _cross(args, chunk, chunks):
    """Vectors: (x, y, out; their number, elements behind the axis)."""
    x, y = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), ZERO)
    out, behind = pointer(data(argument(args, 2)), ZERO), argument(args, 4)
    start, stop = bounds(argument(args, 3), chunk, chunks, 16)
    for vector in range(start, stop):
        i = vector // behind * 3 * behind + vector % behind
        j = i + behind
        k = j + behind
        first, second, third = y[i], y[j], y[k]
        out[i] = x[j] * third - x[k] * second
        out[j] = x[k] * first - x[i] * third
        out[k] = x[i] * second - x[j] * first


_TASKS = instances("cross", _cross, "f4 f8 i4 i8")


@lru_cache(1024)
def _plan(dtype: np.dtype, shape: tuple[int, ...], axis: int) -> Launch:
    size = math.prod(shape)
    chunks = chunks_of(size, GRAIN)
    return Launch([(_TASKS[dtype], chunks)], 3, size // 3, math.prod(shape[axis + 1 :]))


def cross(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """x cross y along an axis of size 3 of the result, the others broadcast."""
    dense = x.flags.c_contiguous and y.flags.c_contiguous
    if dense and x.shape == y.shape and x.dtype in _TASKS:
        out = empty(x.shape, x.dtype)
        _plan(x.dtype, x.shape, axis)(x, y, out)
        return out
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
