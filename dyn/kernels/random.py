"""Random numbers as arrays, drawn from a generator that the caller hands in.

Many numbers of the common dtypes are drawn on all threads (`philox.py`), others by numpy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from dyn.kernels import philox
from dyn.kernels.runtime.jit import kernel

MANY = philox.WIDTH
"""Numbers from which on all threads draw them."""


def uniform(generator: Generator, shape, low, high, dtype):
    """Numbers drawn evenly from [low, high)."""
    if dtype == np.float32 and math.prod(shape) >= MANY:
        return philox.uniform(generator, shape, low, high)
    work = _work(dtype)
    drawn = generator.random(shape, work)
    if (low, high) != (0.0, 1.0):
        # Rounding may carry the largest draws up to `high`, which is left out.
        drawn = np.minimum(
            drawn * work(high - low) + work(low), np.nextafter(work(high), work(low))
        )
    return np.asarray(drawn).astype(dtype, copy=False)


def normal(generator: Generator, shape, mean, std, dtype):
    """Numbers drawn from the normal distribution."""
    if dtype == np.float32 and math.prod(shape) >= MANY:
        return philox.normal(generator, shape, mean, std)
    work = _work(dtype)
    drawn = generator.standard_normal(shape, work)
    if (mean, std) != (0.0, 1.0):
        drawn = drawn * work(std) + work(mean)
    return np.asarray(drawn).astype(dtype, copy=False)


def _work(dtype):
    return np.float64 if dtype == np.float64 else np.float32


def integers(generator: Generator, shape, low, high, dtype):
    """Integers drawn evenly from low to high - 1."""
    if math.prod(shape) >= MANY and high - low <= 1 << 32:
        return philox.integers(generator, shape, low, high).astype(dtype, copy=False)
    return np.asarray(generator.integers(low, high, shape)).astype(dtype)


@kernel(warm=("(int64[::1], int64[::1])",))
def _shuffled(coarse, fine):
    """0, 1, 2 ... exchanged by 64 random bits each, given in two halves (Durstenfeld, 1964)."""
    out = np.arange(coarse.size).astype(np.int32)
    for i in range(coarse.size - 1, 0, -1):
        span = np.uint64(i + 1)
        low = np.uint64(fine[i]) * span >> np.uint64(32)
        j = np.int64(np.uint64(coarse[i]) * span + low >> np.uint64(32))
        out[i], out[j] = out[j], out[i]
    return out


def permutation(generator: Generator, n, dtype):
    """0 to n - 1 in random order."""
    if n < MANY or n >= 1 << 31:
        return generator.permutation(n).astype(dtype)
    words = [philox.integers(generator, (n,), 0, 1 << 32) for _ in range(2)]
    return _shuffled(*words).astype(dtype)


def multinomial(generator: Generator, p, num_samples, replacement):
    """Class numbers drawn with probabilities in proportion to the last axis of `p`.

    Without replacement: the largest of log(p) + Gumbel noise (Kool et al., arXiv 1903.06059).
    """
    p = p.astype(np.float64)
    total = p.sum(-1)
    if np.any(p < 0) or not np.all((total > 0) & np.isfinite(total)):
        raise ValueError("probabilities must be non-negative, finite and not all zero")
    if replacement:
        edges = np.cumsum(p, axis=-1)
        draws = generator.random((*p.shape[:-1], num_samples)) * edges[..., -1:]
        found = (draws[..., None] >= edges[..., None, :]).sum(-1)
        return np.minimum(found, p.shape[-1] - 1)
    if np.any((p > 0).sum(-1) < num_samples):
        raise ValueError(f"fewer than {num_samples} classes have a probability above zero")
    keys = np.log(np.maximum(p, 1e-300)) + generator.gumbel(size=p.shape)
    keys[p == 0] = -np.inf
    return np.argsort(-keys, axis=-1)[..., :num_samples]
