"""Euclidean distances of all pairs of rows, and their gradient, by matrix products.

|x - y|^2 = |x|^2 + |y|^2 - 2 x.y costs one product, but loses digits where x and y are near. Such
pairs are known by how small the result is (NEAR) and computed again from x - y; so are those of
which infinities make NaN. The gradient, a sum of w * (x - y), is treated the same way.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dyn.kernels import gemm
from dyn.kernels.copy import contiguous, filled
from dyn.kernels.elementwise import cast
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import SUM, instances, kernel
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer

GRAIN = 16384
"""Multiplications worth a chunk."""
NEAR = 0.125
"""Pairs whose squared distance is less than this part of |x|^2 + |y|^2 are done by differences."""
ZERO, SIZE = np.float32(0), 4
"""What instances of a task have of their own: a zero of the elements and its bytes."""


@kernel(fastmath=SUM)
def _square(x, k, zero):
    """|x|^2."""
    total = zero
    for i in range(k):
        total += x[i] * x[i]
    return total


@kernel(fastmath=SUM)
def _square_between(x, y, k, zero):
    """|x - y|^2."""
    total = zero
    for i in range(k):
        total += (x[i] - y[i]) * (x[i] - y[i])
    return total


@kernel
def _far(distance, square):
    """Whether a distance is right as it is; not if it is NaN. `square`: |x|^2 + |y|^2."""
    return distance * distance >= square * NEAR


@kernel(fastmath=SUM)
def _sum(x, k, zero):
    total = zero
    for i in range(k):
        total += x[i]
    return total


def _squares(args, chunk, chunks):
    """Squared lengths of rows: (x, y, lengths of x, of y, rows of x, of y, k)."""
    before, after, k = argument(args, 4), argument(args, 5), argument(args, 6)
    start, stop = bounds(before + after, chunk, chunks, 1)
    for row in range(start, stop):
        second = 0 if row < before else 1
        at = row - before * second
        x = pointer(data(argument(args, second)) + at * k * SIZE, ZERO)
        pointer(data(argument(args, 2 + second)), ZERO)[at] = _square(x, k, ZERO)


def _distances(args, chunk, chunks):
    """Products become distances: (x, y, |x|^2, |y|^2, products, rows of x, m, n, k)."""
    rows, m, n, k = argument(args, 5), argument(args, 6), argument(args, 7), argument(args, 8)
    start, stop = bounds(rows, chunk, chunks, 1)
    for row in range(start, stop):
        x = pointer(data(argument(args, 0)) + row * k * SIZE, ZERO)
        table = data(argument(args, 1)) + row // m * n * k * SIZE
        own = pointer(data(argument(args, 2)), ZERO)[row]
        other = pointer(data(argument(args, 3)) + row // m * n * SIZE, ZERO)
        out = pointer(data(argument(args, 4)) + row * n * SIZE, ZERO)
        near = np.int32(0)
        for j in range(n):
            out[j] = np.sqrt(own + other[j] - (out[j] + out[j]))
            near += np.int32(0 if _far(out[j], own + other[j]) else 1)
        if near > 0:
            for j in range(n):
                if not _far(out[j], own + other[j]):
                    y = pointer(table + j * k * SIZE, ZERO)
                    out[j] = np.sqrt(_square_between(x, y, k, ZERO))


def _weights(args, chunk, chunks):
    """w = g / distance, and in gx what does not go through the product: sum(w) * x, near pairs.

    Words: (x, y, |x|^2, |y|^2, distances, g, w, gx, rows of x, m, n, k). A near pair has no weight
    in the product; nor have equal points, which have no direction.
    """
    rows, m, n, k = argument(args, 8), argument(args, 9), argument(args, 10), argument(args, 11)
    start, stop = bounds(rows, chunk, chunks, 1)
    for row in range(start, stop):
        x = pointer(data(argument(args, 0)) + row * k * SIZE, ZERO)
        table = data(argument(args, 1)) + row // m * n * k * SIZE
        own = pointer(data(argument(args, 2)), ZERO)[row]
        other = pointer(data(argument(args, 3)) + row // m * n * SIZE, ZERO)
        distance = pointer(data(argument(args, 4)) + row * n * SIZE, ZERO)
        g = pointer(data(argument(args, 5)) + row * n * SIZE, ZERO)
        w = pointer(data(argument(args, 6)) + row * n * SIZE, ZERO)
        gx = pointer(data(argument(args, 7)) + row * k * SIZE, ZERO)
        near = np.int32(0)
        for j in range(n):
            far = _far(distance[j], own + other[j]) and distance[j] > 0
            w[j] = g[j] / distance[j] if far else ZERO
            near += np.int32(0 if far else 1)
        total = _sum(w, n, ZERO)
        for i in range(k):
            gx[i] = total * x[i]
        if near > 0:
            for j in range(n):
                if distance[j] != 0 and not _far(distance[j], own + other[j]):
                    y = pointer(table + j * k * SIZE, ZERO)
                    part = g[j] / distance[j]
                    for i in range(k):
                        gx[i] += part * (x[i] - y[i])


SQUARES = instances("row_squares", _squares, "f4 f8")
DISTANCES = instances("distances", _distances, "f4 f8")
WEIGHTS = instances("distance_weights", _weights, "f4 f8")


class _Plan(NamedTuple):
    """Shapes of a call, and its tasks."""

    batch: tuple[int, ...]
    lengths: tuple[tuple[int, ...], tuple[int, ...]]
    squares: Launch
    distances: Launch
    weights: Launch


@lru_cache(1024)
def _plan(batch: tuple[int, ...], m: int, n: int, k: int, dtype: np.dtype) -> _Plan:
    count = math.prod(batch)
    before, after = count * m, count * n
    lengths = chunks_of((before + after) * k, GRAIN)
    pairs = chunks_of(before * n, GRAIN)
    return _Plan(
        batch,
        ((*batch, m), (*batch, n)),
        Launch([(SQUARES[dtype], lengths)], 4, before, after, k),
        Launch([(DISTANCES[dtype], pairs)], 5, before, m, n, k),
        Launch([(WEIGHTS[dtype], pairs)], 8, before, m, n, k),
    )


def _prepared(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, _Plan]:
    """The operands with equal leading axes, in C order, and the plan for their shapes."""
    batch = x.shape[:-2]
    if batch != y.shape[:-2]:
        batch = np.broadcast_shapes(batch, y.shape[:-2])
        x = np.broadcast_to(x, (*batch, *x.shape[-2:]))
        y = np.broadcast_to(y, (*batch, *y.shape[-2:]))
    plan = _plan(batch, x.shape[-2], y.shape[-2], x.shape[-1], x.dtype)
    return contiguous(x), contiguous(y), plan


def _squared_lengths(x: np.ndarray, y: np.ndarray, plan: _Plan) -> tuple[np.ndarray, np.ndarray]:
    of_x, of_y = (np.empty(shape, x.dtype) for shape in plan.lengths)
    plan.squares(x, y, of_x, of_y)
    return of_x, of_y


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|x[..., i, :] - y[..., j, :]| for all i and j; leading axes broadcast.

    Args:
        x: (..., m, k), floating point, any strides.
        y: (..., n, k), dtype of x.

    Returns:
        (..., m, n).
    """
    if x.dtype.itemsize < 4:
        return cast(distances(cast(x, np.float32), cast(y, np.float32)), x.dtype)
    x, y, plan = _prepared(x, y)
    out = gemm.matmul(x, y.swapaxes(-1, -2))
    if out.size:
        plan.distances(x, y, *_squared_lengths(x, y, plan), out)
    return out


def distances_grad(g: np.ndarray, x: np.ndarray, y: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """The gradient of x: sum over j of g[i, j] * (x[i] - y[j]) / distance[i, j].

    Equal points have no direction; they count nothing.

    Args:
        g: (..., m, n). x: (..., m, k). y: (..., n, k). distance: (..., m, n); one dtype.

    Returns:
        (..., m, k), with the leading axes of `distance`.
    """
    if x.dtype.itemsize < 4:
        wide = (cast(a, np.float32) for a in (g, x, y, distance))
        return cast(distances_grad(*wide), x.dtype)
    x, y, plan = _prepared(x, y)
    if not distance.size or not x.size:
        return filled((*plan.batch, *x.shape[-2:]), 0, x.dtype)
    w, gx = empty(distance.shape, x.dtype), empty(x.shape, x.dtype)
    lengths = _squared_lengths(x, y, plan)
    plan.weights(x, y, *lengths, contiguous(distance), contiguous(g), w, gx)
    return gx - gemm.matmul(w, y)
