"""The gradient of a product: for each factor the product of all others, times what comes in.

The product of all factors is divided by each of them. It is kept as a mantissa in [1, 2), with its
sign, and a binary exponent, so that it neither overflows nor vanishes on the way; factors that
cannot be divided by (zeros, infinities, NaN) are left out of it and counted.

An array counts as [outer, n, inner] with the factors along n. Both passes go in units: a part of
the factors for up to LANES columns side by side, of which the compiler makes vectors. Where nothing
lies behind the factors, every LANES-th one counts as a column of its own.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import instances, kernel
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer

LANES = 16
"""Columns side by side."""
STEPS = 512
"""Factors of a column after which its mantissa, below 2 to their number, is brought to [1, 2)."""
PART, MAX_PARTS = 512, 64
"""Factors of a column worth a part, and most parts of a column."""
GRAIN = 16384
"""Factors worth a chunk."""
ZERO, SIZE = np.float32(0), 4
"""What instances of a task have of their own: a zero of the elements, and its bytes."""
_F64, _I64 = np.float64(0), np.int64(0)

SIGN, FRACTION, UNIT = -(1 << 63), (1 << 52) - 1, 1023 << 52
"""Bits of a float64: sign, fraction, and the exponent of numbers in [1, 2)."""
DENORMAL = 2.0**-1022
"""Below this float64 has no exponent of its own."""
LIFT = 64
"""Powers of two that make every denormal number normal."""
INFINITIES, NANS, DENORMALS = 16, 32, 48
"""Bits of a count from which on infinities, NaN and denormal numbers are counted; below them zeros.
Three are as good as two."""
NOTHING_F4, NOTHING_F8 = -700, -2100
"""Exponent of a product below which the gradient of any factor of a type is 0."""


@kernel(forceinline=True)
def _bits(x):
    return np.float64(x).view(np.int64)


@kernel(forceinline=True)
def _number(bits):
    return np.int64(bits).view(np.float64)


@kernel
def _multiply(x, at, width, mantissa, exponent, special):
    """Multiply columns by one factor each; special ones leave their sign and are counted."""
    for j in range(width):
        bits = _bits(x[at + j])
        power = bits >> 52 & 2047
        apart = (power == 0) | (power == 2047)
        mantissa[j] *= _number(bits & (SIGN if apart else SIGN | FRACTION) | UNIT)
        exponent[j] += 0 if apart else power - 1023
        special[j] += 1 if apart else 0


@kernel
def _settle(width, mantissa, exponent):
    """Bring mantissas to [1, 2)."""
    for j in range(width):
        bits = _bits(mantissa[j])
        exponent[j] += (bits >> 52 & 2047) - 1023
        mantissa[j] = _number(bits & (SIGN | FRACTION) | UNIT)


@kernel
def _sort_out(x, at, step, count, mantissa, exponent):
    """What the special factors of a column are, counted by kind; denormal ones are multiplied."""
    zeros, infinities, nans, denormals = 0, 0, 0, 0
    for i in range(count):
        v = np.float64(x[at + i * step])
        if v == 0:
            zeros = min(zeros + 1, 2)
        elif v != v:
            nans = min(nans + 1, 2)
        elif abs(v) == np.inf:
            infinities = min(infinities + 1, 2)
        elif abs(v) < DENORMAL:
            denormals = 1
            mantissa[0] *= abs(v) * 2.0**LIFT
            exponent[0] -= LIFT
            _settle(1, mantissa, exponent)
    return zeros | infinities << INFINITIES | nans << NANS | denormals << DENORMALS


def _measure(args, chunk, chunks):
    """The products of the parts of columns.

    Words: (x, g, out, found; outer, n, inner, parts, part, blocks). `found` has room for mantissas,
    exponents and counts of special factors, each [outer, parts, columns], and for what `_join`
    makes of them: five numbers, each [outer, inner].
    """
    outer, n, inner = argument(args, 4), argument(args, 5), argument(args, 6)
    parts, part, blocks = argument(args, 7), argument(args, 8), argument(args, 9)
    x = pointer(data(argument(args, 0)), ZERO)
    columns = LANES if inner == 1 else inner
    words = outer * parts * columns * 8
    start, stop = bounds(outer * parts * blocks, chunk, chunks, 1)
    for unit in range(start, stop):
        block, share = unit % blocks, unit // blocks
        first = share % parts * part
        count, at = min(part, n - first), (share // parts * n + first) * inner + block * LANES
        place = data(argument(args, 3)) + (share * columns + block * LANES) * 8
        mantissa = pointer(place, _F64)
        exponent, special = pointer(place + words, _I64), pointer(place + 2 * words, _I64)
        width = min(LANES, columns - block * LANES)
        for j in range(width):
            mantissa[j], exponent[j], special[j] = 1.0, 0, 0
        step, rows = (LANES, count // LANES) if inner == 1 else (inner, count)
        for row in range(0, rows, STEPS):
            for i in range(row, min(row + STEPS, rows)):
                if width == LANES:
                    _multiply(x, at + i * step, LANES, mantissa, exponent, special)
                else:
                    _multiply(x, at + i * step, width, mantissa, exponent, special)
            _settle(width, mantissa, exponent)
        rest = count % LANES if inner == 1 else 0
        _multiply(x, at + rows * step, rest, mantissa, exponent, special)
        _settle(rest, mantissa, exponent)
        for j in range(width):
            if special[j]:
                special[j] = _sort_out(
                    x, at + j, step, rows + (j < rest),
                    pointer(place + 8 * j, _F64), pointer(place + words + 8 * j, _I64),
                )  # fmt: skip


def _join(args, chunk, chunks):
    """The products of whole columns, times g, as numbers for `_divide`. Words as in `_measure`."""
    outer, inner = argument(args, 4), argument(args, 6)
    columns, parts = LANES if inner == 1 else inner, argument(args, 7)
    step, count = (8, parts * LANES) if inner == 1 else (8 * inner, parts)
    words, size = outer * parts * columns * 8, outer * inner * 8
    g = pointer(data(argument(args, 1)), ZERO)
    start, stop = bounds(outer * inner, chunk, chunks, 1)
    for column in range(start, stop):
        at = data(argument(args, 3)) + (column // inner * parts * columns + column % inner) * 8
        mantissa, exponent, special = 1.0, 0, 0
        for _ in range(count):
            mantissa *= pointer(at, _F64)[0]
            exponent += pointer(at + words, _I64)[0]
            special += pointer(at + 2 * words, _I64)[0]
            at += step
            if abs(mantissa) >= 2:
                mantissa *= 0.5
                exponent += 1
        place = data(argument(args, 3)) + 3 * words + column * 8
        vanishes = exponent < (NOTHING_F4 if SIZE == 4 else NOTHING_F8)
        half = max(-1022, min(1023, exponent // 2))
        rest = max(-1022, min(1023, exponent - half))
        pointer(place, _F64)[0] = mantissa * g[column]
        pointer(place + size, _F64)[0] = 0.0 if vanishes else _number(half + 1023 << 52)
        pointer(place + 2 * size, _F64)[0] = _number(rest + 1023 << 52)
        pointer(place + 3 * size, _F64)[0] = math.copysign(1.0, mantissa)
        pointer(place + 4 * size, _I64)[0] = special


@kernel
def _other(x, g, total, low, high, sign, special):
    """The product of all factors but x, times g, where some are special."""
    size, own = abs(x), math.copysign(1.0, x)
    zeros, infinities = special & 0xFFFF, special >> INFINITIES & 0xFFFF
    nans = special >> NANS & 0xFFFF
    if x != x:
        nans -= 1
    elif size == np.inf:
        infinities -= 1
    elif size == 0:
        zeros -= 1
    elif size < DENORMAL:
        low, high, own = low * 2.0 ** (LIFT // 2), high * 2.0 ** (LIFT // 2), x * 2.0**LIFT
    else:
        own = x
    if nans > 0 or (zeros > 0 and infinities > 0):
        return np.nan
    if infinities > 0:
        return g * math.copysign(np.inf, sign * own)
    if zeros > 0:
        return g * math.copysign(0.0, sign * own)
    return total / own * low * high


def _divide(args, chunk, chunks):
    """The gradient, from what `_join` made. Words as in `_measure`."""
    outer, n, inner = argument(args, 4), argument(args, 5), argument(args, 6)
    parts, part, blocks = argument(args, 7), argument(args, 8), argument(args, 9)
    x, out = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 2)), ZERO)
    columns, size = LANES if inner == 1 else inner, outer * inner * 8
    joined = data(argument(args, 3)) + 3 * outer * parts * columns * 8
    start, stop = bounds(outer * parts * blocks, chunk, chunks, 1)
    for unit in range(start, stop):
        share, first = unit // blocks, unit // blocks % parts * part
        column = share // parts * inner + unit % blocks * LANES
        count, at = min(part, n - first), (share // parts * n + first) * inner + column % inner
        width = min(LANES, inner - column % inner)
        place = joined + column * 8
        g = pointer(data(argument(args, 1)) + column * SIZE, ZERO)
        total, low = pointer(place, _F64), pointer(place + size, _F64)
        high, sign = pointer(place + 2 * size, _F64), pointer(place + 3 * size, _F64)
        special, apart = pointer(place + 4 * size, _I64), False
        for j in range(width):
            apart |= special[j] != 0
        if apart:
            for i in range(at, at + count * inner, inner):
                for j in range(width):
                    out[i + j] = _other(
                        np.float64(x[i + j]), g[j], total[j], low[j], high[j], sign[j], special[j]
                    )
        elif inner == 1:
            one, two, three = total[0], low[0], high[0]
            for i in range(at, at + count):
                out[i] = one / x[i] * two * three
        else:
            for i in range(at, at + count * inner, inner):
                for j in range(width):
                    out[i + j] = total[j] / x[i + j] * low[j] * high[j]


_TASKS = [instances(body.__name__[1:], body, "f4 f8") for body in (_measure, _join, _divide)]


class _Plan(NamedTuple):
    """How arrays of one shape are worked on: the launch, and how much memory it needs between."""

    launch: Launch
    words: int


@lru_cache(1024)
def _plan(dtype: np.dtype, outer: int, n: int, inner: int) -> _Plan:
    columns = LANES if inner == 1 else inner
    # Some columns of their own for every factor of a row, or the columns that there are.
    parts = max(1, min(MAX_PARTS, n // (PART * LANES if inner == 1 else PART)))
    part = -(-n // parts)
    parts, blocks = -(-n // part), -(-inner // LANES)
    chunks = min(outer * parts * blocks, chunks_of(outer * n * inner, GRAIN))
    joins = min(outer * inner, chunks_of(outer * parts * columns, GRAIN))
    measure, join, divide = (task[dtype] for task in _TASKS)
    stages = [(measure, chunks), (join, joins), (divide, chunks)]
    launch = Launch(stages, 4, outer, n, inner, parts, part, blocks)
    return _Plan(launch, outer * (3 * parts * columns + 5 * inner))


def product_grad(g: np.ndarray, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """g times the product of all other elements of x over the axes; g has their sizes as 1."""
    if x.dtype not in _TASKS[0]:
        wide = product_grad(g.astype(np.float32), x.astype(np.float32), axes)
        return wide.astype(x.dtype)
    first, last = (axes[0], axes[-1] + 1) if axes else (0, 0)
    if axes != tuple(range(first, last)):
        # Factors that do not lie one behind the other are brought together.
        order = (*(a for a in range(x.ndim) if a not in axes), *axes)
        back = [order.index(a) for a in range(x.ndim)]
        last = tuple(range(x.ndim - len(axes), x.ndim))
        return product_grad(g.transpose(order), x.transpose(order), last).transpose(back)
    out = empty(x.shape, x.dtype)
    if x.size:
        sizes = (math.prod(x.shape[a:b]) for a, b in ((0, first), (first, last), (last, x.ndim)))
        plan = _plan(x.dtype, *sizes)
        plan.launch(contiguous(x), contiguous(g), out, empty((plan.words,), np.float64))
    return out
