"""The multi-class margin loss of rows and its gradient, in compiled code.

sum over the classes j other than the label y of max(0, margin - x[y] + x[j]) ** p / C, times the
weight of y. Half precision is computed in float32.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of, float_word
from dyn.kernels.runtime.jit import instances
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, argument_float, bounds
from dyn.kernels.vector.runs import pointer

GRAIN = 16384
"""Elements worth a chunk."""
ZERO = np.float32(0)
"""Stands for the type of the elements: that of an instance below."""
_I64 = np.int64(0)


def _losses(args, chunk, chunks):
    """Words: (x, label, weight, losses, whether a label is no class; rows, classes, p, margin)."""
    rows, classes, squares = argument(args, 5), argument(args, 6), argument(args, 7) == 2
    every, label = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), _I64)
    weight, out = pointer(data(argument(args, 2)), ZERO), pointer(data(argument(args, 3)), ZERO)
    failed, margin = pointer(data(argument(args, 4)), _I64), argument_float(args, 8)
    start, stop = bounds(rows, chunk, chunks, 1)
    for row in range(start, stop):
        own, at = label[row], row * classes
        if own < 0 or own >= classes:
            failed[0] = 1
            continue
        total, less = np.float64(0), margin - every[at + own]
        for j in range(classes):
            if j != own:
                over = less + every[at + j]
                over = 0.0 if over < 0 else over
                total += over * over if squares else over
        out[row] = total * weight[own] / classes


def _gradient(args, chunk, chunks):
    """Words: (g, x, label, weight, out; rows, classes, p, margin, elements of g per row)."""
    rows, classes, squares = argument(args, 5), argument(args, 6), argument(args, 7) == 2
    g, every = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), ZERO)
    label, weight = pointer(data(argument(args, 2)), _I64), pointer(data(argument(args, 3)), ZERO)
    result, margin = pointer(data(argument(args, 4)), ZERO), argument_float(args, 8)
    start, stop = bounds(rows, chunk, chunks, 1)
    for row in range(start, stop):
        own, at = label[row], row * classes
        factor, less = g[row * argument(args, 9)] * weight[own] / classes, margin - every[at + own]
        total = np.float64(0)
        for j in range(classes):
            if j != own:
                over = less + every[at + j]
                slope = (2 * over if squares else 1.0) if over > 0 else 0.0
                total += slope
                result[at + j] = factor * slope
        result[at + own] = -factor * total


_LOSSES = instances("losses", _losses, "f4 f8")
_GRADIENT = instances("gradient", _gradient, "f4 f8")


@lru_cache(1024)
def _plan(gradient: bool, dtype: np.dtype, shape: tuple[int, int], *words: int) -> Launch:
    chunks = min(max(shape[0], 1), chunks_of(shape[0] * shape[1], GRAIN))
    task = (_GRADIENT if gradient else _LOSSES)[dtype]
    return Launch([(task, chunks)], 5, *shape, *words)


def _arrays(x, label, weight):
    if weight is None:
        weight = np.ones(x.shape[1], x.dtype)
    return contiguous(x), np.ascontiguousarray(label, np.int64), contiguous(weight)


def multi_margin(x, label, weight, p, margin):
    """The loss of every row of x [N, C].

    Raises:
        IndexError: a label is no class.
    """
    if x.dtype not in _LOSSES:
        x32, w32 = (None if t is None else t.astype(np.float32) for t in (x, weight))
        return multi_margin(x32, label, w32, p, margin).astype(x.dtype)
    x, label, weight = _arrays(x, label, weight)
    out, failed = empty(x.shape[:1], x.dtype), np.zeros(1, np.int64)
    plan = _plan(False, x.dtype, x.shape, p, float_word(margin))
    plan(x, label, weight, out, failed)
    if failed[0]:
        bad = label[(label < 0) | (label >= x.shape[1])][0]
        raise IndexError(f"label {bad} is none of {x.shape[1]} classes")
    return out


def multi_margin_grad(g, x, label, weight, p, margin):
    """The gradient of x where that of the rows' losses is g [N]."""
    if x.dtype not in _GRADIENT:
        g32, x32, w32 = (None if t is None else t.astype(np.float32) for t in (g, x, weight))
        return multi_margin_grad(g32, x32, label, w32, p, margin).astype(x.dtype)
    x, label, weight = _arrays(x, label, weight)
    step = 0 if g.strides[0] == 0 else 1
    g = g if step == 0 else contiguous(g)
    out = empty(x.shape, x.dtype)
    plan = _plan(True, x.dtype, x.shape, p, float_word(margin), step)
    plan(g, x, label, weight, out)
    return out
