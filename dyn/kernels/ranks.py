"""One element of each sorted row: the most frequent one, or the one in the middle.

Rows are sorted together with the places of their elements (`order.py`); the mode is the value of
the longest run of equal elements.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.order import ordered
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import instances
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer

GRAIN = 8192
"""Elements worth a chunk."""
ZERO = np.float32(0)
"""What instances of a task have of their own: a zero of the elements."""
_I64 = np.int64(0)


def _mode(args, chunk, chunks):
    """Words: (sorted values, where each was, out, places; rows, elements of one)."""
    n = argument(args, 5)
    values, where = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), _I64)
    out, places = pointer(data(argument(args, 2)), ZERO), pointer(data(argument(args, 3)), _I64)
    start, stop = bounds(argument(args, 4), chunk, chunks, 1)
    for row in range(start, stop):
        at = row * n
        # Where nothing equals itself, not even once, the first element and the last place.
        value, place, most, first = values[at], where[at + n - 1], 0, at
        for i in range(at, at + n):
            if values[i] != values[first]:
                first = i
            if values[i] == values[i] and i - first >= most:
                value, place, most = values[first], where[i], i - first + 1
        out[row] = value
        places[row] = place


def _median(args, chunk, chunks):
    """Words: (sorted values, where each was, out, places; rows, elements of one)."""
    n = argument(args, 5)
    values, where = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), _I64)
    out, places = pointer(data(argument(args, 2)), ZERO), pointer(data(argument(args, 3)), _I64)
    start, stop = bounds(argument(args, 4), chunk, chunks, 1)
    for row in range(start, stop):
        at = row * n
        chosen = at + (n - 1) // 2
        if values[at + n - 1] != values[at + n - 1]:
            # NaN stands behind all numbers: the first one of them.
            chosen = at + n - 1
            while chosen > at and values[chosen - 1] != values[chosen - 1]:
                chosen -= 1
        out[row] = values[chosen]
        places[row] = where[chosen]


_MODE = instances("mode_of_row", _mode, "f4 f8 i4 i8")
_MEDIAN = instances("median_of_row", _median, "f4 f8 i4 i8")


@lru_cache(1024)
def _plan(task: Any, rows: int, n: int) -> Launch:
    return Launch([(task, max(1, min(rows, chunks_of(rows * n, GRAIN))))], 4, rows, n)


def _pick(tasks: Any, x: np.ndarray, axis: int, keepdims: bool) -> tuple[np.ndarray, np.ndarray]:
    moved = x if axis == x.ndim - 1 else np.moveaxis(x, axis, -1)
    if x.dtype not in tasks:
        moved = moved.astype(np.int64 if x.dtype.kind in "iu" else np.float32)
    *lead, n = moved.shape
    values, where = ordered(moved, n, largest=False)
    out, places = empty((*lead,), values.dtype), empty((*lead,), np.int64)
    if out.size:
        plan = _plan(tasks[values.dtype], out.size, n)
        plan(contiguous(values), contiguous(where), out, places)
    out = out if out.dtype == x.dtype else out.astype(x.dtype)
    return (np.expand_dims(out, axis), np.expand_dims(places, axis)) if keepdims else (out, places)


def mode(x: np.ndarray, axis: int, keepdims: bool) -> tuple[np.ndarray, np.ndarray]:
    """(values, places) of the most frequent elements, the smallest of several; the last places.

    NaN is no element; where there is nothing else it is the value.
    """
    return _pick(_MODE, x, axis, keepdims)


def lower_median(x: np.ndarray, axis: int, keepdims: bool) -> tuple[np.ndarray, np.ndarray]:
    """(values, places) of the lower of the elements in the middle, or of the first NaN."""
    return _pick(_MEDIAN, x, axis, keepdims)
