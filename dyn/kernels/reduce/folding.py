"""Folding a whole array over axes: rows that are folded, or columns that are folded downwards.

A float32 array that is dense in any order of its axes is one or the other. Rows and columns are cut
into pieces by their sizes alone, so a result does not depend on the number of threads; what comes
of the pieces is joined and finished in float64. How an array of one shape is cut is remembered. The
folding of a piece is in `fold.py`, the tasks that call it are in `fold_tasks.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.reduce.fold import COLUMN, COLUMNS, FINISH, FINISHES, FOLDS, ROW
from dyn.kernels.reduce.fold_tasks import (
    fold_columns,
    fold_narrow,
    fold_rows,
    fold_short,
    join_pieces,
)
from dyn.kernels.reduce.layout import layout, reduced_shape
from dyn.kernels.reduce.short import SHORT, SHORT_ROWS
from dyn.kernels.runtime import memory
from dyn.kernels.runtime.drive import Launch, chunks_of, float_word
from dyn.kernels.vector.lanes import LANES

_F32 = np.dtype(np.float32)
GRAIN = 16384
"""Elements worth a chunk."""
PIECE = 32768
"""Elements of a row from which on it is cut into pieces."""
SLICE = 2048
"""Columns that one chunk folds, or NARROW where nothing else makes work for all threads."""
NARROW = 128
MAX_PIECES = 64
MAX_LAYOUTS = 8
"""Strides that a bound folding remembers; a program meets one or two."""
Fold = Callable[[np.ndarray], np.ndarray]


# ---- plans -------------------------------------------------------------------------------------


class _Folding(NamedTuple):
    """How an array of one shape and layout is folded.

    Attributes:
        run, chunks, words: the task that folds, and its parameters but for arrays and code.
        code: address of its microkernel.
        results: shape of what comes of the pieces.
        dtype, start: their dtype, and what they start with.
        join: words for joining before and after the two parameters; None where the first task
            finishes what it folds.
        rest: words of a second run of the task, for what is left over.
    """

    run: Any
    chunks: int
    words: tuple[int, ...]
    code: int
    results: tuple[int, ...]
    dtype: np.dtype
    start: float
    join: tuple[tuple[int, ...], tuple[int, ...]] | None
    rest: tuple[int, ...] = ()


@lru_cache(4096)
def _fold_of(
    name: str,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    axes: tuple[int, ...],
    keepdims: bool,
    correction: int,
) -> Fold | None:
    """What folds arrays of one shape and layout; None where numpy must do it."""
    laid = None if 0 in shape else layout(shape, strides, axes, 4)
    if laid is None:
        return None
    sizes, reduced = laid.sizes, laid.reduced
    outer = 1
    if reduced[0] and reduced.count(True) > 1:
        outer, sizes, reduced = sizes[0], sizes[1:], reduced[1:]
    if reduced.count(True) > 1:
        return None
    count = math.prod([shape[a] for a in axes])
    spread = count, max(count - correction, 0)
    divisors = {"mean": (count, 0), "var": spread, "std": spread}.get(name, (1, 0))
    name = "sum" if name == "mean" else name
    wanted = reduced_shape(shape, axes, keepdims=keepdims)
    kept = wanted if laid.back is None else laid.kept
    fold = FINISHES[name][0]
    if reduced[-1]:
        found = _of_rows(fold, outer, outer * math.prod(sizes[:-1]), sizes[-1])
    else:
        *lead, rows, columns = sizes
        if not lead and outer == 1 and columns <= COLUMNS // 4 and rows >= 2 * COLUMNS:
            found = _of_narrow(fold, rows, columns)
        else:
            found = _of_columns(fold, outer, outer * math.prod(lead), rows, columns)
    launches = _launches(found, FINISH[name], *(float_word(float(n)) for n in divisors))
    make_results, make = memory.maker(found.results, found.dtype), memory.maker(kept, _F32)
    begins, start, back = bool(found.rest), found.start, laid.back

    def fold_all(x: np.ndarray) -> np.ndarray:
        results, out = make_results(), make()
        if begins:  # the last piece is not written whole
            results[:, -1] = start
        for launch in launches:
            launch(x, results, out)
        return out if back is None else out.transpose(back).reshape(wanted)

    return fold_all


def _launches(found: _Folding, finish: Any, a: int, b: int) -> tuple[Launch, ...]:
    """Fold, and then join where the pieces have not been finished; a and b are for `finish`."""
    if found.join is None:
        stage = found.run, found.chunks
        return (Launch([stage], 3, found.code, finish.address, a, b, *found.words),)
    listed = [Launch([(found.run, found.chunks)], 3, found.code, 0, a, b, *found.words)]
    if found.rest:
        listed.append(Launch([(found.run, 1)], 3, found.code, 0, a, b, *found.rest))
    before, after = found.join
    chunks = chunks_of(math.prod(found.results), GRAIN)
    listed.append(Launch([(join_pieces, chunks)], 3, 0, 0, *before, a, b, *after, finish.address))
    return tuple(listed)


def _of_rows(name: str, outer: int, rows: int, count: int) -> _Folding:
    """Rows, of which `outer` groups fall together."""
    fold = FOLDS[name]
    size = fold.dtype.itemsize
    pieces = max(1, min(MAX_PIECES, count // PIECE))
    width_step = rows * size
    piece_step = fold.width * width_step
    join = None
    if pieces * outer > 1:
        one = rows // outer
        join = (one, width_step, pieces, piece_step, outer, one * size), (1, 0)
    chunks = min(chunks_of(rows * count, GRAIN), rows * pieces)
    results = (pieces, fold.width, rows)
    if count <= SHORT and rows >= LANES:
        one = ROW[name].address if rows % LANES else 0
        words = (rows, count, width_step, size, one)
        code = SHORT_ROWS[name].address
        return _Folding(fold_short, chunks, words, code, results, fold.dtype, fold.start, join)
    words = (rows, pieces, count, width_step, piece_step, size)
    code = ROW[name].address
    return _Folding(fold_rows, chunks, words, code, results, fold.dtype, fold.start, join)


def _of_columns(name: str, outer: int, batch: int, rows: int, columns: int) -> _Folding:
    """Blocks of columns, of which `outer` groups fall together."""
    fold = FOLDS[name]
    size = fold.dtype.itemsize
    slices = -(-columns // SLICE)
    # Cut the rows where blocks and slices alone do not make enough pieces for all threads.
    pieces = max(1, min(MAX_PIECES, rows * columns // PIECE // slices, rows // 8))
    if batch * slices >= MAX_PIECES:
        pieces = 1
    if batch * pieces == 1:
        slices = max(slices, min(columns // NARROW, rows * columns // GRAIN))
    width_step = columns * size
    piece_step = fold.width * width_step
    join = None
    if pieces * outer > 1:
        one, step = batch // outer, pieces * piece_step
        join = (columns, width_step, pieces, piece_step, outer, one * step), (one, step)
    chunks = min(chunks_of(batch * rows * columns, GRAIN), batch * pieces * slices)
    if join is None and batch > 1 and columns <= COLUMNS:
        words = (batch, rows, columns, batch * width_step, size)
        return _Folding(
            fold_narrow, chunks, words, COLUMN[name].address, (fold.width, batch, columns),
            fold.dtype, fold.start, None,
        )  # fmt: skip
    words = (batch, pieces, slices, rows, columns, width_step, piece_step, size, 0, 0)
    return _Folding(
        fold_columns, chunks, words, COLUMN[name].address, (batch, pieces, fold.width, columns),
        fold.dtype, fold.start, join,
    )  # fmt: skip


def _of_narrow(name: str, rows: int, columns: int) -> _Folding:
    """Few columns: neighbouring rows are laid side by side, so that vectors are full."""
    group = COLUMNS // columns
    whole, left = divmod(rows, group)
    wide = _of_columns(name, 1, 1, whole, group * columns)
    _, pieces, width, across = wide.results
    size = wide.dtype.itemsize
    step = width * across * size
    rest: tuple[int, ...] = ()
    if left:
        rest = (1, 1, 1, 1, left * columns, across * size, step, size,
                4 * whole * across, pieces * step)  # fmt: skip
        pieces += 1
    join = (columns, across * size, pieces, step, group, columns * size), (1, 0)
    results = (1, pieces, width, across)
    return wide._replace(results=results, join=join, rest=rest)


# ---- folding arrays ----------------------------------------------------------------------------


def folded(
    name: str,
    x: np.ndarray,
    axes: tuple[int, ...],
    *,
    keepdims: bool = False,
    correction: int = 0,
) -> np.ndarray | None:
    """A float32 array folded over axes; None where numpy must do it.

    Args:
        name: "sum", "mean", "max", "min", "prod", "squares" (their sum), "norm", "var" or "std".
        correction: what "var" and "std" subtract from the count.
    """
    if x.dtype != _F32:
        return None
    fold = _fold_of(name, x.shape, x.strides, axes, keepdims, correction)
    return None if fold is None else fold(x)


def bound(
    name: str,
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    otherwise: Callable[[np.ndarray], np.ndarray],
    *,
    keepdims: bool,
    correction: int = 0,
) -> Callable[[np.ndarray], np.ndarray]:
    """`folded` for float32 arrays of one shape; how those of certain strides are, is remembered.

    Args:
        otherwise: what does the same for arrays that `folded` refuses.
    """
    known: dict[tuple[int, ...], Fold] = {}

    def run(x: np.ndarray) -> np.ndarray:
        fold = known.get(x.strides)
        if fold is None:
            fold = _fold_of(name, shape, x.strides, axes, keepdims, correction)
            if fold is None or len(known) >= MAX_LAYOUTS:
                return otherwise(x)
            known[x.strides] = fold
        return fold(x)

    return run
