"""Memory for results: large arrays come from a free list and return to it when nothing uses them.

A buffer of LARGE bytes or more is rounded up to one of eight sizes per power of two. When the last
array over it dies (views count) it waits for the next request of that size instead of going back
to the system, because fresh pages cost more than most kernels. Smaller arrays are left to numpy.
What fills an array does not belong here.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple, cast

import numpy as np

from dyn.kernels.runtime.limits import available_memory

LARGE = 64 * 1024
SMALL = LARGE // 32
"""Elements that are less than LARGE bytes, whatever their dtype."""
ALIGNMENT = 64
FAR = 32 << 20
"""Bytes of a result that no cache keeps until it is read: it is written past the cache, which saves
reading what it replaces."""

_BYTE = np.dtype(np.uint8)


class _Buffer(np.ndarray):
    """Memory that outlives the arrays over it."""

    __slots__ = ()


class _FreeList:
    """Waiting buffers by size.

    Taking and giving back are single operations on a list, so they need no lock: a buffer is given
    back when an array dies, which can happen at any moment, even inside a locked block of the same
    thread. The lock guards what is rare: new memory and releasing it.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting: dict[int, list[_Buffer]] = {}
        self.budget = available_memory()
        self.ceiling = self.budget // 2  # bytes that may wait
        self.total_bytes = 0  # in use and waiting
        self.peak_bytes = 0
        self.fresh_count = 0
        self.reuses = itertools.count()  # next() is one operation, += is not
        self.looks = 0  # at that counter, each of which advances it

    def make(self, size: int) -> _Buffer:
        """A new buffer of `size` bytes, and a list for it to return to."""
        with self.lock:
            self.waiting.setdefault(size, [])
            self.evict(max(0, self.budget - self.total_bytes + self.waiting_bytes() - size))
        try:
            buffer = _fresh(size)
        except MemoryError:
            self.clear()
            buffer = _fresh(size)
        with self.lock:
            self.fresh_count += 1
            self.total_bytes += size
            self.peak_bytes = max(self.peak_bytes, self.total_bytes)
        return buffer

    def waiting_bytes(self) -> int:
        """Bytes in the free list."""
        return sum(size * len(buffers) for size, buffers in list(self.waiting.items()))

    def evict(self, kept: int) -> None:
        """Release buffers, of the size that wastes most first, until at most `kept` bytes wait."""
        while self.waiting_bytes() > kept:
            size = max(self.waiting, key=lambda size: size * len(self.waiting[size]))
            try:
                self.waiting[size].pop()
            except IndexError:  # taken meanwhile
                continue
            self.total_bytes -= size

    def trim(self) -> None:
        """Keep to the ceiling; called as arrays die, so it must not wait for the lock."""
        if self.lock.acquire(blocking=False):
            try:
                self.evict(self.ceiling)
            finally:
                self.lock.release()

    def clear(self) -> None:
        """Release every waiting buffer."""
        with self.lock:
            self.evict(0)

    def info(self) -> dict[str, int]:
        """The counters."""
        with self.lock:
            waiting = self.waiting_bytes()
            reused = next(self.reuses) - self.looks
            self.looks += 1
            return {
                "live_bytes": self.total_bytes - waiting,
                "waiting_bytes": waiting,
                "peak_bytes": self.peak_bytes,
                "fresh_count": self.fresh_count,
                "reused_count": reused,
            }

    def after_fork(self) -> None:
        """The thread that held the lock does not exist in the child."""
        self.lock = threading.Lock()


def _fresh(size: int) -> _Buffer:
    """New aligned memory of `size` bytes, with a line of slack behind it."""
    memory = _Buffer((size + 2 * ALIGNMENT,), _BYTE)
    start = -memory.ctypes.data % ALIGNMENT
    return cast(_Buffer, memory[start : start + size])


_list = _FreeList()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_list.after_fork)


class Lease(np.ndarray):
    """A buffer in use: the base of every array over it, given back when the last of them dies.

    Each use has a lease of its own, as Python runs `__del__` once per object. Array, lease and
    buffer are of three types because numpy lets an array refer past bases of its own type to what
    lies below them: then a lease could die, and its buffer be reused, while views still read it.
    """

    __slots__ = ()

    # Both are bound as defaults so that they are still there when the interpreter ends.
    def __del__(self, free: _FreeList = _list, kind: type[_Buffer] = _Buffer) -> None:
        buffer: Any = self.base
        # Slices and copies of a lease are of its type, too, but the buffer is not theirs to
        # give back.
        if buffer.__class__ is kind:
            free.waiting[len(buffer)].append(buffer)
            if free.total_bytes > free.ceiling:
                free.trim()


class _Plan(NamedTuple):
    """How to make an array."""

    size: int  # bytes of its buffer; 0: numpy makes it
    dtype: np.dtype[Any]
    strides: tuple[int, ...] | None  # None: C order


def _bucket(size: int) -> int:
    """`size` rounded up to an eighth of its power of two; 0 below LARGE."""
    if size < LARGE:
        return 0
    step = 1 << (size - 1).bit_length() - 4
    return -(-size // step) * step


@lru_cache(4096)
def _plan(shape: tuple[int, ...], dtype: Any, order: str) -> _Plan:
    dtype = np.dtype(dtype)
    size = _bucket(math.prod(shape) * dtype.itemsize)
    if order == "C":
        return _Plan(size, dtype, None)
    if order != "channels_last" or len(shape) < 3:
        raise ValueError(f"order {order!r} of shape {shape}: known are 'C' and 'channels_last'")
    strides = [0] * len(shape)
    step = dtype.itemsize
    for axis in (1, *range(len(shape) - 1, 1, -1), 0):
        strides[axis] = step
        step *= shape[axis]
    return _Plan(size, dtype, tuple(strides))


@lru_cache(4096)
def _plan_like(shape: tuple[int, ...], strides: tuple[int, ...], old: Any, new: Any) -> _Plan:
    plan = _plan(shape, new, "C")
    step = old.itemsize
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size > 1:
            if stride != step:
                return plan
            step *= size
    return plan._replace(strides=tuple(s // old.itemsize * plan.dtype.itemsize for s in strides))


def _make(shape: tuple[int, ...], plan: _Plan) -> np.ndarray:
    size, dtype, strides = plan
    if not size:
        if strides is None:
            return np.empty(shape, dtype)
        return np.ndarray(shape, dtype, None, 0, strides)
    try:
        buffer = _list.waiting[size].pop()
        next(_list.reuses)
    except LookupError:
        buffer = _list.make(size)
    return np.ndarray(shape, dtype, buffer.view(Lease), 0, strides)


_F32 = np.dtype(np.float32)


def empty(shape: tuple[int, ...], dtype: Any = _F32, order: str = "C") -> np.ndarray:
    """An array of unspecified content; from LARGE bytes on aligned and from the free list.

    Args:
        shape: size of each axis.
        dtype: numpy dtype.
        order: "C", or "channels_last": memory in the order (N, spatial axes, C) under the logical
            shape (N, C, spatial axes).

    Raises:
        MemoryError: the system has no more, even after the free list was released.
        ValueError: unknown order, or fewer than three axes for "channels_last".
    """
    if order == "C" and math.prod(shape) <= SMALL:
        return np.empty(shape, dtype)
    return _make(shape, _plan(shape, dtype, order))


def maker(shape: tuple[int, ...], dtype: Any, order: str = "C") -> Callable[[], np.ndarray]:
    """What makes arrays of one shape as `empty` does, at a lower cost."""
    plan = _plan(shape, dtype, order)
    small = order == "C" and math.prod(shape) <= SMALL
    return partial(np.empty, shape, dtype) if small else partial(_make, shape, plan)


def empty_like(x: np.ndarray, dtype: Any = None) -> np.ndarray:
    """An array of the shape of `x`, and of its strides where `x` is dense in any order of axes.

    Args:
        x: array of any layout; where it has gaps or overlaps the result is in C order.
        dtype: numpy dtype; that of `x` by default.
    """
    if dtype is None and x.size <= SMALL and x.flags.c_contiguous:
        made = np.empty(x.shape, x.dtype)
        if made.strides == x.strides:  # those of axes of size 1 may differ
            return made
    return _make(
        x.shape, _plan_like(x.shape, x.strides, x.dtype, x.dtype if dtype is None else dtype)
    )


def maker_like(x: np.ndarray, dtype: Any) -> Callable[[], np.ndarray] | None:
    """What makes arrays as `empty_like` does, for arrays of one shape and strides; None: gaps."""
    plan = _plan_like(x.shape, x.strides, x.dtype, dtype)
    if x.flags.c_contiguous:
        return maker(x.shape, dtype)
    return None if plan.strides is None else partial(_make, x.shape, plan)


def is_dense(x: np.ndarray) -> bool:
    """Whether the elements fill their memory without gaps, in whatever order of axes."""
    return x.flags.c_contiguous or _plan_like(x.shape, x.strides, x.dtype, x.dtype)[2] is not None


def memory_info() -> dict[str, int]:
    """What the free list holds and has done.

    Returns:
        `live_bytes` in arrays, `waiting_bytes` in the free list, `peak_bytes` of both together,
        `fresh_count` buffers asked of the system, `reused_count` requests met by the free list.
        Arrays below LARGE bytes are not counted.
    """
    return _list.info()


def empty_cache() -> None:
    """Give the waiting buffers back to the system."""
    _list.clear()
