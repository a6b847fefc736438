"""Folding a whole array over axes: rows that are folded, or columns that are folded downwards.

A float32 array that is dense in any order of its axes is one or the other; what remains after that
is small and is finished by numpy. Rows and columns are cut into pieces by their sizes alone, so a
result does not depend on the number of threads. The folding of a piece is in `fold.py`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dyn.kernels import memory, threads
from dyn.kernels.arrays import data
from dyn.kernels.fold import COLUMN, COLUMNS, FOLDS, ROW
from dyn.kernels.jit import call_address, kernel, task
from dyn.kernels.threads import argument, bounds, chunk_count, pack, parallel_for

_F32 = np.dtype(np.float32)
FAST_SIZE = 4096
"""Below, numpy is faster than launching kernels of our own."""
GRAIN = 32768
"""Elements worth a chunk."""
PIECE = 65536
"""Elements of a row from which on it is cut into pieces."""
SLICE = 2048
"""Columns that one chunk folds."""
BLOCK = 32768
"""Bytes of rows that are folded before going on to the next columns, but at least ROWS rows: few
enough rows to be read side by side, enough of them to make up for reading the results so far."""
ROWS = 8
MAX_PIECES = 64

JOIN = {
    "sum": np.add,
    "squares": np.add,
    "moments": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}
"""numpy's function that joins results of a fold."""


# ---- layouts -----------------------------------------------------------------------------------


class _Layout(NamedTuple):
    """A dense array as groups of neighbouring axes, reduced and kept ones in turn.

    Attributes:
        sizes: of the groups, from slowest to fastest in memory.
        reduced: whether each group is reduced.
        kept: sizes of the kept axes in the order of memory.
        count: how many results there are.
        back: where each kept axis stands in that order; None if it is row-major already.
    """

    sizes: tuple[int, ...]
    reduced: tuple[bool, ...]
    kept: tuple[int, ...]
    count: int
    back: tuple[int, ...] | None


@lru_cache(4096)
def _layout(
    shape: tuple[int, ...], strides: tuple[int, ...], axes: tuple[int, ...]
) -> _Layout | None:
    """The layout of a float32 array; None if it is not dense or nothing is reduced."""
    order = sorted((a for a, n in enumerate(shape) if n != 1), key=lambda a: -strides[a])
    step = 4
    for a in reversed(order):
        if strides[a] != step:
            return None
        step *= shape[a]
    sizes: list[int] = []
    reduced: list[bool] = []
    for a in order:
        if reduced and reduced[-1] == (a in axes):
            sizes[-1] *= shape[a]
        else:
            sizes.append(shape[a])
            reduced.append(a in axes)
    if not any(reduced):
        return None
    places = [a for a in order if a not in axes]
    back = tuple(sorted(range(len(places)), key=places.__getitem__))
    natural = back == tuple(range(len(places)))
    kept = tuple(shape[a] for a in places)
    return _Layout(tuple(sizes), tuple(reduced), kept, math.prod(kept), None if natural else back)


# ---- tasks -------------------------------------------------------------------------------------


@task
def _fold_rows(args, chunk, chunks):
    """Pieces of rows: (code, x, out, rows, pieces, count, out_step)."""
    code, x, out = argument(args, 0), argument(args, 1), argument(args, 2)
    pieces, count, out_step = argument(args, 4), argument(args, 5), argument(args, 6)
    start, stop = bounds(argument(args, 3) * pieces, chunk, chunks, 1)
    for unit in range(start, stop):
        row = unit // pieces
        first, last = bounds(count, unit - row * pieces, pieces, 64)
        call_address(code, x + 4 * (row * count + first), out + unit * out_step, last - first)


@task
def _fold_columns(args, chunk, chunks):
    """Blocks of columns: (code, x, out, batch, pieces, slices, rows, columns, width, size)."""
    code, x, out = argument(args, 0), argument(args, 1), argument(args, 2)
    pieces, slices = argument(args, 4), argument(args, 5)
    rows, columns = argument(args, 6), argument(args, 7)
    width, size = argument(args, 8), argument(args, 9)
    start, stop = bounds(argument(args, 3) * pieces * slices, chunk, chunks, 1)
    for unit in range(start, stop):
        above = unit // slices
        batch = above // pieces
        first, last = bounds(columns, unit - above * slices, slices, COLUMNS)
        low, high = bounds(rows, above - batch * pieces, pieces, 1)
        step = max(ROWS, BLOCK // (4 * max(1, last - first)))
        if last - first <= COLUMNS:
            step = max(1, high - low)
        for row in range(low, high, step):
            source = x + 4 * columns * (batch * rows + row)
            for column in range(first, last, COLUMNS):
                call_address(
                    code,
                    source + 4 * column,
                    out + size * (above * width * columns + column),
                    min(step, high - row),
                    min(COLUMNS, last - column),
                    4 * columns,
                    size * columns,
                )


@kernel
def _launch_rows(pool, run, code, x, out, rows, pieces, count, out_step):
    args = pack(code, data(x), data(out), rows, pieces, count, out_step)
    chunks = min(chunk_count(rows * count, GRAIN), rows * pieces)
    parallel_for(pool, run, args, chunks)


@kernel
def _launch_columns(
    pool, run, code, x, offset, out, batch, pieces, slices, rows, columns, width, size
):
    args = pack(
        code, data(x) + offset, data(out), batch, pieces, slices, rows, columns, width, size
    )
    chunks = min(chunk_count(batch * rows * columns, GRAIN), batch * pieces * slices)
    parallel_for(pool, run, args, chunks)


# ---- folding arrays ----------------------------------------------------------------------------


def _rows(name: str, x: np.ndarray, lead: tuple[int, ...], count: int) -> np.ndarray:
    """Fold the last `count` elements of each row: an array (*lead, pieces, width)."""
    fold = FOLDS[name]
    pieces = max(1, min(MAX_PIECES, count // PIECE))
    out = memory.empty((*lead, pieces, fold.width), fold.dtype)
    _launch_rows(
        threads.pool(), _fold_rows.address, ROW[name].address, id(x), id(out),
        math.prod(lead), pieces, count, fold.width * fold.dtype.itemsize,
    )  # fmt: skip
    return out


def _columns(
    name: str, x: np.ndarray, lead: tuple[int, ...], rows: int, columns: int, offset: int = 0
) -> np.ndarray:
    """Fold `rows` rows of each block downwards: an array (*lead, pieces, width, columns).

    The blocks begin `offset` bytes into x.
    """
    fold = FOLDS[name]
    batch = math.prod(lead)
    slices = -(-columns // SLICE)
    # Cut the rows where blocks and slices alone do not make enough pieces for all threads.
    wanted = batch * rows * columns // PIECE // max(1, batch * slices)
    pieces = max(1, min(MAX_PIECES, wanted, rows // 8))
    out = memory.empty((*lead, pieces, fold.width, columns), fold.dtype)
    out.fill(fold.start)
    _launch_columns(
        threads.pool(), _fold_columns.address, COLUMN[name].address, id(x), offset, id(out),
        batch, pieces, slices, rows, columns, fold.width, fold.dtype.itemsize,
    )  # fmt: skip
    return out


def _narrow(name: str, x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """`_columns` of few columns: neighbouring rows are laid side by side, so vectors are full."""
    group = COLUMNS // columns
    whole = rows // group
    wide = _columns(name, x, (), whole, group * columns)
    folded = JOIN[name].reduce(wide, axis=0).reshape(-1, group, columns)
    found = JOIN[name].reduce(folded, axis=1)
    rest = rows - whole * group
    if rest:
        done = 4 * whole * group * columns
        found = JOIN[name](found, _columns(name, x, (), rest, columns, done)[0])
    return found[None]


def folded(name: str, x: np.ndarray, axes: tuple[int, ...]) -> list[np.ndarray] | None:
    """The results of a fold over `axes`, each with the kept axes; None where numpy must do it."""
    if x.dtype is not _F32 or x.size < FAST_SIZE:
        return None
    layout = _layout(x.shape, x.strides, axes)
    if layout is None:
        return None
    sizes, reduced, kept = layout.sizes, layout.reduced, layout.kept
    if reduced[-1]:
        partial = _rows(name, x, sizes[:-1], sizes[-1])
        if partial.size == layout.count:
            return [_restored(partial, layout)]
        partial = np.moveaxis(partial, -1, 0)
        left = (*reduced[:-1], True)
    else:
        *lead, rows, columns = sizes
        if not lead and columns <= COLUMNS // 4 and rows >= 2 * COLUMNS:
            partial = _narrow(name, x, rows, columns)
        else:
            partial = _columns(name, x, tuple(lead), rows, columns)
        if partial.size == layout.count:
            return [_restored(partial, layout)]
        partial = np.moveaxis(partial, -2, 0)
        left = (*reduced[:-1], False)
    again = tuple(i + 1 for i, r in enumerate(left) if r)
    results = JOIN[name].reduce(partial, axis=again).reshape(-1, *kept)
    return [_restored(r, layout) for r in results]


def _restored(result: np.ndarray, layout: _Layout) -> np.ndarray:
    """A result, in the order of memory, with the kept axes in their own order."""
    result = result.reshape(layout.kept)
    return result if layout.back is None else result.transpose(layout.back)
