"""Arrays that end where memory ends, so that a kernel which strays past one stops the process.

`guarded(x)` is for a kernel's inputs; within `guarded_results()` whatever kernels allocate with
`dyn.kernels.runtime.memory` is guarded too. POSIX only. Tests of kernels do not belong here.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from dyn.kernels.runtime import memory

AVAILABLE = os.name == "posix"


def guarded(x: np.ndarray, side: str = "end") -> np.ndarray:
    """A copy of `x`, of the same strides, that touches a page nobody may read or write.

    Args:
        x: array of any layout.
        side: "end" or "start": where the forbidden page touches; the other side has one too, at a
            distance.
    """
    low, high = byte_bounds(x)
    made = _lay(x.shape, x.dtype, x.strides, high - low, x.ctypes.data - low, side)
    made[...] = x
    return made


@contextmanager
def guarded_results(side: str = "end") -> Iterator[None]:
    """Lay every array from `memory.empty`, `memory.empty_like` and `numpy.empty` against a
    forbidden page.

    Those that are promised to be aligned stay so, and leave up to a line free before the page.
    """
    before = memory._make, memory.SMALL, np.empty

    def make(shape: tuple[int, ...], plan: Any) -> np.ndarray:
        strides = plan.strides or np.empty(shape, np.int8).strides
        if plan.strides is None:
            strides = tuple(stride * plan.dtype.itemsize for stride in strides)
        extent = int(np.prod(shape)) * plan.dtype.itemsize
        if plan.size:
            extent = -(-extent // memory.ALIGNMENT) * memory.ALIGNMENT
        return _lay(shape, plan.dtype, strides, extent, 0, side)

    def empty(shape: Any, dtype: Any = float, order: Any = "C", **rest: Any) -> np.ndarray:
        x = before[2](shape, dtype, order, **rest)
        plain = x.size and x.flags.c_contiguous and not x.dtype.hasobject
        return _lay(x.shape, x.dtype, x.strides, x.nbytes, 0, side) if plain else x

    memory._make, memory.SMALL, np.empty = make, -1, empty
    try:
        yield
    finally:
        memory._make, memory.SMALL, np.empty = before


def _lay(shape: Any, dtype: Any, strides: Any, extent: int, offset: int, side: str) -> np.ndarray:
    """An array whose `extent` bytes touch a forbidden page; it begins `offset` bytes into them."""
    page = mmap.PAGESIZE
    inner = max(1, -(-extent // page)) * page
    region = mmap.mmap(-1, inner + 2 * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(region))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for start in (address, address + page + inner):
        if protect(ctypes.c_void_p(start), ctypes.c_size_t(page), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    first = page + inner - extent if side == "end" else page
    return np.ndarray(shape, dtype, region, first + offset, strides)
