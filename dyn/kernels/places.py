"""Reading and writing at places that are given by one index array for each of the leading axes.

The arrays become row numbers in one pass, without being stacked to coordinates first; from there on
it is as in `index.py`: rows are read, written or added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from dyn.kernels import index as rows_by
from dyn.kernels import index_tasks as tasks
from dyn.kernels.copy import contiguous, filled
from dyn.kernels.index import Shape, checked, unfailed, words_of
from dyn.kernels.lending import owned
from dyn.kernels.runtime import drive
from dyn.kernels.runtime.drive import Launch
from dyn.kernels.runtime.memory import maker
from dyn.kernels.runtime.words import ROOM

GRAIN = 8192
"""Places worth a chunk."""

Dtypes = tuple[np.dtype, ...]
_WORD = np.dtype(np.int64)


@lru_cache(4096)
def _numbering(
    shape: Shape, given: Shape, dtypes: Dtypes
) -> Callable[[Sequence[np.ndarray], np.ndarray], np.ndarray]:
    """What makes row numbers of index arrays of the shape `given`, one for each leading axis.

    Called with the arrays and where to note that one is outside. A single index is a row number as
    it is: negative ones still count from the back, and whoever uses them finds those outside.
    """
    depth, count = len(dtypes), math.prod(given)
    words = [words_of(dtype) for dtype in dtypes]
    if depth == 1:
        (only,) = words
        return lambda indices, failed: only(indices[0])
    sizes = np.array((count, depth, *shape[:depth]), _WORD)
    if 3 + depth > ROOM:

        def by_numpy(indices: Sequence[np.ndarray], failed: np.ndarray) -> np.ndarray:
            complain(indices, shape)
            wrapped = [checked(at, n) for at, n in zip(indices, shape[:depth], strict=True)]
            return np.ravel_multi_index(wrapped, shape[:depth]).astype(_WORD)

        return by_numpy
    launch = Launch([(tasks.number_rows, drive.chunks_of(count, GRAIN))], 3 + depth)

    def run(indices: Sequence[np.ndarray], failed: np.ndarray) -> np.ndarray:
        out = np.empty(given, _WORD)
        launch(out, failed, sizes, *[f(i) for f, i in zip(words, indices, strict=True)])
        return out

    return run


def complain(indices: Sequence[np.ndarray], shape: Shape) -> None:
    """Raise IndexError if an index is outside its axis."""
    for axis, index in enumerate(indices):
        checked(index, shape[axis], f"index on axis {axis}:")


@lru_cache(4096)
def take_of(
    shape: Shape, dtype: np.dtype, given: Shape, dtypes: Dtypes
) -> Callable[..., np.ndarray]:
    """`take` for x of `shape` and index arrays of the shape `given`."""
    depth, rows = len(dtypes), math.prod(given)
    whole = (*given, *shape[depth:])
    n, make = math.prod(shape[:depth]), maker(whole, dtype)
    if not n or not math.prod(whole):

        def nothing(x: np.ndarray, *indices: np.ndarray) -> np.ndarray:
            complain(indices, shape)
            return make()

        return nothing
    number = _numbering(shape, given, dtypes)
    size = math.prod(shape[depth:]) * dtype.itemsize
    launch = rows_by.taking(1, n, rows, size, depth == 1)

    def run(x: np.ndarray, *indices: np.ndarray) -> np.ndarray:
        out, failed = make(), unfailed()
        # What is outside its own axis may still be a row: then it is read in vain.
        launch(contiguous(x), number(indices, failed), out, failed)
        if failed[0]:
            complain(indices, shape)
        return out

    return run


def take(x: np.ndarray, *indices: np.ndarray) -> np.ndarray:
    """x[indices]: index arrays of one shape for the leading axes of x."""
    return take_of(x.shape, x.dtype, indices[0].shape, tuple([i.dtype for i in indices]))(
        x, *indices
    )


@lru_cache(4096)
def put_of(
    shape: Shape, dtype: np.dtype, given: Shape, dtypes: Dtypes, reduction: str
) -> Callable[..., np.ndarray]:
    """`put` for x of `shape` and index arrays of the shape `given`."""
    depth, rows = len(dtypes), math.prod(given)
    n, inner = math.prod(shape[:depth]), math.prod(shape[depth:])
    if not n or not rows * inner:

        def nothing(x: np.ndarray, value: np.ndarray, *indices: np.ndarray) -> np.ndarray:
            complain(indices, shape)
            return owned(x)

        return nothing
    number, adds = _numbering(shape, given, dtypes), reduction == "add"
    launch = (
        rows_by.adding(dtype, 1, n, rows, inner)
        if adds
        else rows_by.putting(n, rows, inner * dtype.itemsize)
    )

    def run(x: np.ndarray, value: np.ndarray, *indices: np.ndarray) -> np.ndarray:
        failed = unfailed()
        at = number(indices, failed)
        if failed[0] or launch is None:
            complain(indices, shape)
        out = owned(x)
        if launch is None:
            rows_by.add_rows(out, at.reshape(-1), contiguous(value), 1, n)
            return out
        launch(out, at, contiguous(value), failed)
        if failed[0]:
            complain(indices, shape)
        return out

    return run


def put(x: np.ndarray, value: np.ndarray, *indices: np.ndarray, reduction: str) -> np.ndarray:
    """A copy of x with value written, or added ("add"), where `x[indices]` reads."""
    dtypes = tuple([i.dtype for i in indices])
    return put_of(x.shape, x.dtype, indices[0].shape, dtypes, reduction)(x, value, *indices)


def take_grad(g: np.ndarray, indices: Sequence[np.ndarray], shape: Shape) -> np.ndarray:
    """Zeros of `shape` with g added where `take` read."""
    out = filled(shape, 0, g.dtype)
    if g.size:
        number = _numbering(shape, indices[0].shape, tuple([i.dtype for i in indices]))
        at = number(indices, unfailed()).reshape(-1)
        rows_by.add_rows(out, at, contiguous(g), 1, math.prod(shape[: len(indices)]))
    return out
