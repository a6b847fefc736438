"""Softmax and its logarithm along any axis, with their gradients.

float32 runs in vector code: along the last axis row by row, along another one for a vector of
neighbours at a time, so nothing is transposed. Each row is read three times (largest number, sum of
exponentials, result), all but once from the cache. Other dtypes are written in numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dyn.kernels.memory import empty_like
from dyn.kernels.rows import Row, RowKernel
from dyn.kernels.simd import F32, WORD, Value, largest, loop, maximum, total
from dyn.kernels.vmath import exp, log

# ---- along the last axis -----------------------------------------------------------------------


def top_and_sum(row: Row, keep: int | None) -> tuple[Value, Value]:
    """Largest number of array 0, and the sum of exponentials relative to it.

    The exponentials are stored in array `keep`, if that is given.
    """
    low = row.emit.numbers(-math.inf)
    (tops,) = row.scan(lambda at, c, mask: [maximum(c[0], row.load(0, at, mask))], [low])
    top = largest(*tops)
    base = row.emit.splat(top)

    def add(at, c, mask):
        e = exp(row.load(0, at, mask) - base)
        if keep is not None:
            row.store(e, keep, at, mask)
        return [c[0] + e]

    (sums,) = row.scan(add, [row.zero()])
    return top, total(*sums)


def _softmax(row: Row) -> None:
    """Arrays: x, out."""
    _, weight = top_and_sum(row, 1)
    share = row.emit.splat(1.0 / weight)

    def scale(at, c, mask):
        row.store(row.load(1, at, mask) * share, 1, at, mask)
        return []

    row.scan(scale)


def _log_softmax(row: Row) -> None:
    """Arrays: x, out."""
    top, weight = top_and_sum(row, None)
    base, logarithm = row.emit.splat(top), row.emit.splat(log(weight))

    def write(at, c, mask):
        row.store(row.load(0, at, mask) - base - logarithm, 1, at, mask)
        return []

    row.scan(write)


def _softmax_grad(row: Row) -> None:
    """Arrays: g, out, gx."""

    def multiply(at, c, mask):
        return [c[0] + row.load(0, at, mask) * row.load(1, at, mask)]

    (sums,) = row.scan(multiply, [row.zero()])
    inner = row.emit.splat(total(*sums))

    def write(at, c, mask):
        row.store(row.load(1, at, mask) * (row.load(0, at, mask) - inner), 2, at, mask)
        return []

    row.scan(write)


def _log_softmax_grad(row: Row) -> None:
    """Arrays: g, out, gx."""
    (sums,) = row.scan(lambda at, c, mask: [c[0] + row.load(0, at, mask)], [row.zero()])
    weight = row.emit.splat(total(*sums))

    def write(at, c, mask):
        gx = row.load(0, at, mask) - exp(row.load(1, at, mask)) * weight
        row.store(gx, 2, at, mask)
        return []

    row.scan(write)


# ---- along another axis ------------------------------------------------------------------------


def _across(write: Callable[[Row, Any, Any, Callable[..., Any]], None]) -> Callable[[Row], None]:
    """A kernel whose rows are neighbours, each with numbers to combine `step` bytes apart.

    `write(row, at, mask, each)` does one vector of neighbours; `each(body, carried)` goes through
    the numbers to combine: `carried = body(offset, carried)`. Parameters: their count, and step.
    """

    def kernel(row: Row) -> None:
        builder = row.emit.builder
        count, step = row.word(0), row.word(1)

        def single(at, carried, mask):
            def each(body, carried=()):
                def turn(index, values):
                    return body(builder.add(at, builder.mul(index, step)), values)

                return loop(builder, WORD(0), count, WORD(1), turn, carried)

            write(row, mask, each)
            return []

        row.scan(single, unroll=1)

    return kernel


def _softmax_across(row: Row, mask: Any, each: Any) -> None:
    low = row.emit.numbers(-math.inf)
    (top,) = each(lambda at, c: [maximum(c[0], row.load(0, at, mask))], [low])

    def add(at, c):
        e = exp(row.load(0, at, mask) - top)
        row.store(e, 1, at, mask)
        return [c[0] + e]

    (weight,) = each(add, [row.zero()])
    share = 1.0 / weight
    each(lambda at, c: row.store(row.load(1, at, mask) * share, 1, at, mask) or [])


def _log_softmax_across(row: Row, mask: Any, each: Any) -> None:
    low = row.emit.numbers(-math.inf)
    (top,) = each(lambda at, c: [maximum(c[0], row.load(0, at, mask))], [low])
    (weight,) = each(lambda at, c: [c[0] + exp(row.load(0, at, mask) - top)], [row.zero()])
    logarithm = log(weight)
    each(lambda at, c: row.store(row.load(0, at, mask) - top - logarithm, 1, at, mask) or [])


def _softmax_grad_across(row: Row, mask: Any, each: Any) -> None:
    (inner,) = each(
        lambda at, c: [c[0] + row.load(0, at, mask) * row.load(1, at, mask)], [row.zero()]
    )

    def write(at, c):
        row.store(row.load(1, at, mask) * (row.load(0, at, mask) - inner), 2, at, mask)
        return []

    each(write)


def _log_softmax_grad_across(row: Row, mask: Any, each: Any) -> None:
    (weight,) = each(lambda at, c: [c[0] + row.load(0, at, mask)], [row.zero()])

    def write(at, c):
        gx = row.load(0, at, mask) - exp(row.load(1, at, mask)) * weight
        row.store(gx, 2, at, mask)
        return []

    each(write)


_KERNELS = {
    function.__name__: RowKernel(function.__name__, F32, function)
    for function in (_softmax, _log_softmax, _softmax_grad, _log_softmax_grad)
}
_KERNELS |= {
    write.__name__: RowKernel(write.__name__, F32, _across(write))
    for write in (
        _softmax_across,
        _log_softmax_across,
        _softmax_grad_across,
        _log_softmax_grad_across,
    )
}

# ---- in numpy ----------------------------------------------------------------------------------


def _softmax_of_any(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=axis, keepdims=True)


def _log_softmax_of_any(x: np.ndarray, axis: int) -> np.ndarray:
    shifted = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _softmax_grad_of_any(g: np.ndarray, out: np.ndarray, axis: int) -> np.ndarray:
    return out * (g - (g * out).sum(axis=axis, keepdims=True))


def _log_softmax_grad_of_any(g: np.ndarray, out: np.ndarray, axis: int) -> np.ndarray:
    return g - np.exp(out) * g.sum(axis=axis, keepdims=True)


# ---- calls -------------------------------------------------------------------------------------


def _run(name: str, axis: int, *arrays: np.ndarray) -> np.ndarray:
    """Run a kernel over dense arrays of one layout; returns a new array of that layout."""
    order = sorted(range(arrays[0].ndim), key=lambda a: -abs(arrays[0].strides[a]))
    if not arrays[0].transpose(order).flags.c_contiguous:
        order = list(range(arrays[0].ndim))
    dense = [x.transpose(order) for x in arrays]
    dense = [x if x.flags.c_contiguous else np.ascontiguousarray(x) for x in dense]
    place = order.index(axis)
    shape = dense[0].shape
    outer, count, inner = math.prod(shape[:place]), shape[place], math.prod(shape[place + 1 :])
    made = empty_like(dense[0])
    table = [*dense, made]
    if made.size:
        if inner == 1:
            _KERNELS[name].run(outer, count, *((x, 4 * count) for x in table))
        else:
            _run_across(name + "_across", table, outer, count, inner)
    back = [order.index(a) for a in range(len(order))]
    return made.transpose(back)


def _run_across(name: str, table: list[np.ndarray], outer: int, count: int, inner: int) -> None:
    params = np.array([count, 4 * inner])
    # Few large planes are cut into strips, so that there is work for all threads.
    strip = inner if outer >= 8 else math.gcd(inner, 1024)
    if strip == inner or strip < 64:
        steps = 4 * count * inner
        _KERNELS[name].run(outer, inner, *((x, steps) for x in table), params=params)
        return
    for n in range(outer):
        planes = [x.reshape(outer, count, inner)[n] for x in table]
        _KERNELS[name].run(inner // strip, strip, *((x, 4 * strip) for x in planes), params=params)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """exp(x - max) / sum of it."""
    return _run("_softmax", axis, x) if x.dtype == np.float32 else _softmax_of_any(x, axis)


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """x - max - log(sum(exp(x - max)))."""
    return _run("_log_softmax", axis, x) if x.dtype == np.float32 else _log_softmax_of_any(x, axis)


def softmax_grad(g: np.ndarray, out: np.ndarray, axis: int) -> np.ndarray:
    """out * (g - sum(g * out))."""
    if g.dtype != np.float32 or out.dtype != np.float32:
        return _softmax_grad_of_any(g, out, axis)
    return _run("_softmax_grad", axis, g, out)


def log_softmax_grad(g: np.ndarray, out: np.ndarray, axis: int) -> np.ndarray:
    """g - exp(out) * sum(g)."""
    if g.dtype != np.float32 or out.dtype != np.float32:
        return _log_softmax_grad_of_any(g, out, axis)
    return _run("_log_softmax_grad", axis, g, out)
