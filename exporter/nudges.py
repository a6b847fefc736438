"""How far results lie apart, and how far rounding can move them.

What a file may differ by is measured on the model itself: its numbers are changed by a few units in
the last place, and what its results move by is rounding. No file and no model is run here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tracer.graph import Node

NUDGE = {"float64": 2.0**-50, "float32": 2.0**-21, "float16": 2.0**-9, "bfloat16": 2.0**-6}
"""Relative change of inputs, a few units in the last place, that tells what rounding can do."""
NUDGES = 4
"""Changes that are tried."""
NOISE = 16
"""An error of up to this many times the effect of such a change is rounding."""


def nudged(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each element changed by a few units in the last place, up or down."""
    step = NUDGE.get(array.dtype.name)
    if step is None:
        return array
    # Kernels take arrays alone, and numpy's product of arrays without axes is none.
    return np.asarray(array * (1 + step * rng.choice((-1, 1), array.shape)), array.dtype)


def nudging(rng: np.random.Generator) -> Callable[[Node, list[np.ndarray]], None]:
    """A watch for the interpreter that nudges the results of every node."""

    def watch(node: Node, results: list[np.ndarray]) -> None:
        results[:] = [nudged(array, rng) for array in results]

    return watch


def difference(wanted: np.ndarray, given: np.ndarray) -> tuple[float, float]:
    """Largest absolute difference, and that over the largest finite magnitude wanted.

    NaN equals NaN, an infinity equals itself; any other pair with one of them is infinitely far,
    and so are arrays of different shapes. Arrays without elements do not differ.
    """
    if wanted.shape != given.shape:
        return np.inf, np.inf
    if not wanted.size:
        return 0.0, 0.0
    if wanted.dtype.kind in "biu":
        differs = wanted != given
        return (float(differs.any()), float(differs.mean()))
    if wanted.dtype.kind not in "fc":
        wanted, given = wanted.astype(np.float64), given.astype(np.float64)
    a, b = np.atleast_1d(wanted), np.atleast_1d(given)
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(a - b)
    absolute = float(gap.max())
    if not np.isfinite(absolute):
        gap[(np.isnan(a) & np.isnan(b)) | (a == b)] = 0.0
        gap[np.isnan(gap)] = np.inf
        absolute = float(gap.max())
        a = a[np.isfinite(a)]
    scale = float(np.abs(a).max()) if a.size else 0.0
    return absolute, absolute / scale if scale else (0.0 if absolute == 0 else np.inf)
