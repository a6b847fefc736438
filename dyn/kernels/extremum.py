"""The largest or smallest element along an axis and where it stands, in one pass over memory.

An array counts as [runs, length, behind] with `length` the axis. Where nothing lies behind it, the
extreme of a part of a row is found first, which takes no places along, and then where it stands;
where something does, a block of that is walked together, with the results themselves as the best so
far. Dtypes without an instance below are numpy's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.reduce.plain_tasks import larger, of_two, smaller
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import instances, kernel
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer

SHORT, PART = 32, 4096
"""Elements up to which rows are short, and those of a part of a row: near when it is searched."""
FEW, TALL = 4, 256
"""Blocks too few to share out, and elements along the axis that are worth a piece of it."""
TRUTHS = 64
"""Truth values of a row from which on numpy is faster: it stops at the first."""
BLOCK = 256
"""Elements behind the axis that are walked together: 3 KB of results stay in the nearest cache."""
GRAIN, MANY = 16384, 4096
"""Elements worth a chunk, and those from which on numpy takes longer."""
_I64 = np.int64(0)
ZERO, LARGEST, join = np.float32(0), True, larger
"""What instances have of their own: a zero of the elements, which extreme is looked for, and what
finds it in two elements."""


@kernel(forceinline=True)
def _ahead(new, old, largest):
    """Whether `new`, which stands behind `old`, takes its place: of equal ones the first wins."""
    better = new > old if largest else new < old
    return better | ((new != new) & (old == old))


def _rows(args, chunk, chunks):
    """Rows: (x, values, indices, runs, length, elements behind, which are 1)."""
    x, length = pointer(data(argument(args, 0)), ZERO), argument(args, 4)
    values, indices = pointer(data(argument(args, 1)), ZERO), pointer(data(argument(args, 2)), _I64)
    first, last = bounds(argument(args, 3), chunk, chunks, 1)
    for row in range(first, last):
        at = row * length
        top, place = x[at], 0
        if length < SHORT:
            for i in range(1, length):
                new = x[at + i]
                ahead = _ahead(new, top, LARGEST)
                top = new if ahead else top
                place = i if ahead else place
        else:
            # The extreme of each part, and then its place in the part where it is first.
            for start in range(0, length, PART):
                best = x[at + start]
                for i in range(start, min(start + PART, length)):
                    best = join(best, x[at + i])
                if _ahead(best, top, LARGEST):
                    top, place = best, start
            base, width = at + place, min(PART, length - place)
            nearest = np.int32(width)
            for i in range(width):
                new = x[base + i]
                same = (new == top) | ((new != new) & (top != top))
                nearest = min(nearest, np.int32(i if same else width))
            place += np.int64(nearest)
        values[row] = x[at + place]
        indices[row] = place


def _blocks(args, chunk, chunks):
    """Blocks behind pieces of the axis: (x, values, indices, runs, length, behind, pieces).

    Results are [runs, pieces, behind].
    """
    length, behind, pieces = argument(args, 4), argument(args, 5), argument(args, 6)
    blocks = (behind + BLOCK - 1) // BLOCK
    x = pointer(data(argument(args, 0)), ZERO)
    values, indices = pointer(data(argument(args, 1)), ZERO), pointer(data(argument(args, 2)), _I64)
    first, last = bounds(argument(args, 3) * pieces * blocks, chunk, chunks, 1)
    for block in range(first, last):
        above, start = block // blocks, block % blocks * BLOCK
        run = above // pieces
        low, high = bounds(length, above - run * pieces, pieces, 1)
        width = min(BLOCK, behind - start)
        at, to = (run * length + low) * behind + start, above * behind + start
        for j in range(width):
            values[to + j] = x[at + j]
            indices[to + j] = low
        for i in range(low + 1, high):
            at += behind
            for j in range(width):
                new, old = x[at + j], values[to + j]
                ahead = _ahead(new, old, LARGEST)
                values[to + j] = new if ahead else old
                indices[to + j] = i if ahead else indices[to + j]


def _joined(args, chunk, chunks):
    """What was found in pieces: (values, indices, values and indices of all, runs, pieces, behind).

    Chunks are of runs.
    """
    pieces, behind = argument(args, 5), argument(args, 6)
    x, places = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), _I64)
    values, indices = pointer(data(argument(args, 2)), ZERO), pointer(data(argument(args, 3)), _I64)
    first, last = bounds(argument(args, 4), chunk, chunks, 1)
    for to in range(first * behind, last * behind):
        at = to // behind * (pieces - 1) * behind + to
        best = at
        for k in range(1, pieces):
            new = at + k * behind
            best = new if _ahead(x[new], x[best], LARGEST) else best
        values[to] = x[best]
        indices[to] = places[best]


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
    float_join = of_two("llvm.maximum" if largest else "llvm.minimum")
    made = instances(name, body, "f4 f8", LARGEST=largest, join=float_join)
    made |= instances(name, body, "u1 i4 i8", LARGEST=largest, join=larger if largest else smaller)
    made[np.dtype(bool)] = made[np.dtype(np.uint8)]
    return made


_TASKS = {
    ("rows", True): _made("largest_of_rows", _rows, largest=True),
    ("rows", False): _made("smallest_of_rows", _rows, largest=False),
    ("blocks", True): _made("largest_of_blocks", _blocks, largest=True),
    ("blocks", False): _made("smallest_of_blocks", _blocks, largest=False),
    ("joined", True): _made("largest_of_pieces", _joined, largest=True),
    ("joined", False): _made("smallest_of_pieces", _joined, largest=False),
}
"""By what is done and whether the largest is looked for, then by dtype."""
_PUT = instances("put_extreme", _put, "f4 f8")
_DTYPES = frozenset(_TASKS["rows", True])


class _Plan(NamedTuple):
    """How the extremes of an array in row-major order are found.

    Attributes:
        find: a launch over the array and what is found.
        pieces: shape of what is found in pieces of the axis; None where it is not cut.
        join: a launch over that and the results.
        shape: of the results.
    """

    find: Launch
    pieces: tuple[int, int, int] | None
    join: Launch | None
    shape: tuple[int, ...]


@lru_cache(1024)
def _plan(
    dtype: np.dtype, shape: tuple[int, ...], axis: int, keepdims: bool, largest: bool
) -> _Plan:
    runs, length, behind = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    wanted = (*shape[:axis], *((1,) if keepdims else ()), *shape[axis + 1 :])
    units, chunks = runs * -(-behind // BLOCK), chunks_of(math.prod(shape), GRAIN)
    words = runs, length, behind
    if behind == 1:
        stage = _TASKS["rows", largest][dtype], max(1, min(units, chunks))
        return _Plan(Launch([stage], 3, *words), None, None, wanted)
    # A long axis is cut where blocks alone do not make work for all threads.
    pieces = max(1, min(chunks, length // TALL)) if units < FEW else 1
    stage = _TASKS["blocks", largest][dtype], max(1, min(units * pieces, chunks))
    find = Launch([stage], 3, *words, pieces)
    if pieces == 1:
        return _Plan(find, None, None, wanted)
    join = Launch([(_TASKS["joined", largest][dtype], 1)], 4, runs, pieces, behind)
    return _Plan(find, (runs, pieces, behind), join, wanted)


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
    plan = _plan(x.dtype, x.shape, axis, keepdims, largest)
    values, places = empty(plan.shape, x.dtype), empty(plan.shape, np.int64)
    if plan.pieces is None or plan.join is None:
        plan.find(x, values, places)
    else:
        found, at = empty(plan.pieces, x.dtype), empty(plan.pieces, np.int64)
        plan.find(x, found, at)
        plan.join(found, at, values, places)
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
    seen = x.dtype == np.bool_ and axis == x.ndim - 1 and x.shape[axis] >= TRUTHS
    if x.size < MANY or seen or x.dtype not in _DTYPES:
        return np.asarray((x.argmax if largest else x.argmin)(axis, keepdims=keepdims))
    return extreme(x, axis, keepdims=keepdims, largest=largest)[1]


def argmax(x: np.ndarray, axis: int, *, keepdims: bool) -> np.ndarray:
    """Position of the largest element along `axis`, of the first NaN if there is one."""
    return _position(x, axis, keepdims=keepdims, largest=True)


def argmin(x: np.ndarray, axis: int, *, keepdims: bool) -> np.ndarray:
    """Position of the smallest element along `axis`, of the first NaN if there is one."""
    return _position(x, axis, keepdims=keepdims, largest=False)
