"""Running sums, products, recurrences and extremes along an axis, element by element: the tasks.

An array counts as [outer, n, inner] with `n` the axis. What lies behind the axis is walked in
blocks side by side, of which the compiler makes vectors; where nothing does, one element after the
other with what is carried in registers. Sums and products of floats are carried in float64, so that
numbers that are too large or too small for a while do no harm; those of integers and truth values
are int64. Sums of floats along rows are in `scan.py`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import Microkernel, instances, kernel
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.runs import pointer

BLOCK = 32
"""Elements side by side: as many as there are words on the stack for them."""
SIDE = 4
"""Rows that are walked side by side."""
GRAIN = 16384
"""Elements worth a chunk."""
ZERO, CARRIED, RESULT = np.float32(0), np.float64(0), np.float32(0)
"""Stand for the types of elements, of what is carried (with its start) and of results: those of the
instances below."""


@kernel(forceinline=True)
def _add(a, b):
    return a + b


@kernel(forceinline=True)
def _multiply(a, b):
    return a * b


join: Any = _add
"""Stands for what brings an element to what is carried."""


def _running(args, chunk, chunks):
    """Words: (x, out, outer, n, inner, whether backwards, whether the element is left out)."""
    n, inner, exclusive = argument(args, 3), argument(args, 4), argument(args, 6) != 0
    x, out = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), RESULT)
    start, step = 0, inner
    if argument(args, 5) != 0:
        start, step = (n - 1) * inner, -inner
    blocks = (inner + BLOCK - 1) // BLOCK
    carried = pointer(room(), CARRIED)
    first, last = bounds(argument(args, 2) * blocks, chunk, chunks, 1)
    if inner == 1 and not exclusive:
        # Rows side by side do not wait for each other's sums.
        while last - first >= SIDE:
            at, b, c, d = first * n + start, n, 2 * n, 3 * n
            one, two, three, four = CARRIED, CARRIED, CARRIED, CARRIED
            for _ in range(n):
                one, two = join(one, x[at]), join(two, x[at + b])
                three, four = join(three, x[at + c]), join(four, x[at + d])
                out[at], out[at + b], out[at + c], out[at + d] = one, two, three, four
                at += step
            first += SIDE
    run, block = first // blocks, first % blocks
    for _ in range(first, last):
        at = run * n * inner + block * BLOCK + start
        width = min(BLOCK, inner - block * BLOCK)
        if width == 1:
            one = CARRIED
            for _ in range(n):
                before = one
                one = join(one, x[at])
                out[at] = before if exclusive else one
                at += step
        else:
            for j in range(width):
                carried[j] = CARRIED
            for _ in range(n):
                for j in range(width):
                    before = carried[j]
                    found = join(before, x[at + j])
                    carried[j] = found
                    out[at + j] = before if exclusive else found
                at += step
        # Counted instead of divided: rows may be short.
        block += 1
        if block == blocks:
            run, block = run + 1, 0


def _recurrence(args, chunk, chunks):
    """Words: (a, b, out, outer, n, inner, whether backwards)."""
    n, inner = argument(args, 4), argument(args, 5)
    a, b = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), ZERO)
    out = pointer(data(argument(args, 2)), ZERO)
    start, step = 0, inner
    if argument(args, 6) != 0:
        start, step = (n - 1) * inner, -inner
    blocks = (inner + BLOCK - 1) // BLOCK
    carried = pointer(room(), CARRIED)
    first, last = bounds(argument(args, 3) * blocks, chunk, chunks, 1)
    for block in range(first, last):
        at = block // blocks * n * inner + block % blocks * BLOCK + start
        width = min(BLOCK, inner - block % blocks * BLOCK)
        if width == 1:
            one = CARRIED
            for _ in range(n):
                one = a[at] * one + b[at]
                out[at] = one
                at += step
        else:
            for j in range(width):
                carried[j] = CARRIED
            for _ in range(n):
                for j in range(width):
                    found = a[at + j] * carried[j] + b[at + j]
                    carried[j] = found
                    out[at + j] = found
                at += step


def _extreme(args, chunk, chunks):
    """Words: (x, values, places, outer, n, inner, 1 for the largest, -1 for the smallest)."""
    n, inner, largest = argument(args, 4), argument(args, 5), argument(args, 6) > 0
    x, values = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), ZERO)
    out = pointer(data(argument(args, 2)), np.int64(0))
    blocks = (inner + BLOCK - 1) // BLOCK
    best, where = pointer(room(), ZERO), pointer(room(), np.int64(0))
    first, last = bounds(argument(args, 3) * blocks, chunk, chunks, 1)
    for block in range(first, last):
        at = block // blocks * n * inner + block % blocks * BLOCK
        width = min(BLOCK, inner - block % blocks * BLOCK)
        if width == 1:
            top, place = x[at], 0
            for i in range(n):
                new = x[at]
                # The last of equal ones counts, and NaN is more than anything.
                better = ((new >= top) if largest else (new <= top)) | (new != new)
                top = new if better else top
                place = i if better else place
                values[at] = top
                out[at] = place
                at += inner
        else:
            for j in range(width):
                best[j] = x[at + j]
                where[j] = 0
            for i in range(n):
                for j in range(width):
                    new, old = x[at + j], best[j]
                    better = ((new >= old) if largest else (new <= old)) | (new != new)
                    best[j] = new if better else old
                    where[j] = i if better else where[j]
                    values[at + j] = best[j]
                    out[at + j] = where[j]
                at += inner


def _made(name: str, combine: Any, start: int) -> dict[np.dtype, Microkernel]:
    """Instances of `_running` for all dtypes but half precision."""
    made = {}
    for codes, carried, result in (
        ("f4", np.float64(start), np.float32(0)),
        ("f8", np.float64(start), np.float64(0)),
        ("u1 i1 i2 i4 i8", np.int64(start), np.int64(0)),
    ):
        made |= instances(name, _running, codes, CARRIED=carried, RESULT=result, join=combine)
    made[np.dtype(bool)] = made[np.dtype(np.uint8)]
    return made


SUM = _made("running_sum", _add, 0)
PRODUCT = _made("running_product", _multiply, 1)
RECURRENCE = instances("recurrence", _recurrence, "f4 f8")
EXTREME = instances("extreme", _extreme, "f4 f8 i4 i8")


@lru_cache(1024)
def plan(kind: str, dtype: np.dtype, sizes: tuple[int, int, int], *options: int) -> Launch:
    """A launch over arrays [outer, n, inner]: "sum", "product", "recurrence" or "extreme".

    Sums and products have two options: whether they run backwards, and without the element itself.
    """
    tables = {"sum": SUM, "product": PRODUCT, "recurrence": RECURRENCE, "extreme": EXTREME}
    outer, n, inner = sizes
    units = outer * -(-inner // BLOCK)
    chunks = max(1, min(units, chunks_of(outer * n * inner, GRAIN)))
    arrays = 2 if kind in ("sum", "product") else 3
    return Launch([(tables[kind][dtype], chunks)], arrays, *sizes, *options)
