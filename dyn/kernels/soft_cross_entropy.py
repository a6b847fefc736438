"""Cross entropy of logits with probabilities, and its gradients.

float32 with the classes last runs in vector code, a row at a time, and keeps nothing for the
gradient, which costs less to compute again than to read. Anything else goes through the kernels of
its parts; half precision is computed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Container
from functools import lru_cache

import numpy as np

from dyn.kernels import softmax
from dyn.kernels.copy import contiguous
from dyn.kernels.reduce import reductions
from dyn.kernels.runtime.drive import Launch
from dyn.kernels.runtime.memory import empty
from dyn.kernels.vector.half import is_half
from dyn.kernels.vector.rows import Row, RowKernel
from dyn.kernels.vector.simd import F32, total
from dyn.kernels.vector.vmath import exp, log

_F32 = np.dtype(np.float32)


def _loss(row: Row) -> None:
    """Arrays: logits, target, loss (one number a row)."""
    top, weight = softmax.top_and_sum(row, None)
    base, logarithm = row.emit.splat(top), log(row.emit.splat(weight))

    def add(at, c, mask):
        return [c[0] + row.load(1, at, mask) * (row.load(0, at, mask) - base - logarithm)]

    (sums,) = row.scan(add, [row.zero()])
    row.put(-total(*sums), 2)


def _gradient(row: Row) -> None:
    """Arrays: g (one number for a row, or for all), logits, target, gx."""
    (sums,) = row.scan(lambda at, c, mask: [c[0] + row.load(2, at, mask)], [row.zero()])
    # The rows of the arrays but the first are those that softmax knows.
    inner = Row(row.emit, row.count, row.params, row.sums, row.far, row.at[1:])
    top, weight = softmax.top_and_sum(inner, None)
    base = row.emit.splat(top)
    share, factor = row.emit.splat(total(*sums) / weight), row.emit.splat(row.number(0))

    def write(at, c, mask):
        p = exp(row.load(1, at, mask) - base) * share
        row.finish((p - row.load(2, at, mask)) * factor, 3, at, mask)
        return []

    row.scan(write)


_LOSS = RowKernel("soft_cross_entropy", F32, _loss, arrays=3)
_GRADIENT = RowKernel("soft_cross_entropy_grad", F32, _gradient, arrays=4)


@lru_cache(1024)
def _plan(shape: tuple[int, ...]) -> Launch:
    step = 4 * shape[-1]
    return _LOSS.plan(math.prod(shape[:-1]), shape[-1], (step, step, 4))


@lru_cache(1024)
def _plan_grad(shape: tuple[int, ...], each: bool) -> Launch:
    step = 4 * shape[-1]
    steps = (4 if each else 0, step, step, step)
    return _GRADIENT.plan(math.prod(shape[:-1]), shape[-1], steps)


def _in_rows(x: np.ndarray, axis: int) -> bool:
    return x.dtype == _F32 and axis == x.ndim - 1


def loss(x: np.ndarray, target: np.ndarray, axis: int, reduction: str) -> np.ndarray:
    """-sum(target * log(softmax(x))) along `axis`, which stays with size 1 without a reduction."""
    if is_half(x.dtype):
        wide = x.astype(_F32), target.astype(_F32)
        return loss(*wide, axis, reduction).astype(x.dtype)
    if _in_rows(x, axis):
        rows = empty((*x.shape[:-1], 1))
        _plan(x.shape)(contiguous(x), contiguous(target), rows)
    else:
        parts = target * softmax.log_softmax(x, axis)
        rows = -reductions.sum(parts, (axis,), keepdims=True)
    if reduction == "none":
        return rows
    fold = reductions.mean if reduction == "mean" else reductions.sum
    return fold(rows, (*range(rows.ndim),), keepdims=False)


def gradients(
    g: np.ndarray,
    x: np.ndarray,
    target: np.ndarray,
    axis: int,
    reduction: str,
    wanted: Container[str],
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The gradients to the logits and to the target; None for one that is not wanted."""
    if is_half(x.dtype):
        wide = (a.astype(_F32) for a in (g, x, target))
        found = gradients(*wide, axis, reduction, wanted)
        gx, gt = (None if a is None else a.astype(x.dtype) for a in found)
        return gx, gt
    if reduction == "mean":
        g = np.asarray(g / max(x.size // max(x.shape[axis], 1), 1), x.dtype)
    gx = gt = None
    if "x" in wanted and _in_rows(x, axis):
        gx = empty(x.shape)
        launch = _plan_grad(x.shape, g.ndim > 0)
        launch(contiguous(g), contiguous(x), contiguous(target), gx)
    elif "x" in wanted:
        share = softmax.softmax(x, axis) * target.sum(axis, keepdims=True)
        gx = (share - target) * g
    if "target" in wanted:
        gt = -(softmax.log_softmax(x, axis) * g)
    return gx, gt
