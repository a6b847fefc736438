"""Dropout: the mask and its two uses. Random bits come from the caller's generator."""

from __future__ import annotations

import numpy as np


def dropout(
    x: np.ndarray, generator: np.random.Generator, *, p: float, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """(x * mask * scale, mask): each element is kept with probability 1 - p."""
    mask = generator.random(x.shape, np.float32) >= np.float32(p)
    return apply(x, mask, scale=scale), mask


def apply(x: np.ndarray, mask: np.ndarray, *, scale: float) -> np.ndarray:
    """x * scale where the mask holds, else 0 (also where x is not finite)."""
    return np.where(mask, x * x.dtype.type(scale), x.dtype.type(0))
