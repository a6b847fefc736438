"""Element-wise work over whole arrays: memory order, operands that repeat, chunks, threads.

A formula kernel (`pointwise.py`) reads rows that lie together, or one element for a row. Operands
that are dense in the order of the output, or lie and repeat row by row, are handed to it as they
are; the others are brought block by block into the cache first, so nothing is ever spread out in
memory. What is computed is in `formulas.py`, how operands lie in `plan.py`, the loops over them in
`tasks.py`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy import ascontiguousarray

from dyn.kernels.elementwise.plan import MAX_OPERANDS, SPACE, Layout, Plan, plan
from dyn.kernels.elementwise.pointwise import ASIDE, FormulaKernel
from dyn.kernels.elementwise.tasks import ARRAYS, by_blocks, by_chunks, by_rows, once
from dyn.kernels.runtime import memory
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.memory import maker, maker_like
from dyn.kernels.runtime.scratch import Spare

GRAIN = 16384
"""Elements worth sharing with another thread."""
CHUNK = 8192
"""Elements worth a chunk, once they are shared."""
TINY = 2048
"""Elements below which it is shorter to copy an operand than to find out how it lies."""
MAX_LAYOUTS = 8
"""Strides that a bound formula remembers; a program meets one or two."""

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
    plain = f.address, count, *sizes, *numbers, flags, 1, 0, 0, 0
    words = *plain, 0 if plan is None else plan.ctypes.data
    return Launch([(task, chunks)], ARRAYS, *words, holds=plan)


@lru_cache(4096)
def _dense(f: FormulaKernel, count: int, numbers: tuple[int, ...]) -> Launch:
    """A launch over so many elements, dense in all operands."""
    return _launch(by_chunks, f, count, numbers, 0, None)


class _Nested(NamedTuple):
    """A launch over operands of certain layouts, and the plan that it reads."""

    launch: Launch
    plan: Plan


@lru_cache(4096)
def _nest(f: FormulaKernel, numbers: tuple[int, ...], *layouts: Layout) -> _Nested | None:
    found = plan(*layouts)
    if found is None:
        return None
    task, repeats = (by_blocks, 0) if found.repeats is None else (by_rows, found.repeats)
    count = math.prod(found.shape)
    return _Nested(_launch(task, f, count, numbers, repeats, found.words), found)


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


def bound(
    f: FormulaKernel, shape: tuple[int, ...], numbers: tuple[float, ...]
) -> Callable[..., np.ndarray | None]:
    """What runs a formula over operands of one shape and equal strides.

    It returns None where there are gaps between their elements. How results of certain strides are
    made is remembered.
    """
    launch, makers = _dense(f, math.prod(shape), _bits(numbers)), {}

    def run(x: np.ndarray, y: np.ndarray = _NONE, z: np.ndarray = _NONE) -> np.ndarray | None:
        try:
            make = makers[x.strides]
        except KeyError:
            make = maker_like(x, f.dtype)
            if make is None or len(makers) >= MAX_LAYOUTS:
                return None
            makers[x.strides] = make
        out = make()
        launch(x, y, z, out, _NONE)
        return out

    return run


def bound_pair(
    f: FormulaKernel, *shapes: tuple[int, ...]
) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """What runs a formula over two dense operands of shapes that broadcast; None: too many axes."""
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
    make, launch = maker(found.plan.sizes, f.dtype), found.launch

    def run(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        out, spare = make(), _SPACES.borrow()
        launch(x, y, _NONE, out, spare)
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
