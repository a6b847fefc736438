"""Reductions over axes: sums, means, extremes, products, variance, norms.

Large float32 arrays are folded by our own kernels (`folding.py`), everything else by numpy. Half
precision is reduced in float32, small integers are summed as int64.
"""

from __future__ import annotations

import math

import numpy as np

from dyn.kernels import elementwise
from dyn.kernels.folding import JOIN, folded

_F32 = np.dtype(np.float32)


def _shaped(out: np.ndarray, x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """A result in the dtype of x; with the reduced axes if they are to be kept."""
    out = np.asarray(out, x.dtype)
    if keepdims:
        return out.reshape([1 if a in axes else n for a, n in enumerate(x.shape)])
    shape = [n for a, n in enumerate(x.shape) if a not in axes]
    return out.reshape(shape) if list(out.shape) != shape else out


def _count(x: np.ndarray, axes: tuple[int, ...]) -> int:
    return math.prod([x.shape[a] for a in axes])


def _is_half(dtype: np.dtype) -> bool:
    return dtype.itemsize == 2 and dtype.kind not in "iub"


# ---- reductions --------------------------------------------------------------------------------


def _reduce(name: str, x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """A sum, product or extreme; half precision is folded in float32, small integers in int64."""
    found = folded(name, x, axes)
    if found is not None:
        return _shaped(found[0], x, axes, keepdims)
    if _is_half(x.dtype):
        return _reduce(name, x.astype(_F32), axes, keepdims).astype(x.dtype)
    if name in ("max", "min"):
        return np.asarray(JOIN[name].reduce(x, axis=axes, keepdims=keepdims))
    wide = np.int64 if x.dtype.kind in "biu" else x.dtype
    return np.asarray(JOIN[name].reduce(x, axis=axes, keepdims=keepdims, dtype=wide))


def sum(x, axes, keepdims):
    """Sum over `axes`; booleans and integers are summed as int64."""
    return _reduce("sum", x, axes, keepdims)


def prod(x, axes, keepdims):
    """Product over `axes`; booleans and integers are multiplied as int64."""
    return _reduce("prod", x, axes, keepdims)


def max(x, axes, keepdims):
    """Largest element over `axes`; NaN if there is one."""
    return _reduce("max", x, axes, keepdims)


def min(x, axes, keepdims):
    """Smallest element over `axes`; NaN if there is one."""
    return _reduce("min", x, axes, keepdims)


def mean(x, axes, keepdims):
    """Mean over `axes` of floating-point numbers."""
    found = folded("sum", x, axes)
    if found is not None:
        return _shaped(found[0] / _count(x, axes), x, axes, keepdims)
    if _is_half(x.dtype):
        return mean(x.astype(_F32), axes, keepdims).astype(x.dtype)
    total = np.add.reduce(x, axis=axes, keepdims=keepdims)
    return np.asarray(total / x.dtype.type(_count(x, axes)))


def var(x, axes, keepdims, correction):
    """Mean squared distance from the mean over `axes`, divided by the count less `correction`."""
    n = _count(x, axes)
    found = folded("moments", x, axes)
    if found is not None:
        first, second = found
        spread = np.maximum(second - first * (first / n), 0)
        return _shaped(spread / np.float64(n - correction), x, axes, keepdims)
    if _is_half(x.dtype):
        return var(x.astype(_F32), axes, keepdims, correction).astype(x.dtype)
    away = x - mean(x, axes, True)
    total = np.add.reduce(away * away, axis=axes, keepdims=keepdims)
    return np.asarray(total / x.dtype.type(n - correction))


def norm(x, axes, keepdims):
    """Square root of the sum of squares over `axes`."""
    found = folded("squares", x, axes)
    if found is not None:
        return _shaped(np.sqrt(found[0]), x, axes, keepdims)
    if _is_half(x.dtype):
        return norm(x.astype(_F32), axes, keepdims).astype(x.dtype)
    return np.asarray(np.sqrt(np.add.reduce(x * x, axis=axes, keepdims=keepdims)))


def logsumexp(x, axes, keepdims):
    """log of the sum of e^x over `axes`, without overflow."""
    if _is_half(x.dtype):
        return logsumexp(x.astype(_F32), axes, keepdims).astype(x.dtype)
    if not x.size:
        return np.asarray(np.log(sum(x, axes, keepdims)))
    top = max(x, axes, True)
    top = np.where(np.isfinite(top), top, x.dtype.type(0))
    parts = elementwise.unary("exp", elementwise.binary("subtract", x, top))
    out = np.log(sum(parts, axes, True)) + top
    return np.asarray(out if keepdims else np.squeeze(out, axes))


def all(x, axes, keepdims):
    """Whether all elements over `axes` are nonzero."""
    return np.asarray(np.logical_and.reduce(x, axis=axes, keepdims=keepdims))


def any(x, axes, keepdims):
    """Whether any element over `axes` is nonzero."""
    return np.asarray(np.logical_or.reduce(x, axis=axes, keepdims=keepdims))


def sum_to(x, shape):
    """Sum over the axes along which an array of `shape` was repeated to give `x`."""
    lead = x.ndim - len(shape)
    axes = (*range(lead), *(i + lead for i, n in enumerate(shape) if n == 1 != x.shape[i + lead]))
    return sum(x, axes, False).reshape(shape)
