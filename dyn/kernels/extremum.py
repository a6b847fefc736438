"""Where the largest element lies along an axis whose elements are no neighbours in memory.

numpy walks such an axis one element after the other. Here a block of what lies behind it is walked
together, with the best so far and their positions side by side, so that the compiler makes vectors
of it. Axes whose elements are neighbours, and other dtypes than float32 and float64, are numpy's.
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
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.runs import pointer

BLOCK = 32
"""Elements side by side: as many as there are words on the stack for them."""
GRAIN = 16384
"""Elements worth a chunk."""
ZERO, ONE = np.float32(0), np.float32(1)
"""Stand for the numbers of each dtype in its instance of the task."""


def _walk(args, chunk, chunks):
    """Blocks of positions: (x, out, runs, length of the axis, elements behind it, sign)."""
    length, behind = argument(args, 3), argument(args, 4)
    sign = ONE if argument(args, 5) > 0 else -ONE
    blocks = (behind + BLOCK - 1) // BLOCK
    best, where = pointer(room(), ZERO), pointer(room(), np.int64(0))
    x, out = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), np.int64(0))
    first, last = bounds(argument(args, 2) * blocks, chunk, chunks, 1)
    for block in range(first, last):
        run, start = block // blocks, block % blocks * BLOCK
        width = min(BLOCK, behind - start)
        at = run * length * behind + start
        for j in range(width):
            best[j] = x[at + j] * sign
            where[j] = 0
        for i in range(1, length):
            at += behind
            for j in range(width):
                new, old = x[at + j] * sign, best[j]
                # The first NaN wins.
                better = (new > old) | ((new != new) & (old == old))
                best[j] = new if better else old
                where[j] = i if better else where[j]
        to = run * behind + start
        for j in range(width):
            out[to + j] = where[j]


_TASKS = instances("position", _walk, "f4 f8")


@lru_cache(1024)
def _launch(dtype: np.dtype, runs: int, length: int, behind: int, sign: int) -> Launch:
    chunks = min(runs * -(-behind // BLOCK), chunks_of(runs * length * behind, GRAIN))
    return Launch([(_TASKS[dtype], chunks)], 2, runs, length, behind, sign)


def _position(x: np.ndarray, axis: int, keepdims: bool, sign: int) -> np.ndarray:
    """Position of the largest (sign 1) or the smallest (-1) element, of the first NaN."""
    by_numpy = x.argmax if sign > 0 else x.argmin
    if x.dtype not in _TASKS or x.size < GRAIN:
        return np.asarray(by_numpy(axis, keepdims=keepdims))
    order = sorted(range(x.ndim), key=lambda a: -abs(x.strides[a]))
    dense = x.transpose(order)
    place = order.index(axis)
    behind = math.prod(dense.shape[place + 1 :])
    if behind == 1 or not dense.flags.c_contiguous:
        return np.asarray(by_numpy(axis, keepdims=keepdims))
    runs = math.prod(dense.shape[:place])
    out = empty((*dense.shape[:place], 1, *dense.shape[place + 1 :]), np.int64)
    _launch(x.dtype, runs, x.shape[axis], behind, sign)(dense, out)
    out = out.transpose(np.argsort(order))
    return out if keepdims else out.squeeze(axis)


def argmax(x: np.ndarray, axis: int, keepdims: bool) -> np.ndarray:
    """Position of the largest element along `axis`, of the first NaN if there is one."""
    return _position(x, axis, keepdims, 1)


def argmin(x: np.ndarray, axis: int, keepdims: bool) -> np.ndarray:
    """Position of the smallest element along `axis`, of the first NaN if there is one."""
    return _position(x, axis, keepdims, -1)
