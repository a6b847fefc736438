"""The tasks of element-wise work: a chunk of the elements, put through a formula kernel.

Three ways: dense operands as they lie; row by row, where every operand lies together along the
fastest axis or has one element for it; block by block, where an operand is brought together first.
Which one it is, and what the words say, is decided in `plan.py` and `nest.py`.
"""

from __future__ import annotations

import numpy as np

from dyn.kernels.elementwise.plan import (
    BLOCK,
    CYCLE,
    DENSE,
    FIRST,
    MAX_OPERANDS,
    OPERAND,
    SIZES,
    SPACE,
)
from dyn.kernels.elementwise.pointwise import PARAMETERS, ROWS, STEPS
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.bytes import put_word
from dyn.kernels.runtime.jit import call_address, kernel, task
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument, bounds, pack
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.runs import SHORT, copy_elements, copy_runs, pointer, repeat_each

OUT, SPARE, CODE, TOTAL, BYTES = range(MAX_OPERANDS, MAX_OPERANDS + 5)
NUMBERS = BYTES + MAX_OPERANDS + 1
PLAN = NUMBERS + PARAMETERS
ARRAYS = CODE
"""Words: `id`s of operands, output and spare memory; then, behind those of the arrays, the formula,
the number of elements, their bytes in each array, the parameters of the formula, the plan."""


@kernel
def _gather_rows(source, beside, step, target, size, count, rows):
    """Bring rows of `count` elements, which are `beside` bytes apart, together."""
    if step == size and count * size <= SHORT:
        copy_runs(source, target, count * size, beside, count * size, rows)
    elif step == 0:
        repeat_each(source, beside, target, size, count, rows)
    else:
        for row in range(rows):
            copy_elements(source + row * beside, step, target + row * count * size, size, count)


@kernel
def _gather(words, operand, source, target, size, start, count):
    """Where elements start to start + count of an operand stand together, in the output's order.

    In `target`, where they are copied to, unless they lie together already.
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
        beside = argument(strides, last - 1)
        _gather_rows(source + beside, beside, step, target + done * size, size, inner, rows)
        source += rows * beside
        done += rows * inner
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
def by_chunks(args, chunk, chunks):
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
        whole = BLOCK + period
        copy_elements(data(argument(args, number)), size, space, size, period)
        done = period
        while done < whole:  # whole periods, twice as many each time
            run = min(done, whole - done)
            copy_elements(space, size, space + done * size, size, run)
            done += run


@task
def by_blocks(args, chunk, chunks):
    """A chunk of a formula of which some operands are brought together block by block."""
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
    at = start
    while at < stop:
        count = min(BLOCK, stop - at)
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
def _step(words, number, axis):
    """Bytes from element to element of an operand along an axis."""
    return argument(words, FIRST + number * OPERAND + 2 + axis)


@task
def by_rows(args, chunk, chunks):
    """A chunk of a formula of operands that lie together, or repeat, along the fastest axis."""
    start, stop = bounds(argument(args, TOTAL), chunk, chunks, 64)
    words = argument(args, PLAN)
    last = argument(words, 0) - 1
    inner, between = argument(words, SIZES + last), 1
    params = room()
    for k in range(PARAMETERS):
        put_word(params, k, argument(args, NUMBERS + k))
    if last > 0:
        between = argument(words, SIZES + last - 1)
        for k in range(MAX_OPERANDS):
            put_word(params, STEPS + k, _step(words, k, last - 1))
    at = start
    while at < stop:
        row, place = at // inner, at % inner
        count, rows = min(inner - place, stop - at), 1
        if count == inner:
            rows = min(between - row % between, (stop - at) // inner)
        put_word(params, ROWS, rows)
        a = data(argument(args, 0)) + place * _step(words, 0, last)
        b = data(argument(args, 1)) + place * _step(words, 1, last)
        c = data(argument(args, 2)) + place * _step(words, 2, last)
        for axis in range(last - 1, -1, -1):
            n = argument(words, SIZES + axis)
            a += row % n * _step(words, 0, axis)
            b += row % n * _step(words, 1, axis)
            c += row % n * _step(words, 2, axis)
            row //= n
        out = data(argument(args, OUT)) + at * argument(args, BYTES + OUT)
        call_address(argument(args, CODE), a, b, c, out, count, params)
        at += count * rows


@kernel
def once(code, a, b, c, out, count, p, q, r):
    """Run a formula over few dense elements."""
    call_address(code, data(a), data(b), data(c), data(out), count, pack(p, q, r, 0, 1, 0, 0, 0))
