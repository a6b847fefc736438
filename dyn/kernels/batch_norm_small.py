"""Batch norm of small images that lie plane by plane: all of it in one task.

The steps of `batch_norm.py` are a handful of calls, which take longer than such an image. Here the
variance is summed in a second pass, around the mean, so that no digits are lost where that is large
(Chan, Golub & LeVeque, Algorithms for Computing the Sample Variance, 1983); sums are in float64.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dyn.kernels.batch_norm_channels import vectors
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, float_word
from dyn.kernels.runtime.jit import SUM, instances, kernel
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, argument_float
from dyn.kernels.vector.runs import pointer

SMALL, SCATTERED = 16384, 2048
"""Elements up to which an image is small: one of planes, and one whose planes are no vectors."""
PLANE = 8
"""Elements from which on a plane is walked by vectors."""
ZERO = np.float32(0)
"""Stands for the type of the elements: that of an instance below."""
_F64 = np.float64(0)


@kernel(fastmath=SUM)
def _total(x, at, stop):
    """The sum of some elements."""
    total = _F64
    for i in range(at, stop):
        total += x[i]
    return total


@kernel(fastmath=SUM)
def _spread(x, at, stop, mean):
    """The sum of the squared distances from a mean."""
    total = _F64
    for i in range(at, stop):
        away = x[i] - mean
        total += away * away
    return total


@kernel(fastmath=SUM)
def _inner(g, x, at, stop, mean):
    """The sum of g times the distances from a mean."""
    total = _F64
    for i in range(at, stop):
        total += g[i] * (x[i] - mean)
    return total


def _normalise(args, chunk, chunks):
    """Words: (x, w, b, out, mean, var; samples, channels, elements of a plane, epsilon)."""
    x, w = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), ZERO)
    b, out = pointer(data(argument(args, 2)), ZERO), pointer(data(argument(args, 3)), ZERO)
    means, variances = (
        pointer(data(argument(args, 4)), ZERO), pointer(data(argument(args, 5)), ZERO)
    )  # fmt: skip
    samples, channels, size = argument(args, 6), argument(args, 7), argument(args, 8)
    step, count = channels * size, samples * size
    for c in range(channels):
        total, squares = _F64, _F64
        for n in range(samples):
            at = n * step + c * size
            total += _total(x, at, at + size)
        mean = total / count
        for n in range(samples):
            at = n * step + c * size
            squares += _spread(x, at, at + size, mean)
        variance = squares / count
        means[c], variances[c] = mean, variance
        # As in `fold`, which inference goes by: from the numbers that were noted.
        factor = w[c] / np.sqrt(np.float64(variances[c]) + argument_float(args, 9))
        shift = np.float64(b[c]) - means[c] * factor
        for n in range(samples):
            at = n * step + c * size
            for i in range(at, at + size):
                out[i] = x[i] * factor + shift


def _gradient(args, chunk, chunks):
    """Words: (g, x, w, mean, var, g_mean, g_var, gx, gw, gb; samples, channels, size, epsilon)."""
    g, x = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), ZERO)
    w, means = pointer(data(argument(args, 2)), ZERO), pointer(data(argument(args, 3)), ZERO)
    var, g_mean = pointer(data(argument(args, 4)), ZERO), pointer(data(argument(args, 5)), ZERO)
    g_var, gx = pointer(data(argument(args, 6)), ZERO), pointer(data(argument(args, 7)), ZERO)
    gw, gb = pointer(data(argument(args, 8)), ZERO), pointer(data(argument(args, 9)), ZERO)
    samples, channels, size = argument(args, 10), argument(args, 11), argument(args, 12)
    step, count = channels * size, samples * size
    for c in range(channels):
        total, inner, mean = _F64, _F64, np.float64(means[c])
        for n in range(samples):
            at = n * step + c * size
            total += _total(g, at, at + size)
            inner += _inner(g, x, at, at + size, mean)
        rstd = 1 / np.sqrt(np.float64(var[c]) + argument_float(args, 13))
        factor, own = rstd * w[c], inner * rstd
        gw[c], gb[c] = own, total
        slope = (2.0 * g_var[c] - factor * own * rstd) / count
        shift = (g_mean[c] - factor * total) / count - slope * mean
        for n in range(samples):
            at = n * step + c * size
            for i in range(at, at + size):
                gx[i] = g[i] * factor + (x[i] * slope + shift)


_NORMALISE = instances("normalise_small", _normalise, "f4 f8")
_GRADIENT = instances("denormalise_small", _gradient, "f4 f8")


def is_small(x: np.ndarray) -> bool:
    """Whether x [N, C, ...] is for the functions below."""
    most = SMALL if x.ndim > 2 and x.size >= PLANE * x.shape[0] * x.shape[1] else SCATTERED
    return 0 < x.size <= most and x.flags.c_contiguous and x.dtype in _NORMALISE


@lru_cache(1024)
def _plan(gradient: bool, dtype: np.dtype, shape: tuple[int, ...], epsilon: float) -> Launch:
    samples, channels = shape[:2]
    size = int(np.prod(shape[2:], dtype=np.int64))
    task, arrays = (_GRADIENT, 10) if gradient else (_NORMALISE, 6)
    return Launch([(task[dtype], 1)], arrays, samples, channels, size, float_word(epsilon))


def batch_norm(
    x: np.ndarray, w: np.ndarray | None, b: np.ndarray | None, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(out, mean, var)."""
    channels = x.shape[1]
    out, mean, var = (
        empty(x.shape, x.dtype),
        empty((channels,), x.dtype),
        empty((channels,), x.dtype),
    )
    _plan(False, x.dtype, x.shape, epsilon)(x, *vectors(x, w, b), out, mean, var)
    return out, mean, var


def batch_norm_grad(
    g: np.ndarray, x: np.ndarray, w: np.ndarray | None, *given: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gx, gw, gb); given are mean, var and what reached them; g is dense like x."""
    w, _, *given = vectors(x, w, None, *given)
    gx, gw, gb = empty(x.shape, x.dtype), np.empty_like(w), np.empty_like(w)
    _plan(True, x.dtype, x.shape, epsilon)(g, x, w, *given, gx, gw, gb)
    return gx, gw, gb
