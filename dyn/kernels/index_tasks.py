"""The tasks of `index.py`: whole rows and single elements, moved or added by index.

Words of a task name their arrays by `id`; `failed` becomes 1 if an index is outside its axis. An
index is checked run by run before it is used, so that nothing outside an array is touched.
"""

from __future__ import annotations

import numpy as np

from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import instances, kernel, task
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import copy_run, pointer

RUN = 512
"""Indices that are checked at a time, where runs of them are shorter."""
LINE = 64
"""Columns are cut at multiples of so many bytes, so that chunks write to lines of their own."""
_I64 = np.int64(0)
WRITES, ADDS, RAISES, LOWERS, MULTIPLIES = range(5)
"""What a place does with a value: takes it, adds it, keeps the larger or the smaller, or NaN, or
is multiplied by it."""
ZERO, SIZE, HOW = _I64, 8, WRITES
"""What instances of a task have of their own: a zero of the elements, its bytes, what is done."""


@kernel
def valid(index, at, count, n, lowest):
    """Whether indices at to at + count are all in [lowest, n)."""
    span = np.uint64(n - lowest)
    wrong = np.uint64(0)
    for i in range(at, at + count):
        wrong |= np.uint64(np.uint64(index[i] - lowest) >= span)
    return wrong == 0


@kernel(forceinline=True)
def _wrapped(place, n):
    """An index counted from the front."""
    return place + (n & (place >> 63))


@task
def take_rows(args, chunk, chunks):
    """Copy rows: (x, index, out, failed, outer, n, rows of the index, bytes of a row, lowest)."""
    x, index = data(argument(args, 0)), pointer(data(argument(args, 1)), _I64)
    out, failed = data(argument(args, 2)), pointer(data(argument(args, 3)), _I64)
    n, count, size = argument(args, 5), argument(args, 6), argument(args, 7)
    start, stop = bounds(argument(args, 4) * count, chunk, chunks, 1)
    while start < stop:
        first = start % count
        run = min(count - first, stop - start)
        source, to = x + start // count * n * size, out + start * size
        start += run
        if not valid(index, first, run, n, argument(args, 8)):
            failed[0] = 1
        elif size == 4:
            four, small = pointer(to, np.int32(0)), pointer(source, np.int32(0))
            for i in range(run):
                four[i] = small[_wrapped(index[first + i], n)]
        elif size == 8:
            eight, wide = pointer(to, _I64), pointer(source, _I64)
            for i in range(run):
                eight[i] = wide[_wrapped(index[first + i], n)]
        else:
            for i in range(run):
                copy_run(source + _wrapped(index[first + i], n) * size, to + i * size, size)


@task
def put_rows(args, chunk, chunks):
    """Write rows: (out, index, value, failed, n, rows of the index, bytes of a row)."""
    out, index = data(argument(args, 0)), pointer(data(argument(args, 1)), _I64)
    value, failed = data(argument(args, 2)), pointer(data(argument(args, 3)), _I64)
    n, count, size = argument(args, 4), argument(args, 5), argument(args, 6)
    start, stop = bounds(size, chunk, chunks, LINE)
    if not valid(index, 0, count, n, -n):
        failed[0] = 1
    else:
        for i in range(count):
            at = _wrapped(index[i], n) * size
            copy_run(value + i * size + start, out + at + start, stop - start)


def _add_rows(args, chunk, chunks):
    """Add rows of numbers: (out, index, value, failed, outer, n, rows, inner, block).

    A unit is a block of columns of one of the outer arrays.
    """
    index, failed = pointer(data(argument(args, 1)), _I64), pointer(data(argument(args, 3)), _I64)
    out, value = data(argument(args, 0)), data(argument(args, 2))
    n, count, inner = argument(args, 5), argument(args, 6), argument(args, 7)
    block = argument(args, 8)
    blocks = (inner + block - 1) // block
    start, stop = bounds(argument(args, 4) * blocks, chunk, chunks, 1)
    if not valid(index, 0, count, n, -n):
        failed[0] = 1
        stop = start
    for unit in range(start, stop):
        low = unit % blocks * block
        wide = min(block, inner - low)
        to = pointer(out + (unit // blocks * n * inner + low) * SIZE, ZERO)
        source = pointer(value + (unit // blocks * count * inner + low) * SIZE, ZERO)
        if inner == 1:
            for i in range(count):
                to[_wrapped(index[i], n)] += source[i]
        else:
            for i in range(count):
                here, there = _wrapped(index[i], n) * inner, i * inner
                for c in range(wide):
                    to[here + c] += source[there + c]


@task
def flatten(args, chunk, chunks):
    """Row numbers of coordinates: (index, sizes, out, failed, rows, depth)."""
    index, sizes = pointer(data(argument(args, 0)), _I64), pointer(data(argument(args, 1)), _I64)
    out, failed = pointer(data(argument(args, 2)), _I64), pointer(data(argument(args, 3)), _I64)
    depth = argument(args, 5)
    start, stop = bounds(argument(args, 4), chunk, chunks, 1)
    for axis in range(depth):
        n = sizes[axis]
        wrong = np.uint64(0)
        for i in range(start, stop):
            at = index[i * depth + axis]
            wrong |= np.uint64(np.uint64(at + n) >= np.uint64(2 * n))
            out[i] = (0 if axis == 0 else out[i] * n) + _wrapped(at, n)
        if wrong != 0:
            failed[0] = 1


@task
def number_rows(args, chunk, chunks):
    """Row numbers of an index for each axis: (out, failed, sizes, index of each axis).

    `sizes` holds how many places and how many axes there are, then the sizes of the axes.
    """
    out, failed = pointer(data(argument(args, 0)), _I64), pointer(data(argument(args, 1)), _I64)
    sizes = pointer(data(argument(args, 2)), _I64)
    start, stop = bounds(sizes[0], chunk, chunks, 8)
    for axis in range(sizes[1]):
        index, n = pointer(data(argument(args, 3 + axis)), _I64), sizes[2 + axis]
        span, wrong = np.uint64(2 * n), np.uint64(0)
        for i in range(start, stop):
            wrong |= np.uint64(np.uint64(index[i] + n) >= span)
            out[i] = (0 if axis == 0 else out[i] * n) + _wrapped(index[i], n)
        if wrong != 0:
            failed[0] = 1


ALONG = "(x or out, index, out or value, failed, outer, n, rows, inner, depth, width)"
"""Words of tasks of elements [outer, rows, inner] that are matched to an index each. A unit is
`depth` rows of `width` columns of one of the outer arrays; where `inner` is 1, the rows of a unit
are done as if they were its columns."""


@kernel
def _unit(args, unit, tall, wide):
    """Of a unit: where its table, and its elements begin; its rows and columns."""
    n, rows, inner = argument(args, 5), argument(args, 6), argument(args, 7)
    depth, width = argument(args, 8), argument(args, 9)
    outer, left, first = unit, 0, 0
    if tall > 1 or wide > 1:  # divisions would take longer than a short unit
        outer, left = unit // wide // tall, unit % wide * width
        first = unit // wide % tall * depth
    count, height = min(width, inner - left), min(depth, rows - first)
    if inner == 1:
        count, height = height, 1
    return outer * n * inner + left, (outer * rows + first) * inner + left, height, count


@kernel
def _across(args):
    """Into how many units one of the outer arrays is cut, along its rows and its columns."""
    rows, inner = argument(args, 6), argument(args, 7)
    depth, width = argument(args, 8), argument(args, 9)
    return (rows + depth - 1) // depth, (inner + width - 1) // width


@kernel
def _together(args, tall, wide):
    """How many units are looked at together: several where each is one short run of indices."""
    if tall > 1 or wide > 1 or argument(args, 7) > 1:
        return 1
    return max(1, RUN // argument(args, 6))


def _take_along(args, chunk, chunks):
    """Read elements; words as in ALONG."""
    table, index = data(argument(args, 0)), pointer(data(argument(args, 1)), _I64)
    given, failed = pointer(data(argument(args, 2)), ZERO), pointer(data(argument(args, 3)), _I64)
    n, inner = argument(args, 5), argument(args, 7)
    tall, wide = _across(args)
    start, stop = bounds(argument(args, 4) * tall * wide, chunk, chunks, 1)
    together = _together(args, tall, wide)
    for unit in range(start, stop, together):
        base, at, height, count = _unit(args, unit, tall, wide)
        units = min(together, stop - unit)
        for _ in range(height):
            place = pointer(table + base * SIZE, ZERO)
            if not valid(index, at, units * count, n, -n):
                failed[0] = 1
            elif inner == 1:
                first = at
                for _ in range(units):
                    for c in range(first, first + count):
                        given[c] = place[_wrapped(index[c], n)]
                    first, base = first + count, base + n
                    place = pointer(table + base * SIZE, ZERO)
            else:
                for c in range(count):
                    given[at + c] = place[_wrapped(index[at + c], n) * inner + c]
            at += inner


def _put_along(args, chunk, chunks):
    """Write elements, or combine numbers as HOW says; words as in ALONG."""
    table, index = data(argument(args, 0)), pointer(data(argument(args, 1)), _I64)
    given, failed = pointer(data(argument(args, 2)), ZERO), pointer(data(argument(args, 3)), _I64)
    n, inner = argument(args, 5), argument(args, 7)
    tall, wide = _across(args)
    start, stop = bounds(argument(args, 4) * tall * wide, chunk, chunks, 1)
    together, step = _together(args, tall, wide), 0 if inner == 1 else 1
    for unit in range(start, stop, together):
        base, at, height, count = _unit(args, unit, tall, wide)
        units = min(together, stop - unit)
        for _ in range(height):
            if not valid(index, at, units * count, n, -n):
                failed[0] = 1
                break
            first, own = at, base
            for _ in range(units):
                place = pointer(table + own * SIZE, ZERO)
                for c in range(count):
                    where = _wrapped(index[first + c], n) * inner + c * step
                    new = given[first + c]
                    if HOW == ADDS:
                        place[where] += new
                    elif HOW == RAISES:
                        if new > place[where] or new != new:
                            place[where] = new
                    elif HOW == LOWERS:
                        if new < place[where] or new != new:
                            place[where] = new
                    elif HOW == MULTIPLIES:
                        place[where] *= new
                    else:
                        place[where] = new
                first, own = first + count, own + n
            at += inner


_NUMBERS, _WORDS = "f4 f8 i4 i8", "i1 i2 i4 i8"


def _by_size(tasks):
    """Tasks that move elements of any kind, by their bytes."""
    return {dtype.itemsize: task for dtype, task in tasks.items()}


ADD_ROWS = instances("add_rows", _add_rows, _NUMBERS)
PUT_ALONG = _by_size(instances("put_along", _put_along, _WORDS, HOW=WRITES))
COMBINE_ALONG = {
    "add": instances("add_along", _put_along, _NUMBERS, HOW=ADDS),
    "max": instances("max_along", _put_along, _NUMBERS, HOW=RAISES),
    "min": instances("min_along", _put_along, _NUMBERS, HOW=LOWERS),
    "mul": instances("mul_along", _put_along, _NUMBERS, HOW=MULTIPLIES),
}
"""Tasks that combine numbers, by the reduction and the dtype."""
TAKE_ALONG = _by_size(instances("take_along", _take_along, _WORDS))
