"""How the operands of a formula lie in memory, and how a loop over the output reads them.

Neighbouring axes that all operands run through in one go are one axis. What is left decides the
mode of each operand; a plan of words says all of it to the tasks of `nest.py`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

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
    # Formulas of one operand know no repeated one: it would have nothing to stand beside.
    alone = len(layouts) == 1
    operands: list[int] = []
    for place, (row, (_, _, size)) in enumerate(zip(rows, layouts, strict=True)):
        mode, period = _mode(sizes, row, size)
        if alone and period == 1:
            mode, period = NEST, 0
        lies = mode == DENSE or period == 1
        if mode == NEST and sizes[-1] >= LONG and row[-1] in ((size,) if alone else (0, size)):
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
