"""Group norm of images that lie plane by plane: a group of channels is a row.

Forward: the moments of the row, then its channels one by one. Backward: the sums of every channel,
put together by weight, then the channels again. Other layouts and dtypes are handled by
`group_norm.py`, which names the sources.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from dyn.kernels.runtime.drive import Launch, float_word
from dyn.kernels.runtime.memory import empty_like
from dyn.kernels.vector.rows import Row, RowKernel
from dyn.kernels.vector.simd import F32, F64, WORD, Value, fma, loop, total

CHANNELS, SIZE, EPSILON = range(3)
"""Parameters: channels of a group, elements of a channel, what is added to the variance."""


class _Group:
    """A row as channels of equal size, while a kernel is written."""

    def __init__(self, row: Row):
        self.row = row
        self.emit = row.emit
        self.builder = row.emit.builder
        self.channels, self.size = row.word(CHANNELS), row.word(SIZE)

    def number(self, array: int, place: Any) -> Value:
        """One of the numbers that an array has for the group; the place is an LLVM integer."""
        return self.emit.number_at(self.row.address(array, self.offset(place)))

    def offset(self, place: Any) -> Any:
        """The bytes before an element."""
        return self.builder.mul(place, WORD(self.emit.size))

    def each(self, channel: Any, carried: Any = ()) -> list[Value]:
        """`carried = channel(number, scan, carried)` for all channels; `scan` goes over one."""

        def turn(number: Any, values: list[Value]) -> Any:
            first = self.offset(self.builder.mul(number, self.size))

            def scan(step: Any, sums: Any = ()) -> Any:
                def at(offset: Any, chain: Any, mask: Any) -> Any:
                    return step(self.builder.add(first, offset), chain, mask)

                return self.emit.row(self.size, at, sums)

            return channel(number, scan, values)

        return loop(self.builder, WORD(0), self.channels, WORD(1), turn, carried)


def _forward(row: Row) -> None:
    """Arrays: x, out, [weights, biases] of the channels, mean and 1 / deviation of the group."""
    x, out, numbers, mean_at, rstd_at = range(5)
    group = _Group(row)
    emit = row.emit
    middle, variance = row.moments(x)
    rstd = 1.0 / (variance + row.parameter(EPSILON)).call("sqrt")
    row.put(middle, mean_at)
    row.put(rstd, rstd_at)
    mean = emit.splat(middle)

    def channel(number: Any, scan: Any, _: Any) -> list[Value]:
        bias = group.builder.add(number, group.channels)
        factor = emit.splat(rstd * group.number(numbers, number))
        offset = emit.splat(group.number(numbers, bias))

        def step(at: Any, _: Any, mask: Any) -> list[Value]:
            row.store(fma(row.load(x, at, mask) - mean, factor, offset), out, at, mask)
            return []

        scan(step)
        return []

    group.each(channel)


def _backward(row: Row) -> None:
    """Arrays: x, g, gx, [weights, mean, 1 / deviation], [channels, 2] sums of g and g (x - mean).

    gx = rstd * w g - rstd * mean(w g) - rstd^3 * mean(w g (x - mean)) * (x - mean)
    """
    x, g, gx, numbers, sums = range(5)
    group = _Group(row)
    emit, builder = row.emit, group.builder
    middle = group.number(numbers, group.channels)
    rstd = group.number(numbers, builder.add(group.channels, WORD(1)))
    mean = emit.splat(middle)

    def project(number: Any, scan: Any, carried: list[Value]) -> list[Value]:
        def step(at: Any, chain: Any, mask: Any) -> list[Value]:
            own = row.load(g, at, mask)
            return [chain[0] + own, fma(own, row.load(x, at, mask) - mean, chain[1])]

        plain, centred = (total(*v) for v in scan(step, [row.zero()] * 2))
        place = builder.mul(number, WORD(2))
        emit.put_number(plain, row.address(sums, group.offset(place)))
        emit.put_number(centred, row.address(sums, group.offset(builder.add(place, WORD(1)))))
        weight = group.number(numbers, number)
        return [fma(weight, plain, carried[0]), fma(weight, centred, carried[1])]

    nothing = Value(builder, emit.element(0.0))
    plain, centred = group.each(project, [nothing, nothing])
    own = rstd / row.length()
    slope = emit.splat(-own * rstd * rstd * centred)
    offset = emit.splat(-own * plain)

    def channel(number: Any, scan: Any, _: Any) -> list[Value]:
        factor = emit.splat(rstd * group.number(numbers, number))

        def step(at: Any, _: Any, mask: Any) -> list[Value]:
            rest = fma(row.load(x, at, mask) - mean, slope, offset)
            row.store(fma(row.load(g, at, mask), factor, rest), gx, at, mask)
            return []

        scan(step)
        return []

    group.each(channel)


ELEMENTS = {np.dtype(np.float32): F32, np.dtype(np.float64): F64}
_FORWARD = {
    d: RowKernel(f"group_norm_{d.name}", element, _forward, 5) for d, element in ELEMENTS.items()
}
_BACKWARD = {
    d: RowKernel(f"group_norm_grad_{d.name}", element, _backward, 5)
    for d, element in ELEMENTS.items()
}


@lru_cache(1024)
def _forward_plan(shape: tuple[int, ...], dtype: np.dtype, groups: int, epsilon: float) -> Launch:
    rows, own, item = shape[0] * groups, shape[1] // groups, dtype.itemsize
    size = math.prod(shape[2:])
    step = own * size * item
    steps = step, step, 2 * own * item, item, item
    return _FORWARD[dtype].plan(rows, own * size, steps, own, size, float_word(epsilon))


@lru_cache(1024)
def _backward_plan(shape: tuple[int, ...], dtype: np.dtype, groups: int) -> Launch:
    rows, own, item = shape[0] * groups, shape[1] // groups, dtype.itemsize
    size = math.prod(shape[2:])
    step = own * size * item
    steps = step, step, step, (own + 2) * item, 2 * own * item
    return _BACKWARD[dtype].plan(rows, own * size, steps, own, size)


def forward(x: np.ndarray, w: Any, b: Any, groups: int, epsilon: float) -> tuple[np.ndarray, ...]:
    """(out, mean [N, groups], rstd [N, groups]); x lies plane by plane and is not empty."""
    n, own = len(x), x.shape[1] // groups
    numbers = np.empty((n, groups, 2, own), x.dtype)
    numbers[:, :, 0] = 1 if w is None else w.reshape(groups, own)
    numbers[:, :, 1] = 0 if b is None else b.reshape(groups, own)
    out = empty_like(x)
    mean, rstd = np.empty((n, groups), x.dtype), np.empty((n, groups), x.dtype)
    _forward_plan(x.shape, x.dtype, groups, epsilon)(x, out, numbers, mean, rstd)
    return out, mean, rstd


def backward(
    g: np.ndarray, x: np.ndarray, w: Any, mean: np.ndarray, rstd: np.ndarray, groups: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gx, gw [C], gb [C]); g and x lie plane by plane and are not empty."""
    n, own = len(x), x.shape[1] // groups
    numbers = np.empty((n, groups, own + 2), x.dtype)
    numbers[:, :, :own] = 1 if w is None else w.reshape(groups, own)
    numbers[:, :, own] = mean
    numbers[:, :, own + 1] = rstd
    sums = np.empty((n, groups, own, 2), x.dtype)
    gx = empty_like(x)
    _backward_plan(x.shape, x.dtype, groups)(x, g, gx, numbers, sums)
    gw = np.einsum("ngc,ng->gc", sums[:, :, :, 1], rstd, dtype=np.float64)
    gb = sums[:, :, :, 0].sum(axis=0, dtype=np.float64)
    return gx, gw.reshape(-1).astype(x.dtype), gb.reshape(-1).astype(x.dtype)
