"""Integers as rows of zeros with a one at their place: every chunk of rows is cleared, then marked.

Elements are bytes here, whose one is a pattern of bits: one task serves every dtype of 1 to 8
bytes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import task
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import clear_run, fill_elements, pointer

GRAIN = 65536
"""Bytes worth a chunk."""
_ZERO = np.int64(0)


@task
def _mark(args, chunk, chunks):
    """Some rows: (x, out, whether one is outside, rows, classes, bytes of an element, a one)."""
    x, out = pointer(data(argument(args, 0)), _ZERO), data(argument(args, 1))
    failed = pointer(data(argument(args, 2)), _ZERO)
    classes, item, one = argument(args, 4), argument(args, 5), argument(args, 6)
    start, stop = bounds(argument(args, 3), chunk, chunks, 1)
    width = classes * item
    clear_run(out + start * width, (stop - start) * width)
    for i in range(start, stop):
        place = x[i]
        if 0 <= place < classes:
            fill_elements(out + i * width + place * item, one, item, 1)
        else:
            failed[0] = 1


@lru_cache(1024)
def _plan(rows: int, classes: int, dtype: np.dtype) -> Launch:
    item = dtype.itemsize
    one = int(np.ones((), dtype).view(f"i{item}"))
    chunks = chunks_of(rows * classes * item, GRAIN)
    return Launch([(_mark, min(chunks, max(rows, 1)))], 3, rows, classes, item, one)


def one_hot(x: np.ndarray, classes: int, dtype: np.dtype) -> np.ndarray:
    """Zeros [*x.shape, classes] with a one where x says.

    Raises:
        IndexError: an integer lies outside [0, classes).
    """
    index = np.ascontiguousarray(x, np.int64)
    out, failed = empty((*x.shape, classes), dtype), np.zeros(1, np.int64)
    _plan(x.size, classes, out.dtype)(index, out, failed)
    if failed[0]:
        wrong = x.min() if x.min() < 0 else x.max()
        raise IndexError(f"{wrong} is not one of the {classes} classes, 0 to {classes - 1}")
    return out
