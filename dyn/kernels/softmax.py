"""Softmax and its logarithm along any axis, with their gradients.

float32 runs in vector code: along the last axis row by row, along another one for a vector of
neighbours at a time, so nothing is transposed. Each row is read three times (largest number, sum of
exponentials, result), all but once from the cache. Other dtypes are written in numpy.

Source: Blanchard, Higham & Higham, Accurately Computing the Log-Sum-Exp and Softmax Functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, reduce

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime.drive import dense
from dyn.kernels.runtime.memory import empty, empty_like, maker
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.rows import Row, RowKernel
from dyn.kernels.vector.simd import F32, Value, choose, total
from dyn.kernels.vector.strips import Strip, StripKernel
from dyn.kernels.vector.turned import TurnedKernel
from dyn.kernels.vector.vmath import exp, exp_down, log


def larger(a: Value, b: Value) -> Value:
    """The larger number. A NaN may get lost: the sum of exponentials becomes NaN all the same."""
    return choose(a > b, a, b)


# ---- along the last axis -----------------------------------------------------------------------


def top_and_sum(row: Row, keep: int | None) -> tuple[Value, Value]:
    """Largest number of array 0, and the sum of exponentials relative to it.

    The exponentials are stored in array `keep`, if that is given.
    """
    low = row.emit.numbers(-math.inf)
    (tops,) = row.scan(lambda at, c, mask: [larger(c[0], row.load(0, at, mask))], [low])
    top = reduce(larger, tops).folded(larger)
    base = row.emit.splat(top)

    def add(at, c, mask):
        e = exp_down(row.load(0, at, mask) - base)
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
    base, logarithm = row.emit.splat(top), log(row.emit.splat(weight))

    def write(at, c, mask):
        row.finish(row.load(0, at, mask) - base - logarithm, 1, at, mask)
        return []

    row.scan(write)


def _softmax_grad(row: Row) -> None:
    """Arrays: g, out, gx."""

    def multiply(at, c, mask):
        return [c[0] + row.load(0, at, mask) * row.load(1, at, mask)]

    (sums,) = row.scan(multiply, [row.zero()])
    inner = row.emit.splat(total(*sums))

    def write(at, c, mask):
        row.finish(row.load(1, at, mask) * (row.load(0, at, mask) - inner), 2, at, mask)
        return []

    row.scan(write)


def _log_softmax_grad(row: Row) -> None:
    """Arrays: g, out, gx."""
    (sums,) = row.scan(lambda at, c, mask: [c[0] + row.load(0, at, mask)], [row.zero()])
    weight = row.emit.splat(total(*sums))

    def write(at, c, mask):
        gx = row.load(0, at, mask) - exp(row.load(1, at, mask)) * weight
        row.finish(gx, 2, at, mask)
        return []

    row.scan(write)


def _logsumexp(row: Row) -> None:
    """Arrays: x, out (one number a row). Infinities and NaN come out as they should."""
    low = row.emit.numbers(-math.inf)
    (tops,) = row.scan(lambda at, c, mask: [larger(c[0], row.load(0, at, mask))], [low])
    top = reduce(larger, tops).folded(larger)
    top = choose(abs(top) == math.inf, 0, top)
    base = row.emit.splat(top)

    def add(at, c, mask):
        away = row.load(0, at, mask) - base
        # Only beside an infinite one is anything larger than the base.
        return [c[0] + choose(away > 0, math.inf, exp_down(away))]

    (sums,) = row.scan(add, [row.zero()])
    # A vector's logarithm takes less time than a single number's.
    row.put(top + log(row.emit.splat(total(*sums))).at(0), 1)


# ---- along another axis ------------------------------------------------------------------------


def _softmax_across(s: Strip) -> None:
    low = s.row.emit.numbers(-math.inf)
    tops = s.each(lambda i, v, c: [larger(c[0], s.keep(s.load(0, i, v), i, v))], low)

    def add(i, v, c):
        return [c[0] + s.keep(exp_down(s.kept(i, v) - tops[v][0]), i, v)]

    shares = [1.0 / made[0] for made in s.each(add, s.row.zero())]
    s.each(lambda i, v, c: s.store(s.kept(i, v) * shares[v], 1, i, v) or [])


def _log_softmax_across(s: Strip) -> None:
    low = s.row.emit.numbers(-math.inf)
    tops = s.each(lambda i, v, c: [larger(c[0], s.keep(s.load(0, i, v), i, v))], low)
    sums = s.each(lambda i, v, c: [c[0] + exp_down(s.kept(i, v) - tops[v][0])], s.row.zero())
    logs = [log(made[0]) for made in sums]
    s.each(lambda i, v, c: s.store(s.kept(i, v) - tops[v][0] - logs[v], 1, i, v) or [])


def _softmax_grad_across(s: Strip) -> None:
    inner = s.each(lambda i, v, c: [c[0] + s.load(0, i, v) * s.load(1, i, v)], s.row.zero())

    def write(i, v, c):
        s.store(s.load(1, i, v) * (s.load(0, i, v) - inner[v][0]), 2, i, v)
        return []

    s.each(write)


def _log_softmax_grad_across(s: Strip) -> None:
    sums = s.each(lambda i, v, c: [c[0] + s.load(0, i, v)], s.row.zero())

    def write(i, v, c):
        s.store(s.load(0, i, v) - exp(s.load(1, i, v)) * sums[v][0], 2, i, v)
        return []

    s.each(write)


def _logsumexp_across(s: Strip) -> None:
    low = s.row.emit.numbers(-math.inf)
    tops = s.each(lambda i, v, c: [larger(c[0], s.keep(s.load(0, i, v), i, v))], low)
    bases = [choose(abs(top[0]) == math.inf, 0, top[0]) for top in tops]

    def add(i, v, c):
        away = s.kept(i, v) - bases[v]
        # Only beside an infinite one is anything larger than the base.
        return [c[0] + choose(away > 0, math.inf, exp_down(away))]

    for v, made in enumerate(s.each(add, s.row.zero())):
        s.put(bases[v] + log(made[0]), 1, v)


_KERNELS = {
    write.__name__: RowKernel(write.__name__, F32, write, arrays)
    for write, arrays in ((_softmax, 2), (_log_softmax, 2), (_softmax_grad, 3),
                          (_log_softmax_grad, 3), (_logsumexp, 2))
}  # fmt: skip
_STRIPS = {
    write.__name__: StripKernel(write.__name__, write, arrays)
    for write, arrays in ((_softmax_across, 2), (_log_softmax_across, 2),
                          (_softmax_grad_across, 3), (_log_softmax_grad_across, 3))
}  # fmt: skip
_BLOCKS = {
    "_softmax": TurnedKernel("_softmax_turned", _softmax_across, 2, given=1),
    "_log_softmax": TurnedKernel("_log_softmax_turned", _log_softmax_across, 2, given=1),
    "_logsumexp": TurnedKernel("_logsumexp_turned", _logsumexp_across, 2, given=1, singles=1),
}
_F32 = np.dtype(np.float32)
SHORT = {"_softmax": 1, "_log_softmax": 2, "_logsumexp": 3}
"""Vectors that a row fills at most, to be turned together with its neighbours (`_BLOCKS`)."""
MANY = 64
"""Rows from which on that pays."""

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


@lru_cache(1024)
def _along(name: str, shape: tuple[int, ...], singles: int = 0) -> Callable[..., None]:
    """Over rows of arrays in C order, the last `singles` of which have one number a row."""
    kernel, count = _KERNELS[name], shape[-1]
    rows = math.prod(shape[:-1]) if count else 0
    if rows >= MANY and 1 < count <= SHORT.get(name, 0) * LANES:
        return _BLOCKS[name].plan(rows, count)
    return kernel.plan(rows, count, [4 * count] * (kernel.arrays - singles) + [4] * singles)


def _run(name: str, axis: int, x: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """Run a kernel over arrays of one shape; returns a new array of the layout of the first."""
    if all([a.flags.c_contiguous for a in (x, *others)]):
        made = empty(x.shape)
        _run_dense(name, (x, *others, made), axis)
        return made
    order = sorted(range(x.ndim), key=lambda a: -abs(x.strides[a]))
    if not x.transpose(order).flags.c_contiguous:
        order = list(range(x.ndim))
    ordered = [contiguous(a.transpose(order)) for a in (x, *others)]
    made = empty_like(ordered[0])
    _run_dense(name, (*ordered, made), order.index(axis))
    return made.transpose([order.index(a) for a in range(len(order))])


def _run_dense(name: str, table: tuple[np.ndarray, ...], axis: int) -> None:
    shape = table[0].shape
    if math.prod(shape[axis + 1 :]) == 1:
        _along(name, shape[: axis + 1])(*table)
    elif table[0].size:
        _STRIPS[name + "_across"].plan(shape, axis).run(*table)


def bound(
    name: str, shape: tuple[int, ...], axis: int, otherwise: Callable[..., np.ndarray]
) -> Callable[..., np.ndarray] | None:
    """A kernel for float32 of one shape, `otherwise` for what is not dense; None across rows."""
    if math.prod(shape[axis + 1 :]) != 1:
        return None
    return dense(_along(f"_{name}", shape[: axis + 1]), maker(shape, _F32), otherwise)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """exp(x - max) / sum of it."""
    return _run("_softmax", axis, x) if x.dtype == _F32 else _softmax_of_any(x, axis)


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """x - max - log(sum(exp(x - max)))."""
    return _run("_log_softmax", axis, x) if x.dtype == _F32 else _log_softmax_of_any(x, axis)


def logsumexp(x: np.ndarray) -> np.ndarray:
    """log(sum(exp(x))) over the last axis of float32, without overflow."""
    x = contiguous(x)
    made = empty(x.shape[:-1])
    _along("_logsumexp", x.shape, 1)(x, made)
    return made


def softmax_grad(g: np.ndarray, out: np.ndarray, axis: int) -> np.ndarray:
    """out * (g - sum(g * out))."""
    if g.dtype != _F32 or out.dtype != _F32:
        return _softmax_grad_of_any(g, out, axis)
    return _run("_softmax_grad", axis, g, out)


def log_softmax_grad(g: np.ndarray, out: np.ndarray, axis: int) -> np.ndarray:
    """g - exp(out) * sum(g)."""
    if g.dtype != _F32 or out.dtype != _F32:
        return _log_softmax_grad_of_any(g, out, axis)
    return _run("_log_softmax_grad", axis, g, out)
