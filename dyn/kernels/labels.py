"""What cross entropies ask of labels: which class counts how much, and which is none."""

from __future__ import annotations

import numpy as np

from dyn.kernels.copy import integers
from dyn.kernels.runtime.jit import SUM, kernel

IGNORED = -1
"""Stands for a label that counts nothing."""


@kernel(fastmath=SUM)
def shares(rows, label, weight, weighted, ignore_index, classes, mean, chosen, share):
    """Fill in the class of each row (IGNORED where it does not count) and its share of the loss.

    Returns the first row whose label is not a class, or -1.
    """
    total, wrong = 0.0, 0
    if weighted:
        for i in range(rows):
            which = label[i]
            counts = which != ignore_index and which >= 0 and which < classes
            wrong += which != ignore_index and not counts
            chosen[i] = which if counts else IGNORED
            share[i] = weight[which] if counts else 0
            total += share[i]
    else:
        count = 0
        for i in range(rows):  # without a branch, so that it becomes vector code
            which = label[i]
            counts = (which != ignore_index) & (which >= 0) & (which < classes)
            wrong += (which != ignore_index) - counts
            count += counts
            chosen[i] = which if counts else IGNORED
            share[i] = 1 if counts else 0
        total += count
    if mean and total != 0:
        if weighted:
            for i in range(rows):
                share[i] /= total
        else:  # what counts, counts 1: a product is the same, and takes a tenth of the time
            part = 1 / total
            for i in range(rows):
                share[i] *= part
    if wrong:
        for i in range(rows):
            if label[i] != ignore_index and (label[i] < 0 or label[i] >= classes):
                return i
    return -1


@kernel(fastmath=SUM)
def sum_of(numbers, count):
    """The sum of so many numbers."""
    total = 0.0
    for i in range(count):
        total += numbers[i]
    return total


def prepared(
    label: np.ndarray,
    weight: np.ndarray | None,
    classes: int,
    ignore_index: int,
    reduction: str,
    dtype: np.dtype,
) -> tuple[np.ndarray, np.ndarray]:
    """(class, share) per row; IndexError if a label is neither a class nor ignored."""
    flat = integers(label).reshape(-1)
    weighted = weight is not None
    weight = np.ascontiguousarray(weight) if weighted else np.empty(0, dtype)
    chosen, share = np.empty(flat.shape, np.int64), np.empty(flat.shape, dtype)
    mean = reduction == "mean"
    bad = shares(flat.size, flat, weight, weighted, ignore_index, classes, mean, chosen, share)
    if bad >= 0:
        raise bad_label(flat, bad, classes, ignore_index)
    return chosen, share


def bad_label(label: np.ndarray, row: int, classes: int, ignore_index: int) -> IndexError:
    """The complaint about the first label that is no class."""
    return IndexError(
        f"label {label.flat[row]} of row {row} is not in 0..{classes - 1}, nor is it "
        f"ignore_index ({ignore_index})"
    )


def reduced(losses: np.ndarray, shape: tuple[int, ...], reduction: str) -> np.ndarray:
    """The losses of all rows in their shape, or their sum (a share makes it a mean)."""
    if reduction == "none":
        return losses.reshape(shape)
    return np.asarray(np.add.reduce(losses, None, np.float64), losses.dtype)


def of_none(loss: np.ndarray, share: np.ndarray, reduction: str) -> np.ndarray:
    """A loss that is NaN if it is the mean of no rows at all."""
    if reduction == "mean" and loss == 0 and not share.any():
        return np.full_like(loss, np.nan)
    return loss
