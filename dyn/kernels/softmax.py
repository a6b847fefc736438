"""Softmax, its logarithm, and cross entropy with its gradient, along one axis.

Cross entropy writes the gradient of the logits while it computes the loss: the softmax is at hand
there, and the backward pass is left with one product.
"""

from __future__ import annotations

import numpy as np


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """exp(x - max) / sum of it."""
    if not x.size:
        return np.empty_like(x)
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    e /= e.sum(axis=axis, keepdims=True)
    return e


def softmax_grad(g: np.ndarray, out: np.ndarray, axis: int) -> np.ndarray:
    """out * (g - sum(g * out))."""
    return out * (g - (g * out).sum(axis=axis, keepdims=True))


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """x - max - log(sum(exp(x - max)))."""
    if not x.size:
        return np.empty_like(x)
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def log_softmax_grad(g: np.ndarray, out: np.ndarray, axis: int) -> np.ndarray:
    """g - exp(out) * sum(g)."""
    return g - np.exp(out) * g.sum(axis=axis, keepdims=True)


def softmax_cross_entropy(
    logits: np.ndarray,
    label: np.ndarray,
    weight: np.ndarray | None,
    *,
    axis: int,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss, its gradient to the logits, and the share by which each row counts.

    Args:
        logits: classes along `axis`.
        label: integers, one per row.
        weight: [C] weight of each class, or None.
        reduction: "none", "sum" or "mean" (divided by the sum of the weights).
        label_smoothing: s in [0, 1): the target is 1 - s at the label plus s / C everywhere.

    Raises:
        IndexError: a label is neither a class nor `ignore_index`.
    """
    table = np.moveaxis(logits, axis, -1)
    rows_shape = table.shape[:-1]
    classes = table.shape[-1]
    table = table.reshape(-1, classes)
    label = label.reshape(-1)
    kind = logits.dtype.type
    kept, chosen, share = _shares(label, weight, classes, ignore_index, reduction, logits.dtype)
    log_probs = log_softmax(table, 1)
    rows = np.arange(len(label))
    s = kind(label_smoothing)
    loss = -(1 - s) * log_probs[rows, chosen]
    grad = np.exp(log_probs)
    if label_smoothing:
        loss = loss - s * log_probs.mean(axis=1)
        grad -= s / classes
    grad[rows, chosen] -= 1 - s
    # A NaN in an ignored row must not reach the loss: select, do not multiply by zero.
    loss = np.where(kept, loss * share, kind(0))
    grad = np.where(kept[:, None], grad * share[:, None], kind(0))
    grad = np.moveaxis(grad.reshape(*rows_shape, classes), -1, axis)
    loss = loss.reshape(rows_shape) if reduction == "none" else np.asarray(loss.sum())
    return loss, grad, share.reshape(rows_shape)


def _shares(
    label: np.ndarray,
    weight: np.ndarray | None,
    classes: int,
    ignore_index: int,
    reduction: str,
    dtype: np.dtype,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per row: whether it counts, the class to look at, and by what share it counts."""
    kept = label != ignore_index
    chosen = _checked(label, kept, classes, ignore_index)
    share = kept.astype(dtype) if weight is None else np.where(kept, weight[chosen], dtype.type(0))
    if reduction == "mean":
        total = share.sum()
        share = share / total if total != 0 else share
    return kept, chosen, share


def negative_log_likelihood(
    x: np.ndarray,
    label: np.ndarray,
    weight: np.ndarray | None,
    *,
    axis: int,
    ignore_index: int,
    reduction: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Loss -x at the label, and the share by which each row counts."""
    table = np.moveaxis(x, axis, -1)
    shape = label.shape
    table = table.reshape(-1, table.shape[-1])
    kept, chosen, share = _shares(
        label.reshape(-1), weight, table.shape[1], ignore_index, reduction, x.dtype
    )
    loss = np.where(kept, -table[np.arange(len(kept)), chosen] * share, x.dtype.type(0))
    loss = loss.reshape(shape) if reduction == "none" else np.asarray(loss.sum())
    return loss, share.reshape(shape)


def _checked(label: np.ndarray, kept: np.ndarray, classes: int, ignore_index: int) -> np.ndarray:
    """The labels, 0 where they are ignored; IndexError if one is not a class."""
    outside = kept & ((label < 0) | (label >= classes))
    if outside.any():
        row = int(outside.argmax())
        raise IndexError(
            f"label {int(label[row])} of row {row} is not in 0..{classes - 1}, nor is it "
            f"ignore_index ({ignore_index})"
        )
    return np.where(kept, label, 0).astype(np.int64)


def softmax_cross_entropy_grad(g: np.ndarray, dlogits: np.ndarray, axis: int) -> np.ndarray:
    """dlogits times g, which is 0-d or has one value per row."""
    if g.ndim == 0:
        # The loss is mostly what backward starts from: nothing to multiply.
        return dlogits.view() if g == 1 else dlogits * g
    return dlogits * np.expand_dims(g, axis)
