"""Formulas bound to shapes: a call makes the result and runs the code.

What `apply.py` and `nest.py` choose for every call (the kernel, the number of chunks, the memory)
is chosen once for arrays that are dense; for others it is chosen anew. Half of what a tiny function
costs is choosing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dyn.kernels.elementwise import nest
from dyn.kernels.elementwise.apply import FAST

ENTRY = "(int64, int64, int64, int64, int64, int64, float64, float64, float64)"


def is_small(shape: Sequence[int]) -> bool:
    """Whether there are elements, but so few that one thread does them all."""
    return 0 < math.prod(shape) < nest.GRAIN


def bound(
    name: str, shape: Sequence[int], numbers: Sequence[float], otherwise: Callable[..., Any]
) -> Callable[..., Any]:
    """The formula for float32 arrays of one shape.

    Args:
        name: of the formula.
        shape: of all operands, which have elements.
        numbers: of the formula, up to three.
        otherwise: what does the same for arrays of other layouts.
    """
    formula = FAST[name]
    if not is_small(shape):
        run = nest.bound(formula, tuple(shape), tuple(numbers))
        return _if_alike(run, formula.inputs, otherwise)
    enter, code, dtype = nest.once.compile(ENTRY), formula.address, formula.dtype
    shape, count, no, empty = tuple(shape), math.prod(shape), nest.NO, np.empty
    p, q, r = (*map(float, numbers), 0.0, 0.0, 0.0)[:3]

    def one(x: np.ndarray) -> np.ndarray:
        if not x.flags.c_contiguous:
            return otherwise(x)
        out = empty(shape, dtype)
        enter(code, id(x), no, no, id(out), count, p, q, r)
        return out

    def two(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if not (x.flags.c_contiguous and y.flags.c_contiguous):
            return otherwise(x, y)
        out = empty(shape, dtype)
        enter(code, id(x), id(y), no, id(out), count, p, q, r)
        return out

    def three(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        if not (x.flags.c_contiguous and y.flags.c_contiguous and z.flags.c_contiguous):
            return otherwise(x, y, z)
        out = empty(shape, dtype)
        enter(code, id(x), id(y), id(z), id(out), count, p, q, r)
        return out

    return (one, two, three)[formula.inputs - 1]


def bound_pair(
    name: str, x: Sequence[int], y: Sequence[int], otherwise: Callable[..., Any]
) -> Callable[..., Any] | None:
    """The formula for two float32 arrays whose shapes differ, of any size; as `bound`."""
    run = nest.bound_pair(FAST[name], tuple(x), tuple(y))
    if run is None:
        return None

    def pair(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return run(x, y) if x.flags.c_contiguous and y.flags.c_contiguous else otherwise(x, y)

    return pair


def _if_alike(
    run: Callable[..., Any], inputs: int, otherwise: Callable[..., Any]
) -> Callable[..., Any]:
    """One function for dense arrays of equal strides, in any order of axes; one for the rest."""

    def one(x: np.ndarray) -> np.ndarray:
        out = run(x)
        return otherwise(x) if out is None else out

    def two(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        out = run(x, y) if x.strides == y.strides else None
        return otherwise(x, y) if out is None else out

    def three(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        out = run(x, y, z) if x.strides == y.strides == z.strides else None
        return otherwise(x, y, z) if out is None else out

    return (one, two, three)[inputs - 1]


def bound_lerp(shape: Sequence[int], otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """`lerp` of two arrays as in `bound`, by a weight that is 0-d."""
    formula = FAST["lerp_by"]
    enter, code, dtype = nest.once.compile(ENTRY), formula.address, formula.dtype
    shape, count, no, empty = tuple(shape), math.prod(shape), nest.NO, np.empty

    def run(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
        if not (x.flags.c_contiguous and y.flags.c_contiguous):
            return otherwise(x, y, weight)
        out = empty(shape, dtype)
        enter(code, id(x), id(y), no, id(out), count, float(weight), 0.0, 0.0)
        return out

    return run
