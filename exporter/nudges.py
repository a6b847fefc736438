"""How far results lie apart, and how far rounding can move them.

What a file may differ by is measured on the model itself: its numbers are changed by a few units in
the last place, and what its results move by is rounding. No file and no model is run here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dyn.core.op import OPS
from tracer.graph import Node

NUDGE = {"float64": 2.0**-50, "float32": 2.0**-21, "float16": 2.0**-9, "bfloat16": 2.0**-6}
"""Relative change of inputs, a few units in the last place, that tells what rounding can do."""
NUDGES = 4
"""Changes that are tried."""
NOISE = 16
"""An error of up to this many times the effect of such changes is rounding, and so are up to this
many times as many errors."""
FILLING, FAR = 500.0, 100.0
"""From the first number on, one that is so many times the next smaller one stands far above it."""


def nudged(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each element changed by a few units in the last place, up or down."""
    step = NUDGE.get(array.dtype.name)
    if step is None:
        return array
    # Kernels take arrays alone, and numpy's product of arrays without axes is none.
    return np.asarray(array * (1 + step * rng.choice((-1, 1), array.shape)), array.dtype)


def nudging(
    rng: np.random.Generator, *, functions: bool
) -> Callable[[Node, list[np.ndarray]], None]:
    """A watch for the interpreter that nudges the results of nodes.

    Args:
        rng: decides which elements go up and which down.
        functions: only of functions of one number, such as tanh, which libraries approximate; else
            of all nodes.
    """

    def watch(node: Node, results: list[np.ndarray]) -> None:
        if not functions or (OPS[node.op].promote == "float" and len(node.inputs) == 1):
            results[:] = [nudged(array, rng) for array in results]

    return watch


def gaps(wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
    """How far each element lies from what is wanted, of arrays of one shape.

    NaN equals NaN, an infinity equals itself; any other pair with one of them is infinitely far.
    Integers that differ do so by 1 at least, however large they are.
    """
    if wanted.dtype.kind in "biu":
        apart = np.abs(wanted.astype(np.float64) - given.astype(np.float64))
        return np.where(wanted != given, np.maximum(apart, 1.0), 0.0)
    if wanted.dtype.kind not in "fc":
        wanted, given = wanted.astype(np.float64), given.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.asarray(np.abs(wanted - given))
    if not np.isfinite(gap).all():
        gap[(np.isnan(wanted) & np.isnan(given)) | (wanted == given)] = 0.0
        gap[np.isnan(gap)] = np.inf
    return gap


def scale_of(wanted: np.ndarray) -> np.ndarray:
    """What errors of the elements are relative to: the largest finite magnitude wanted.

    Numbers that stand far above the others, such as those that masks fill in, are no scale but for
    each other.
    """
    if wanted.dtype.kind not in "fc":
        wanted = wanted.astype(np.float64)
    size = np.abs(wanted)
    known = size[np.isfinite(size)]
    top = known.max() if known.size else np.zeros((), size.dtype)
    if top < FILLING:
        return np.asarray(top)
    known = np.unique(known[known > 0])
    far = (known[1:] >= FILLING) & (known[1:] / FAR > known[:-1])
    tops = np.append(known[:-1][far], top)
    return tops[np.searchsorted(tops[:-1], size)]


def difference(wanted: np.ndarray, given: np.ndarray) -> tuple[float, float]:
    """Largest absolute difference (`gaps`), and the largest over what it is relative to.

    This is `scale_of`; of integers, the share of those that differ is told. Arrays of different
    shapes are infinitely far apart; arrays without elements do not differ.
    """
    if wanted.shape != given.shape:
        return np.inf, np.inf
    if not wanted.size:
        return 0.0, 0.0
    gap = gaps(wanted, given)
    absolute = float(gap.max())
    if wanted.dtype.kind in "biu":
        return absolute, float((gap > 0).mean())
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        relative = np.where(gap > 0, gap / scale_of(wanted), 0.0)
    return absolute, float(relative.max())


def farther(moves: np.ndarray | None, wanted: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """How far each element has moved at most: before (`moves`, if it has), and now."""
    if wanted.shape != moved.shape:  # a size that depends on values: it tells of no element
        return np.zeros(wanted.shape) if moves is None else moves
    gap = gaps(wanted, moved)
    return gap if moves is None else np.maximum(moves, gap)


def is_rounding(
    wanted: np.ndarray, given: np.ndarray, allowed: float, moves: np.ndarray | None
) -> bool:
    """Whether the errors that are larger than allowed are like the moves of the elements.

    Rounding need not reach the same elements twice, so errors are compared with moves in order of
    size: the largest of some with the largest. Elements that moves make infinite or NaN say nothing
    of the others.

    Args:
        allowed: error that needs no excuse, as `difference` gives relative ones.
        moves: how far each element moves (`farther`); None if that is not known.
    """
    if moves is None:
        return False
    gap = gaps(wanted, given)
    limit = allowed * scale_of(wanted) if allowed else 0.0
    steady = np.isfinite(moves)
    errors = np.sort(gap[steady & (gap > limit)])[::-1]
    most = np.sort(moves[steady])[::-1]
    return bool((errors <= NOISE * most[np.arange(len(errors)) // NOISE]).all())
