"""Reductions of whole arrays of float64, integers and truth values over any axes, in stages.

A dense array is groups of axes that are reduced and kept in turn. A stage reduces the group that is
fastest in memory: rows, or columns where kept axes lie behind it. Long ones are cut into pieces by
their sizes alone, so a result does not depend on the number of threads, and the next stages join
them; columns of float64 are always, so that the error of a long sum grows with the logarithm of its
length. The tasks are in `plain_tasks.py`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.reduce.layout import layout, reduced_shape
from dyn.kernels.reduce.plain_tasks import AS_IS, COLUMNS, MEAN, PAIRED, ROOT, ROWS
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.memory import empty

MANY = 1024
"""Elements from which on numpy takes longer."""
GRAIN = 16384
"""Elements worth a chunk."""
PIECE, MAX_PIECES = 32768, 64
"""Elements worth a piece of a row or of columns, and most of them."""
TALL = 64
"""Rows that a piece of columns has at least: pieces have to be joined."""
SLICE, NARROW = 2048, 128
"""Columns that one chunk walks, or where nothing else makes work for all threads."""

CODES = {np.dtype(code): code for code in ("f4", "f8", "i4", "i8", "u1")}
CODES[np.dtype(bool)] = "u1"
_FINISHES = {"mean": ("sum", MEAN), "norm": ("squares", ROOT)}
"""What is folded for a result that is made of it, and how."""

_OF_TRUTH = {"max": "any", "min": "all"}
"""What extremes of truth values are: those end where the result is settled."""


class _Plan(NamedTuple):
    """How an array of one shape and layout is reduced.

    Attributes:
        stages: launches in turn, each with shape and dtype of its results.
        back: where each kept axis stands in the order of memory; None if that is row-major.
        shape: the shape wanted.
    """

    stages: tuple[tuple[Launch, tuple[int, ...], np.dtype], ...]
    back: tuple[int, ...] | None
    shape: tuple[int, ...]


@lru_cache(4096)
def _plan(
    name: str,
    dtype: np.dtype,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    axes: tuple[int, ...],
    keepdims: bool,
) -> _Plan | None:
    """How to reduce; None where the array is not dense."""
    laid = layout(shape, strides, axes, dtype.itemsize)
    if laid is None:
        return None
    fold, finish = _FINISHES.get(name, (name, AS_IS))
    if dtype == np.bool_:
        fold = _OF_TRUTH.get(fold, fold)
    count = math.prod([shape[a] for a in axes])
    wanted = reduced_shape(shape, axes, keepdims=keepdims)
    kept = wanted if laid.back is None else laid.kept
    sizes, reduced = list(laid.sizes), list(laid.reduced)
    stages = []
    while True in reduced:
        at = len(reduced) - 1 - reduced[::-1].index(True)
        outer, n, inner = math.prod(sizes[:at]), sizes[at], math.prod(sizes[at + 1 :])
        pieces, slices = _cut(outer, n, inner, fold in ("sum", "squares") and dtype.kind == "f")
        last = pieces == 1 and reduced.count(True) == 1
        how = finish if last else AS_IS
        chunks = min(outer * pieces * slices, chunks_of(outer * n * inner, GRAIN))
        if inner == 1:
            task, words = ROWS[fold, CODES[dtype]], (outer, n, pieces, how, count)
        else:
            words = (outer, n, inner, pieces, slices, how, count)
            task = COLUMNS[fold, CODES[dtype]]
        dtype = _result(fold, dtype)
        fold = "sum" if fold == "squares" else fold
        results = kept if last else (outer, pieces, inner)
        stages.append((Launch([(task, chunks)], 2, *words), results, dtype))
        if pieces > 1:
            sizes[at] = pieces
        else:
            del sizes[at], reduced[at]
    return _Plan(tuple(stages), laid.back, wanted)


def _result(fold: str, dtype: np.dtype) -> np.dtype:
    """The dtype of a result."""
    if fold in ("any", "all"):
        return np.dtype(bool)
    wide = fold in ("sum", "prod") and dtype.kind in "biu"
    return np.dtype(np.int64) if wide else dtype


def _cut(outer: int, n: int, inner: int, rounded: bool) -> tuple[int, int]:
    """Into how many pieces n is cut, and the columns into how many slices."""
    slices = -(-inner // SLICE)
    if rounded and inner > 1:
        pieces = max(1, n // PAIRED)
    elif outer * slices >= MAX_PIECES:
        pieces = 1
    else:
        most = min(MAX_PIECES, n // TALL) if inner > 1 else MAX_PIECES
        pieces = max(1, min(most, n * inner // slices // PIECE))
    if inner > 1 and outer * pieces == 1:
        slices = max(slices, min(inner // NARROW, n * inner // GRAIN))
    return pieces, slices


def reduced(
    name: str, x: np.ndarray, axes: tuple[int, ...], *, keepdims: bool = False
) -> np.ndarray | None:
    """An array reduced over axes; None where numpy must do it, or is faster.

    Args:
        name: "sum", "prod", "max", "min", "any" or "all"; of float64 also "mean", "squares" (their
            sum) and "norm".
        x: float64, int32, int64, uint8 or bool; float32 for "any" and "all".
    """
    if (
        x.size < MANY
        or not axes
        or (_FINISHES.get(name, (name,))[0], CODES.get(x.dtype)) not in ROWS
    ):
        return None
    plan = _plan(name, x.dtype, x.shape, x.strides, axes, keepdims)
    if plan is None:
        x = contiguous(x)
        plan = _plan(name, x.dtype, x.shape, x.strides, axes, keepdims)
    assert plan is not None
    found: Any = x
    for launch, shape, dtype in plan.stages:
        made = empty(shape, dtype)
        launch(found, made)
        found = made
    return found if plan.back is None else found.transpose(plan.back).reshape(plan.shape)
