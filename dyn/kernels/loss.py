"""Squared error and its gradient, and Huber's (Annals of Mathematical Statistics 35, 1964).

Squares are summed by `reduce/folding.py`; half precision is computed in float32.
"""

from __future__ import annotations

import math

import numpy as np

from dyn.kernels.elementwise import apply as elementwise
from dyn.kernels.reduce.folding import folded

FEW = 4096
"""Numbers that are squared and summed the most quickly, and well enough, as a dot product."""


def mse(x: np.ndarray, y: np.ndarray, reduction: str) -> np.ndarray:
    """(x - y) ** 2 as it is, summed or averaged."""
    if x.dtype.itemsize == 2:
        return mse(x.astype(np.float32), y.astype(np.float32), reduction).astype(x.dtype)
    away = elementwise.binary("subtract", x, y)
    if reduction == "none":
        return elementwise.unary("square", away)
    found = folded("squares", away, tuple(range(away.ndim))) if away.size > FEW else None
    total = float(np.vdot(away, away) if found is None else found)
    if reduction == "mean":
        total = total / away.size if away.size else math.nan
    return np.asarray(total, x.dtype)


def huber(x: np.ndarray, y: np.ndarray, delta: float) -> np.ndarray:
    """d^2 / 2 up to `delta`, then delta * (|d| - delta / 2), with d = x - y."""
    return elementwise.binary("huber", x, y, delta=delta)


def huber_grad(g: np.ndarray, x: np.ndarray, y: np.ndarray, delta: float) -> np.ndarray:
    """g * d, with d = x - y brought into [-delta, delta]."""
    return elementwise.ternary("huber_grad", g, x, y, delta=delta)


def mse_grad(g: np.ndarray, x: np.ndarray, y: np.ndarray, reduction: str) -> np.ndarray:
    """2 * g * (x - y), divided by the number of elements for a mean."""
    factor = 2 / max(x.size, 1) if reduction == "mean" else 2.0
    if not g.ndim:
        return elementwise.binary("scaled_difference", x, y, factor=factor * float(g))
    away = elementwise.binary("subtract", x, y)
    return elementwise.binary("multiply", away, np.asarray(g * x.dtype.type(factor)))
