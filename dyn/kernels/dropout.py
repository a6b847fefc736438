"""Dropout: the mask and its two uses, in one pass each.

Random bits are a hash of the element's number (modulo 2^32) and of a key drawn from the caller's
generator, so that they depend neither on threads nor on chunks. The hash mixes 32 bits four times,
with part of the key in between (the constants are those of Murmur3's finalizer, A. Appleby, and of
C. Wellons' search for low-bias mixers). float32 runs in vector code, other dtypes in numpy.

Source: Srivastava et al., Dropout, Journal of Machine Learning Research 15, 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir

from dyn.kernels.runtime.drive import Launch, float_word
from dyn.kernels.runtime.memory import empty_like
from dyn.kernels.vector.rows import Row, RowKernel, word_at
from dyn.kernels.vector.simd import BYTE, F32, INT32, WORD, Emitter, Value, choose

WIDTH = 8192
"""Elements done as one row."""

# ---- kernels -----------------------------------------------------------------------------------


def _mixed(z: Value, shift: int, factor: int) -> Value:
    builder = z.builder
    shifted = builder.lshr(z.value, z.like(shift).value)
    signed = factor - (1 << 32) if factor >> 31 else factor
    return (z ^ z.made(shifted)) * signed


def _hash(z: Value, key: Value) -> Value:
    """32 random bits for each number."""
    z = _mixed(_mixed(z, 16, 0x85EBCA6B), 13, 0xC2B2AE35) ^ key
    z = _mixed(_mixed(z, 16, 0x21F0AAAD), 15, 0x735A2D97)
    return z ^ z.made(z.builder.lshr(z.value, z.like(15).value))


def _masks(row: Row) -> Emitter:
    """Loads and stores masks, a byte per element."""
    return Emitter(row.emit.builder, BYTE, row.emit.lanes)


def _mask_at(row: Row, array: int, at: Any) -> Any:
    builder = row.emit.builder
    return builder.add(row.at[array], builder.sdiv(at, WORD(row.emit.size)))


def _dropout(row: Row) -> None:
    """Arrays: x, out, mask, all of x, two keys (their low halves). Parameters: threshold, scale."""
    builder, emit = row.emit.builder, row.emit
    numbers, masks = Emitter(builder, INT32, emit.lanes), _masks(row)
    first = builder.sub(row.at[0], row.at[3])
    given = *(word_at(builder, row.at[4], k) for k in range(2)), row.word(0)
    salt, key, threshold = (numbers.splat(builder.trunc(word, INT32)) for word in given)
    scale = emit.splat(row.parameter(1))
    lanes = ir.Constant(ir.VectorType(INT32, emit.lanes), list(range(emit.lanes)))

    def step(at, carried, mask):
        number = builder.sdiv(builder.add(first, at), WORD(emit.size))
        index = numbers.splat(builder.trunc(number, INT32)) + Value(builder, lanes)
        bits = _hash(index * (0x9E3779B9 - (1 << 32)) + salt, key)
        kept = Value(builder, builder.icmp_unsigned(">=", bits.value, threshold.value))
        row.store(choose(kept, row.load(0, at, mask) * scale, 0), 1, at, mask)
        masks.store(kept.to(BYTE), _mask_at(row, 2, at), mask)
        return []

    row.scan(step, unroll=2)


def _apply(row: Row) -> None:
    """Arrays: x, out, mask. Parameter: scale."""
    masks, scale = _masks(row), row.emit.splat(row.parameter(0))

    def step(at, carried, mask):
        kept = masks.load(_mask_at(row, 2, at), mask) != 0
        row.store(choose(kept, row.load(0, at, mask) * scale, 0), 1, at, mask)
        return []

    row.scan(step, unroll=2)


_DROPOUT = RowKernel("dropout", F32, _dropout, arrays=5)
_APPLY = RowKernel("apply_mask", F32, _apply, arrays=3)


@lru_cache(1024)
def _plans(kernel: RowKernel, count: int, *words: int) -> tuple[Launch, Launch]:
    """How rows of WIDTH, and a shorter one, are done: x, out and mask step on, others do not."""
    whole, rest = divmod(count, WIDTH)
    steps = (4 * WIDTH, 4 * WIDTH, WIDTH, *[0] * (kernel.arrays - 3))
    return kernel.plan(whole, WIDTH, steps, *words), kernel.plan(int(rest > 0), rest, steps, *words)


def _run(
    kernel: RowKernel, words: tuple[int, ...], moving: Sequence[np.ndarray], *others: np.ndarray
) -> None:
    """Over arrays that are dense in the same order."""
    flat = [array.ravel(order="K") for array in moving]
    count = flat[0].size
    rows, rest = _plans(kernel, count, *words)
    rows(*flat, *others)
    if count % WIDTH:
        rest(*[array[count // WIDTH * WIDTH :] for array in flat], *others)


# ---- calls -------------------------------------------------------------------------------------


def _dense(x: np.ndarray) -> np.ndarray:
    made = empty_like(x)
    if made.strides == x.strides:
        return x
    made[...] = x
    return made


def dropout(
    x: np.ndarray, generator: np.random.Generator, *, p: float, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """(x * mask * scale, mask): each element is kept with probability 1 - p."""
    if x.dtype != np.float32 or p >= 1:
        mask = generator.random(x.shape, np.float32) >= np.float32(p)
        return apply(x, mask, scale=scale), mask
    x = _dense(x)
    out, mask = empty_like(x), empty_like(x, np.bool_)
    keys = generator.bit_generator.random_raw(2)
    # The comparison is with 32 random bits: p is rounded to 2 ** -32.
    words = min(round(p * (1 << 32)), (1 << 32) - 1), float_word(scale)
    _run(_DROPOUT, words, (x, out, mask), x, keys)
    return out, mask


def apply(x: np.ndarray, mask: np.ndarray, *, scale: float) -> np.ndarray:
    """x * scale where the mask holds, else 0 (also where x is not finite)."""
    if x.dtype != np.float32 or x.shape != mask.shape:
        return np.where(mask, x * x.dtype.type(scale), x.dtype.type(0))
    mask = _dense(mask)
    out = empty_like(mask, np.float32)
    if x.strides != out.strides:
        lying = empty_like(mask, np.float32)
        lying[...] = x
        x = lying
    _run(_APPLY, (float_word(scale),), (x, out, mask))
    return out
