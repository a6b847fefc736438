"""Coordinates of the nonzero elements: counted chunk by chunk, then written by all threads.

The running sum of the counts says where each chunk begins to write, so none waits for another.
"""

from __future__ import annotations

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime import drive
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import task
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.runs import pointer

GRAIN = 16384
"""Elements worth a chunk."""
MAX_AXES = 16
_I8, _I64 = np.int8(0), np.int64(0)


@task
def _count(args, chunk, chunks):
    """How many bytes of a chunk are not zero: (mask, counts, size)."""
    mask = pointer(data(argument(args, 0)), _I8)
    start, stop = bounds(argument(args, 2), chunk, chunks, 64)
    found = 0
    for i in range(start, stop):
        found += 1 if mask[i] != 0 else 0
    pointer(data(argument(args, 1)), _I64)[chunk] = found


@task
def _write(args, chunk, chunks):
    """The coordinates of a chunk: (mask, ends, size, sizes, axes, out)."""
    mask = pointer(data(argument(args, 0)), _I8)
    ends, sizes = pointer(data(argument(args, 1)), _I64), pointer(data(argument(args, 3)), _I64)
    axes, out = argument(args, 4), pointer(data(argument(args, 5)), _I64)
    start, stop = bounds(argument(args, 2), chunk, chunks, 64)
    at, end = (ends[chunk - 1] if chunk > 0 else 0), ends[chunk]
    places = pointer(room(), _I64)
    rest = start
    for axis in range(axes - 1, -1, -1):
        places[axis] = rest % sizes[axis]
        rest //= sizes[axis]
    last = axes - 1
    while at < end:
        first = places[last]
        run = min(sizes[last] - first, stop - start)
        # Every place is written, and kept where the mask holds: no branch to be guessed.
        i = 0
        while i < run and at < end:
            for axis in range(last):
                out[at * axes + axis] = places[axis]
            out[at * axes + last] = first + i
            at += 1 if mask[start + i] != 0 else 0
            i += 1
        start += run
        places[last] = 0
        for axis in range(last - 1, -1, -1):
            places[axis] += 1
            if places[axis] < sizes[axis]:
                break
            places[axis] = 0


def nonzero(x: np.ndarray) -> np.ndarray:
    """Coordinates of the nonzero elements in row-major order, one row each."""
    if not x.ndim:
        return np.argwhere(x)
    if x.size < GRAIN or x.ndim > MAX_AXES:
        found = x.nonzero()
        out = np.empty((len(found[0]), x.ndim), np.int64)
        for axis, places in enumerate(found):
            out[:, axis] = places
        return out
    mask = contiguous(x if x.dtype == np.bool_ else x != 0)
    chunks = drive.chunks_of(mask.size, GRAIN)
    ends = np.empty(chunks, np.int64)
    drive.run(_count, chunks, id(mask), id(ends), mask.size)
    ends = np.cumsum(ends)
    out = empty((int(ends[-1]), mask.ndim), np.int64)
    sizes = np.array(mask.shape, np.int64)
    drive.run(_write, chunks, id(mask), id(ends), mask.size, id(sizes), mask.ndim, id(out))
    return out
