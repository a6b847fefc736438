"""The tasks of `folding.py`: pieces of rows, short rows, blocks of columns, and joining of pieces.

They call microkernels (`fold.py`, `short.py`) by address and work out where a piece begins. What a
chunk folded is finished by it, unless pieces have to be joined first.
"""

from __future__ import annotations

from dyn.kernels.reduce.fold import COLUMNS, FINISH_WORDS
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import call_address, task
from dyn.kernels.runtime.threads import argument, bounds, pack
from dyn.kernels.vector.lanes import LANES

BLOCK = 32768
"""Bytes of rows that are folded before going on to the next columns, but at least ROWS rows: few
enough rows to be read side by side, enough of them to make up for reading the results so far."""
ROWS = 8


@task
def fold_rows(args, chunk, chunks):
    """Pieces of rows.

    Words: x, results, out; code, finish, a, b; rows, pieces, count, width_step, piece_step, size.
    The results of a piece lie side by side for all rows.
    """
    x, results, code = data(argument(args, 0)), data(argument(args, 1)), argument(args, 3)
    finish = argument(args, 4)
    pieces, count = argument(args, 8), argument(args, 9)
    width_step, piece_step, size = argument(args, 10), argument(args, 11), argument(args, 12)
    start, stop = bounds(argument(args, 7) * pieces, chunk, chunks, 1)
    for unit in range(start, stop):
        row = unit // pieces
        piece = unit - row * pieces
        first, last = bounds(count, piece, pieces, 64)
        to = results + piece * piece_step + size * row
        call_address(code, x + 4 * (row * count + first), to, last - first, width_step)
    if finish != 0:
        own = pack(
            argument(args, 1), argument(args, 2), size * start, 4 * start, stop - start,
            width_step, 1, 0, 1, 0, argument(args, 5), argument(args, 6), 1, 0,
        )  # fmt: skip
        call_address(finish, own, 0, 1)


@task
def fold_short(args, chunk, chunks):
    """Some short rows.

    Words: x, results, out; code, finish, a, b; rows, count, width_step, size, code for one row.
    """
    x, results, code = data(argument(args, 0)), data(argument(args, 1)), argument(args, 3)
    count, width_step, size = argument(args, 8), argument(args, 9), argument(args, 10)
    start, stop = bounds(argument(args, 7), chunk, chunks, LANES)
    whole = start + (stop - start) // LANES * LANES
    if start < whole:
        source, to = x + 4 * count * start, results + size * start
        call_address(code, source, to, whole - start, count, width_step)
    for row in range(whole, stop):
        source, to = x + 4 * count * row, results + size * row
        call_address(argument(args, 11), source, to, count, width_step)
    if argument(args, 4) != 0:
        own = pack(
            argument(args, 1), argument(args, 2), size * start, 4 * start, stop - start,
            width_step, 1, 0, 1, 0, argument(args, 5), argument(args, 6), 1, 0,
        )  # fmt: skip
        call_address(argument(args, 4), own, 0, 1)


@task
def fold_columns(args, chunk, chunks):
    """Blocks of columns.

    Words: x, results, out; code, finish, a, b; batch, pieces, slices, rows, columns, width_step,
    piece_step, size, and where x and the results begin, in bytes.
    """
    x, results, code = data(argument(args, 0)), data(argument(args, 1)), argument(args, 3)
    finish = argument(args, 4)
    pieces, slices = argument(args, 8), argument(args, 9)
    rows, columns = argument(args, 10), argument(args, 11)
    width_step, piece_step, size = argument(args, 12), argument(args, 13), argument(args, 14)
    x += argument(args, 15)
    results += argument(args, 16)
    start, stop = bounds(argument(args, 7) * pieces * slices, chunk, chunks, 1)
    for unit in range(start, stop):
        above = unit // slices
        batch = above // pieces
        first, last = bounds(columns, unit - above * slices, slices, COLUMNS)
        low, high = bounds(rows, above - batch * pieces, pieces, 1)
        step = max(ROWS, BLOCK // (4 * max(1, last - first)) // ROWS * ROWS)
        if last - first <= COLUMNS:
            step = max(1, high - low)
        to = results + above * piece_step
        for row in range(low, high, step):
            source = x + 4 * columns * (batch * rows + row)
            for column in range(first, last, COLUMNS):
                call_address(
                    code, source + 4 * column, to + size * column, min(step, high - row),
                    min(COLUMNS, last - column), 4 * columns, width_step, row - low,
                )  # fmt: skip
        if finish != 0:
            own = pack(
                argument(args, 1), argument(args, 2), above * piece_step + size * first,
                4 * (batch * columns + first), last - first,
                width_step, 1, 0, 1, 0, argument(args, 5), argument(args, 6), 1, 0,
            )  # fmt: skip
            call_address(finish, own, 0, 1)


@task
def fold_narrow(args, chunk, chunks):
    """Blocks of few columns, one after the other.

    Words: x, results, out; code, finish, a, b; batch, rows, columns, width_step, size. The results
    of a block lie side by side for all blocks, and are finished together.
    """
    x, results, code = data(argument(args, 0)), data(argument(args, 1)), argument(args, 3)
    rows, columns = argument(args, 8), argument(args, 9)
    width_step, size = argument(args, 10), argument(args, 11)
    start, stop = bounds(argument(args, 7), chunk, chunks, 1)
    source, to = x + 4 * rows * columns * start, results + size * columns * start
    for _ in range(start, stop):
        call_address(code, source, to, rows, columns, 4 * columns, width_step, 0)
        source += 4 * rows * columns
        to += size * columns
    own = pack(
        argument(args, 1), argument(args, 2), size * columns * start, 4 * columns * start,
        columns * (stop - start),
        width_step, 1, 0, 1, 0, argument(args, 5), argument(args, 6), 1, 0,
    )  # fmt: skip
    call_address(argument(args, 4), own, 0, 1)


@task
def join_pieces(args, chunk, chunks):
    """Pieces joined and finished. Words: x, those of `finish`, its address."""
    call_address(argument(args, 1 + FINISH_WORDS), args + 8, chunk, chunks)
