"""The largest or smallest element along an axis and where it stands, in one pass over memory.

An array counts as [runs, length, behind] with `length` the axis. Where nothing lies behind it, as
many elements of a row as fit into registers are looked at side by side, the best of each column and
its place kept; where something does, a block of that is walked together, with the results
themselves as the best so far. Dtypes without an instance below are numpy's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import instances, kernel
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.runs import pointer

LANES = 32
"""Elements of a row side by side: as many as there are words on the stack for them."""
BLOCK = 256
"""Elements behind the axis that are walked together: 3 KB of results stay in the nearest cache."""
GRAIN = 16384
"""Elements worth a chunk."""
_I64 = np.int64(0)
ZERO, PLACE, LARGEST = np.float32(0), np.int32(0), True
"""What instances have of their own: a zero of the elements, one of places within a row (as wide as
the elements, for the sake of vectors), and which extreme is looked for."""


@kernel(forceinline=True)
def _ahead(new, old, largest):
    """Whether `new`, which stands behind `old`, takes its place: of equal ones the first wins."""
    better = new > old if largest else new < old
    return better | ((new != new) & (old == old))


def _rows(args, chunk, chunks):
    """Rows: (x, values, indices, runs, length, elements behind, which are 1)."""
    x, length = pointer(data(argument(args, 0)), ZERO), argument(args, 4)
    values, indices = pointer(data(argument(args, 1)), ZERO), pointer(data(argument(args, 2)), _I64)
    best, where = pointer(room(), ZERO), pointer(room(), PLACE)
    first, last = bounds(argument(args, 3), chunk, chunks, 1)
    for row in range(first, last):
        at = row * length
        top, place, done = x[at], 0, 1
        if length >= 4 * LANES:
            for j in range(LANES):
                best[j] = x[at + j]
                where[j] = PLACE
            turns = length // LANES
            for turn in range(1, turns):
                here, number = at + turn * LANES, PLACE + turn
                for j in range(LANES):
                    new, old = x[here + j], best[j]
                    ahead = _ahead(new, old, LARGEST)
                    best[j] = new if ahead else old
                    where[j] = number if ahead else where[j]
            top, place, done = best[0], np.int64(where[0]) * LANES, turns * LANES
            for j in range(1, LANES):
                new, candidate = best[j], np.int64(where[j]) * LANES + j
                same = (new == top) | ((new != new) & (top != top))
                if _ahead(new, top, LARGEST) or (same and candidate < place):
                    top, place = new, candidate
        for i in range(done, length):
            new = x[at + i]
            ahead = _ahead(new, top, LARGEST)
            top = new if ahead else top
            place = i if ahead else place
        values[row] = top
        indices[row] = place


def _blocks(args, chunk, chunks):
    """Blocks behind the axis: (x, values, indices, runs, length, elements behind)."""
    length, behind = argument(args, 4), argument(args, 5)
    blocks = (behind + BLOCK - 1) // BLOCK
    x = pointer(data(argument(args, 0)), ZERO)
    values, indices = pointer(data(argument(args, 1)), ZERO), pointer(data(argument(args, 2)), _I64)
    first, last = bounds(argument(args, 3) * blocks, chunk, chunks, 1)
    for block in range(first, last):
        run, start = block // blocks, block % blocks * BLOCK
        width = min(BLOCK, behind - start)
        at, to = run * length * behind + start, run * behind + start
        for j in range(width):
            values[to + j] = x[at + j]
            indices[to + j] = 0
        for i in range(1, length):
            at += behind
            for j in range(width):
                new, old = x[at + j], values[to + j]
                ahead = _ahead(new, old, LARGEST)
                values[to + j] = new if ahead else old
                indices[to + j] = i if ahead else indices[to + j]


def _put(args, chunk, chunks):
    """Runs of zeros with numbers in them: (g, indices, out, runs, length, elements behind)."""
    length, behind = argument(args, 4), argument(args, 5)
    g, indices = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), _I64)
    out = pointer(data(argument(args, 2)), ZERO)
    first, last = bounds(argument(args, 3), chunk, chunks, 1)
    for run in range(first, last):
        at, source = run * length * behind, run * behind
        for i in range(length * behind):
            out[at + i] = ZERO
        for j in range(behind):
            out[at + indices[source + j] * behind + j] = g[source + j]


def _made(name: str, body: Callable[..., None], *, largest: bool) -> dict[np.dtype, Any]:
    narrow = instances(name, body, "f4 i4", PLACE=np.int32(0), LARGEST=largest)
    return narrow | instances(name, body, "f8 i8", PLACE=np.int64(0), LARGEST=largest)


_TASKS = {
    (True, True): _made("largest_of_rows", _rows, largest=True),
    (True, False): _made("smallest_of_rows", _rows, largest=False),
    (False, True): _made("largest_of_blocks", _blocks, largest=True),
    (False, False): _made("smallest_of_blocks", _blocks, largest=False),
}
"""By whether nothing lies behind the axis and whether the largest is looked for, then by dtype."""
_PUT = instances("put_extreme", _put, "f4 f8")
_DTYPES = frozenset(_TASKS[True, True])


@lru_cache(1024)
def _plan(
    dtype: np.dtype, shape: tuple[int, ...], axis: int, keepdims: bool, largest: bool
) -> tuple[Launch, tuple[int, ...]]:
    """The launch over an array in row-major order, and the shape of the results."""
    runs, behind = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    units = runs * -(-behind // BLOCK)
    chunks = max(1, min(units, chunks_of(math.prod(shape), GRAIN)))
    task = _TASKS[behind == 1, largest][dtype]
    launch = Launch([(task, chunks)], 3, runs, shape[axis], behind)
    return launch, (*shape[:axis], *((1,) if keepdims else ()), *shape[axis + 1 :])


def extreme(
    x: np.ndarray, axis: int, *, keepdims: bool, largest: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(values, int64 places) of the largest or smallest elements along `axis`.

    Of equal elements the first counts, and so does the first NaN if there is one.
    """
    if x.dtype not in _DTYPES:
        places = (x.argmax if largest else x.argmin)(axis, keepdims=True)
        values = np.take_along_axis(x, places, axis)
        return (values, places) if keepdims else (values.squeeze(axis), places.squeeze(axis))
    if not x.flags.c_contiguous:
        order = sorted(range(x.ndim), key=lambda a: -abs(x.strides[a]))
        dense = x.transpose(order)
        if dense.flags.c_contiguous:
            back = np.argsort(order)
            found = extreme(dense, order.index(axis), keepdims=True, largest=largest)
            values, places = (a.transpose(back) for a in found)
            if not keepdims:
                values, places = values.squeeze(axis), places.squeeze(axis)
            return values, places
        x = contiguous(x)
    launch, shape = _plan(x.dtype, x.shape, axis, keepdims, largest)
    values, places = empty(shape, x.dtype), empty(shape, np.int64)
    launch(x, values, places)
    return values, places


@lru_cache(1024)
def _plan_put(dtype: np.dtype, shape: tuple[int, ...], axis: int) -> Launch:
    runs, behind = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    chunks = max(1, min(runs, chunks_of(math.prod(shape), GRAIN)))
    return Launch([(_PUT[dtype], chunks)], 3, runs, shape[axis], behind)


def extreme_grad(
    g: np.ndarray, places: np.ndarray, axis: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Zeros of `shape` with g at the places that `extreme` gave, with or without that axis."""
    if g.dtype not in _PUT:
        out, size = np.zeros(shape, g.dtype), (*shape[:axis], 1, *shape[axis + 1 :])
        np.put_along_axis(out, places.reshape(size), g.reshape(size), axis)
        return out
    out = empty(shape, g.dtype)
    _plan_put(g.dtype, shape, axis)(contiguous(g), contiguous(places), out)
    return out


def _position(x: np.ndarray, axis: int, *, keepdims: bool, largest: bool) -> np.ndarray:
    if x.size < GRAIN or x.dtype not in _DTYPES:
        return np.asarray((x.argmax if largest else x.argmin)(axis, keepdims=keepdims))
    return extreme(x, axis, keepdims=keepdims, largest=largest)[1]


def argmax(x: np.ndarray, axis: int, *, keepdims: bool) -> np.ndarray:
    """Position of the largest element along `axis`, of the first NaN if there is one."""
    return _position(x, axis, keepdims=keepdims, largest=True)


def argmin(x: np.ndarray, axis: int, *, keepdims: bool) -> np.ndarray:
    """Position of the smallest element along `axis`, of the first NaN if there is one."""
    return _position(x, axis, keepdims=keepdims, largest=False)
