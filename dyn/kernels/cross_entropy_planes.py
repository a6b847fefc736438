"""Cross entropy of images of logits: classes lie below each other, a vector holds neighbours.

For a few classes a row of logits leaves most lanes of a vector idle, and in an image the classes of
a pixel lie far apart. Here each lane has a pixel of its own; labels are numbers of the logits' type
so that a class is compared with as it is met. Few classes that do lie in rows are turned a block
of rows at a time. What is computed is said in `cross_entropy`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.labels import shares, sum_of
from dyn.kernels.layout import axis_last
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, float_word
from dyn.kernels.runtime.jit import task
from dyn.kernels.runtime.memory import empty, maker
from dyn.kernels.runtime.threads import argument
from dyn.kernels.softmax import larger
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.runs import pointer
from dyn.kernels.vector.simd import Value, choose
from dyn.kernels.vector.strips import PARAMETERS, Strip, StripKernel
from dyn.kernels.vector.turned import TurnedKernel
from dyn.kernels.vector.vmath import exp_down, log

LOGITS, GRAD, CLASS, SHARE, LOSS = range(5)
"""Arrays: with an axis of classes; without: class of each pixel (negative if it counts nothing),
the share by which it counts, its loss."""
SMOOTHING = PARAMETERS
"""Parameter: label smoothing."""
MOST_CLASSES = 256
"""Classes of which a strip of neighbours stays in the second-level cache."""
PIXELS = 8
"""Pixels of an image from which on vectors of neighbours are not mostly empty."""
SHORT, MANY = 2, 128
"""Vectors that the classes of a row fill at most to be turned together with its neighbours, and
rows from which on that pays."""


def _entropy(s: Strip) -> None:
    row, emit = s.row, s.row.emit
    low, zero = emit.numbers(-math.inf), row.zero()
    smoothing = emit.splat(row.parameter(SMOOTHING))
    sharp = 1.0 - smoothing
    classes = emit.splat(Value(s.builder, s.builder.sitofp(s.count, emit.element)))
    tops = s.each(lambda i, v, c: [larger(c[0], s.keep(s.load(LOGITS, i, v), i, v))], low)
    labels = [s.single(CLASS, v) for v in range(len(s.offsets))]

    def is_label(index: Any, v: int) -> Value:
        return labels[v] == emit.splat(Value(s.builder, s.builder.sitofp(index, emit.element)))

    def add(i: Any, v: int, c: list[Value]) -> list[Value]:
        away = s.kept(i, v) - tops[v][0]
        own = choose(is_label(i, v), away, c[1])
        return [c[0] + s.keep(exp_down(away), i, v), own, c[2] + away]

    factors, evens, ones = [], [], []
    for v, (weight, own, every) in enumerate(s.each(add, zero, zero, zero)):
        logarithm, share = log(weight), s.single(SHARE, v)
        # With smoothing the mean over all classes counts too; -inf times zero must not.
        mean = choose(smoothing > 0, logarithm - every / classes, 0)
        loss = share * (sharp * (logarithm - own) + smoothing * mean)
        s.put(choose(labels[v] >= 0, loss, 0), LOSS, v)
        factors.append(share / weight)
        evens.append(share * smoothing / classes)
        ones.append(share * sharp)

    def write(i: Any, v: int, c: list[Value]) -> list[Value]:
        g = s.kept(i, v) * factors[v] - evens[v]
        g = choose(is_label(i, v), g - ones[v], g)
        # A NaN in a pixel that does not count stays out of the gradient.
        s.store(choose(labels[v] >= 0, g, 0), GRAD, i, v)
        return []

    s.each(write)


ENTROPY = StripKernel("cross_entropy_planes", _entropy, 5, singles=3)
TURNED = TurnedKernel("cross_entropy_turned", _entropy, 5, given=1, singles=3)


_I64, _F32 = np.int64(0), np.float32(0)
(
    LABELS, WEIGHTS, CHOSEN, SHARES, BAD, PIXELS, CLASSES, WEIGHTED, IGNORE, MEAN,
) = range(10)  # fmt: skip
"""Words of `begin`: arrays, then numbers and flags."""


@task
def begin(args, chunk, chunks):
    """The classes and shares of all pixels, and the first of them with a bad label."""
    label = pointer(data(argument(args, LABELS)), _I64)
    weight = pointer(data(argument(args, WEIGHTS)), _F32)
    chosen = pointer(data(argument(args, CHOSEN)), _F32)
    share = pointer(data(argument(args, SHARES)), _F32)
    pointer(data(argument(args, BAD)), _I64)[0] = shares(
        argument(args, PIXELS), label, weight, argument(args, WEIGHTED) != 0,
        argument(args, IGNORE), argument(args, CLASSES), argument(args, MEAN) != 0, chosen, share,
    )  # fmt: skip


@task
def add_up(args, chunk, chunks):
    """The sum of the losses: losses, result, their number."""
    losses = pointer(data(argument(args, 0)), _F32)
    pointer(data(argument(args, 1)), _F32)[0] = sum_of(losses, argument(args, 2))


class Losses(NamedTuple):
    """What comes of logits: a loss for each pixel or, 0-d, their sum; the gradient and the shares.

    Attributes:
        bad: the first pixel whose label is no class, or -1; the rest is of no use then.
    """

    loss: np.ndarray
    grad: np.ndarray
    share: np.ndarray
    bad: int


def suits(shape: tuple[int, ...], axis: int, in_order: bool) -> bool:
    """Whether logits of a shape are done here; `in_order`: they lie plane by plane."""
    return _in_planes(shape, axis, in_order) or _in_blocks(shape, axis)


def _in_planes(shape: tuple[int, ...], axis: int, in_order: bool) -> bool:
    return in_order and 1 < shape[axis] <= MOST_CLASSES and math.prod(shape[axis + 1 :]) >= PIXELS


def _in_blocks(shape: tuple[int, ...], axis: int) -> bool:
    classes = shape[axis]
    return 1 < classes <= SHORT * LANES and math.prod(shape) >= MANY * classes


@lru_cache(1024)
def bound(
    shape: tuple[int, ...],
    weighted: bool,
    axis: int,
    in_order: bool,
    ignore_index: int,
    reduction: str,
    smoothing: float,
) -> Callable[..., Losses]:
    """Cross entropy of float32 logits of a shape that `suits`, with int64 labels and weights."""
    pixels, classes = (*shape[:axis], *shape[axis + 1 :]), shape[axis]
    count = math.prod(pixels)
    first = Launch([(begin, 1)], 5, count, classes, weighted, ignore_index, reduction == "mean")
    last = None if reduction == "none" else Launch([(add_up, 1)], 2, count)
    if _in_planes(shape, axis, in_order):
        compute, at = ENTROPY.plan(shape, axis, float_word(smoothing)).run, axis
    else:
        compute, at = TURNED.plan(count, classes, float_word(smoothing)), len(shape) - 1
    grads = maker((*pixels[:at], classes, *pixels[at:]), np.dtype(np.float32))
    order, back = axis_last(len(shape), axis)

    def run(logits: np.ndarray, label: np.ndarray, weight: np.ndarray) -> Losses:
        table = contiguous(logits if at == axis else logits.transpose(order))
        grad, bad = grads(), np.empty(1, np.int64)
        chosen, share, losses = empty(pixels), empty(pixels), empty(pixels)
        first(label, weight, chosen, share, bad)
        compute(table, grad, chosen, share, losses)
        loss = losses
        if last is not None:
            loss = np.empty((), np.float32)
            last(losses, loss)
        return Losses(loss, grad if at == axis else grad.transpose(back), share, bad.item())

    return run
