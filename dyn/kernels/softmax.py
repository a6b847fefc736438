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
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime.drive import Launch, dense
from dyn.kernels.runtime.memory import empty, empty_like, maker
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.rows import Row, RowKernel, chunks
from dyn.kernels.vector.simd import F32, WORD, Value, choose, loop, total
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


class _Strip:
    """Some vectors of neighbours, each with `count` numbers to combine, `step` bytes apart.

    The numbers are read from memory once, into a buffer where they lie close together: `step` may
    well be a power of two, at which a cache holds only a few lines.
    """

    def __init__(self, row: Row, offsets: list[Any], mask: Any):
        self.row = row
        self.offsets = offsets
        self.mask = mask
        self.builder = row.emit.builder
        self.count, self.step = row.word(0), row.word(1)

    def each(self, turn: Callable[[Any, int, list[Value]], list[Value]], *start: Value) -> Any:
        """For each vector `carried = turn(index, vector, carried)` over its numbers."""
        width = len(start)

        def body(index: Any, carried: list[Value]) -> list[Value]:
            given: list[Value] = []
            for v in range(len(self.offsets)):
                given += turn(index, v, carried[v * width : (v + 1) * width])
            return given

        first = list(start) * len(self.offsets)
        made = loop(self.builder, WORD(0), self.count, WORD(1), body, first)
        return [made[v * width : (v + 1) * width] for v in range(len(self.offsets))]

    def _at(self, array: int, index: Any, v: int) -> Any:
        far = self.builder.mul(index, self.step)
        return self.row.address(array, self.builder.add(far, self.offsets[v]))

    def load(self, array: int, index: Any, v: int) -> Value:
        """Numbers of an array."""
        return self.row.emit.load(self._at(array, index, v), self.mask)

    def store(self, value: Value, array: int, index: Any, v: int) -> None:
        """Write numbers of an array."""
        self.row.emit.store(value, self._at(array, index, v), self.mask)

    def _near(self, index: Any, v: int) -> Any:
        bytes_ = self.row.emit.bytes
        far = self.builder.mul(index, WORD(bytes_ * STRIP))
        return self.builder.add(self.row.sums, self.builder.add(far, WORD(v * bytes_)))

    def keep(self, value: Value, index: Any, v: int) -> Value:
        """Put a vector into the buffer."""
        self.row.emit.store(value, self._near(index, v))
        return value

    def kept(self, index: Any, v: int) -> Value:
        """A vector from the buffer."""
        return self.row.emit.load(self._near(index, v))


STRIP = 4
"""Vectors of neighbours that are done at a time."""


def _across(write: Callable[[_Strip], None]) -> Callable[[Row], None]:
    """A kernel whose rows are neighbours; parameters: count and step of `_Strip`."""

    def kernel(row: Row) -> None:
        builder, emit = row.emit.builder, row.emit
        turn = WORD(STRIP * emit.bytes)
        end = builder.mul(row.count, WORD(emit.size))
        whole = builder.mul(builder.sdiv(end, turn), turn)

        def several(at, carried):
            write(_Strip(row, [builder.add(at, WORD(v * emit.bytes)) for v in range(STRIP)], None))
            return []

        loop(builder, WORD(0), whole, turn, several)
        rest = builder.sdiv(builder.sub(end, whole), WORD(emit.size))

        def single(at, carried, mask):
            write(_Strip(row, [builder.add(whole, at)], mask))
            return []

        emit.row(rest, single, unroll=1)

    return kernel


def _softmax_across(s: _Strip) -> None:
    low = s.row.emit.numbers(-math.inf)
    tops = s.each(lambda i, v, c: [larger(c[0], s.keep(s.load(0, i, v), i, v))], low)

    def add(i, v, c):
        return [c[0] + s.keep(exp_down(s.kept(i, v) - tops[v][0]), i, v)]

    shares = [1.0 / made[0] for made in s.each(add, s.row.zero())]
    s.each(lambda i, v, c: s.store(s.kept(i, v) * shares[v], 1, i, v) or [])


def _log_softmax_across(s: _Strip) -> None:
    low = s.row.emit.numbers(-math.inf)
    tops = s.each(lambda i, v, c: [larger(c[0], s.keep(s.load(0, i, v), i, v))], low)
    sums = s.each(lambda i, v, c: [c[0] + exp_down(s.kept(i, v) - tops[v][0])], s.row.zero())
    logs = [log(made[0]) for made in sums]
    s.each(lambda i, v, c: s.store(s.kept(i, v) - tops[v][0] - logs[v], 1, i, v) or [])


def _softmax_grad_across(s: _Strip) -> None:
    inner = s.each(lambda i, v, c: [c[0] + s.load(0, i, v) * s.load(1, i, v)], s.row.zero())

    def write(i, v, c):
        s.store(s.load(1, i, v) * (s.load(0, i, v) - inner[v][0]), 2, i, v)
        return []

    s.each(write)


def _log_softmax_grad_across(s: _Strip) -> None:
    sums = s.each(lambda i, v, c: [c[0] + s.load(0, i, v)], s.row.zero())

    def write(i, v, c):
        s.store(s.load(0, i, v) - exp(s.load(1, i, v)) * sums[v][0], 2, i, v)
        return []

    s.each(write)


_KERNELS = {
    write.__name__: RowKernel(write.__name__, F32, write, arrays)
    for write, arrays in ((_softmax, 2), (_log_softmax, 2), (_softmax_grad, 3),
                          (_log_softmax_grad, 3), (_logsumexp, 2))
}  # fmt: skip
_KERNELS |= {
    write.__name__: RowKernel(write.__name__, F32, _across(write), arrays, sums=True)
    for write, arrays in ((_softmax_across, 2), (_log_softmax_across, 2),
                          (_softmax_grad_across, 3), (_log_softmax_grad_across, 3))
}  # fmt: skip
_F32 = np.dtype(np.float32)

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
def _along(name: str, shape: tuple[int, ...]) -> Launch:
    """Over rows of arrays in C order."""
    kernel, count = _KERNELS[name], shape[-1]
    rows = math.prod(shape[:-1]) if count else 0
    return kernel.plan(rows, count, [4 * count] * kernel.arrays)


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


class _Across(NamedTuple):
    """How rows of neighbours are done: all planes at once, or one after the other."""

    launch: Launch
    buffers: tuple[int, ...]
    planes: tuple[int, ...] | None
    """Shape by which planes are told apart; None if one launch does all."""


@lru_cache(1024)
def _across_plan(name: str, shape: tuple[int, ...], place: int) -> _Across:
    outer, count, inner = math.prod(shape[:place]), shape[place], math.prod(shape[place + 1 :])
    # Few large planes are cut into strips, so that there is work for all threads.
    strip = inner if outer >= 8 else math.gcd(inner, 1024)
    if strip < 64:
        strip = inner
    buffers = (chunks(outer * inner // strip, count * strip), count, STRIP * LANES)
    whole = strip == inner
    rows, step = (outer, 4 * count * inner) if whole else (inner // strip, 4 * strip)
    kernel = _KERNELS[name]
    steps = [step] * (kernel.arrays - 1) + [4 * math.prod(buffers[1:])]
    launch = kernel.plan(rows, strip, steps, count, 4 * inner, parts=buffers[0])
    return _Across(launch, buffers, None if whole else (outer, count, inner))


def _run_dense(name: str, table: tuple[np.ndarray, ...], axis: int) -> None:
    shape = table[0].shape
    if math.prod(shape[axis + 1 :]) == 1:
        _along(name, shape[: axis + 1])(*table)
    elif table[0].size:
        plan = _across_plan(name + "_across", shape, axis)
        buffers = empty(plan.buffers)
        planes = plan.planes
        tables = (
            [table] if planes is None else zip(*[x.reshape(planes) for x in table], strict=True)
        )
        for arrays in tables:
            plan.launch(*arrays, buffers)


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
    _sums_along(x.shape)(x, made)
    return made


@lru_cache(1024)
def _sums_along(shape: tuple[int, ...]) -> Launch:
    """Rows of which each gives one number."""
    return _KERNELS["_logsumexp"].plan(math.prod(shape[:-1]), shape[-1], (4 * shape[-1], 4))


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
