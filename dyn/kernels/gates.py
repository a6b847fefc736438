"""Gated linear units: halves of an array along an axis, read where they lie.

The first half is multiplied by the sigmoid of the second; the gradient of both goes into one array.
Of a dense float32 array each half is a run of elements for every place before the axis, which the
compiled formulas take as they are; others, and many short runs, go through functions of whole
arrays.

Source: Dauphin et al., Language Modeling with Gated Convolutional Networks, arXiv 1612.08083.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

from dyn.kernels.copy import contiguous, place
from dyn.kernels.elementwise import binary, ternary
from dyn.kernels.elementwise.apply import FAST
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of, dense
from dyn.kernels.runtime.jit import call_address, task
from dyn.kernels.runtime.memory import empty, maker
from dyn.kernels.runtime.threads import argument, bounds, pack

GRAIN = 16384
"""Elements worth a chunk."""
SHORT = 32
"""Elements of a run below which all of them are brought together first."""
FEW = 256
"""Runs up to which that is not worth it."""
_F32 = np.dtype(np.float32)


def _halves(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Views of the two halves."""
    before, half = (slice(None),) * axis, x.shape[axis] // 2
    return x[(*before, slice(None, half))], x[(*before, slice(half, None))]


def _read(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The two halves, as functions of whole arrays read them best."""
    a, b = _halves(x, axis)
    return (contiguous(a), contiguous(b)) if _is_short(x.shape, axis) else (a, b)


def _is_short(shape: tuple[int, ...], axis: int) -> bool:
    """Whether a half is a short run of elements for every place before the axis."""
    return math.prod(shape[axis:]) < 2 * SHORT


def _runs(shape: tuple[int, ...], dtype: np.dtype, axis: int) -> bool:
    """Whether the halves of a dense array are runs that compiled formulas take as they lie."""
    return dtype == _F32 and (not _is_short(shape, axis) or math.prod(shape[:axis]) <= FEW)


@task
def _gate_runs(args, chunk, chunks):
    """Words: (x, out; pairs of runs, elements of a run, parts of a run, formula)."""
    count, parts = argument(args, 3), argument(args, 4)
    size = 4 * count
    start, stop = bounds(argument(args, 2) * parts, chunk, chunks, 1)
    for unit in range(start, stop):
        pair, part = unit // parts, unit % parts
        low, high = count * part // parts, count * (part + 1) // parts
        a = data(argument(args, 0)) + 2 * size * pair + 4 * low
        out = data(argument(args, 1)) + size * pair + 4 * low
        call_address(
            argument(args, 5), a, a + size, a, out, high - low, pack(0.0, 0.0, 0.0, 0, 1, 0, 0, 0)
        )


@task
def _gate_runs_back(args, chunk, chunks):
    """Words: (g, x, out; pairs of runs, elements of a run, parts of a run, two formulas)."""
    count, parts = argument(args, 4), argument(args, 5)
    size = 4 * count
    start, stop = bounds(argument(args, 3) * parts, chunk, chunks, 1)
    for unit in range(start, stop):
        pair, part = unit // parts, unit % parts
        low, high = count * part // parts, count * (part + 1) // parts
        g = data(argument(args, 0)) + size * pair + 4 * low
        a = data(argument(args, 1)) + 2 * size * pair + 4 * low
        out = data(argument(args, 2)) + 2 * size * pair + 4 * low
        none = pack(0.0, 0.0, 0.0, 0, 1, 0, 0, 0)
        call_address(argument(args, 6), g, a + size, g, out, high - low, none)
        call_address(argument(args, 7), g, a, a + size, out + size, high - low, none)


@lru_cache(1024)
def _plan(shape: tuple[int, ...], axis: int, back: bool) -> Launch:
    pairs, count = math.prod(shape[:axis]), math.prod(shape[axis:]) // 2
    chunks = chunks_of(pairs * count, GRAIN)
    # Few long runs are cut into parts, so that there is something to share out.
    parts = min(-(-chunks // max(pairs, 1)), max(count, 1))
    chunks = max(1, min(chunks, pairs * parts))
    if back:
        codes = FAST["gated"].address, FAST["gated_grad"].address
        return Launch([(_gate_runs_back, chunks)], 3, pairs, count, parts, *codes)
    return Launch([(_gate_runs, chunks)], 2, pairs, count, parts, FAST["gated"].address)


@lru_cache(1024)
def glu_of(
    shape: tuple[int, ...], dtype: np.dtype, axis: int
) -> Callable[[np.ndarray], np.ndarray]:
    """`glu` of arrays of one shape."""
    general = partial(_glu_of_any, axis=axis)
    if not _runs(shape, dtype, axis):
        return general
    half = (*shape[:axis], shape[axis] // 2, *shape[axis + 1 :])
    return dense(_plan(shape, axis, False), maker(half, _F32), general)


def _glu_of_any(x: np.ndarray, axis: int) -> np.ndarray:
    return binary("gated", *_read(x, axis))


def glu(x: np.ndarray, axis: int) -> np.ndarray:
    """The first half times the sigmoid of the second."""
    return glu_of(x.shape, x.dtype, axis)(x)


def glu_grad(g: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    """The gradient of both halves."""
    out = empty(x.shape, x.dtype)
    in_order = x.flags.c_contiguous and g.flags.c_contiguous
    if in_order and g.dtype == _F32 and _runs(x.shape, x.dtype, axis):
        _plan(x.shape, axis, True)(g, x, out)
        return out
    a, b = _read(x, axis)
    for half, found in zip(
        _halves(out, axis), (binary("gated", g, b), ternary("gated_grad", g, a, b)), strict=True
    ):
        place(half, found)
    return out
