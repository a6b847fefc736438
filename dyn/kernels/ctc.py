"""Connectionist temporal classification and its gradient.

The forward recursion goes over the steps of a sample, all samples at a time, and keeps what the
gradient needs: the log probability of every state after every step. Its tasks are in
`ctc_tasks.py`.

Source: Graves, Fernandez, Gomez & Schmidhuber, Connectionist Temporal Classification: Labelling
Unsegmented Sequence Data with Recurrent Neural Networks, ICML 2006.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dyn.kernels import ctc_tasks as code
from dyn.kernels.copy import contiguous, filled, integers
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import scratch
from dyn.kernels.softmax import logsumexp

GRAIN = 1024
"""States of all steps that are worth a chunk: each takes some twenty nanoseconds."""
ROWS_GRAIN = 16384
"""Numbers of the gradient that are worth a chunk."""


def _chunks(shape: tuple[int, ...], labels: int) -> int:
    """Samples are shared out, never the steps of one."""
    steps, batch = shape[:2]
    return min(max(batch, 1), chunks_of(steps * batch * (2 * labels + 1), GRAIN))


@lru_cache(1024)
def _forward(dtype: np.dtype, shape: tuple[int, ...], labels: int, blank: int) -> Launch:
    stages = [(code.TASKS[dtype][0], _chunks(shape, labels))]
    return Launch(stages, code.ARRAYS, *shape, labels, blank)


@lru_cache(1024)
def _backward(dtype: np.dtype, shape: tuple[int, ...], labels: int, blank: int) -> Launch:
    _, posterior, rows = code.TASKS[dtype]
    steps, batch, classes = shape
    count = min(max(steps * batch, 1), chunks_of(steps * batch * classes, ROWS_GRAIN))
    stages = [(posterior, _chunks(shape, labels)), (rows, count)]
    return Launch(stages, code.ARRAYS, *shape, labels, blank)


def _norm(logits: np.ndarray) -> np.ndarray:
    """log(sum(exp)) over the classes."""
    if logits.dtype == np.float32:
        return logsumexp(logits)
    top = logits.max(axis=2, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    return np.log(np.exp(logits - top).sum(axis=2)) + top[..., 0]


def ctc_loss(
    logits: np.ndarray,
    labels: np.ndarray,
    input_lengths: np.ndarray,
    label_lengths: np.ndarray,
    *,
    blank: int,
    normalised: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss [N], log probabilities of states [T, N, 2 L + 1], what normalises the logits [T, N].

    Raises:
        IndexError: a length is longer than what it is the length of, or a label is no class.
    """
    if logits.dtype not in code.TASKS:
        made = ctc_loss(
            logits.astype(np.float32), labels, input_lengths, label_lengths,
            blank=blank, normalised=normalised,
        )  # fmt: skip
        return (
            made[0].astype(logits.dtype),
            made[1].astype(logits.dtype),
            made[2].astype(logits.dtype),
        )
    dtype, shape, most = logits.dtype, logits.shape, labels.shape[1]
    x = contiguous(logits)
    norm = filled(shape[:2], 0, dtype) if normalised or not x.size else _norm(x)
    alpha, loss = empty((*shape[:2], 2 * most + 1), dtype), empty(shape[1:2], dtype)
    given = [integers(v) for v in (labels, input_lengths, label_lengths)]
    failed = np.zeros(1, np.int64)
    memory = scratch(4 * code.row_bytes(most, dtype.itemsize), _chunks(shape, most))
    _forward(dtype, shape, most, blank)(x, norm, *given, loss, alpha, memory, failed, x, x)
    if failed[0]:
        raise _out_of_range(shape, *given)
    return loss, alpha, norm


def _out_of_range(
    shape: tuple[int, ...], labels: np.ndarray, steps: np.ndarray, counts: np.ndarray
) -> IndexError:
    most = labels.shape[1]
    for n, (own, count) in enumerate(zip(steps, counts, strict=True)):
        if not 0 <= own <= shape[0]:
            return IndexError(f"input length {own} of sample {n} is not in 0..{shape[0]}")
        if not 0 <= count <= most:
            return IndexError(f"label length {count} of sample {n} is not in 0..{most}")
        used = labels[n, :count]
        bad = used[(used < 0) | (used >= shape[2])]
        if bad.size:
            return IndexError(f"label {bad[0]} of sample {n} is not in 0..{shape[2] - 1}")
    raise AssertionError("every length and label is in range")


def ctc_loss_grad(
    g: np.ndarray,
    logits: np.ndarray,
    labels: np.ndarray,
    input_lengths: np.ndarray,
    label_lengths: np.ndarray,
    loss: np.ndarray,
    alpha: np.ndarray,
    norm: np.ndarray,
    *,
    blank: int,
) -> np.ndarray:
    """Gradient to the logits: (probability - posterior) * g, with a zero where g is zero.

    It is NaN where the loss is infinite: no alignment fits.
    """
    if logits.dtype not in code.TASKS:
        g, x, loss, alpha, norm = (v.astype(np.float32) for v in (g, logits, loss, alpha, norm))
        given = x, labels, input_lengths, label_lengths, loss, alpha, norm
        return ctc_loss_grad(g, *given, blank=blank).astype(logits.dtype)
    dtype, shape, most = logits.dtype, logits.shape, labels.shape[1]
    given = [contiguous(v) for v in (g, logits, loss, alpha, norm)]
    g, x, loss, alpha, norm = given
    gx, posterior = empty(shape, dtype), empty(alpha.shape, dtype)
    whole = [integers(v) for v in (labels, input_lengths, label_lengths)]
    memory = scratch(4 * code.row_bytes(most, dtype.itemsize), _chunks(shape, most))
    launch = _backward(dtype, shape, most, blank)
    launch(x, norm, *whole, loss, alpha, memory, g, posterior, gx)
    return gx
