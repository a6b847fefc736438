"""Order along rows of numbers: all sorted, or the k smallest or largest selected.

An element and its place become one integer: in the upper half the element, or a float's bits as an
integer that is ordered like it, in the lower half the place. So integers are compared, and equal
elements keep their order. Of elements of 64 bits the upper halves are sorted first, then those that
have one in common by the lower ones. Few of many are selected by insertion, blocks without a
candidate being passed over in vector code; short rows are sorted by rank, which is how many
elements are smaller; longer ones by radix, least significant digit first (Knuth, The Art of
Computer Programming 3, 5.2.5). Rows are shared among threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import instance, kernel
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import Spare, buffer, leave, scratch, take
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.runs import pointer
from dyn.kernels.vector.smaller import VECTORS, smaller_i4, smaller_i8

MOST = 128
"""Up to so many elements are selected by insertion."""
BLOCK = 32
"""Elements that are looked at together for a candidate."""
SHORT = 512
"""Bytes of a row up to which it is sorted by rank."""
ROOM = SHORT // 4 + VECTORS * LANES
"""Words for its elements and what is written behind them."""
PART = 64
"""Up to so many elements that have a half in common are sorted by insertion."""
LONG = 4096
"""From so many elements on digits have 11 bits, not 8."""
COUNTS = 3 * 2048
"""Counters of the digits of a row: three digits of 11 bits."""
GRAIN, SORTED_GRAIN = 4096, 1024
"""Elements worth a chunk where they are selected, and where they are sorted."""
LONGEST = 1 << 32
"""From so many elements on a place has no room below a key: such rows are left to numpy."""
KEPT = 65536
"""Bytes of scratch up to which it is kept from call to call."""
_SPARE = Spare(KEPT)

_I32, _I64 = np.int32(0), np.int64(0)
_MAGNITUDE, _INFINITY = np.int32(0x7FFFFFFF), np.int32(0x7F800000)
_LOWEST = np.int32(-0x80000000)
_WIDE_MAGNITUDE, _WIDE_INFINITY = np.int64(0x7FFFFFFFFFFFFFFF), np.int64(0x7FF0000000000000)
_WIDE_LOWEST = np.int64(-0x8000000000000000)
_HALF, _MIDDLE = np.int64(0xFFFFFFFF), np.int64(0x80000000)


@kernel(forceinline=True)
def _key(bits, flip, floats):
    """An integer ordered like the element with these bits; NaN is largest, and -0 equals 0."""
    key = bits
    if floats:
        key = bits ^ ((bits >> np.int32(31)) & _MAGNITUDE)
        key = np.int32(0) if bits == _LOWEST else key
        key = _MAGNITUDE if (bits & _MAGNITUDE) > _INFINITY else key
    return np.int32(key ^ flip)


@kernel(forceinline=True)
def _wide_key(bits, flip, floats):
    """The same for elements of 64 bits."""
    key = bits
    if floats:
        key = bits ^ ((bits >> np.int64(63)) & _WIDE_MAGNITUDE)
        key = np.int64(0) if bits == _WIDE_LOWEST else key
        key = _WIDE_MAGNITUDE if (bits & _WIDE_MAGNITUDE) > _WIDE_INFINITY else key
    return np.int64(key ^ flip)


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
def _select(x, n, k, flip, floats, memory):
    """The k smallest words of a row, in order, in `memory`."""
    bits, words = pointer(x, _I32), pointer(memory, _I64)
    for i in range(k):
        _insert(words, i, _word(_key(bits[i], flip, floats), i))
    limit = np.int32(words[k - 1] >> 32)
    whole = k + (n - k) // BLOCK * BLOCK
    for first in range(k, n, BLOCK):
        stop = n
        if first < whole:
            stop = first + BLOCK
            found = np.int32(0)
            for i in range(BLOCK):
                found |= np.int32(_key(bits[first + i], flip, floats) < limit)
            if found == 0:
                continue
        for i in range(first, stop):
            key = _key(bits[i], flip, floats)
            if key < limit:
                _insert(words, k - 1, _word(key, i))
                limit = np.int32(words[k - 1] >> 32)


@kernel
def _select_wide(x, n, k, flip, floats, memory):
    """The places of the k smallest elements of 64 bits, in order; their address."""
    bits, keys, places = pointer(x, _I64), pointer(memory, _I64), pointer(memory + 8 * k, _I64)
    whole = k + (n - k) // BLOCK * BLOCK
    first, limit = 0, _WIDE_MAGNITUDE
    while first < n:
        count = k if first == 0 else BLOCK if first < whole else n - first
        found = first == 0
        for i in range(count):
            found |= _wide_key(bits[first + i], flip, floats) < limit
        if found:
            for i in range(first, first + count):
                key = _wide_key(bits[i], flip, floats)
                if i >= k and key >= limit:
                    continue
                at = min(i, k - 1)
                while at > 0 and keys[at - 1] > key:
                    keys[at], places[at] = keys[at - 1], places[at - 1]
                    at -= 1
                keys[at], places[at] = key, i
                if i >= k - 1:
                    limit = keys[k - 1]
        first += count
    return memory + 8 * k


@kernel
def _sort_short(x, n, flip, size, floats, memory):
    """The places of the elements of a short row in order; their address, somewhere in `memory`."""
    part = 8 * ROOM
    if size == 4:
        bits, keys = pointer(x, _I32), pointer(memory, _I32)
        for i in range(n):
            keys[i] = _key(bits[i], np.int32(flip), floats)
        smaller_i4(memory, n, memory + part)
    else:
        wide_bits, wide_keys = pointer(x, _I64), pointer(memory, _I64)
        for i in range(n):
            wide_keys[i] = _wide_key(wide_bits[i], flip, floats)
        smaller_i8(memory, n, memory + part)
    ranks, taken = pointer(memory + part, _I64), pointer(memory + 2 * part, _I64)
    places = pointer(memory + 3 * part, _I64)
    for i in range(n):
        taken[i] = 0
    for i in range(n):  # equal elements, which have one rank, one behind the other
        rank = ranks[i]
        places[rank + taken[rank]] = i
        taken[rank] += 1
    return memory + 3 * part


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
def _sorted(memory, n):
    """The n words that `memory` begins with in order; their address, somewhere in it."""
    one, other = memory, memory + 8 * n
    words = pointer(one, _I64)
    if n <= PART:  # often they are equal, and in order then
        made = pointer(other, _I64)
        for i in range(n):
            _insert(made, i, words[i])
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


@kernel
def _sort(x, n, flip, floats, memory):
    """All words of a row in order; their address, somewhere in `memory`."""
    bits, words = pointer(x, _I32), pointer(memory, _I64)
    base = _I64
    if not floats:  # digits that all elements share take no pass
        low, high = _key(bits[0], flip, floats), _key(bits[0], flip, floats)
        for i in range(n):
            key = _key(bits[i], flip, floats)
            low, high = min(low, key), max(high, key)
        base = np.int64(low) if np.int64(high) - np.int64(low) < _MIDDLE else base
    for i in range(n):
        words[i] = _word(_key(bits[i], flip, floats) - base, i)
    return _sorted(memory, n)


@kernel
def _sort_wide(x, n, flip, floats, memory, room):
    """Words with the places of elements of 64 bits in order; `room`: as much memory again."""
    bits, words = pointer(x, _I64), pointer(memory, _I64)
    if not floats:
        low, high = _wide_key(bits[0], flip, floats), _wide_key(bits[0], flip, floats)
        for i in range(n):
            key = _wide_key(bits[i], flip, floats)
            low, high = min(low, key), max(high, key)
        if np.uint64(high) - np.uint64(low) < np.uint64(_MIDDLE):
            for i in range(n):
                words[i] = _word(_wide_key(bits[i], flip, floats) - low, i)
            return _sorted(memory, n)
    for i in range(n):
        words[i] = _word(_wide_key(bits[i], flip, floats) >> 32, i)
    made = _sorted(memory, n)
    words, part = pointer(made, _I64), pointer(room, _I64)
    start = 0
    while start < n:
        stop = start + 1
        while stop < n and words[stop] >> 32 == words[start] >> 32:
            stop += 1
        if stop - start > 1:
            for i in range(start, stop):
                place = words[i] & _HALF
                low = (_wide_key(bits[place], flip, floats) & _HALF) - _MIDDLE
                part[i - start] = _word(low, place)
            found = pointer(_sorted(room, stop - start), _I64)
            for i in range(start, stop):
                words[i] = found[i - start]
        start = stop
    return made


SIZE, FLOATS, BITS = 4, True, _I32
"""What instances of `_order` have of their own: bytes of an element, floats, a zero as wide."""


def _order(args, chunk, chunks):
    """Rows. Words: x, values, indices, scratch; rows, n, k, flip, all, size."""
    x, values, indices = data(argument(args, 0)), data(argument(args, 1)), data(argument(args, 2))
    memory, n, k = data(argument(args, 3)), argument(args, 5), argument(args, 6)
    flip, size = argument(args, 7), argument(args, 9)
    start, stop = bounds(argument(args, 4), chunk, chunks, 1)
    slot = take(memory)
    own = buffer(memory, slot, size)
    for row in range(start, stop):
        source = x + SIZE * n * row
        found = own
        if argument(args, 8) != 0 and n * SIZE <= SHORT:
            found = _sort_short(source, n, flip, SIZE, FLOATS, own)
        elif SIZE == 8:
            if argument(args, 8) != 0:
                found = _sort_wide(source, n, flip, FLOATS, own, own + size // 2)
            else:
                found = _select_wide(source, n, k, flip, FLOATS, own)
        elif argument(args, 8) != 0:
            found = _sort(source, n, np.int32(flip), FLOATS, own)
        else:
            _select(source, n, k, np.int32(flip), FLOATS, own)
        words, bits = pointer(found, _I64), pointer(source, BITS)
        to = pointer(values + SIZE * k * row, BITS)
        at = pointer(indices + 8 * k * row, _I64)
        for j in range(k):
            place = words[j] & _HALF
            at[j] = place
            to[j] = bits[place]
    leave(memory, slot)


_TASKS = {
    np.dtype(code): instance(
        f"order_{code}", _order, FLOATS=code[0] == "f", SIZE=int(code[1]),
        BITS=_I64 if code[1] == "8" else _I32,
    )
    for code in ("f4", "i4", "f8", "i8")
}  # fmt: skip
_AS = {"i1": "i4", "u1": "i4", "i2": "i4", "u2": "i4", "f2": "f4", "u4": "i8"}
"""Dtypes, by numpy's code, that are ordered as others that hold them."""


def _is_few(n: int, k: int) -> bool:
    """Whether k of n elements are so few that they are selected by insertion."""
    return 0 < k <= MOST and 4 * k <= n


def ordered(x: np.ndarray, k: int, *, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    """(values, indices) of the k smallest or largest of the rows [..., n] of x, in order.

    Equal elements stand in the order of their places; NaN is larger than any number.
    """
    *lead, n = x.shape
    if x.dtype not in _TASKS and (wider := _wider(x.dtype)) is not None:
        values, indices = ordered(x.astype(wider), k, largest=largest)
        return values.astype(x.dtype), indices
    if x.dtype not in _TASKS or n >= LONGEST:
        return _of_any(x, k, largest)
    values, indices = empty((*lead, k), x.dtype), empty((*lead, k), np.int64)
    if values.size:
        launch, chunks, size = _plan(x.dtype, x.size // n, n, k, largest)
        launch(contiguous(x), values, indices, scratch(size, chunks))
    return values, indices


def _wider(dtype: np.dtype) -> np.dtype | None:
    """A dtype that is ordered here and holds all numbers of another; None if there is none."""
    # Of the others only bfloat16 has two bytes; float32 holds it as it does float16.
    code = dtype.str[1:] if dtype.kind in "iuf" else "f2" if dtype.itemsize == 2 else ""
    return np.dtype(_AS[code]) if code in _AS else None


def ordered_of(
    shape: tuple[int, ...], dtype: np.dtype, k: int, *, largest: bool
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None:
    """`ordered` for short rows, with scratch memory that is kept; None for others."""
    *lead, n = shape
    if dtype not in _TASKS or n >= LONGEST or not k or not math.prod(shape):
        return None
    launch, _, size = _plan(dtype, math.prod(lead), n, k, largest)
    if size > KEPT:
        return None
    found = (*lead, k)

    def run(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, indices = empty(found, dtype), empty(found, np.int64)
        memory = _SPARE.borrow()
        launch(contiguous(x), values, indices, memory)
        _SPARE.give_back(memory)
        return values, indices

    return run


@lru_cache(1024)
def _plan(dtype: np.dtype, rows: int, n: int, k: int, largest: bool) -> tuple[Launch, int, int]:
    """The launch over rows, its chunks, and the bytes of scratch that one needs."""
    few, parts = _is_few(n, k), dtype.itemsize // 4
    chunks = min(chunks_of(rows * n, GRAIN if few else SORTED_GRAIN), rows)
    size = parts * (8 * k if few else 16 * n + 8 * COUNTS)
    words = rows, n, k, -1 if largest else 0, int(not few), size
    return Launch([(_TASKS[dtype], chunks)], 4, *words), chunks, size


def _of_any(x: np.ndarray, k: int, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    if largest:
        # Sorting backwards and counting from the end keeps equal elements in their order.
        places = x.shape[-1] - 1 - np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    else:
        places = np.argsort(x, axis=-1, kind="stable")
    places = places[..., :k]
    return np.take_along_axis(x, places, axis=-1), places
