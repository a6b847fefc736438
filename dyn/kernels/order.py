"""Order along rows of float32 and of integers: all sorted, or the k smallest or largest selected.

An element and its place become one integer: in the upper half the float's bits as an integer that
is ordered like it, in the lower half the place. So integers are compared, and equal elements keep
their order. Few of many are selected by insertion, blocks without a candidate being passed over in
vector code; short rows are sorted by rank, which is how many elements are smaller; longer ones by
radix, least significant digit first (Knuth, The Art of Computer Programming 3, 5.2.5). Rows are
shared among threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import kernel, task
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import Spare, buffer, leave, scratch, take
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer

MOST = 128
"""Up to so many elements are selected by insertion."""
BLOCK = 32
"""Elements that are looked at together for a candidate."""
SHORT = 64
"""Up to so many elements are sorted by rank."""
LONG = 4096
"""From so many elements on digits have 11 bits, not 8."""
COUNTS = 3 * 2048
"""Counters of the digits of a row: three digits of 11 bits."""
GRAIN = 4096
"""Elements worth a chunk."""
LONGEST = 1 << 32
"""From so many elements on a place has no room below a key: such rows are ordered like those of
other dtypes."""

KEPT = 65536
"""Bytes of scratch up to which it is kept from call to call."""
_SPARE = Spare(KEPT)

_F32 = np.dtype(np.float32)
_I32, _I64 = np.int32(0), np.int64(0)
_MAGNITUDE, _INFINITY = np.int32(0x7FFFFFFF), np.int32(0x7F800000)
_LOWEST = np.int32(-0x80000000)


@kernel(forceinline=True)
def _key(bits, flip):
    """An integer ordered like the float with these bits; NaN is largest, and -0 equals 0."""
    key = bits ^ ((bits >> np.int32(31)) & _MAGNITUDE)
    key = np.int32(0) if bits == _LOWEST else key
    key = _MAGNITUDE if (bits & _MAGNITUDE) > _INFINITY else key
    return np.int32(key ^ flip)


@kernel(forceinline=True)
def _word(key, place):
    return (np.int64(key) << 32) | place


@kernel
def _insert(words, count, word):
    """Put a word among `count` that are in order."""
    at = count
    while at > 0 and words[at - 1] > word:
        words[at] = words[at - 1]
        at -= 1
    words[at] = word


@kernel
def _select(x, n, k, flip, memory):
    """The k smallest words of a row, in order, in `memory`."""
    bits, words = pointer(x, _I32), pointer(memory, _I64)
    for i in range(k):
        _insert(words, i, _word(_key(bits[i], flip), i))
    limit = np.int32(words[k - 1] >> 32)
    whole = k + (n - k) // BLOCK * BLOCK
    for first in range(k, n, BLOCK):
        stop = n
        if first < whole:
            stop = first + BLOCK
            found = np.int32(0)
            for i in range(BLOCK):
                found |= np.int32(_key(bits[first + i], flip) < limit)
            if found == 0:
                continue
        for i in range(first, stop):
            key = _key(bits[i], flip)
            if key < limit:
                _insert(words, k - 1, _word(key, i))
                limit = np.int32(words[k - 1] >> 32)


@kernel
def _rank(source, target, n):
    """Each word to the place that says how many are smaller."""
    for i in range(n):
        word, smaller = source[i], 0
        for j in range(n):
            smaller += source[j] < word
        target[smaller] = word


@kernel
def _digits(source, target, n, shift, mask, counts, flip):
    """Words to their places in the order of one digit; whether they have moved."""
    total = 0
    for d in range(mask + 1):
        count = counts[d]
        if count == n:
            return False
        counts[d] = total
        total += count
    for i in range(n):
        word = source[i]
        d = ((word >> shift) & mask) ^ flip
        target[counts[d]] = word
        counts[d] += 1
    return True


@kernel
def _sort(x, n, flip, memory):
    """All words of a row in order; their address, somewhere in `memory`."""
    bits, one, other = pointer(x, _I32), memory, memory + 8 * n
    words = pointer(one, _I64)
    for i in range(n):
        words[i] = _word(_key(bits[i], flip), i)
    if n <= SHORT:
        _rank(words, pointer(other, _I64), n)
        return other
    width = 11 if n >= LONG else 8
    passes, mask = (32 + width - 1) // width, (1 << width) - 1
    start = memory + 16 * n
    counts = pointer(start, _I64)
    for d in range(passes << width):
        counts[d] = 0
    # The sign is flipped in the last digit, whose highest bit it is.
    top = passes - 1
    last_mask = (1 << (32 - top * width)) - 1
    sign = 1 << (31 - top * width)
    for i in range(n):
        key = words[i] >> 32
        for p in range(top):
            counts[(p << width) + ((key >> (p * width)) & mask)] += 1
        counts[(top << width) + (((key >> (top * width)) & last_mask) ^ sign)] += 1
    for p in range(passes):
        part = pointer(start + 8 * (p << width), _I64)
        last = p == top
        if _digits(
            pointer(one, _I64), pointer(other, _I64), n, 32 + p * width,
            last_mask if last else mask, part, sign if last else 0,
        ):  # fmt: skip
            one, other = other, one
    return one


@task
def _order(args, chunk, chunks):
    """Rows. Words: x, values, indices, scratch; rows, n, k, flip, all, size."""
    x, values, indices = data(argument(args, 0)), data(argument(args, 1)), data(argument(args, 2))
    memory, n, k = data(argument(args, 3)), argument(args, 5), argument(args, 6)
    flip, size = np.int32(argument(args, 7)), argument(args, 9)
    start, stop = bounds(argument(args, 4), chunk, chunks, 1)
    slot = take(memory)
    own = buffer(memory, slot, size)
    for row in range(start, stop):
        source = x + 4 * n * row
        found = own
        if argument(args, 8) != 0:
            found = _sort(source, n, flip, own)
        else:
            _select(source, n, k, flip, own)
        words, bits = pointer(found, _I64), pointer(source, _I32)
        to, at = pointer(values + 4 * k * row, _I32), pointer(indices + 8 * k * row, _I64)
        for j in range(k):
            place = words[j] & 0xFFFFFFFF
            at[j] = place
            to[j] = bits[place]
    leave(memory, slot)


@kernel
def _insert_any(x, k, largest, values, indices):
    """The k first of each row in order, for numbers of any type."""
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            new, filled = x[row, i], min(i, k)
            at = filled
            while at > 0:
                old = values[row, at - 1]
                ahead = new > old or (new != new and old == old)
                behind = new < old or (old != old and new == new)
                if not (ahead if largest else behind):
                    break
                if at < k:
                    values[row, at] = old
                    indices[row, at] = indices[row, at - 1]
                at -= 1
            if at < k:
                values[row, at] = new
                indices[row, at] = i


def _is_packed(dtype: np.dtype, n: int) -> bool:
    """Whether key and place of each of n elements fit into one integer."""
    return dtype == _F32 and n < LONGEST


def _is_few(n: int, k: int) -> bool:
    """Whether k of n elements are so few that they are selected by insertion."""
    return 0 < k <= MOST and 4 * k <= n


def ordered(x: np.ndarray, k: int, *, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    """(values, indices) of the k smallest or largest of the rows [..., n] of x, in order.

    Equal elements stand in the order of their places; NaN is larger than any number.
    """
    *lead, n = x.shape
    if x.dtype.itemsize == 2 and x.dtype.kind not in "iu":
        values, indices = ordered(x.astype(np.float32), k, largest=largest)
        return values.astype(x.dtype), indices
    few, packed = _is_few(n, k), _is_packed(x.dtype, n)
    if not packed and not few:
        found = _of_integers(x, k, largest) if x.size and x.dtype.kind in "iu" else None
        return _of_any(x, k, largest) if found is None else found
    x = contiguous(x)
    values, indices = empty((*lead, k), x.dtype), empty((*lead, k), np.int64)
    if not values.size:
        return values, indices
    if not packed:
        rows = x.size // n
        _insert_any(
            x.reshape(rows, n), k, largest, values.reshape(rows, k), indices.reshape(rows, k)
        )
        return values, indices
    launch, chunks, size = _plan(x.size // n, n, k, largest, few)
    launch(x, values, indices, scratch(size, chunks))
    return values, indices


def ordered_of(
    shape: tuple[int, ...], dtype: np.dtype, k: int, *, largest: bool
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None:
    """`ordered` for short rows of float32, with scratch memory that is kept; None for others."""
    *lead, n = shape
    if not _is_packed(dtype, n) or not k or not math.prod(shape):
        return None
    launch, _, size = _plan(math.prod(lead), n, k, largest, _is_few(n, k))
    if size > KEPT:
        return None
    found = (*lead, k)

    def run(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, indices = empty(found, _F32), empty(found, np.int64)
        memory = _SPARE.borrow()
        launch(contiguous(x), values, indices, memory)
        _SPARE.give_back(memory)
        return values, indices

    return run


@lru_cache(1024)
def _plan(rows: int, n: int, k: int, largest: bool, few: bool) -> tuple[Launch, int, int]:
    """The launch over float32 rows, its chunks, and the bytes of scratch that one needs."""
    chunks = min(chunks_of(rows * n, GRAIN), rows)
    size = 8 * k if few else 16 * n + 8 * COUNTS
    words = rows, n, k, -1 if largest else 0, int(not few), size
    return Launch([(_order, chunks)], 4, *words), chunks, size


def _of_integers(x: np.ndarray, k: int, largest: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """By way of floats, of which the positive ones are ordered like their bits; None: too wide."""
    low, high = int(x.min()), int(x.max())
    if high - low > _INFINITY or x.dtype == np.uint64:
        return None
    bits = (x.astype(np.int64, copy=False) - low).astype(np.int32)
    values, indices = ordered(bits.view(_F32), k, largest=largest)
    return (values.view(np.int32).astype(np.int64) + low).astype(x.dtype), indices


def _of_any(x: np.ndarray, k: int, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    if largest:
        # Sorting backwards and counting from the end keeps equal elements in their order.
        places = x.shape[-1] - 1 - np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    else:
        places = np.argsort(x, axis=-1, kind="stable")
    places = places[..., :k]
    return np.take_along_axis(x, places, axis=-1), places
