"""Gradients of reductions: what comes in for a result, handed back to the elements it was made of.

x was reduced over `axes`; g, the gradient of the result, and the result itself lack these axes, or
have size 1 there with `keepdims`. Nothing is repeated in memory.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from dyn.kernels.elementwise import apply as elementwise
from dyn.kernels.reduce import reductions
from dyn.kernels.reduce.reductions import Axes
from dyn.kernels.shape import strided


@lru_cache(4096)
def _steps(shape: tuple[int, ...], axes: Axes, size: int) -> tuple[int, ...]:
    """Strides of a dense array without `axes` along all axes of `shape`."""
    steps, step = [0] * len(shape), size
    for axis in range(len(shape) - 1, -1, -1):
        if axis not in axes:
            steps[axis] = step if shape[axis] != 1 else 0
            step *= shape[axis]
    return tuple(steps)


def spread(g: np.ndarray, shape: tuple[int, ...], axes: Axes, keepdims: bool) -> np.ndarray:
    """A result or its gradient, repeated along the reduced axes: a view of x's shape."""
    if not g.flags.c_contiguous:
        return np.broadcast_to(g if keepdims else np.expand_dims(g, axes), shape)
    return strided(g, shape, _steps(shape, axes, g.itemsize))


@lru_cache(4096)
def _kept(shape: tuple[int, ...], axes: Axes) -> tuple[int, ...]:
    return tuple([1 if axis in axes else n for axis, n in enumerate(shape)])


def _beside(g: np.ndarray, x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    """A result or its gradient with size 1 along the reduced axes, so that it goes with x."""
    return g if keepdims else g.reshape(_kept(x.shape, axes))


def mean_grad(g: np.ndarray, shape: tuple[int, ...], axes: Axes, keepdims: bool) -> np.ndarray:
    """The gradient of a mean, a view."""
    count = math.prod([shape[a] for a in axes])
    return spread(np.asarray(np.true_divide(g, count)), shape, axes, keepdims)


def extreme_grad(
    g: np.ndarray, x: np.ndarray, out: np.ndarray, axes: Axes, keepdims: bool, shared: bool
) -> np.ndarray:
    """g for the elements that are equal to the extreme; with `shared` an equal part of it each.

    What shares with nobody is NaN: nothing is equal to that.
    """
    at = elementwise.binary("equal", x, _beside(out, x, axes, keepdims))
    rest = np.zeros((), g.dtype)
    if shared:
        ties = reductions.sum(elementwise.cast(at, g.dtype), axes, keepdims=keepdims)
        g = elementwise.binary("divide", g, ties)
        rest = _beside(elementwise.binary("divide", rest, ties), x, axes, keepdims)
    return elementwise.where(at, _beside(g, x, axes, keepdims), rest)


def _scaled_distance(
    x: np.ndarray, scale: np.ndarray, axes: Axes, keepdims: bool, *, twice: bool
) -> np.ndarray:
    """The distances from the mean, measured `twice` if they are as small as its rounding error."""
    if twice:
        x = elementwise.binary("subtract", x, reductions.mean(x, axes, keepdims=True))
    center = reductions.mean(x, axes, keepdims=True)
    return elementwise.ternary("distance", x, center, _beside(scale, x, axes, keepdims))


def var_grad(
    g: np.ndarray, x: np.ndarray, axes: Axes, keepdims: bool, correction: int
) -> np.ndarray:
    """The gradient of a variance."""
    count = math.prod([x.shape[a] for a in axes])
    scale = elementwise.binary("divide", g + g, np.asarray(max(count - correction, 0), g.dtype))
    return _scaled_distance(x, scale, axes, keepdims, twice=False)


def _not_zero(out: np.ndarray) -> np.ndarray:
    """out, but 1 where it is 0."""
    return elementwise.where(np.asarray(out == 0), np.ones((), out.dtype), out)


def std_grad(
    g: np.ndarray, x: np.ndarray, out: np.ndarray, axes: Axes, keepdims: bool, correction: int
) -> np.ndarray:
    """The gradient of a standard deviation; 0 where it is 0."""
    count = math.prod([x.shape[a] for a in axes])
    divisor = elementwise.binary(
        "multiply", _not_zero(out), np.asarray(max(count - correction, 0), out.dtype)
    )
    scale = elementwise.binary("divide", g, divisor)
    return _scaled_distance(x, scale, axes, keepdims, twice=True)


def norm_grad(
    g: np.ndarray, x: np.ndarray, out: np.ndarray, axes: Axes, keepdims: bool
) -> np.ndarray:
    """The gradient of a root of a sum of squares; 0 where it is 0."""
    scale = elementwise.binary("divide", g, _not_zero(out))
    return elementwise.binary("multiply", x, _beside(scale, x, axes, keepdims))


def normalize_grad(
    g: np.ndarray, x: np.ndarray, out: np.ndarray, axes: Axes, epsilon: float
) -> np.ndarray:
    """The gradient of x divided by its `reductions.lengths`."""
    by = reductions.lengths(x, axes, epsilon)
    along = reductions.sum(elementwise.binary("multiply", g, out), axes, keepdims=True)
    along = np.where(by > epsilon, along, 0)  # a length that was clipped does not move
    across = elementwise.binary("subtract", g, elementwise.binary("multiply", out, along))
    return elementwise.binary("divide", across, by)


def logsumexp_grad(
    g: np.ndarray, x: np.ndarray, out: np.ndarray, axes: Axes, keepdims: bool
) -> np.ndarray:
    """g, times what each element contributes to the sum of exponentials."""
    g, out = (_beside(a, x, axes, keepdims) for a in (g, out))
    return elementwise.ternary("logsumexp_grad", g, out, x)
