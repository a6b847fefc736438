"""Squared error and its gradient, and losses that are a formula of each element, reduced.

Squares are summed by `reduce/folding.py`; half precision is computed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence

import numpy as np

from dyn.kernels.elementwise import apply as elementwise
from dyn.kernels.reduce import reductions
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


_FUNCTIONS = {1: elementwise.unary, 2: elementwise.binary, 3: elementwise.ternary}
"""By the number of operands."""


def reduced(
    name: str, arrays: Sequence[np.ndarray], reduction: str, **numbers: float
) -> np.ndarray:
    """A formula of arrays that broadcast as it is, summed or averaged."""
    losses = _FUNCTIONS[len(arrays)](name, *arrays, **numbers)
    if reduction == "none":
        return losses
    fold = reductions.mean if reduction == "mean" else reductions.sum
    return fold(losses, (*range(losses.ndim),), keepdims=False)


def slope(
    name: str, g: np.ndarray, arrays: Sequence[np.ndarray], reduction: str, **numbers: float
) -> np.ndarray:
    """The gradient of `reduced`, by the formula `<name>_grad` or, for a single g, `<name>_slope`.

    It has the shape to which the arrays broadcast.
    """
    if reduction == "none":
        return _FUNCTIONS[len(arrays) + 1](f"{name}_grad", g, *arrays, **numbers)
    factor = _share(g, arrays, reduction)
    found = _FUNCTIONS[len(arrays)](f"{name}_slope", *arrays, **numbers, factor=factor)
    return found if found.dtype == g.dtype else found.astype(g.dtype)


def _share(g: np.ndarray, arrays: Sequence[np.ndarray], reduction: str) -> float:
    """What comes in for each element of a loss that was summed or averaged."""
    if reduction == "sum":
        return float(g)
    shape = arrays[0].shape
    if any([x.shape != shape for x in arrays]):
        shape = np.broadcast_shapes(*[x.shape for x in arrays])
    return float(g) / max(math.prod(shape), 1)


def margin_ranking_grad(
    g: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    label: np.ndarray,
    margin: float,
    reduction: str,
    wanted: Container[str],
) -> tuple[np.ndarray | None, ...]:
    """The gradients to x, y and the label, those that are wanted."""
    if reduction != "none" and "label" not in wanted:
        gx = slope("margin_ranking", g, (x, y, label), reduction, margin=margin)
        return gx, elementwise.unary("neg", gx) if "y" in wanted else None, None
    g = np.asarray(_share(g, (x, y, label), reduction), g.dtype) if reduction != "none" else g
    away = elementwise.binary("subtract", x, y)
    excess = elementwise.ternary("margin_ranking", x, y, label, margin=margin)
    each = elementwise.binary("relu_grad", g, excess)
    gy = elementwise.binary("multiply", each, label)
    gx, along = elementwise.unary("neg", gy), elementwise.binary("multiply", each, away)
    return gx, gy, elementwise.unary("neg", along) if "label" in wanted else None


def mse_grad(g: np.ndarray, x: np.ndarray, y: np.ndarray, reduction: str) -> np.ndarray:
    """2 * g * (x - y), divided by the number of elements for a mean."""
    factor = 2 / max(x.size, 1) if reduction == "mean" else 2.0
    if not g.ndim:
        return elementwise.binary("scaled_difference", x, y, factor=factor * float(g))
    away = elementwise.binary("subtract", x, y)
    return elementwise.binary("multiply", away, np.asarray(g * x.dtype.type(factor)))
