"""Substitution with triangular matrices for a single right-hand side.

With one column there is nothing to make tiles of: every row of the triangle is read once, for its
dot product with what is solved already or, where it is transposed, to subtract what is solved from
the rest. Source: Golub & Van Loan, Matrix Computations, 3.1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import SUM, instances, kernel
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer

GRAIN = 16384
"""Multiplications worth a chunk."""
ZERO, ONE, SIZE = np.float32(0), np.float32(1), 4
"""What instances of a task have of their own: numbers of the elements' type, and its bytes."""


@kernel(fastmath=SUM)
def _dot(x, out, low, high, zero):
    """The sum of x[j] * out[j]."""
    total = zero
    for j in range(low, high):
        total += x[j] * out[j]
    return total


@kernel
def _subtract(x, out, low, high, factor):
    """out[j] -= factor * x[j]."""
    for j in range(low, high):
        out[j] -= factor * x[j]


def _substitute(args, chunk, chunks):
    """Words: (x, y, out; matrices, their size, upper, transposed, a diagonal of ones)."""
    n, upper = argument(args, 4), argument(args, 5) != 0
    transposed, unit = argument(args, 6) != 0, argument(args, 7) != 0
    size = n * SIZE
    first, last = bounds(argument(args, 3), chunk, chunks, 1)
    for matrix in range(first, last):
        y = pointer(data(argument(args, 1)) + matrix * size, ZERO)
        out = pointer(data(argument(args, 2)) + matrix * size, ZERO)
        if transposed:
            for i in range(n):
                out[i] = y[i]
        for step in range(n):
            i = step if upper == transposed else n - 1 - step
            row = pointer(data(argument(args, 0)) + (matrix * n + i) * size, ZERO)
            low, high = (i + 1, n) if upper else (0, i)
            diagonal = ONE if unit else row[i]
            if transposed:
                found = out[i] / diagonal
                _subtract(row, out, low, high, found)
            else:
                found = (y[i] - _dot(row, out, low, high, ZERO)) / diagonal
            out[i] = found


_TASKS = instances("substitute", _substitute, "f4 f8")


@lru_cache(1024)
def plan(dtype: np.dtype, batch: int, n: int, upper: bool, transpose: bool, unit: bool) -> Launch:
    """A launch over x [batch, n, n], y and the solutions [batch, n]."""
    chunks = max(1, min(batch, chunks_of(batch * n * n // 2, GRAIN)))
    return Launch([(_TASKS[dtype], chunks)], 3, batch, n, int(upper), int(transpose), int(unit))
