"""Negative log likelihood: minus the log probability at the label of each row, and its gradient.

Only the elements at the labels are read; what each row counts is found as for cross entropy
(`cross_entropy.py`). float32 runs in compiled code, other dtypes in numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from dyn.kernels.copy import contiguous, filled, integers
from dyn.kernels.cross_entropy import (
    ARRAYS,
    CLASS,
    COUNT,
    FLOAT,
    IGNORED,
    LOGITS,
    LOSS,
    ROWS,
    SHARE,
    bad_label,
    begin,
    end,
    of_none,
    prepared,
    reduced,
)
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import kernel, task
from dyn.kernels.runtime.memory import maker
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer

GRAIN = 4096
"""Rows worth a chunk."""
INNER = COUNT + 1
"""Word with the number of rows between neighbouring classes; the rest is as for cross entropy."""
_I64, _ZERO = np.int64(0), np.float32(0)
_INT64 = np.dtype(np.int64)


@kernel
def _place(row, which, classes, inner):
    """Where the class of a row stands."""
    if inner == 1:  # a division takes as long as all the rest
        return row * classes + which
    return (row // inner * classes + which) * inner + row % inner


@task
def _pick(args, chunk, chunks):
    """The loss of some rows."""
    x, losses = (
        pointer(data(argument(args, LOGITS)), _ZERO),
        pointer(data(argument(args, LOSS)), _ZERO),
    )
    chosen = pointer(data(argument(args, CLASS)), _I64)
    share = pointer(data(argument(args, SHARE)), _ZERO)
    classes, inner = argument(args, COUNT), argument(args, INNER)
    start, stop = bounds(argument(args, ROWS), chunk, chunks, 16)
    for row in range(start, stop):
        which = chosen[row]
        losses[row] = _ZERO
        if which != IGNORED:
            losses[row] = -x[_place(row, which, classes, inner)] * share[row]


@task
def _put(args, chunk, chunks):
    """Minus g times share at the labels: (out, label, g, share, rows, classes, inner, step of g,
    ignored label)."""
    out, g = pointer(data(argument(args, 0)), _ZERO), pointer(data(argument(args, 2)), _ZERO)
    label, share = pointer(data(argument(args, 1)), _I64), pointer(data(argument(args, 3)), _ZERO)
    classes, inner, step = argument(args, 5), argument(args, 6), argument(args, 7)
    start, stop = bounds(argument(args, 4), chunk, chunks, 16)
    for row in range(start, stop):
        which = label[row]
        # A label that is no class stopped the loss; here it must not write outside.
        if which != argument(args, 8) and 0 <= which < classes:
            out[_place(row, which, classes, inner)] = -(g[row * step] * share[row])


@lru_cache(1024)
def _plan(
    rows: int, classes: int, inner: int, ignore_index: int, reduction: str, weighted: bool
) -> Launch:
    stages = [(begin, 1), (_pick, chunks_of(rows, GRAIN))]
    if reduction != "none":
        stages.append((end, 1))
    # Where cross entropy has the steps of its arrays from row to row, which nothing here reads,
    # stands the number of rows between neighbouring classes.
    steps = (inner, *(0,) * (ARRAYS - 1))
    label = (0, ignore_index, reduction == "mean", weighted)
    return Launch(stages, ARRAYS, rows, classes, *steps, *label)


@lru_cache(1024)
def _plan_grad(rows: int, classes: int, inner: int, step: int, ignore_index: int) -> Launch:
    return Launch([(_put, chunks_of(rows, GRAIN))], 4, rows, classes, inner, step, ignore_index)


def negative_log_likelihood(
    x: np.ndarray,
    label: np.ndarray,
    weight: np.ndarray | None,
    *,
    axis: int,
    ignore_index: int,
    reduction: str,
    nan_of_none: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Loss -x at the label, and the share by which each row counts; as `softmax_cross_entropy`."""
    classes, shape = x.shape[axis], label.shape
    if x.dtype == FLOAT:
        run = bound(x.shape, weight is not None, axis, ignore_index, reduction, nan_of_none)
        return run(x, label, weight)
    chosen, share = prepared(label, weight, classes, ignore_index, reduction, x.dtype)
    counted = chosen.reshape(shape) != IGNORED
    index = np.expand_dims(np.where(counted, chosen.reshape(shape), 0), axis)
    picked = np.take_along_axis(x, index, axis).reshape(shape)
    losses = np.where(counted, -picked * share.reshape(shape), x.dtype.type(0))
    loss = reduced(losses, shape, reduction)
    return of_none(loss, share, reduction) if nan_of_none else loss, share.reshape(shape)


def bound(
    x: tuple[int, ...],
    weighted: bool,
    axis: int,
    ignore_index: int,
    reduction: str,
    nan_of_none: bool,
) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """`negative_log_likelihood` of float32 arrays of one shape."""
    shape, classes = (*x[:axis], *x[axis + 1 :]), x[axis]
    rows, inner = math.prod(shape), math.prod(x[axis + 1 :])
    launch = _plan(rows, classes, inner, ignore_index, reduction, weighted)
    each, classes_of = maker(shape, FLOAT), maker((rows + 1,), _INT64)
    total = None if reduction == "none" else maker((), FLOAT)

    def run(x: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None) -> Any:
        x, label = contiguous(x), integers(label)
        share, chosen, losses = each(), classes_of(), each()
        loss = losses if total is None else total()
        weight = x if weight is None else np.ascontiguousarray(weight)
        launch(x, x, chosen, share, losses, label, weight, loss)
        bad = chosen.item(-1)
        if bad >= 0:
            raise bad_label(label, bad, classes, ignore_index)
        return of_none(loss, share, reduction) if nan_of_none else loss, share

    return run


def negative_log_likelihood_grad(
    g: np.ndarray, label: np.ndarray, share: np.ndarray, classes: int, axis: int, ignore_index: int
) -> np.ndarray:
    """Zeros with -g * share at the label of each row; `g` is 0-d or has one value per row."""
    rows = label.shape
    out = filled((*rows[:axis], classes, *rows[axis:]), 0, share.dtype)
    if share.dtype == FLOAT and out.size:
        plan = _plan_grad(
            label.size, classes, math.prod(rows[axis:]), 1 if g.ndim else 0, ignore_index
        )
        plan(out, integers(label), contiguous(g), contiguous(share))
        return out
    counted = label != ignore_index
    index = np.expand_dims(np.where(counted, label, 0), axis)
    np.put_along_axis(out, index, np.expand_dims(np.where(counted, -(g * share), 0), axis), axis)
    return out
