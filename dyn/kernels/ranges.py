"""Numbers at equal distances, written by all threads.

Integers are start + i * step. Floating-point numbers are counted from the nearer end, so that both
ends are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from dyn.kernels.copy import FILL, filled
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of, float_word
from dyn.kernels.runtime.jit import instance, task
from dyn.kernels.runtime.memory import maker
from dyn.kernels.runtime.threads import argument, argument_float, bounds
from dyn.kernels.vector.runs import pointer

GRAIN = 16384
"""Numbers worth a chunk."""
_I64 = np.int64(0)
NUMBER = np.float32
"""What instances of a task have of their own: the type of the numbers."""


def full_of(shape: tuple[int, ...], value: Any, dtype: np.dtype) -> Callable[[], np.ndarray]:
    """What makes arrays with every element `value`, as `copy.filled` does."""
    if math.prod(shape) * dtype.itemsize >= FILL:
        return partial(filled, shape, value, dtype)

    def make() -> np.ndarray:
        out = np.empty(shape, dtype)
        out.fill(value)
        return out

    return make


@task
def _count(args, chunk, chunks):
    """start, start + step ...: (out, count, start, step), integers."""
    out = pointer(data(argument(args, 0)), _I64)
    first, step = argument(args, 2), argument(args, 3)
    start, stop = bounds(argument(args, 1), chunk, chunks, 16)
    for i in range(start, stop):
        out[i] = first + i * step


def _spread(args, chunk, chunks):
    """From both ends to the middle, so that the last number is exact: (out, count, first, last,
    step)."""
    out = pointer(data(argument(args, 0)), NUMBER(0))
    count = argument(args, 1)
    first, last = NUMBER(argument_float(args, 2)), NUMBER(argument_float(args, 3))
    step = NUMBER(argument_float(args, 4))
    start, stop = bounds(count, chunk, chunks, 16)
    half, end = (count + 1) // 2, NUMBER(count - 1)
    for i in range(start, min(half, stop)):
        out[i] = NUMBER(i) * step + first
    for i in range(max(half, start), stop):
        out[i] = (NUMBER(i) - end) * step + last


SPREAD = {
    np.dtype(number): instance(f"spread_{np.dtype(number).str[1:]}", _spread, NUMBER=number)
    for number in (np.float32, np.float64)
}
SPREAD_NAMES = frozenset(dtype.name for dtype in SPREAD)


@lru_cache(256)
def arange_of(count: int, start: int, step: int) -> Callable[[], np.ndarray]:
    """What makes `count` int64 numbers start, start + step ..."""
    make = maker((count,), np.dtype(np.int64))
    launch = Launch([(_count, chunks_of(count, GRAIN))], 1, count, start, step)

    def run() -> np.ndarray:
        out = make()
        launch(out)
        return out

    return run


@lru_cache(256)
def linspace_of(count: int, start: float, stop: float, dtype: np.dtype) -> Callable[[], np.ndarray]:
    """What makes `count` float32 or float64 numbers from `start` to `stop`, both exactly."""
    step = (stop - start) / max(count - 1, 1)
    words = [float_word(number) for number in (start, stop, step)]
    make = maker((count,), dtype)
    launch = Launch([(SPREAD[dtype], chunks_of(count, GRAIN))], 1, count, *words)

    def run() -> np.ndarray:
        out = make()
        launch(out)
        return out

    return run


def arange(count: int, start: int, step: int) -> np.ndarray:
    """`count` int64 numbers start, start + step ..."""
    return arange_of(count, start, step)()


def linspace(count: int, start: float, stop: float, dtype: np.dtype) -> np.ndarray:
    """`count` float32 or float64 numbers from `start` to `stop`, both exactly."""
    return linspace_of(count, start, stop, dtype)()
