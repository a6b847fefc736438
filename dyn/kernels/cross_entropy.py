"""Cross entropy of logits with labels, together with its gradient.

The softmax is at hand while the loss is computed, so its gradient is written in the same pass, and
the backward pass is left with one product (none at all where it starts from the loss). Rows whose
label is ignored count nothing, whatever they hold. float32 runs in vector code, other dtypes in
numpy.

Source of label smoothing: Szegedy et al., Rethinking the Inception Architecture for Computer
Vision, arXiv 1512.00567, section 7.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from dyn.kernels import cross_entropy_planes as planes
from dyn.kernels.copy import contiguous, integers
from dyn.kernels.labels import IGNORED, bad_label, of_none, prepared, reduced, shares, sum_of
from dyn.kernels.layout import axis_last
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, float_word
from dyn.kernels.runtime.jit import task
from dyn.kernels.runtime.memory import empty, maker
from dyn.kernels.runtime.threads import argument
from dyn.kernels.softmax import log_softmax, top_and_sum
from dyn.kernels.vector.rows import Row, RowKernel
from dyn.kernels.vector.runs import pointer
from dyn.kernels.vector.simd import F32, WORD, Value, choose, total
from dyn.kernels.vector.vmath import log

FLOAT = np.dtype(np.float32)


LOGITS, GRAD, CLASS, SHARE, LOSS, LABEL, WEIGHT, TOTAL, ARRAYS = range(9)
"""Arrays of the kernel: a class (int64), a share and a loss for each row, behind the classes the
first row with a bad label; what these come from, and the sum of the losses."""
SMOOTHING, IGNORE, MEAN, WEIGHTED = range(4)
"""Parameters."""


def _cross_entropy(row: Row) -> None:
    builder = row.emit.builder
    label = builder.load(row.emit.pointer(row.at[CLASS], WORD))
    with builder.if_else(builder.icmp_signed("<", label, WORD(0))) as (ignored, counted):
        with ignored:
            row.scan(lambda at, c, mask: row.store(row.zero(), GRAD, at, mask) or [])
            row.put(_number(row, 0.0), LOSS)
        with counted:
            _counted(row, label)


def _number(row: Row, number: float) -> Value:
    return row.emit.numbers(number).at(0)


def _counted(row: Row, label: Any) -> None:
    builder, emit = row.emit.builder, row.emit
    top, weight = top_and_sum(row, GRAD)
    share, smoothing, classes = row.number(SHARE), row.parameter(SMOOTHING), row.length()
    base = emit.splat(top)
    # A vector's logarithm takes less time than a single number's.
    logarithm = log(emit.splat(weight)).at(0)
    at_label = builder.mul(label, WORD(emit.size))
    own = logarithm - (emit.number_at(row.address(LOGITS, at_label)) - top)
    # With smoothing the mean over all classes counts too; -inf times zero must not.
    some = builder.select((smoothing > 0).value, row.count, WORD(0))
    (sums,) = emit.row(some, lambda at, c, mask: [c[0] + (row.load(LOGITS, at, mask) - base)],
                       [row.zero()])  # fmt: skip
    every = choose(smoothing > 0, logarithm - total(*sums) / classes, 0)
    row.put(share * ((1.0 - smoothing) * own + smoothing * every), LOSS)
    factor = emit.splat(share / weight)
    even = emit.splat(share * smoothing / classes)

    def scale(at, c, mask):
        row.store(row.load(GRAD, at, mask) * factor - even, GRAD, at, mask)
        return []

    row.scan(scale)
    place = row.address(GRAD, at_label)
    emit.put_number(emit.number_at(place) - share * (1.0 - smoothing), place)


def _grad(row: Row) -> None:
    """Arrays: dlogits, factor, gx."""
    factor = row.emit.splat(row.number(1))
    row.scan(lambda at, c, mask: row.store(row.load(0, at, mask) * factor, 2, at, mask) or [])


_ENTROPY = RowKernel("cross_entropy", F32, _cross_entropy, ARRAYS)
_SCALED = RowKernel("cross_entropy_grad", F32, _grad, arrays=3)


_I64, _ZERO = np.int64(0), np.float32(0)
_INT64 = np.dtype(np.int64)
ROWS, COUNT = ARRAYS, ARRAYS + 1
PARAMETERS = COUNT + 1 + ARRAYS


@task
def begin(args, chunk, chunks):
    """The classes and shares of all rows; stands before the rows themselves."""
    rows = argument(args, ROWS)
    label = pointer(data(argument(args, LABEL)), _I64)
    weight = pointer(data(argument(args, WEIGHT)), _ZERO)
    chosen = pointer(data(argument(args, CLASS)), _I64)
    share = pointer(data(argument(args, SHARE)), _ZERO)
    weighted, ignored = argument(args, PARAMETERS + WEIGHTED), argument(args, PARAMETERS + IGNORE)
    mean = argument(args, PARAMETERS + MEAN)
    chosen[rows] = shares(
        rows, label, weight, weighted != 0, ignored, argument(args, COUNT), mean != 0, chosen, share
    )  # fmt: skip


@task
def end(args, chunk, chunks):
    """The sum of the losses."""
    losses = pointer(data(argument(args, LOSS)), _ZERO)
    pointer(data(argument(args, TOTAL)), _ZERO)[0] = sum_of(losses, argument(args, ROWS))


@lru_cache(1024)
def _plan(
    rows: int, classes: int, smoothing: float, ignore_index: int, reduction: str, weighted: bool
) -> Launch:
    step = 4 * classes
    return _ENTROPY.plan(
        rows, classes, (step, step, 8, 4, 4, 0, 0, 0), float_word(smoothing), ignore_index,
        reduction == "mean", weighted, before=[begin], after=[] if reduction == "none" else [end],
    )  # fmt: skip


def _back(rows: np.ndarray, axis: int) -> np.ndarray:
    """What was made of `_as_rows`, with its last axis at `axis`."""
    return rows if axis == rows.ndim - 1 else rows.transpose(axis_last(rows.ndim, axis)[1])


def _as_rows(x: np.ndarray, axis: int) -> np.ndarray:
    """x with `axis` last, contiguous; a copy only where memory is in another order."""
    rows = x if axis == x.ndim - 1 else x.transpose(axis_last(x.ndim, axis)[0])
    return contiguous(rows)


def softmax_cross_entropy(
    logits: np.ndarray,
    label: np.ndarray,
    weight: np.ndarray | None,
    *,
    axis: int,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    nan_of_none: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss, its gradient to the logits, and the share by which each row counts.

    Args:
        logits: classes along `axis`.
        label: integers, one per row.
        weight: [C] weight of each class, or None.
        reduction: "none", "sum" or "mean" (divided by the sum of the weights).
        label_smoothing: s: the target is 1 - s at the label plus s / C everywhere.
        nan_of_none: the mean is NaN, not 0, if no row counts.

    Raises:
        IndexError: a label is neither a class nor `ignore_index`.
    """
    if logits.dtype.itemsize < 4:
        wide = (None if v is None else v.astype(np.float32) for v in (logits, weight))
        made = softmax_cross_entropy(
            next(wide), label, next(wide), axis=axis, ignore_index=ignore_index,
            reduction=reduction, label_smoothing=label_smoothing, nan_of_none=nan_of_none,
        )  # fmt: skip
        return (
            made[0].astype(logits.dtype),
            made[1].astype(logits.dtype),
            made[2].astype(logits.dtype),
        )
    if logits.dtype == FLOAT:
        given = axis, ignore_index, reduction, label_smoothing, nan_of_none
        return bound(logits.shape, weight is not None, *given)(logits, label, weight)
    table = _as_rows(logits, axis)
    classes, shape = table.shape[-1], label.shape
    chosen, share = prepared(label, weight, classes, ignore_index, reduction, logits.dtype)
    losses = np.empty(chosen.shape, logits.dtype)
    grad = _of_any(table, chosen, share, losses, label_smoothing)
    loss = reduced(losses, shape, reduction)
    loss = of_none(loss, share, reduction) if nan_of_none else loss
    return loss, _back(grad, axis), share.reshape(shape)


def bound(
    logits: tuple[int, ...],
    weighted: bool,
    axis: int,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    nan_of_none: bool,
) -> Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """`softmax_cross_entropy` of float32 arrays of one shape."""
    shape, classes = (*logits[:axis], *logits[axis + 1 :]), logits[axis]
    rows = math.prod(shape)
    launch = _plan(rows, classes, label_smoothing, ignore_index, reduction, weighted)
    grads, each = maker((*shape, classes), FLOAT), maker(shape, FLOAT)
    classes_of = maker((rows + 1,), _INT64)
    total = None if reduction == "none" else maker((), FLOAT)

    def by_rows(logits: np.ndarray, label: np.ndarray, weight: np.ndarray) -> planes.Losses:
        table = _as_rows(logits, axis)
        grad, share, chosen, losses = grads(), each(), classes_of(), each()
        loss = losses if total is None else total()
        launch(table, grad, chosen, share, losses, label, weight, loss)
        return planes.Losses(loss, _back(grad, axis), share, chosen.item(-1))

    ways = [
        planes.bound(logits, weighted, axis, in_order, ignore_index, reduction, label_smoothing)
        if planes.suits(logits, axis, in_order)
        else by_rows
        for in_order in (False, True)
    ]

    def run(logits: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None) -> Any:
        label = integers(label)
        weight = logits if weight is None else np.ascontiguousarray(weight)
        loss, grad, share, bad = ways[logits.flags.c_contiguous](logits, label, weight)
        if bad >= 0:
            raise bad_label(label, bad, classes, ignore_index)
        return of_none(loss, share, reduction) if nan_of_none else loss, grad, share

    return run


def _of_any(
    table: np.ndarray, chosen: np.ndarray, share: np.ndarray, losses: np.ndarray, s: float
) -> np.ndarray:
    """The gradient, in numpy; fills in the losses."""
    flat = table.reshape(-1, table.shape[-1])
    rows = np.arange(len(chosen))
    counted = chosen != IGNORED
    classes = np.where(counted, chosen, 0)
    logs = log_softmax(flat, 1)
    loss = -(1 - s) * logs[rows, classes]
    grad = np.exp(logs)
    if s:
        loss = loss - s * logs.mean(axis=1)
        grad -= s / flat.shape[1]
    grad[rows, classes] -= 1 - s
    # A NaN in a row that does not count must not reach the loss: select, do not multiply by zero.
    losses[:] = np.where(counted, loss * share, 0)
    grad = np.where(counted[:, None], grad * share[:, None], 0)
    return grad.reshape(table.shape)


def softmax_cross_entropy_grad(g: np.ndarray, dlogits: np.ndarray, axis: int) -> np.ndarray:
    """dlogits times g, which is 0-d or has one value per row."""
    if g.ndim == 0 and g == 1:
        # The loss is mostly what backward starts from: nothing to multiply.
        return dlogits.view()
    if dlogits.dtype != FLOAT:
        return dlogits * (np.expand_dims(g, axis) if g.ndim else g)
    table = _as_rows(dlogits, axis)
    made = empty(table.shape)
    _scaling(table.shape, g.ndim > 0)(table, np.ascontiguousarray(g, FLOAT), made)
    return _back(made, axis)


@lru_cache(1024)
def _scaling(shape: tuple[int, ...], each: bool) -> Launch:
    """Rows times a factor for each one, or the same for all."""
    count = shape[-1]
    return _SCALED.plan(math.prod(shape[:-1]), count, (4 * count, 4 if each else 0, 4 * count))
