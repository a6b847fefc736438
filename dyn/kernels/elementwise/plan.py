"""How the operands of a formula lie in memory, and how a loop over the output reads them.

Neighbouring axes that all operands run through in one go are one axis. What is left decides the
mode of each operand; a plan of words says all of it to the tasks of `nest.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BLOCK = 2048
"""Elements computed at a time when an operand is not dense."""
ROW = 64
"""Elements of the fastest axis from which on its rows are computed one by one, if every operand
lies together along them or has one element for each."""
SPACE = 3 * BLOCK * 8
"""Bytes of the block of one operand; a cyclic one holds whole periods, up to three times BLOCK."""
MAX_AXES = 6
MAX_OPERANDS = 3
DENSE, CYCLE, NEST = 0, 1, 2
"""How a block of an operand is read: as it lies; a short run over and over; along a nest of
strides."""

OPERAND = 2 + MAX_AXES
"""Words of a plan for one operand: mode, period, strides in bytes."""
SIZES = 1
FIRST = SIZES + MAX_AXES
"""Where in a plan the sizes of the axes and the operands stand; the number of axes leads."""


class Plan(NamedTuple):
    """How to run over operands of certain shapes and strides.

    Attributes:
        shape: of the output.
        sizes: of the axes of the output from slowest to fastest in memory.
        back: where in that order each axis of the output stands; None is row-major.
        words: what the task reads.
        repeats: a bit for each operand that has one element for a row; None if the work is done
            by blocks, not rows.
    """

    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    back: tuple[int, ...] | None
    words: np.ndarray
    repeats: int | None


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
    operands: list[int] = []
    for row, (_, _, size) in zip(rows, layouts, strict=True):
        operands += [*_mode(sizes, row, size), *row, *[0] * (MAX_AXES - len(row))]
    operands += [0] * (OPERAND * (MAX_OPERANDS - len(rows)))
    words = [len(sizes), *sizes, *[1] * (MAX_AXES - len(sizes)), *operands]
    natural = order == tuple(range(len(shape)))
    back = None if natural else tuple(order.index(a) for a in range(len(shape)))
    found = tuple(shape[a] for a in order)
    return Plan(shape, found, back, np.array(words, np.int64), _repeats(sizes, rows, layouts))


def _repeats(sizes: list[int], rows: list[list[int]], layouts: tuple[Layout, ...]) -> int | None:
    """The operands that have one element for a row of the fastest axis; None: no rows."""
    if not sizes or sizes[-1] < ROW:
        return None
    steps = [row[-1] for row in rows]
    lying = [step == size for step, (_, _, size) in zip(steps, layouts, strict=True)]
    # A formula of one operand knows no repeated one: it would have nothing to stand beside.
    if not all(
        own or (step == 0 and len(rows) > 1) for own, step in zip(lying, steps, strict=True)
    ):
        return None
    return sum(1 << place for place, own in enumerate(lying) if not own)


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
