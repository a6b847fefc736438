"""Rolling along an axis: the two parts of every row of the axis change places.

A row is all that belongs to one place of the axes before. The result is written from its start to
its end, in chunks of bytes, so that one long row keeps all threads busy, too.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from dyn.kernels.copy import GRAIN, SMALL, contiguous
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import task
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import copy_run

NARROW = 16
"""Bytes of a row below which numpy's copies of columns cost less."""


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
    return Launch([(_roll, chunks_of(total, GRAIN))], 2, total, row, cut)


def rolled(x: np.ndarray, cut: int, axis: int) -> np.ndarray:
    """The elements from place `cut` of an axis on, then those before it."""
    step = math.prod(x.shape[axis + 1 :]) * x.itemsize
    row = x.shape[axis] * step
    if x.nbytes < SMALL or row < NARROW:
        before = (slice(None),) * axis
        parts = x[(*before, slice(cut, None))], x[(*before, slice(None, cut))]
        return np.concatenate(parts, axis)
    x = contiguous(x)
    out = empty(x.shape, x.dtype)
    _plan(x.nbytes, row, cut * step)(x, out)
    return out
