"""Margin losses of rows over classes and their gradients, in compiled code.

With one label y: sum over the other classes j of max(0, margin - x[y] + x[j]) ** p / C, times the
weight of y. With several: the sum over all labels y and all classes j that are none of
max(0, 1 - x[y] + x[j]) / C. Half precision is computed in float32.

Source: Weston & Watkins, Support Vector Machines for Multi-Class Pattern Recognition, 1999.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from dyn.kernels.copy import contiguous, integers
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of, float_word
from dyn.kernels.runtime.jit import instances, kernel
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, argument_float, bounds
from dyn.kernels.vector.runs import pointer

GRAIN = 16384
"""Elements worth a chunk."""
ZERO, ONE = np.float32(0), np.float32(1)
"""Stand for the numbers of the elements' type: that of an instance below."""
_I64, _I8 = np.int64(0), np.int8(0)


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
def _plan(task: Any, shape: tuple[int, int], *words: int) -> Launch:
    """A task over rows of so many classes."""
    chunks = min(max(shape[0], 1), chunks_of(shape[0] * shape[1], GRAIN))
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
    plan = _plan(_LOSSES[x.dtype], x.shape, p, float_word(margin))
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
    plan = _plan(_GRADIENT[x.dtype], x.shape, p, float_word(margin), step)
    plan(g, x, label, weight, out)
    return out


# ---- several labels ----------------------------------------------------------------------------


@kernel
def _mark(label, marks, at, classes):
    """Mark the labels of a row up to the first negative one; how many, or -1: one is no class."""
    for j in range(classes):
        marks[at + j] = 0
    for count in range(classes):
        own = label[at + count]
        if own < 0:
            return count
        if own >= classes:
            return -1
        marks[at + own] = 1
    return classes


def _label_losses(args, chunk, chunks):
    """Words: (x, label, marks, losses, whether a label is no class; rows, classes)."""
    rows, classes = argument(args, 5), argument(args, 6)
    every, label = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), _I64)
    marks, out = pointer(data(argument(args, 2)), _I8), pointer(data(argument(args, 3)), ZERO)
    failed = pointer(data(argument(args, 4)), _I64)
    start, stop = bounds(rows, chunk, chunks, 1)
    for row in range(start, stop):
        at, total = row * classes, np.float64(0)
        count = _mark(label, marks, at, classes)
        if count < 0:
            failed[0] = 1
        for k in range(count):
            less = np.float64(1) - every[at + label[at + k]]
            for j in range(classes):
                over = less + every[at + j]
                total += 0.0 if (over < 0) | (marks[at + j] != 0) else over
        out[row] = total / classes


def _label_gradient(args, chunk, chunks):
    """Words: (g, x, label, marks, out; rows, classes, elements of g per row)."""
    rows, classes = argument(args, 5), argument(args, 6)
    g, every = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), ZERO)
    label, marks = pointer(data(argument(args, 2)), _I64), pointer(data(argument(args, 3)), _I8)
    result = pointer(data(argument(args, 4)), ZERO)
    start, stop = bounds(rows, chunk, chunks, 1)
    for row in range(start, stop):
        at = row * classes
        for j in range(classes):
            result[at + j] = ZERO
        for k in range(_mark(label, marks, at, classes)):
            own, pairs = label[at + k], ZERO
            less = np.float64(1) - every[at + own]
            for j in range(classes):
                counts = (less + every[at + j] > 0) & (marks[at + j] == 0)
                slope = ONE if counts else ZERO
                result[at + j] += slope
                pairs += slope
            result[at + own] -= pairs
        factor = g[row * argument(args, 7)] / classes
        for j in range(classes):
            result[at + j] *= factor


_LABEL_LOSSES = instances("label_losses", _label_losses, "f4 f8")
_LABEL_GRADIENT = instances("label_gradient", _label_gradient, "f4 f8")


def multilabel_margin(x, label):
    """The loss of every row of x [N, C]; its labels end before the first negative one.

    Raises:
        IndexError: a label is no class.
    """
    if x.dtype not in _LABEL_LOSSES:
        return multilabel_margin(x.astype(np.float32), label).astype(x.dtype)
    x, label = contiguous(x), integers(label)
    out, failed = empty(x.shape[:1], x.dtype), np.zeros(1, np.int64)
    marks = empty(x.shape, np.int8)
    _plan(_LABEL_LOSSES[x.dtype], x.shape)(x, label, marks, out, failed)
    if failed[0]:
        raise IndexError(f"label {label[label >= x.shape[1]][0]} is none of {x.shape[1]} classes")
    return out


def multilabel_margin_grad(g, x, label):
    """The gradient of x where that of the rows' losses is g [N]."""
    if x.dtype not in _LABEL_GRADIENT:
        wide = multilabel_margin_grad(g.astype(np.float32), x.astype(np.float32), label)
        return wide.astype(x.dtype)
    x, label = contiguous(x), integers(label)
    step = 0 if g.strides[0] == 0 else 1
    g = g if step == 0 else contiguous(g)
    out, marks = empty(x.shape, x.dtype), empty(x.shape, np.int8)
    _plan(_LABEL_GRADIENT[x.dtype], x.shape, step)(g, x, label, marks, out)
    return out
