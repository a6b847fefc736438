"""Element-wise work over whole arrays: memory order, operands that repeat, chunks, threads.

A formula kernel (`pointwise.py`) reads contiguous inputs. An operand that is dense in the order of
the output is handed to it as it lies; one that repeats (a scalar, a bias, a channel) or lies
otherwise is brought block by block into the cache first, so nothing is ever spread out in memory.
What is computed is in `formulas.py`, how operands lie in `plan.py`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy import ascontiguousarray

from dyn.kernels.elementwise.plan import (
    BLOCK,
    CUT,
    CYCLE,
    DENSE,
    FIRST,
    MAX_OPERANDS,
    MOST,
    OPERAND,
    REPEATS,
    SINGLE,
    SIZES,
    SPACE,
    Layout,
    Plan,
    plan,
)
from dyn.kernels.elementwise.pointwise import ASIDE, FormulaKernel
from dyn.kernels.runtime import memory
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import call_address, kernel, task
from dyn.kernels.runtime.scratch import Spare, buffer, leave, take
from dyn.kernels.runtime.threads import argument, bounds, pack
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.runs import copy_elements, pointer

GRAIN = 16384
"""Elements worth sharing with another thread."""
CHUNK = 8192
"""Elements worth a chunk, once they are shared."""
TINY = 2048
"""Elements below which it is shorter to copy an operand than to find out how it lies."""

# Words of the tasks: `id`s of operands, output and spare memory, then what follows from layouts.
OUT, SPARE, CODE, TOTAL, BYTES = range(MAX_OPERANDS, MAX_OPERANDS + 5)
NUMBERS = BYTES + MAX_OPERANDS + 1
PLAN = NUMBERS + 4
ARRAYS = CODE


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
        # Whole rows along the next axis, among which nothing is carried over.
        rows = argument(words, SIZES + last - 1) - 1 - places[last - 1]
        rows = min(rows, (count - done) // inner)
        places[last - 1] += rows
        for _ in range(rows):
            source += argument(strides, last - 1)
            copy_elements(source, step, target + done * size, size, inner)
            done += inner
        if done >= count:
            break
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
    start, stop = bounds(argument(args, TOTAL), chunk, chunks, 64)
    call_address(
        argument(args, CODE),
        data(argument(args, 0)) + start * argument(args, BYTES),
        data(argument(args, 1)) + start * argument(args, BYTES + 1),
        data(argument(args, 2)) + start * argument(args, BYTES + 2),
        data(argument(args, OUT)) + start * argument(args, BYTES + OUT),
        stop - start,
        args + 8 * NUMBERS,
    )


@kernel
def _operand(args, words, number, space, start, count):
    """Where elements start to start + count of an operand stand one after the other."""
    source = data(argument(args, number))
    size = argument(args, BYTES + number)
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
        size = argument(args, BYTES + number)
        whole = LANES if period == 1 else BLOCK + period
        copy_elements(data(argument(args, number)), size, space, size, period)
        done = period
        while done < whole:  # whole periods, twice as many each time
            run = min(done, whole - done)
            copy_elements(space, size, space + done * size, size, run)
            done += run


@task
def _nested(args, chunk, chunks):
    """A chunk of a formula of which some operands are not dense."""
    start, stop = bounds(argument(args, TOTAL), chunk, chunks, 64)
    words = argument(args, PLAN)
    spare = data(argument(args, SPARE))
    slot = take(spare)
    a = buffer(spare, slot, MAX_OPERANDS * SPACE)
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
            argument(args, CODE),
            _operand(args, words, 0, a, at, count),
            _operand(args, words, 1, b, at, count),
            _operand(args, words, 2, c, at, count),
            data(argument(args, OUT)) + at * argument(args, BYTES + OUT),
            count,
            args + 8 * NUMBERS,
        )
        at += count
    leave(spare, slot)


@kernel
def once(code, a, b, c, out, count, p, q, r):
    """Run a formula over few dense elements."""
    call_address(code, data(a), data(b), data(c), data(out), count, pack(p, q, r, 0))


# ---- calls -------------------------------------------------------------------------------------

_NONE = np.zeros(1, np.int64)
"""Stands for an array that there is not."""
NO = id(_NONE)
_SPACES = Spare(MAX_OPERANDS * SPACE)
_NUMBERS, _BITS = struct.Struct("3d"), struct.Struct("3q")


def _bits(numbers: tuple[float, ...]) -> tuple[int, ...]:
    """Numbers as words, which unlike floats tell -0 from 0 and are equal to themselves."""
    return _BITS.unpack(_NUMBERS.pack(*(*numbers, 0.0, 0.0, 0.0)[:3])) if numbers else (0, 0, 0)


def _launch(
    task: Any,
    f: FormulaKernel,
    count: int,
    numbers: tuple[int, ...],
    repeats: int,
    plan: np.ndarray | None,
) -> Launch:
    sizes = [f.sizes >> 4 * place & 15 for place in range(MAX_OPERANDS + 1)]
    chunks = chunks_of(count, CHUNK)
    flags = repeats | (count * f.dtype.itemsize >= memory.FAR) << ASIDE
    words = f.address, count, *sizes, *numbers, flags, 0 if plan is None else plan.ctypes.data
    return Launch([(task, chunks)], ARRAYS, *words, holds=plan)


@lru_cache(4096)
def _dense(f: FormulaKernel, count: int, numbers: tuple[int, ...]) -> Launch:
    """A launch over so many elements, dense in all operands."""
    return _launch(_flat, f, count, numbers, 0, None)


class _Nested(NamedTuple):
    """A launch over operands of certain layouts, and the plan that it reads."""

    launch: Launch
    plan: Plan


@lru_cache(4096)
def _nest(f: FormulaKernel, numbers: tuple[int, ...], *layouts: Layout) -> _Nested | None:
    found = plan(*layouts)
    if found is None:
        return None
    words, repeats = found.words, int(found.words[REPEATS])
    count = math.prod(found.shape)
    return _Nested(_launch(_nested, f, count, numbers, repeats, words), found)


def run_one(f: FormulaKernel, x: np.ndarray, *numbers: float) -> np.ndarray | None:
    """The output of a formula of one operand.

    Args:
        f: made for the dtype of x.
        x: any strides.
        numbers: of the formula, up to three.

    Returns:
        An array in the memory order of x; None if x has too many irregular axes.
    """
    count = x.size
    if x.flags.c_contiguous:
        if count < GRAIN:
            out = np.empty(x.shape, f.dtype)
            once(f.address, id(x), NO, NO, id(out), count, *_three(numbers))
            return out
        out = memory.empty(x.shape, f.dtype)
    else:
        out = memory.empty_like(x, f.dtype)
        if out.strides != x.strides or out.itemsize != x.itemsize:
            return _irregular(f, (x,), numbers)
    _dense(f, count, _bits(numbers))(x, x, x, out, _NONE)
    return out


def run_two(f: FormulaKernel, x: np.ndarray, y: np.ndarray, *numbers: float) -> Any:
    """The output of a formula of two operands that broadcast; as `run_one`."""
    count = x.size
    if x.shape != y.shape or x.strides != y.strides:
        if count >= TINY or x.shape != y.shape:
            return _irregular(f, (x, y), numbers)
        x, y = ascontiguousarray(x), ascontiguousarray(y)
    if x.flags.c_contiguous:
        if count < GRAIN:
            out = np.empty(x.shape, f.dtype)
            once(f.address, id(x), id(y), NO, id(out), count, *_three(numbers))
            return out
        out = memory.empty(x.shape, f.dtype)
    else:
        out = memory.empty_like(x, f.dtype)
        if out.strides != x.strides or out.itemsize != x.itemsize:
            return _irregular(f, (x, y), numbers)
    _dense(f, count, _bits(numbers))(x, y, x, out, _NONE)
    return out


def run_three(
    f: FormulaKernel, x: np.ndarray, y: np.ndarray, z: np.ndarray, *numbers: float
) -> Any:
    """The output of a formula of three operands that broadcast; as `run_one`."""
    dense = x.flags.c_contiguous and y.flags.c_contiguous and z.flags.c_contiguous
    count = x.size
    if not dense or x.shape != y.shape or x.shape != z.shape:
        if count >= TINY or x.shape != y.shape or x.shape != z.shape:
            return _irregular(f, (x, y, z), numbers)
        x, y, z = ascontiguousarray(x), ascontiguousarray(y), ascontiguousarray(z)
    if count < GRAIN:
        out = np.empty(x.shape, f.dtype)
        once(f.address, id(x), id(y), id(z), id(out), count, *_three(numbers))
        return out
    out = memory.empty(x.shape, f.dtype)
    _dense(f, count, _bits(numbers))(x, y, z, out, _NONE)
    return out


def bound(f: FormulaKernel, *shapes: tuple[int, ...]) -> Callable[..., np.ndarray] | None:
    """What runs a formula without numbers over dense operands of shapes that broadcast.

    None if they do not need a plan, or one with too many axes.
    """
    layouts = []
    for place, shape in enumerate(shapes):
        steps, step = [], f.sizes >> 4 * place & 15
        size = step
        for n in reversed(shape):
            steps.append(step)
            step *= n
        layouts.append((shape, tuple(reversed(steps)), size))
    found = _nest(f, _bits(()), *layouts)
    if found is None or found.plan.back is not None:
        return None
    make, launch = memory.maker(found.plan.sizes, f.dtype), found.launch
    absent = (_NONE,) * (MAX_OPERANDS - len(shapes))

    def run(*operands: np.ndarray) -> np.ndarray:
        out, spare = make(), _SPACES.borrow()
        launch(*operands, *absent, out, spare)
        _SPACES.give_back(spare)
        return out

    return run


def _three(numbers: tuple[float, ...]) -> tuple[float, ...]:
    return (*numbers, 0.0, 0.0, 0.0)[:3] if numbers else (0.0, 0.0, 0.0)


def _irregular(
    f: FormulaKernel, operands: tuple[np.ndarray, ...], numbers: tuple[float, ...]
) -> np.ndarray | None:
    """Run with a plan: operands repeat, or lie in memory in different orders or with gaps."""
    layouts = [(x.shape, x.strides, x.itemsize) for x in operands]
    found = _nest(f, _bits(numbers), *layouts)
    if found is None:
        return None
    out = memory.empty(found.plan.sizes, f.dtype)
    if found.plan.back is not None:
        out = out.transpose(found.plan.back)
    spare = _SPACES.borrow()
    found.launch(*(*operands, _NONE, _NONE)[:MAX_OPERANDS], out, spare)
    _SPACES.give_back(spare)
    return out
