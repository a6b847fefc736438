"""Squared error and its gradient in one pass each."""

from __future__ import annotations

import numpy as np


def mse(x: np.ndarray, y: np.ndarray, reduction: str) -> np.ndarray:
    """(x - y) ** 2 as it is, summed or averaged."""
    square = x - y
    square = square * square
    if reduction == "none":
        return square
    return np.asarray(square.mean() if reduction == "mean" else square.sum())


def mse_grad(g: np.ndarray, x: np.ndarray, y: np.ndarray, reduction: str) -> np.ndarray:
    """2 * g * (x - y), divided by the number of elements for a mean."""
    factor = x.dtype.type(2 / max(x.size, 1) if reduction == "mean" else 2)
    return np.asarray((x - y) * (g * factor))
