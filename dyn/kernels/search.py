"""Positions and order: the k largest, unique elements, counts, places among edges.

The k largest elements are found by `order.py`; unique elements are the runs of equal ones in a
vector that it has sorted. A count has a table for each chunk, added in the end. Places among edges
are found by a binary search without branches (Knuth, The Art of Computer Programming 3, 6.2.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.layout import axis_last
from dyn.kernels.order import ordered
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of, float_word
from dyn.kernels.runtime.jit import instances, kernel, task
from dyn.kernels.runtime.memory import empty, maker
from dyn.kernels.runtime.threads import argument, argument_float, bounds
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.runs import pointer

GRAIN = 4096
"""Elements worth a chunk."""
TABLES = 8
"""Most chunks of a count: each has a table of its own."""
MANY = 1 << 16
"""Bins from which on a count is done in one chunk."""
_I64 = np.int64(0)
ZERO = np.float32(0)
"""What instances of a task have of their own: a zero of the elements."""


def topk(x, k, axis, largest):
    """(values, indices) of the k largest (or smallest) along `axis`, in order; ties by position."""
    if axis == x.ndim - 1:
        return ordered(x, k, largest=largest)
    last, back = axis_last(x.ndim, axis)
    values, indices = ordered(x.transpose(last), k, largest=largest)
    return values.transpose(back), indices.transpose(back)


def unique(x, axis):
    """(values, first positions, inverse, counts), values in ascending order."""
    if axis is None and x.dtype in RUNS and 0 < x.size < 2**31:
        return _unique(contiguous(x).reshape(-1))
    values, index, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    return values, index, inverse.reshape(-1), counts


def _negative(x):
    return ValueError(f"bincount counts integers from 0 on, got {x.min()}")


def _runs(args, chunk, chunks):
    """(sorted elements, where each was, values, first positions, inverse, counts, their number).

    NaN equals NaN here.
    """
    x, where = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), _I64)
    values, first = pointer(data(argument(args, 2)), ZERO), pointer(data(argument(args, 3)), _I64)
    inverse, counts = pointer(data(argument(args, 4)), _I64), pointer(data(argument(args, 5)), _I64)
    run, begin = -1, 0
    for i in range(argument(args, 7)):
        new, old = x[i], x[begin]
        if i == 0 or (new != old and not (new != new and old != old)):
            run, begin = run + 1, i
            values[run] = new
            first[run] = where[i]
        counts[run] = i - begin + 1
        inverse[where[i]] = run
    pointer(data(argument(args, 6)), _I64)[0] = run + 1


RUNS = instances("runs", _runs, "f4 i4 i8")


@lru_cache(256)
def _plan_runs(dtype: np.dtype, size: int) -> Launch:
    return Launch([(RUNS[dtype], 1)], 7, size)


def _unique(x):
    """What `unique` gives of a dense vector."""
    ordered_x, where = ordered(x, x.size, largest=False)
    values = empty(x.shape, x.dtype)
    first, inverse, counts = (empty(x.shape, np.int64) for _ in range(3))
    number = np.empty(1, np.int64)
    plan = _plan_runs(x.dtype, x.size)
    plan(contiguous(ordered_x), contiguous(where), values, first, inverse, counts, number)
    # Copies, so that few values do not keep the memory of all.
    values, first, counts = (a[: number[0]].copy() for a in (values, first, counts))
    return values, first, inverse, counts


def bincount(x, weights, minlength):
    """How often (or with what weight) each integer occurs."""
    if weights is not None or x.dtype != np.int64 or x.size < GRAIN:
        try:
            counts = np.bincount(x, weights, minlength)
        except ValueError:
            if x.size and x.min() < 0:
                raise _negative(x) from None
            raise
        return counts if weights is None else counts.astype(weights.dtype)
    # As numbers without a sign, negative ones are the largest.
    top = int(x.view(np.uint64).max())
    if top >> 63:
        raise _negative(x)
    bins = max(minlength, top + 1)
    # A table is worth its zeros and its sum where several numbers fall into each bin.
    chunks = 1 if bins > MANY else chunks_of(x.size, max(4 * GRAIN, 4 * bins), TABLES)
    tables = np.zeros((chunks, bins), np.int64)
    Launch([(_count, chunks)], 2, x.size, bins)(contiguous(x), tables)
    return tables.sum(0)


@task
def _count(args, chunk, chunks):
    """How often each integer occurs in a chunk: (x, a table for each chunk, size, bins)."""
    x = pointer(data(argument(args, 0)), _I64)
    table = pointer(data(argument(args, 1)) + 8 * chunk * argument(args, 3), _I64)
    start, stop = bounds(argument(args, 2), chunk, chunks, 8)
    for i in range(start, stop):
        table[x[i]] += 1


def histogram(x, bins, low, high):
    """How many elements lie in each of equal bins from `low` to `high`, in the dtype of x.

    The last bin has both its edges; what lies outside and NaN are not counted.
    """
    if x.dtype not in BINS:
        return histogram(x.astype(np.float32), bins, low, high).astype(x.dtype)
    launch, chunks = _plan_bins(x.dtype, x.size, bins, low, high)
    tables = np.zeros((chunks, bins), np.int64)
    launch(contiguous(x), tables)
    return tables.sum(0).astype(x.dtype)


@lru_cache(256)
def _plan_bins(
    dtype: np.dtype, size: int, bins: int, low: float, high: float
) -> tuple[Launch, int]:
    chunks = 1 if bins > MANY else chunks_of(size, 16 * GRAIN, TABLES)
    numbers = map(float_word, (low, high, bins / (high - low)))
    return Launch([(BINS[dtype], chunks)], 2, size, bins, *numbers), chunks


def _bins(args, chunk, chunks):
    """Count in a chunk: (x, a table for each chunk, size, bins, lowest, highest, bins per unit)."""
    x, bins = pointer(data(argument(args, 0)), ZERO), argument(args, 3)
    table = pointer(data(argument(args, 1)) + 8 * chunk * bins, _I64)
    # In the precision of the elements, as in a file.
    rounded = pointer(room(), ZERO)
    for k in range(3):
        rounded[k] = argument_float(args, 4 + k)
    low, high, scale = rounded[0], rounded[1], rounded[2]
    start, stop = bounds(argument(args, 2), chunk, chunks, 8)
    for i in range(start, stop):
        if low <= x[i] and x[i] <= high:
            place = np.int64((x[i] - low) * scale)
            table[min(place, bins - 1)] += 1


BINS = instances("bins", _bins, "f4 f8")


@lru_cache(256)
def places_of(
    edges: tuple[int, ...], shape: tuple[int, ...], dtype: np.dtype, right: bool
) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """`searchsorted` for edges and x of these shapes; None for other dtypes and no elements."""
    size = math.prod(shape)
    if dtype not in PLACES or not size:
        return None
    steps = max(1, math.ceil(math.log2(edges[-1] + 1)))
    each = size if len(edges) == 1 else shape[-1]
    chunks = chunks_of(size * steps, 8 * GRAIN)
    launch = Launch([(PLACES[dtype], chunks)], 3, size, each, edges[-1], right)
    make = maker(shape, np.dtype(np.int64))

    def run(edges: np.ndarray, x: np.ndarray) -> np.ndarray:
        out = make()
        launch(contiguous(edges), contiguous(x), out)
        return out

    return run


def searchsorted(edges, x, right):
    """How many elements of the last axis of `edges` lie below (or, `right`, not above) `x`."""
    ready = places_of(edges.shape, x.shape, x.dtype, right)
    if ready is not None:
        return ready(edges, x)
    side = "right" if right else "left"
    if edges.ndim == 1:
        return np.asarray(np.searchsorted(edges, x, side))
    out = np.empty(x.shape, np.int64)
    for at in np.ndindex(x.shape[:-1]):
        out[at] = np.searchsorted(edges[at], x[at], side)
    return out


@kernel
def _below(a, b):
    """a < b, where NaN is larger than all numbers."""
    return (a < b) | ((b != b) & (a == a))


def _places(args, chunk, chunks):
    """(edges, x, out, size, elements of x for each sequence of edges, edges of one, right)."""
    size, each, count = argument(args, 3), argument(args, 4), argument(args, 5)
    right = argument(args, 6) != 0
    every = pointer(data(argument(args, 0)), ZERO)
    x, out = pointer(data(argument(args, 1)), ZERO), pointer(data(argument(args, 2)), _I64)
    start, stop = bounds(size, chunk, chunks, 8)
    for i in range(start, stop):
        value, first = x[i], i // each * count
        low, left = first, count
        # Without a branch: which way is as good as random.
        while left > 0:
            half = (left + 1) // 2
            edge = every[low + half - 1]
            passes = not _below(value, edge) if right else _below(edge, value)
            low += half if passes else 0
            left = left - half if passes else half - 1
        out[i] = low - first


PLACES = instances("places", _places, "f4 f8 i4 i8")
