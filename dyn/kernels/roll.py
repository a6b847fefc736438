"""Rolling along an axis: the two parts of every row of the axis change places.

A row is all that belongs to one place of the axes before. The result is written from its start to
its end, in chunks of bytes, so that one long row keeps all threads busy, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from dyn.kernels.copy import GRAIN, contiguous
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import task
from dyn.kernels.runtime.memory import maker
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import copy_run

NARROW, FEW = 16, 256
"""Bytes of a row below which numpy's copies of columns cost less, where there are more rows."""


@task
def _roll(args, chunk, chunks):
    """Some bytes of the result: (x, out, bytes of all, of a row, and before the cut of a row)."""
    x, out = data(argument(args, 0)), data(argument(args, 1))
    row, cut = argument(args, 3), argument(args, 4)
    at, stop = bounds(argument(args, 2), chunk, chunks, 64)
    behind, place = row - cut, at % row
    while at < stop:
        # What lay behind the cut comes first.
        if place < behind:
            run = min(behind - place, stop - at)
            copy_run(x + at + cut, out + at, run)
        else:
            run = min(row - place, stop - at)
            copy_run(x + at - behind, out + at, run)
        at += run
        place += run
        if place == row:
            place = 0


@lru_cache(1024)
def _plan(total: int, row: int, cut: int) -> Launch:
    return Launch([(_roll, chunks_of(total, GRAIN) if total else 0)], 2, total, row, cut)


@lru_cache(1024)
def rolled_of(
    shape: tuple[int, ...], dtype: np.dtype, cut: int, axis: int
) -> Callable[[np.ndarray], np.ndarray]:
    """`rolled` of arrays of one shape."""
    step = math.prod(shape[axis + 1 :]) * dtype.itemsize
    row, total = shape[axis] * step, math.prod(shape) * dtype.itemsize
    if row < NARROW and total > FEW * row:
        before = (slice(None),) * axis
        first, last = (*before, slice(cut, None)), (*before, slice(None, cut))
        return lambda x: np.concatenate((x[first], x[last]), axis)
    launch, make = _plan(total, row, cut * step), maker(shape, dtype)

    def run(x: np.ndarray) -> np.ndarray:
        out = make()
        launch(contiguous(x), out)
        return out

    return run


def rolled(x: np.ndarray, cut: int, axis: int) -> np.ndarray:
    """The elements from place `cut` of an axis on, then those before it."""
    return rolled_of(x.shape, x.dtype, cut, axis)(x)
