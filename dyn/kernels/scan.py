"""Running sums, products and extremes along an axis, in the order of the elements.

Running sums of floats along rows that fill a vector are vector code: within a vector by log2 steps
of adding the vector moved by 1, 2, 4 ... places (Hillis and Steele, Data Parallel Algorithms), from
vector to vector by the last sum. The others go element after element (`scan_tasks.py`), or, in half
precision, through numpy.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime.drive import Launch
from dyn.kernels.runtime.memory import empty
from dyn.kernels.scan_tasks import EXTREME, PRODUCT, RECURRENCE, SUM, plan
from dyn.kernels.vector.rows import Row, RowKernel
from dyn.kernels.vector.simd import F32, F64, LANES, WORD, Value


def _prefix(v: Value, *, backwards: bool) -> Value:
    """The sum of all lanes up to each one, or from each one on."""
    lanes, step = v.lanes, 1
    while step < lanes:
        places = range(lanes)
        moved = [i + step if backwards else i - step for i in places]
        # Lanes that come from outside are taken from a vector of zeros.
        v = v + v.shuffled([i if 0 <= i < lanes else lanes for i in moved], v.like(0.0))
        step *= 2
    return v


def _cumsum(row: Row) -> None:
    """Arrays: x, out."""

    def step(at, c, mask):
        found = _prefix(row.load(0, at, mask), backwards=False) + c[0]
        row.store(found, 1, at, mask)
        return [found.shuffled([found.lanes - 1] * found.lanes)]

    row.scan(step, [row.zero()], unroll=1)


def _cumsum_reverse(row: Row) -> None:
    """Arrays: x, out. Goes from the end of the row; what is left at its start comes last."""
    builder, emit = row.emit.builder, row.emit
    end = builder.mul(row.count, WORD(emit.size))

    def step(at, c, mask):
        place = WORD(0)
        if mask is None:
            place = builder.sub(builder.sub(end, at), WORD(emit.bytes))
        found = _prefix(row.load(0, place, mask), backwards=True) + c[0]
        row.store(found, 1, place, mask)
        return [found.shuffled([0] * found.lanes)]

    row.scan(step, [row.zero()], unroll=1)


_KERNELS = {
    (np.dtype(name), reverse): RowKernel(f"{write.__name__}_{name}", element, write, arrays=2)
    for name, element in (("float32", F32), ("float64", F64))
    for reverse, write in ((False, _cumsum), (True, _cumsum_reverse))
}


@lru_cache(1024)
def _sum_plan(kernel: RowKernel, shape: tuple[int, ...], size: int) -> Launch:
    count = shape[-1]
    return kernel.plan(math.prod(shape[:-1]) if count else 0, count, [count * size] * 2)


def _work(x):
    return np.dtype(np.int64) if x.dtype.kind in "biu" else x.dtype


def _flip(x, axis, reverse):
    return np.flip(x, axis) if reverse else x


def cumsum(x, axis, reverse):
    """Sum of all elements up to each one along `axis`, or from each one on."""
    if x.dtype not in SUM:
        out = np.cumsum(_flip(x, axis, reverse), axis=axis, dtype=x.dtype)
        return _flip(out, axis, reverse)
    x = contiguous(x)
    out = empty(x.shape, _work(x))
    kernel = _KERNELS.get((x.dtype, bool(reverse)))
    # Vectors that a row does not fill are slower than numbers one by one.
    if kernel is not None and axis == x.ndim - 1 and x.shape[axis] >= LANES:
        _sum_plan(kernel, x.shape, x.itemsize)(x, out)
    else:
        plan("sum", x.dtype, _sizes(x.shape, axis), int(reverse), 0)(x, out)
    return out


def _sizes(shape, axis):
    """Elements before an axis, along it, and behind it."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def cumprod(x, axis, exclusive):
    """Product of all elements up to each one along `axis`, without it if `exclusive`."""
    if x.dtype in PRODUCT:
        x = contiguous(x)
        out = empty(x.shape, _work(x))
        plan("product", x.dtype, _sizes(x.shape, axis), 0, int(exclusive))(x, out)
        return out
    if not exclusive:
        return np.cumprod(x, axis=axis, dtype=x.dtype)
    out = np.ones(x.shape, x.dtype)
    lead = (slice(None),) * axis
    shifted = x[(*lead, slice(None, -1))]
    np.cumprod(shifted, axis=axis, dtype=out.dtype, out=out[(*lead, slice(1, None))])
    return out


def recurrence(a, b, axis, reverse):
    """s[k] = a[k] * s[k - 1] + b[k] along `axis`, starting from zero."""
    a, b = np.broadcast_arrays(a, b)
    if a.dtype == b.dtype and b.dtype in RECURRENCE:
        a, b = contiguous(a), contiguous(b)
        out = empty(b.shape, b.dtype)
        plan("recurrence", b.dtype, _sizes(b.shape, axis), int(reverse))(a, b, out)
        return out
    a, b = (np.moveaxis(_flip(x, axis, reverse), axis, 0) for x in (a, b))
    out = np.empty(b.shape, b.dtype)
    state = np.zeros(b.shape[1:], b.dtype)
    for k in range(len(b)):
        state = a[k] * state + b[k]
        out[k] = state
    return _flip(np.moveaxis(out, 0, axis), axis, reverse)


def cummax(x, axis, largest):
    """(values, places) of the largest (or smallest) of all elements up to each one; ties: the last.

    NaN counts as larger (or smaller) than anything, as in numpy's running maximum.
    """
    if x.dtype in EXTREME:
        x = contiguous(x)
        values, places = empty(x.shape, x.dtype), empty(x.shape, np.int64)
        plan("extreme", x.dtype, _sizes(x.shape, axis), 1 if largest else -1)(x, values, places)
        return values, places
    running = (np.maximum if largest else np.minimum).accumulate(x, axis=axis)
    places = np.arange(x.shape[axis]).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    here = (x == running) | (x != x)
    places = np.maximum.accumulate(np.where(here, places, 0), axis=axis)
    return np.take_along_axis(x, places, axis), places
