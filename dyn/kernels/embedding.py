"""Rows of a table by index, and the sum of row gradients back into the table.

Rows are copied by all threads; the same pass finds indices that are out of range.
"""

from __future__ import annotations

import numpy as np

from dyn.kernels.index import add_rows
from dyn.kernels.runtime import drive
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import task
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import copy_run, pointer

GRAIN = 65536
"""Bytes worth a chunk."""
_I64 = np.int64(0)


@task
def _take_rows(args, chunk, chunks):
    """Copy rows: (weight, index, out, failed, count, rows, bytes of a row).

    `failed` becomes 1 if an index is not a row.
    """
    weight, out = data(argument(args, 0)), data(argument(args, 2))
    index = pointer(data(argument(args, 1)), _I64)
    rows, size = argument(args, 5), argument(args, 6)
    start, stop = bounds(argument(args, 4), chunk, chunks, 1)
    for i in range(start, stop):
        at = index[i]
        if at < 0 or at >= rows:
            pointer(data(argument(args, 3)), _I64)[0] = 1
        else:
            copy_run(weight + at * size, out + i * size, size)


def embedding(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """weight[x].

    Raises:
        IndexError: an index is not a row of `weight`.
    """
    rows, width = weight.shape
    out = empty((*x.shape, width), weight.dtype)
    index = np.ascontiguousarray(x, np.int64)
    weight = np.ascontiguousarray(weight)
    failed = np.zeros(1, np.int64)
    drive.run(
        _take_rows, drive.chunks_of(out.nbytes, GRAIN), id(weight), id(index), id(out), id(failed),
        x.size, rows, width * weight.itemsize,
    )  # fmt: skip
    if failed[0]:
        bad = index[(index < 0) | (index >= rows)][0]
        raise IndexError(f"index {bad} is not a row of a table of {rows} rows")
    return out


def embedding_grad(
    g: np.ndarray, x: np.ndarray, *, rows: int, padding_idx: int | None
) -> np.ndarray:
    """Zeros [rows, width] with the rows of g added where x says; `padding_idx` gets nothing."""
    width = g.shape[-1]
    out = empty((rows, width), g.dtype)
    out[...] = 0
    add_rows(out, x.reshape(-1), g.reshape(x.size, width))
    if padding_idx is not None:
        out[padding_idx] = 0
    return out
