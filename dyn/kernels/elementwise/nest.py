"""Element-wise work over whole arrays: memory order, operands that repeat, chunks, threads.

A formula kernel (`pointwise.py`) reads contiguous inputs. An operand that is dense in the order of
the output is handed to it as it lies; one that repeats (a scalar, a bias, a channel) or lies
otherwise is brought block by block into the cache first, so nothing is ever spread out in memory.
What is computed is in `formulas.py`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.elementwise.pointwise import FormulaKernel
from dyn.kernels.runtime import memory, threads
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import call_address, kernel, task
from dyn.kernels.runtime.scratch import Spare, buffer, leave, take
from dyn.kernels.runtime.threads import argument, bounds, chunk_count, pack, parallel_for
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.runs import copy_elements, pointer

GRAIN = 16384
"""Elements worth sharing with another thread."""
CHUNK = 8192
"""Elements worth a chunk, once they are shared."""
BLOCK = 2048
"""Elements computed at a time when an operand is not dense."""
LONG = 512
"""Elements of the fastest axis from which on an operand that is dense along it is not brought
together: blocks end where the axis ends."""
SPACE = 3 * BLOCK * 8
"""Bytes of the block of one operand; a cyclic one holds whole periods, up to three times BLOCK."""
WHOLE = 1 << 62
"""As many elements as there are: where every operand is read as it lies."""
MAX_AXES = 6
MAX_OPERANDS = 3
DENSE, CYCLE, NEST, SINGLE = 0, 1, 2, 3
"""How an operand is read: as it lies; a short run over and over; along a nest of strides; one
element for each long run of the fastest axis."""

OPERAND = 2 + MAX_AXES
"""Words of a plan for one operand: mode, period, strides in bytes."""
SIZES = 1
CUT, REPEATS, MOST, FIRST = range(SIZES + MAX_AXES, SIZES + MAX_AXES + 4)
"""Where in a plan the sizes of the axes stand, after how many elements a block has to end, a bit
for each operand of which a block has one element, the most elements of a block, and the first
operand; the number of axes leads.
"""


# ---- plans -------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """How to run over operands of certain shapes and strides.

    Attributes:
        shape: of the output.
        sizes: of the axes of the output from slowest to fastest in memory.
        back: where in that order each axis of the output stands; None is row-major.
        words: what the task reads.
    """

    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    back: tuple[int, ...] | None
    words: np.ndarray


Layout = tuple[tuple[int, ...], tuple[int, ...], int]
"""Shape, strides in bytes, bytes of an element."""


@lru_cache(4096)
def plan(*layouts: Layout) -> Plan | None:
    """The plan for operands that broadcast; None if too many axes remain."""
    shape = np.broadcast_shapes(*(own for own, _, _ in layouts))
    order = _order(shape, layouts)
    axes = [a for a in order if shape[a] != 1]
    rows = []
    for own, strides, _ in layouts:
        lead = len(shape) - len(own)
        full = [0] * lead + [0 if n == 1 else s for n, s in zip(own, strides, strict=True)]
        rows.append([full[a] for a in axes])
    sizes, rows = _merged([shape[a] for a in axes], rows)
    if len(sizes) > MAX_AXES:
        return None
    cut, repeats, block = math.prod(sizes), 0, WHOLE
    operands: list[int] = []
    for place, (row, (_, _, size)) in enumerate(zip(rows, layouts, strict=True)):
        mode, period = _mode(sizes, row, size)
        lies = mode == DENSE or period == 1
        if mode == NEST and sizes[-1] >= LONG and row[-1] in (0, size):
            cut, lies = sizes[-1], True
            mode = NEST if row[-1] else SINGLE
        if mode == SINGLE or period == 1:
            repeats |= 1 << place
        block = block if lies else BLOCK
        operands += [mode, period, *row, *[0] * (MAX_AXES - len(row))]
    operands += [0] * (OPERAND * (MAX_OPERANDS - len(rows)))
    words = [len(sizes), *sizes, *[1] * (MAX_AXES - len(sizes)), cut, repeats, block, *operands]
    natural = order == tuple(range(len(shape)))
    back = None if natural else tuple(order.index(a) for a in range(len(shape)))
    return Plan(shape, tuple(shape[a] for a in order), back, np.array(words, np.int64))


def _order(shape: tuple[int, ...], layouts: tuple[Layout, ...]) -> tuple[int, ...]:
    """Memory order of the first operand that has the output's shape; row-major without one."""
    for own, strides, _ in layouts:
        if own == shape and all(strides):
            # Axes of one element come last: they have no place of their own.
            keys = [(n == 1, -abs(s)) for n, s in zip(shape, strides, strict=True)]
            order = sorted(range(len(shape)), key=keys.__getitem__)
            real = [a for a in order if shape[a] != 1]
            return tuple(range(len(shape))) if real == sorted(real) else tuple(order)
    return tuple(range(len(shape)))


def _merged(sizes: list[int], rows: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """Neighbouring axes that every operand runs through in one go, made one."""
    merged: list[int] = []
    kept: list[list[int]] = [[] for _ in rows]
    for i, n in enumerate(sizes):
        if merged and all(k[-1] == n * row[i] for k, row in zip(kept, rows, strict=True)):
            merged[-1] *= n
            for k, row in zip(kept, rows, strict=True):
                k[-1] = row[i]
        else:
            merged.append(n)
            for k, row in zip(kept, rows, strict=True):
                k.append(row[i])
    return merged, kept


def _mode(sizes: list[int], strides: list[int], size: int) -> tuple[int, int]:
    """How an operand is read, and after how many elements it starts over."""
    period, left = 1, len(sizes)
    while left and strides[left - 1] == period * size:
        period *= sizes[left - 1]
        left -= 1
    if not left:
        return DENSE, 0
    return (CYCLE, period) if period <= BLOCK and not any(strides[:left]) else (NEST, 0)


# ---- running -----------------------------------------------------------------------------------


@kernel
def _gather(words, operand, source, target, size, start, count):
    """Where elements start to start + count of an operand stand together, in the output's order.

    In `target`, where they are copied to, unless they lie together already. Of an operand with one
    element for all of them, where LANES such elements stand.
    """
    strides = operand + 16
    last = argument(words, 0) - 1
    inner = argument(words, SIZES + last)
    step = argument(strides, last)
    places = pointer(room(), np.int64(0))
    place = start % inner
    source += place * step
    outer = start // inner
    for axis in range(last - 1, -1, -1):
        n = argument(words, SIZES + axis)
        places[axis] = outer % n
        source += places[axis] * argument(strides, axis)
        outer //= n
    if argument(operand, 0) == SINGLE:
        copy_elements(source, 0, target, size, LANES)
        return target
    if step == size and place + count <= inner:
        return source
    done = 0
    while True:
        run = min(inner - place, count - done)
        copy_elements(source, step, target + done * size, size, run)
        done += run
        if done >= count:
            break
        source -= place * step
        place = 0
        for axis in range(last - 1, -1, -1):
            n = argument(words, SIZES + axis)
            by = 1 - n if places[axis] + 1 == n else 1
            places[axis] += by
            source += by * argument(strides, axis)
            if by == 1:
                break
    return target


@task
def _flat(args, chunk, chunks):
    """A chunk of a formula over dense operands."""
    start, stop = bounds(argument(args, 10), chunk, chunks, 64)
    call_address(
        argument(args, 0),
        argument(args, 1) + start * argument(args, 5),
        argument(args, 2) + start * argument(args, 6),
        argument(args, 3) + start * argument(args, 7),
        argument(args, 4) + start * argument(args, 8),
        stop - start,
        argument(args, 9),
    )


@kernel
def _operand(args, words, number, space, start, count):
    """Where elements start to start + count of an operand stand one after the other."""
    source = argument(args, 1 + number)
    size = argument(args, 5 + number)
    operand = words + 8 * (FIRST + number * OPERAND)
    mode = argument(operand, 0)
    if mode == DENSE:
        return source + start * size
    if mode == CYCLE:
        return space + start % argument(operand, 1) * size
    return _gather(words, operand, source, space, size, start, count)


@kernel
def _fill_cycle(args, words, number, space):
    """Write the run of a cyclic operand over and over: a block and a period of it."""
    operand = words + 8 * (FIRST + number * OPERAND)
    if argument(operand, 0) == CYCLE:
        period = argument(operand, 1)
        size = argument(args, 5 + number)
        whole = LANES if period == 1 else BLOCK + period
        copy_elements(argument(args, 1 + number), size, space, size, period)
        done = period
        while done < whole:  # whole periods, twice as many each time
            run = min(done, whole - done)
            copy_elements(space, size, space + done * size, size, run)
            done += run


@task
def _nested(args, chunk, chunks):
    """A chunk of a formula of which some operands are not dense."""
    start, stop = bounds(argument(args, 10), chunk, chunks, 64)
    words = argument(args, 11)
    pool = argument(args, 12)
    slot = take(pool)
    a = buffer(pool, slot, MAX_OPERANDS * SPACE)
    b = a + SPACE
    c = b + SPACE
    _fill_cycle(args, words, 0, a)
    _fill_cycle(args, words, 1, b)
    _fill_cycle(args, words, 2, c)
    cut, most = argument(words, CUT), argument(words, MOST)
    at = start
    while at < stop:
        count = min(most, stop - at, cut - at % cut)
        call_address(
            argument(args, 0),
            _operand(args, words, 0, a, at, count),
            _operand(args, words, 1, b, at, count),
            _operand(args, words, 2, c, at, count),
            argument(args, 4) + at * argument(args, 8),
            count,
            argument(args, 9),
        )
        at += count
    leave(pool, slot)


@kernel
def _drive(pool, run, code, a, b, c, out, sizes, count, p, q, r, words, space):
    """Launch a task over arrays given by `id`; `sizes` holds their bytes per element."""
    numbers = pack(p, q, r, argument(data(words), REPEATS))
    args = pack(
        code,
        data(a),
        data(b),
        data(c),
        data(out),
        sizes & 15,
        sizes >> 4 & 15,
        sizes >> 8 & 15,
        sizes >> 12 & 15,
        numbers,
        count,
        data(words),
        data(space),
    )
    parallel_for(pool, run, args, chunk_count(count, CHUNK))


_NONE = np.zeros(FIRST, np.int64)
_SPACES = Spare(MAX_OPERANDS * SPACE)
NO = id(_NONE)
"""Stands for an operand or a plan that is not there."""


@kernel
def once(code, a, b, c, out, count, p, q, r):
    """Run a formula over few dense elements."""
    call_address(code, data(a), data(b), data(c), data(out), count, pack(p, q, r, 0))


def run_one(f: FormulaKernel, x: np.ndarray, p=0.0, q=0.0, r=0.0) -> np.ndarray | None:
    """The output of a formula of one operand.

    Args:
        f: made for the dtype of x.
        x: any strides.
        p, q, r: numbers of the formula.

    Returns:
        An array in the memory order of x; None if x has too many irregular axes.
    """
    count = x.size
    if x.flags.c_contiguous:
        if count < GRAIN:
            out = np.empty(x.shape, f.dtype)
            once(f.address, id(x), NO, NO, id(out), count, p, q, r)
            return out
        out = memory.empty(x.shape, f.dtype)
    else:
        out = memory.empty_like(x, f.dtype)
        if out.strides != x.strides or out.itemsize != x.itemsize:
            return _irregular(f, (x,), p, q, r)
    _drive(
        threads.pool(), _flat.address, f.address, id(x), NO, NO, id(out), f.sizes, count,
        p, q, r, NO, NO,
    )  # fmt: skip
    return out


def run_two(f: FormulaKernel, x: np.ndarray, y: np.ndarray, p=0.0, q=0.0, r=0.0) -> Any:
    """The output of a formula of two operands that broadcast; as `run_one`."""
    if x.shape != y.shape or x.strides != y.strides:
        return _irregular(f, (x, y), p, q, r)
    count = x.size
    if x.flags.c_contiguous:
        if count < GRAIN:
            out = np.empty(x.shape, f.dtype)
            once(f.address, id(x), id(y), NO, id(out), count, p, q, r)
            return out
        out = memory.empty(x.shape, f.dtype)
    else:
        out = memory.empty_like(x, f.dtype)
        if out.strides != x.strides or out.itemsize != x.itemsize:
            return _irregular(f, (x, y), p, q, r)
    _drive(
        threads.pool(), _flat.address, f.address, id(x), id(y), NO, id(out), f.sizes, count,
        p, q, r, NO, NO,
    )  # fmt: skip
    return out


def run_three(
    f: FormulaKernel, x: np.ndarray, y: np.ndarray, z: np.ndarray, p=0.0, q=0.0, r=0.0
) -> Any:
    """The output of a formula of three operands that broadcast; as `run_one`."""
    dense = x.flags.c_contiguous and y.flags.c_contiguous and z.flags.c_contiguous
    if not dense or x.shape != y.shape or x.shape != z.shape:
        return _irregular(f, (x, y, z), p, q, r)
    count = x.size
    if count < GRAIN:
        out = np.empty(x.shape, f.dtype)
        once(f.address, id(x), id(y), id(z), id(out), count, p, q, r)
        return out
    out = memory.empty(x.shape, f.dtype)
    _drive(
        threads.pool(), _flat.address, f.address, id(x), id(y), id(z), id(out), f.sizes, count,
        p, q, r, NO, NO,
    )  # fmt: skip
    return out


def _irregular(
    f: FormulaKernel, operands: tuple[np.ndarray, ...], p: float, q: float, r: float
) -> np.ndarray | None:
    """Run with a plan: operands repeat, or lie in memory in different orders or with gaps."""
    found = plan(*[(x.shape, x.strides, x.itemsize) for x in operands])
    if found is None:
        return None
    out = memory.empty(found.sizes, f.dtype)
    if found.back is not None:
        out = out.transpose(found.back)
    space = _SPACES.borrow()
    a, b, c = (*map(id, operands), NO, NO)[:MAX_OPERANDS]
    _drive(
        threads.pool(), _nested.address, f.address, a, b, c, id(out), f.sizes, out.size,
        p, q, r, id(found.words), id(space),
    )  # fmt: skip
    _SPACES.give_back(space)
    return out
