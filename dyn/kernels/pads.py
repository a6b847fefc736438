"""Padding with elements of the array itself (reflect, replicate, circular), and its gradient.

A table for each axis says where padding copies from. Neighbouring axes that are not padded count
as one. A row of the last axis is one run, and a few elements by its table before and behind it. The
gradient goes through the same rows in order and adds them where they came from, cut by the first
axis alone, and only where that one is not padded: sums do not depend on threads.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime import drive
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import instances, kernel
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.runs import copy_run, pointer

GRAIN = 65536
"""Bytes worth a chunk."""
MAX_AXES = 8
NAMES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""numpy's words for the modes."""
ZERO, SIZE, ADDS = np.int64(0), 8, False
"""What instances of the task have of their own: a zero of the elements, its bytes, what is done."""
_I64 = np.int64(0)
AXES, ROWS, WIDE, LOW, FIRST, RUN, SIZES = range(7)
"""Words of a plan: outer axes; rows; of the last axis the new size, the elements before the run,
where it begins in the source and its length; then the sizes of the axes, and their tables."""

Pads = tuple[tuple[int, int], ...]


class _Plan(NamedTuple):
    words: np.ndarray
    outer: int
    """Places along the first axis that can be done apart."""


@lru_cache(1024)
def _plan(shape: tuple[int, ...], pads: Pads, mode: str) -> _Plan | None:
    axes: list[tuple[int, int, int]] = []
    for n, (low, high) in zip(shape, pads, strict=True):
        if (low, high) == (0, 0) and axes and axes[-1][1:] == (0, 0):
            axes[-1] = (axes[-1][0] * n, 0, 0)
        else:
            axes.append((n, low, high))
    if len(axes) > MAX_AXES:
        return None
    while len(axes) < 3:
        axes.insert(0, (1, 0, 0))
    *outer, (own, low, high) = axes
    step, tables = own, [_table(own, low, high, mode)]
    for n, before, after in reversed(outer):
        tables.insert(0, _table(n, before, after, mode) * step)
        step *= n
    sizes = [len(table) for table in tables]
    rows = int(np.prod(sizes[:-1]))
    kept = own - max(0, -low) - max(0, -high)
    words = [len(outer), rows, sizes[-1], max(0, low), max(0, -low), kept]
    whole = np.concatenate([np.array(words + sizes, np.int64), *tables])
    return _Plan(whole, sizes[0] if outer[0][1:] == (0, 0) else 1)


def _table(n: int, low: int, high: int, mode: str) -> np.ndarray:
    """Where each element of a padded axis comes from."""
    kept = np.arange(max(0, -low), n - max(0, -high))
    return np.pad(kept, (max(0, low), max(0, high)), mode=NAMES[mode])  # type: ignore[call-overload]


@kernel
def _source(words, at):
    """Where the row with the places `at` comes from, in elements."""
    table = SIZES + words[AXES] + 1
    found = 0
    for axis in range(words[AXES]):
        found += words[table + at[axis]]
        table += words[SIZES + axis]
    return found


def _rows(args, chunk, chunks):
    """Copy rows, or add them back where ADDS: (plan, padded, own, units, rows of a unit)."""
    words = pointer(data(argument(args, 0)), _I64)
    start, stop = bounds(argument(args, 3), chunk, chunks, 1)
    padded = data(argument(args, 1)) + start * argument(args, 4) * words[WIDE] * SIZE
    own = data(argument(args, 2))
    axes, wide, low, first, run = words[AXES], words[WIDE], words[LOW], words[FIRST], words[RUN]
    behind = SIZES + axes + 1
    for axis in range(axes):
        behind += words[SIZES + axis]
    at = pointer(room(), _I64)
    row = start * argument(args, 4)
    for axis in range(axes - 1, -1, -1):
        at[axis] = row % words[SIZES + axis]
        row //= words[SIZES + axis]
    for _ in range((stop - start) * argument(args, 4)):
        source = own + _source(words, at) * SIZE
        here, there = pointer(padded, ZERO), pointer(source, ZERO)
        if ADDS:
            for i in range(run):
                there[first + i] += here[low + i]
            for i in range(low):
                there[words[behind + i]] += here[i]
            for i in range(low + run, wide):
                there[words[behind + i]] += here[i]
        else:
            copy_run(source + first * SIZE, padded + low * SIZE, run * SIZE)
            for i in range(low):
                here[i] = there[words[behind + i]]
            for i in range(low + run, wide):
                here[i] = there[words[behind + i]]
        padded += wide * SIZE
        for axis in range(axes - 1, -1, -1):
            at[axis] += 1
            if at[axis] < words[SIZES + axis]:
                break
            at[axis] = 0


_COPY = {
    dtype.itemsize: task
    for dtype, task in instances("pad", _rows, "i1 i2 i4 i8", ADDS=False).items()
}
_ADD = instances("pad_grad", _rows, "f4 f8", ADDS=True)


def pad(x: np.ndarray, pads: Pads, mode: str) -> np.ndarray:
    """`x` with `pads[i] = (before, after)` of its elements added (negative: cut) on axis i."""
    found = _padding(x.shape, pads, mode, x.itemsize)
    if found is None:
        return _selected(x, pads, mode)
    launch, words, shape = found
    out = empty(shape, x.dtype)
    launch(words, out, contiguous(x))
    return out


@lru_cache(1024)
def _padding(
    shape: tuple[int, ...], pads: Pads, mode: str, item: int
) -> tuple[drive.Launch, np.ndarray, tuple[int, ...]] | None:
    """The launch over (words, out, x), those words, and the new shape; None where there is none."""
    task = _COPY.get(item)
    sizes = tuple([n + low + high for n, (low, high) in zip(shape, pads, strict=True)])
    count = math.prod(sizes)
    if not math.prod(shape) or not count or task is None:
        return None
    plan = _plan(shape, pads, mode)
    if plan is None:
        return None
    rows = int(plan.words[ROWS])
    chunks = min(rows, drive.chunks_of(count * item, GRAIN))
    return drive.Launch([(task, chunks)], 3, rows, 1), plan.words, sizes


def _selected(x: np.ndarray, pads: Pads, mode: str) -> np.ndarray:
    tables = [_table(n, *pair, mode) for n, pair in zip(x.shape, pads, strict=True)]
    return x[np.ix_(*tables)]


def pad_grad(g: np.ndarray, pads: Pads, mode: str, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros of `shape` to which `g` is added where padding took its elements from."""
    out = empty(shape, g.dtype)
    out[...] = 0
    task, plan = _ADD.get(g.dtype), None
    if g.size and task is not None:
        plan = _plan(shape, pads, mode)
    if plan is None:
        tables = [_table(n, *pair, mode) for n, pair in zip(shape, pads, strict=True)]
        np.add.at(out, np.ix_(*tables), g)
        return out
    g = contiguous(g)
    drive.run(
        task, min(plan.outer, drive.chunks_of(g.nbytes, GRAIN)), id(plan.words), id(g), id(out),
        plan.outer, int(plan.words[ROWS]) // plan.outer,
    )  # fmt: skip
    return out
