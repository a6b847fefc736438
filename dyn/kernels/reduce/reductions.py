"""Reductions over axes: sums, means, extremes, products, variance, norms.

float32 arrays are folded by our own kernels (`folding.py`), large ones of other dtypes by plain
loops (`plain.py`), what is small or seldom by numpy. Half precision is reduced in float32, small
integers are summed as int64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

from dyn.kernels import softmax
from dyn.kernels.copy import contiguous
from dyn.kernels.elementwise import apply as elementwise
from dyn.kernels.reduce import plain
from dyn.kernels.reduce.folding import bound, folded
from dyn.kernels.vector.half import is_half

_F32 = np.dtype(np.float32)
Axes = tuple[int, ...]
"""Axes counted from the front."""

JOIN = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
"""numpy's functions."""
FEW = 1024
"""Elements of which numpy may add one after the other: it does where they do not follow on each
other in memory, and in float32 a sum of many ones so stops at 2**24."""
MANY = 4096
"""Elements of which two rows are rather added than folded, which reads and writes more and rounds
to the same."""


def _folded(
    name: str, x: np.ndarray, axes: Axes, keepdims: bool, correction: int = 0
) -> np.ndarray | None:
    """`folded`, of a copy where x is not dense or its axes do not fall into rows or columns.

    Dtypes other than float32 are reduced in stages.
    """
    if x.dtype != _F32:
        return plain.reduced(name, x, axes, keepdims=keepdims)
    found = folded(name, x, axes, keepdims=keepdims, correction=correction)
    if found is not None or x.size <= FEW or not axes:
        return found
    found = folded(name, contiguous(x), axes, keepdims=keepdims, correction=correction)
    if found is not None:
        return found
    kept = [a for a in range(x.ndim) if a not in axes]
    rows = contiguous(x.transpose((*kept, *axes)))
    found = folded(name, rows, tuple(range(len(kept), x.ndim)), correction=correction)
    if found is None or not keepdims:
        return found
    return found.reshape([1 if a in axes else n for a, n in enumerate(x.shape)])


def _count(x: np.ndarray, axes: Axes) -> int:
    return math.prod([x.shape[a] for a in axes])


# ---- reductions --------------------------------------------------------------------------------


def _reduce(name: str, x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    """A sum, product or extreme; half precision is folded in float32, small integers in int64."""
    found = _folded(name, x, axes, keepdims)
    if found is not None:
        return found
    if is_half(x.dtype):
        return _reduce(name, x.astype(_F32), axes, keepdims).astype(x.dtype)
    if name in ("max", "min"):
        return np.asarray(JOIN[name].reduce(x, axis=axes, keepdims=keepdims))
    wide = np.int64 if x.dtype.kind in "biu" else x.dtype
    return np.asarray(JOIN[name].reduce(x, axis=axes, keepdims=keepdims, dtype=wide))


def sum(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    """Sum over `axes`; booleans and integers are summed as int64."""
    if x.size >= MANY and len(axes) == 1 and axes[0] < x.ndim - 1:
        (axis,) = axes
        if x.shape[axis] == 2 and x.dtype == _F32 and x.flags.c_contiguous:
            before = (slice(None),) * axis
            found = elementwise.binary("add", x[(*before, 0)], x[(*before, 1)])
            return np.expand_dims(found, axis) if keepdims else found
    return _reduce("sum", x, axes, keepdims)


@lru_cache(4096)
def summing(
    shape: tuple[int, ...], dtype: np.dtype, axes: Axes
) -> Callable[[np.ndarray], np.ndarray]:
    """`sum` over axes, for arrays of one shape and dtype."""
    general = partial(sum, axes=axes, keepdims=False)
    return bound("sum", shape, axes, general, keepdims=False) if dtype == _F32 else general


def prod(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    """Product over `axes`; booleans and integers are multiplied as int64."""
    return _reduce("prod", x, axes, keepdims)


def max(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    """Largest element over `axes`; NaN if there is one."""
    return _reduce("max", x, axes, keepdims)


def min(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    """Smallest element over `axes`; NaN if there is one."""
    return _reduce("min", x, axes, keepdims)


def mean(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    """Mean over `axes` of floating-point numbers."""
    found = _folded("mean", x, axes, keepdims)
    if found is not None:
        return found
    if is_half(x.dtype):
        return mean(x.astype(_F32), axes, keepdims=keepdims).astype(x.dtype)
    total = np.add.reduce(x, axis=axes, keepdims=keepdims)
    return np.asarray(total / x.dtype.type(_count(x, axes)))


def _squares(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    """The sum of squares."""
    found = _folded("squares", x, axes, keepdims)
    return np.add.reduce(x * x, axis=axes, keepdims=keepdims) if found is None else found


def var(x: np.ndarray, axes: Axes, keepdims: bool, correction: int) -> np.ndarray:
    """Mean squared distance from the mean over `axes`, over max(count - correction, 0)."""
    found = _folded("var", x, axes, keepdims, correction)
    if found is not None:
        return found
    if is_half(x.dtype):
        return var(x.astype(_F32), axes, keepdims, correction).astype(x.dtype)
    away = elementwise.binary("subtract", x, mean(x, axes, keepdims=True))
    total = _squares(away, axes, keepdims)
    # Of no elements there is none: 0 / 0.
    count = _count(x, axes)
    left = count - correction if count and count > correction else 0
    return np.asarray(total / x.dtype.type(left))


def std(x: np.ndarray, axes: Axes, keepdims: bool, correction: int) -> np.ndarray:
    """Square root of `var`; in float32 also where the squares overflow or vanish."""
    found = _folded("std", x, axes, keepdims, correction)
    if found is not None:
        return found
    if is_half(x.dtype):
        return std(x.astype(_F32), axes, keepdims, correction).astype(x.dtype)
    if x.dtype == _F32:
        return std(x.astype(np.float64), axes, keepdims, correction).astype(_F32)
    return np.asarray(np.sqrt(var(x, axes, keepdims, correction)))


def norm(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    """Square root of the sum of squares over `axes`."""
    found = _folded("norm", x, axes, keepdims)
    if found is not None:
        return found
    if is_half(x.dtype):
        return norm(x.astype(_F32), axes, keepdims=keepdims).astype(x.dtype)
    return np.asarray(np.sqrt(_squares(x, axes, keepdims)))


def lengths(x: np.ndarray, axes: Axes, epsilon: float) -> np.ndarray:
    """`norm`, or `epsilon` where that is smaller; the axes keep size 1."""
    return np.maximum(norm(x, axes, keepdims=True), x.dtype.type(epsilon))


def logsumexp(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    """log of the sum of e^x over `axes`, without overflow."""
    if is_half(x.dtype):
        return logsumexp(x.astype(_F32), axes, keepdims=keepdims).astype(x.dtype)
    if not x.size:
        return np.asarray(np.log(sum(x, axes, keepdims=keepdims)))
    if x.dtype == _F32 and axes == (x.ndim - 1,):
        found = softmax.logsumexp(x)
        return found.reshape(*x.shape[:-1], 1) if keepdims else found
    top = max(x, axes, keepdims=True)
    top = np.where(np.isfinite(top), top, x.dtype.type(0))
    parts = elementwise.unary("exp", elementwise.binary("subtract", x, top))
    out = np.log(sum(parts, axes, keepdims=True)) + top
    return np.asarray(out if keepdims else np.squeeze(out, axes))


def all(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    """Whether all elements over `axes` are nonzero."""
    found = plain.reduced("all", x, axes, keepdims=keepdims)
    if found is not None:
        return found
    return np.asarray(np.logical_and.reduce(x, axis=axes, keepdims=keepdims))


def any(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    """Whether any element over `axes` is nonzero."""
    found = plain.reduced("any", x, axes, keepdims=keepdims)
    if found is not None:
        return found
    return np.asarray(np.logical_or.reduce(x, axis=axes, keepdims=keepdims))


def sum_to(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum over the axes along which an array of `shape` was repeated to give `x`."""
    lead = x.ndim - len(shape)
    axes = (*range(lead), *(i + lead for i, n in enumerate(shape) if n == 1 != x.shape[i + lead]))
    return sum(x, axes, keepdims=False).reshape(shape)
