"""Factors of small matrices and what is solved with them, element by element.

Parts of the tasks in `lu.py` and `again.py`; matrices are dense.
"""

from __future__ import annotations

from dyn.kernels.runtime.jit import kernel
from dyn.kernels.vector.runs import pointer

SMALL = 7
"""Rows up to which the tiles would cost more than they save."""


@kernel
def pivot_of(x, pitch, n, j):
    """The row of the largest element on and below the diagonal of a column; of NaN if there is."""
    at, best = j, abs(x[j * pitch + j])
    for i in range(j + 1, n):
        size = abs(x[i * pitch + j])
        if not size <= best:
            at, best = i, size
    return at


@kernel
def eliminate_small(x, y, n, columns, rows):
    """Factor x [n, n], and do to y [n, columns] what eliminates x; both are dense.

    Rows get the order of the pivots. Returns twice the place of the first pivot that is zero,
    counted from 1, or 0; and one more if the determinant has changed its sign.
    """
    odd, bad = 0, 0
    for j in range(n):
        rows[j] = j
    for j in range(n):
        at = pivot_of(x, n, n, j)
        if at != j:
            odd = 1 - odd
            rows[at], rows[j] = rows[j], rows[at]
            for c in range(n):
                x[at * n + c], x[j * n + c] = x[j * n + c], x[at * n + c]
            for c in range(columns):
                y[at * columns + c], y[j * columns + c] = y[j * columns + c], y[at * columns + c]
        pivot = x[j * n + j]
        if pivot == 0:
            bad = bad if bad else j + 1
            continue
        for i in range(j + 1, n):
            factor = x[i * n + j] = x[i * n + j] / pivot
            for c in range(j + 1, n):
                x[i * n + c] -= factor * x[j * n + c]
            for c in range(columns):
                y[i * columns + c] -= factor * y[j * columns + c]
    return 2 * bad + odd


@kernel
def substitute_small(x, y, n, columns):
    """Solve with what `eliminate_small` has made of x and y, in place."""
    for step in range(n):
        j = n - 1 - step
        pivot = x[j * n + j]
        for c in range(columns):
            y[j * columns + c] /= pivot
        for i in range(j):
            factor = x[i * n + j]
            for c in range(columns):
                y[i * columns + c] -= factor * y[j * columns + c]


@kernel
def _subtract(row, y, low, high, columns, factor):
    """y[j] -= row[j] * factor, of rows of y [n, columns] and the numbers of a row."""
    if columns == 1:
        number = factor[0]
        for j in range(low, high):
            y[j] -= row[j] * number
        return
    for j in range(low, high):
        for c in range(columns):
            y[j * columns + c] -= row[j] * factor[c]


@kernel
def solve_plainly(x, y, n, columns, size, one):
    """Solve both systems in place, row by row of the factors x; y [n, columns] is dense."""
    numbers = pointer(y, one)
    for i in range(n):
        row, own = pointer(x + i * n * size, one), pointer(y + i * columns * size, one)
        for c in range(columns):
            own[c] /= row[i]
        _subtract(row, numbers, i + 1, n, columns, own)
    for step in range(n):
        i = n - 1 - step
        row, own = pointer(x + i * n * size, one), pointer(y + i * columns * size, one)
        _subtract(row, numbers, 0, i, columns, own)
