"""Random numbers as arrays, drawn from a generator that the caller hands in.

Many numbers of the common dtypes are drawn on all threads (`philox.py`), others by numpy. Integers
of a range are the upper bits of its product with 64 random bits, without rejection (Lemire, Fast
Random Integer Generation in an Interval, arXiv 1805.10941): no range here is above 2^32, so no
number is favoured by more than 2^-32 of its probability.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from numpy.random import Generator, Philox

from dyn.kernels import philox
from dyn.kernels.elementwise import binary, cast
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch
from dyn.kernels.runtime.jit import kernel, task
from dyn.kernels.runtime.threads import argument
from dyn.kernels.search import searchsorted
from dyn.kernels.vector.runs import pointer

MANY = philox.WIDTH
"""Numbers from which on all threads draw them."""

_I64 = np.int64(0)

Draw = Callable[[Generator], np.ndarray]
"""What draws an array of one shape and distribution."""


@lru_cache(4096)
def uniform_of(shape: tuple[int, ...], low: float, high: float, dtype: np.dtype) -> Draw:
    """What draws numbers evenly from [low, high)."""
    if dtype == np.float32 and math.prod(shape) >= MANY:
        return partial(philox.uniform, shape=shape, low=low, high=high)
    work, whole = _work(dtype), (low, high) == (0.0, 1.0)
    if whole and shape and dtype == work:
        return lambda generator: generator.random(shape, work)
    span, first = np.array(work(high - low)), np.array(work(low))
    # Rounding may carry the largest draws up to `high`, which is left out.
    top = np.array(np.nextafter(work(high), work(low)))

    def draw(generator: Generator) -> np.ndarray:
        drawn = np.asarray(generator.random(shape, work))
        if not whole:
            np.multiply(drawn, span, drawn)
            np.add(drawn, first, drawn)
            np.minimum(drawn, top, out=drawn)
        return drawn.astype(dtype, copy=False)

    return draw


def uniform(generator: Generator, shape, low, high, dtype):
    """Numbers drawn evenly from [low, high)."""
    return uniform_of(shape, low, high, dtype)(generator)


@lru_cache(4096)
def normal_of(shape: tuple[int, ...], mean: float, std: float, dtype: np.dtype) -> Draw:
    """What draws numbers from the normal distribution."""
    if dtype == np.float32 and math.prod(shape) >= MANY:
        return partial(philox.normal, shape=shape, mean=mean, std=std)
    work, standard = _work(dtype), (mean, std) == (0.0, 1.0)
    if standard and shape and dtype == work:
        return lambda generator: generator.standard_normal(shape, work)
    scale, shift = np.array(work(std)), np.array(work(mean))

    def draw(generator: Generator) -> np.ndarray:
        drawn = np.asarray(generator.standard_normal(shape, work))
        if not standard:
            np.multiply(drawn, scale, drawn)
            np.add(drawn, shift, drawn)
        return drawn.astype(dtype, copy=False)

    return draw


def normal(generator: Generator, shape, mean, std, dtype):
    """Numbers drawn from the normal distribution."""
    return normal_of(shape, mean, std, dtype)(generator)


def _work(dtype):
    return np.float64 if dtype == np.float64 else np.float32


@task
def _bounded(args, chunk, chunks):
    """low + floor(span * u), u of 64 bits, in two products: (bits, out, low, span, count)."""
    bits, out = pointer(data(argument(args, 0)), _I64), pointer(data(argument(args, 1)), _I64)
    low, span = argument(args, 2), np.uint64(argument(args, 3))
    half = np.uint64(32)
    for i in range(argument(args, 4)):
        word = np.uint64(bits[i])
        fine = (word & np.uint64(0xFFFFFFFF)) * span >> half
        out[i] = np.int64((word >> half) * span + fine >> half) + low


def _few_bits(generator: Generator, count: int) -> np.ndarray | None:
    """64 random bits each, as int64; None where the generator's words have fewer."""
    source = generator.bit_generator
    return source.random_raw(count).view(np.int64) if isinstance(source, Philox) else None


@lru_cache(4096)
def integers_of(shape: tuple[int, ...], low: int, high: int, dtype: np.dtype) -> Draw:
    """What draws integers evenly from low to high - 1."""
    count, span = math.prod(shape), high - low
    narrow = span <= 1 << 32
    if narrow and count >= MANY:
        return lambda generator: philox.integers(generator, shape, low, high).astype(
            dtype, copy=False
        )
    launch = Launch([(_bounded, 1)], 2, low, span, count) if narrow else None

    def draw(generator: Generator) -> np.ndarray:
        bits = None if launch is None else _few_bits(generator, count)
        if launch is None or bits is None:
            # numpy takes a type of Python's in two thirds of the time of its own dtype.
            out = np.asarray(generator.integers(low, high, shape, np.int64))
        else:
            out = np.empty(shape, np.int64)
            launch(bits, out)
        return out.astype(dtype, copy=False)

    return draw


def integers(generator: Generator, shape, low, high, dtype):
    """Integers drawn evenly from low to high - 1."""
    return integers_of(shape, low, high, dtype)(generator)


@lru_cache(4096)
def bernoulli_of(
    shape: tuple[int, ...], dtype: np.dtype
) -> Callable[[Generator, np.ndarray], np.ndarray]:
    """`bernoulli` for probabilities of a shape."""
    # Numbers of half precision would be rounded to 1, which is below no probability.
    work = np.dtype(_work(dtype))
    draw = uniform_of(shape, 0.0, 1.0, work)
    if math.prod(shape) < MANY:
        return lambda generator, p: np.asarray(np.less(draw(generator), p)).astype(dtype)
    return lambda generator, p: cast(
        binary("less_than", draw(generator), p.astype(work, copy=False)), dtype
    )


def bernoulli(generator: Generator, p):
    """1 with probability p, else 0, in the dtype of p."""
    return bernoulli_of(p.shape, p.dtype)(generator, p)


BITS = "(int64[::1],)"


@kernel(warm=(BITS,))
def _shuffled(bits):
    """0, 1, 2 ... exchanged by 64 random bits each (Durstenfeld, 1964)."""
    out = np.empty(bits.size, np.int32)
    for i in range(bits.size):
        out[i] = i
    half = np.uint64(32)
    for i in range(bits.size - 1, 0, -1):
        span, word = np.uint64(i + 1), np.uint64(bits[i])
        low = (word & np.uint64(0xFFFFFFFF)) * span >> half
        j = np.int64((word >> half) * span + low >> half)
        out[i], out[j] = out[j], out[i]
    return out


@lru_cache(4096)
def permutation_of(n: int, dtype: np.dtype) -> Draw:
    """What draws 0 to n - 1 in random order."""
    if n >= 1 << 31:
        return lambda generator: generator.permutation(n).astype(dtype)
    bits_of = _few_bits if n < MANY else lambda generator, n: philox.words(generator, (n,))
    shuffled = _shuffled.compile(BITS)

    def draw(generator: Generator) -> np.ndarray:
        bits = bits_of(generator, n)
        return (generator.permutation(n) if bits is None else shuffled(bits)).astype(dtype)

    return draw


def permutation(generator: Generator, n, dtype):
    """0 to n - 1 in random order."""
    return permutation_of(n, dtype)(generator)


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
        return np.minimum(searchsorted(edges, draws, True), p.shape[-1] - 1)
    if np.any((p > 0).sum(-1) < num_samples):
        raise ValueError(f"fewer than {num_samples} classes have a probability above zero")
    keys = np.log(np.maximum(p, 1e-300)) + generator.gumbel(size=p.shape)
    keys[p == 0] = -np.inf
    return np.argsort(-keys, axis=-1)[..., :num_samples]
