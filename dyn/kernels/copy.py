"""Copies between arrays of any strides, on all threads: the one mechanism behind every op that
moves elements without computing (padding, joining, cutting, other memory layouts).

The target is walked in its own memory order, neighbouring axes merged into one where both arrays
allow. A run of the source that is a run of the target is copied as it is; where the axis that is
dense in the source is another one, squares are transposed in registers. Elements are bytes here:
no dtype matters but its size.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.runtime import drive
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import call_address, kernel, task
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.runs import (
    SHORT,
    copy_elements,
    copy_run,
    copy_runs,
    fill_elements,
    gather_elements,
    pointer,
    spread_elements,
)
from dyn.kernels.vector.transpose import transpose_f32, transpose_f64

GRAIN = 65536
"""Bytes worth a chunk."""
FILL = GRAIN
"""Bytes from which on a fill is shared out: fewer are one chunk."""
SMALL = 8192
"""Bytes below which numpy's own copy costs less than calling ours."""
MAX_AXES = 6
TILE = 64
"""Elements on the side of a square that is transposed at a time."""
NARROW = 8
"""Elements below which a side is too short for registers: those are moved one by one."""

(
    AXES, ITEM, COUNT, COUNT_SOURCE, LOW, STEP, COLUMNS, COLUMN_TARGET, COLUMN_SOURCE, UNITS, FIRST,
) = range(11)  # fmt: skip
"""Words of a plan: number of outer axes; bytes of an element; of the innermost axis of the target
its size, the source's size and place in it, and the source's step; of the axis that is dense in the
source, if squares are transposed, its size and steps; the number of rows; then the outer axes."""
SIZE, SIZE_SOURCE, OFFSET, STEP_TARGET, STEP_SOURCE = range(5)
AXIS = 5
"""Words of an axis: sizes, where in the target the source begins, and steps in bytes."""


class _Plan(NamedTuple):
    """Words for the tasks; `squares` says which of the two."""

    words: np.ndarray
    units: int
    squares: bool


class _Ready(NamedTuple):
    """A copy between arrays of given layouts, run by `launch(target, source, words)`."""

    launch: drive.Launch
    words: np.ndarray


Strides = tuple[int, ...]


def _pieces(count: int, most: int) -> int:
    """Into how many equal pieces of about `most` elements a run is cut, so that threads share it.

    1 where no number of pieces near that divides `count`.
    """
    wanted = -(-count // most)
    return next((n for n in range(wanted, 4 * wanted) if count % n == 0), 1)


def _plan(
    shape: Strides, strides: Strides, own: Strides, source: Strides, low: Strides, item: int
) -> _Plan | None:
    """The plan for a target and a source that lies at `low` in it; None where there is none."""
    order = sorted(
        (a for a in range(len(shape)) if shape[a] != 1 or own[a] != 1),
        key=lambda a: -strides[a],
    )
    axes: list[list[int]] = []
    for a in order:
        size, inner, at, step, step_source = shape[a], own[a], low[a], strides[a], source[a]
        if axes and (size, at) == (inner, 0):
            outer = axes[-1]
            one = outer[SIZE_SOURCE] == 1 or outer[STEP_SOURCE] == size * step_source
            if outer[STEP_TARGET] == size * step and one:
                joined = (outer[SIZE] * size, outer[SIZE_SOURCE] * size, outer[OFFSET] * size)
                axes[-1] = [*joined, step, step_source]
                continue
        axes.append([size, inner, at, step, step_source])
    axes = axes or [[1, 1, 0, item, item]]
    count, inner, at, step, step_source = axes.pop()
    if len(axes) > MAX_AXES or (step != item and count > 1):
        return None
    padded = shape != own
    if not padded and step == step_source == item and len(axes) < MAX_AXES:
        pieces = _pieces(count, GRAIN // item)
        if pieces > 1:
            count = inner = count // pieces
            axes.append([pieces, pieces, 0, count * item, count * item])
    columns = [0, 0, 0]
    if step_source != item and inner > 1 and item in (4, 8) and not padded:
        dense = [a for a in axes if a[STEP_SOURCE] == item and a[SIZE] >= 4]
        if dense:
            axes.remove(dense[0])
            columns = [dense[0][SIZE], dense[0][STEP_TARGET], item]
    units = 1
    for axis in axes:
        units *= axis[SIZE]
    if columns[0]:
        units *= -(-columns[0] // TILE) * -(-count // TILE)
    step_source = item if inner == 1 else step_source
    axes = axes or [[1, 1, 0, 0, 0]]
    words = [len(axes), item, count, inner, at, step_source, *columns, units]
    words += [word for axis in axes for word in axis]
    return _Plan(np.array(words, np.int64), units, columns[0] > 0)


TARGET_AT, SOURCE_AT = MAX_AXES, MAX_AXES + 1
"""Behind the places of a row along the outer axes: where it begins in target and source."""


@kernel
def _outside(axis, place):
    """1 where the source has nothing at a place of an axis."""
    place -= argument(axis, OFFSET)
    return 1 if place < 0 or place >= argument(axis, SIZE_SOURCE) else 0


@kernel
def _start(plan, axes, row, at):
    """Note the places of row number `row`; how many of them are outside the source."""
    at[TARGET_AT] = 0
    at[SOURCE_AT] = 0
    outside = 0
    for number in range(axes - 1, -1, -1):
        axis = plan + 8 * (FIRST + AXIS * number)
        place = row % argument(axis, SIZE)
        row //= argument(axis, SIZE)
        at[number] = place
        at[TARGET_AT] += place * argument(axis, STEP_TARGET)
        at[SOURCE_AT] += (place - argument(axis, OFFSET)) * argument(axis, STEP_SOURCE)
        outside += _outside(axis, place)
    return outside


@kernel
def _advance(plan, axes, at, outside):
    """Go on to the next row."""
    for number in range(axes - 1, -1, -1):
        axis = plan + 8 * (FIRST + AXIS * number)
        wraps = at[number] + 1 == argument(axis, SIZE)
        by = -at[number] if wraps else 1
        outside += _outside(axis, at[number] + by) - _outside(axis, at[number])
        at[number] += by
        at[TARGET_AT] += by * argument(axis, STEP_TARGET)
        at[SOURCE_AT] += by * argument(axis, STEP_SOURCE)
        if not wraps:
            break
    return outside


@kernel
def _copy_rows(plan, source, target, source_step, target_step, rows):
    """Copy rows of the innermost axis."""
    item, step, count = argument(plan, ITEM), argument(plan, STEP), argument(plan, COUNT_SOURCE)
    if step == item and count * item <= SHORT:
        copy_runs(source, target, count * item, source_step, target_step, rows)
    elif step == item:
        for _ in range(rows):
            copy_run(source, target, count * item)
            source += source_step
            target += target_step
    else:
        for _ in range(rows):
            copy_elements(source, step, target, item, count)
            source += source_step
            target += target_step


@kernel
def _fill_rows(target, bits, item, count, step, rows):
    """Fill rows of the innermost axis, or a part of each."""
    if count == 1 and item == 4:
        for row in range(rows):
            pointer(target + row * step, np.int32(0))[0] = np.int32(bits)
    elif count > 0:
        for row in range(rows):
            fill_elements(target + row * step, bits, item, count)


@task
def place_rows(args, chunk, chunks):
    """Some rows of the target, a run of them along the last outer axis at a time.

    What the source does not have is filled, if there is a filling.
    """
    plan, filled, bits = data(argument(args, 2)), argument(args, 3), argument(args, 4)
    item, count, low = argument(plan, ITEM), argument(plan, COUNT), argument(plan, LOW)
    high = low + argument(plan, COUNT_SOURCE)
    units = argument(plan, UNITS)
    row, stop = units * chunk // chunks, units * (chunk + 1) // chunks
    axes = argument(plan, AXES) - 1
    last = plan + 8 * (FIRST + AXIS * axes)
    size, first = argument(last, SIZE), argument(last, OFFSET)
    after = first + argument(last, SIZE_SOURCE)
    to_step, at_step = argument(last, STEP_TARGET), argument(last, STEP_SOURCE)
    at = pointer(room(), np.int64(0))
    outside = _start(plan, axes, row // size, at)
    while row < stop:
        begin = row % size
        end = min(size, begin + stop - row)
        row += end - begin
        to = data(argument(args, 0)) + at[TARGET_AT]
        source = data(argument(args, 1)) + at[SOURCE_AT]
        inner_begin, inner_end = min(max(begin, first), end), max(min(end, after), begin)
        if outside > 0 or inner_end <= inner_begin:
            inner_begin, inner_end = end, end
        rows = inner_end - inner_begin
        inside = to + inner_begin * to_step
        source += (inner_begin - first) * at_step
        _copy_rows(plan, source, inside + low * item, at_step, to_step, rows)
        if filled:
            before = inner_begin - begin
            _fill_rows(to + begin * to_step, bits, item, count, to_step, before)
            _fill_rows(inside, bits, item, low, to_step, rows)
            _fill_rows(inside + high * item, bits, item, count - high, to_step, rows)
            rest = to + inner_end * to_step
            _fill_rows(rest, bits, item, count, to_step, end - inner_end)
        outside = _advance(plan, axes, at, outside)


@task
def place_squares(args, chunk, chunks):
    """Some squares of planes of which target and source have different axes dense."""
    plan, transpose = data(argument(args, 2)), argument(args, 3)
    item, step = argument(plan, ITEM), argument(plan, STEP)
    count, columns = argument(plan, COUNT), argument(plan, COLUMNS)
    wide = (count + TILE - 1) // TILE
    squares = wide * ((columns + TILE - 1) // TILE)
    units = argument(plan, UNITS)
    at = pointer(room(), np.int64(0))
    for unit in range(units * chunk // chunks, units * (chunk + 1) // chunks):
        _start(plan, argument(plan, AXES), unit // squares, at)
        row, column = unit % squares % wide * TILE, unit % squares // wide * TILE
        column_step = argument(plan, COLUMN_TARGET)
        source = data(argument(args, 1)) + at[SOURCE_AT] + row * step + column * item
        target = data(argument(args, 0)) + at[TARGET_AT] + row * item + column * column_step
        height, width = min(TILE, count - row), min(TILE, columns - column)
        if height >= NARROW and width >= NARROW:
            call_address(transpose, source, step, target, column_step, height, width)
        elif height < width:
            for i in range(height):
                spread_elements(source + i * step, target + i * item, column_step, item, width)
        else:
            for i in range(width):
                gather_elements(source + i * item, step, target + i * column_step, item, height)


# ---- calls -------------------------------------------------------------------------------------


def place(
    target: np.ndarray, source: np.ndarray, low: Strides | None = None, fill: Any = None
) -> None:
    """Copy an array into another of the same dtype.

    Args:
        target: as large as the source, or larger if `low` is given; they share no memory.
        source: any strides.
        low: where in the target the source begins, on each axis.
        fill: number for the rest of the target; None leaves that as it is.
    """
    ready = None
    if target.nbytes >= SMALL and target.itemsize <= 8:
        shape, own = target.shape, source.shape
        at = (0,) * len(own) if low is None else low
        bits = None if fill is None else _bits(fill, target.dtype)
        ready = _ready(shape, target.strides, own, source.strides, at, target.itemsize, bits)
    if ready is not None:
        ready.launch(target, source, ready.words)
        return
    if fill is not None:
        target[...] = fill
    inner = zip(low, source.shape, strict=True) if low is not None else ()
    target[tuple(slice(at, at + n) for at, n in inner)] = source


@lru_cache(4096)
def _ready(
    shape: Strides,
    strides: Strides,
    own: Strides,
    source: Strides,
    low: Strides,
    item: int,
    bits: int | None,
) -> _Ready | None:
    """A copy as `place` makes it, `bits` filling the rest; None where it is left to numpy."""
    plan = _plan(shape, strides, own, source, low, item)
    if plan is None:
        return None
    chunks = min(plan.units, drive.chunks_of(math.prod(shape) * item, GRAIN))
    task, words = place_rows, (int(bits is not None), bits or 0)
    if plan.squares:
        task, words = place_squares, ((transpose_f32 if item == 4 else transpose_f64).address,)
    return _Ready(drive.Launch([(task, chunks)], 3, *words), plan.words)


def _bits(value: Any, dtype: np.dtype) -> int:
    """The bits of a number in a dtype of 1 to 8 bytes, as a signed integer."""
    return int(np.array(value).astype(dtype).view(f"i{dtype.itemsize}"))


@task
def _fill(args, chunk, chunks):
    """Write one number to a run of elements: (out, bits, bytes of an element, count)."""
    size = argument(args, 2)
    start, stop = bounds(argument(args, 3), chunk, chunks, 64)
    fill_elements(data(argument(args, 0)) + start * size, argument(args, 1), size, stop - start)


def filled(shape: tuple[int, ...], value: Any, dtype: np.dtype) -> np.ndarray:
    """A new array with every element `value`."""
    out = empty(shape, dtype)
    if out.nbytes < FILL or out.itemsize > 8:
        out.fill(value)
        return out
    _filling(out.size, out.itemsize, _bits(value, out.dtype))(out)
    return out


@lru_cache(1024)
def _filling(count: int, item: int, bits: int) -> drive.Launch:
    """A launch of `_fill` over so many elements."""
    return drive.Launch([(_fill, drive.chunks_of(count * item, GRAIN))], 1, bits, item, count)


def contiguous(x: np.ndarray) -> np.ndarray:
    """x itself if it lies in row-major order, else a copy that does."""
    if x.flags.c_contiguous:
        return x
    return copied(x)


def integers(x: np.ndarray) -> np.ndarray:
    """x as int64 in row-major order."""
    if x.dtype == np.int64 and x.flags.c_contiguous:
        return x
    return np.ascontiguousarray(x, np.int64)


def copied(x: np.ndarray) -> np.ndarray:
    """A copy of x in row-major order."""
    if x.nbytes < SMALL:
        return np.array(x, order="C")
    made = empty(x.shape, x.dtype)
    place(made, x)
    return made
