"""The gradient of a product: for each factor the product of all others, times what comes in.

No factor is divided by, as it may be 0. Rows are cut into parts of up to PART factors; from the
products of the parts follow those of all before and behind each, and within a part each factor gets
what lies before and behind it in float64, LANES parts side by side, as each step waits for the
last.
"""

from __future__ import annotations

import math

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime import drive
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import instances
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import buffer, leave, scratch, take
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer

PART = 512
"""Most factors of a part."""
LANES = 4
"""Parts side by side."""
GRAIN = 16384
"""Factors worth a chunk."""
SPACE = LANES * PART * 8
"""Bytes of a chunk's scratch: what lies before each factor of the parts side by side."""
ZERO, SIZE = np.float64(0), 8
"""What instances of a task have of their own: a zero of the elements, and its bytes."""
_F64 = np.float64(0)


def _parts(args, chunk, chunks):
    """Products of parts: (x, products, rows, count, parts, factors of a part)."""
    count, parts, part = argument(args, 3), argument(args, 4), argument(args, 5)
    products = pointer(data(argument(args, 1)), _F64)
    start, stop = bounds(argument(args, 2) * parts, chunk, chunks, 1)
    for unit in range(start, stop):
        first = unit % parts * part
        x = pointer(data(argument(args, 0)) + (unit // parts * count + first) * SIZE, ZERO)
        many = min(part, count - first)
        a = b = c = d = 1.0
        for i in range(0, many // 4 * 4, 4):
            a, b, c, d = a * x[i], b * x[i + 1], c * x[i + 2], d * x[i + 3]
        for i in range(many // 4 * 4, many):
            a *= x[i]
        products[unit] = a * b * c * d


def _others(args, chunk, chunks):
    """What lies before and behind: (x, out, before, behind, rows, count, parts, part, scratch).

    `before` and `behind` hold a product for each part.
    """
    count, parts, part = argument(args, 5), argument(args, 6), argument(args, 7)
    pool = argument(args, 8)
    before = pointer(data(argument(args, 2)), _F64)
    behind = pointer(data(argument(args, 3)), _F64)
    x, out = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), ZERO)
    slot = take(data(pool))
    kept = pointer(buffer(data(pool), slot, SPACE), _F64)
    start, stop = bounds(argument(args, 4) * parts, chunk, chunks, LANES)
    for unit in range(start, stop, LANES):
        if unit + LANES <= stop and count == parts * part:
            at = unit * part
            a, b, c, d = before[unit], before[unit + 1], before[unit + 2], before[unit + 3]
            for i in range(at, at + part):
                k = (i - at) * LANES
                kept[k], kept[k + 1], kept[k + 2], kept[k + 3] = a, b, c, d
                a, b = a * x[i], b * x[i + part]
                c, d = c * x[i + 2 * part], d * x[i + 3 * part]
            a, b, c, d = behind[unit], behind[unit + 1], behind[unit + 2], behind[unit + 3]
            for i in range(at + part - 1, at - 1, -1):
                k = (i - at) * LANES
                e, f, g, h = x[i], x[i + part], x[i + 2 * part], x[i + 3 * part]
                out[i], out[i + part] = a * kept[k], b * kept[k + 1]
                out[i + 2 * part], out[i + 3 * part] = c * kept[k + 2], d * kept[k + 3]
                a, b, c, d = a * e, b * f, c * g, d * h
            continue
        for one in range(unit, min(unit + LANES, stop)):
            first = one % parts * part
            at, many = one // parts * count + first, min(part, count - first)
            a = before[one]
            for i in range(many):
                kept[i] = a
                a *= x[at + i]
            a = behind[one]
            for i in range(many - 1, -1, -1):
                out[at + i] = a * kept[i]
                a *= x[at + i]
    leave(data(pool), slot)


_PARTS, _OTHERS = (instances(body.__name__[1:], body, "f4 f8") for body in (_parts, _others))


def _running(products: np.ndarray) -> np.ndarray:
    """Of each row the products of all numbers before each."""
    return np.cumprod(np.insert(products[:, :-1], 0, 1.0, axis=1), axis=1)


def product_grad(g: np.ndarray, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """g times the product of all other elements of x over the axes; g has their sizes as 1."""
    kept = [a for a in range(x.ndim) if a not in axes]
    order = (*kept, *axes)
    rows = math.prod(x.shape[a] for a in kept)
    moved = contiguous(x.transpose(order))
    work = moved if moved.dtype in _PARTS else moved.astype(np.float32)
    out = empty(work.shape, work.dtype)
    count = x.size // rows if rows else 0
    if count:
        parts = -(-count // PART)
        products = np.empty((rows, parts), np.float64)
        chunks = min(rows * parts, drive.chunks_of(x.size, GRAIN))
        words = rows, count, parts, -(-count // parts)
        drive.run(_PARTS[work.dtype], chunks, id(work), id(products), *words)
        before = np.ascontiguousarray(_running(products) * g.reshape(rows, 1))
        behind = np.ascontiguousarray(_running(products[:, ::-1])[:, ::-1])
        space = scratch(SPACE, chunks)
        drive.run(
            _OTHERS[work.dtype], chunks, id(work), id(out), id(before), id(behind), *words,
            id(space),
        )  # fmt: skip
    return out.astype(x.dtype, copy=False).transpose([order.index(a) for a in range(x.ndim)])
