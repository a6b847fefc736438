"""Rows of a table by index, and the sum of row gradients back into the table.

Rows are copied by all threads; the same pass finds indices that are out of range.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dyn.kernels.copy import contiguous, filled
from dyn.kernels.index import add_rows, taking, unfailed, words_of
from dyn.kernels.runtime.memory import maker


def embedding_of(
    shape: tuple[int, ...], index_dtype: np.dtype, table: tuple[int, ...], dtype: np.dtype
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """`embedding` for an index of `shape` and a weight of the shape `table`."""
    rows, width = table
    count, words = math.prod(shape), words_of(index_dtype)
    make, launch = maker((*shape, width), dtype), None
    if rows and count * width:
        launch = taking(1, rows, count, width * dtype.itemsize, False)

    def run(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        out, failed, index = make(), unfailed(), words(x)
        if launch is not None:
            launch(contiguous(weight), index, out, failed)
        if launch is None or failed[0]:
            outside = index[(index < 0) | (index >= rows)]
            if outside.size:
                raise IndexError(f"index {outside[0]} is not a row of a table of {rows} rows")
        return out

    return run


def embedding(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """weight[x].

    Raises:
        IndexError: an index is not a row of `weight`.
    """
    return embedding_of(x.shape, x.dtype, weight.shape, weight.dtype)(x, weight)


def embedding_grad(
    g: np.ndarray,
    x: np.ndarray,
    *,
    rows: int,
    padding_idx: int | None,
    into: np.ndarray | None = None,
) -> np.ndarray:
    """`into`, or zeros [rows, width], with the rows of g added where x says.

    The row `padding_idx` gets nothing.
    """
    out = filled((rows, g.shape[-1]), 0, g.dtype) if into is None else into
    padding = None if padding_idx is None else out[padding_idx].copy()
    index = np.ascontiguousarray(x, np.int64).reshape(-1)
    add_rows(out, index, contiguous(g), 1, rows)
    if padding is not None:
        out[padding_idx] = padding
    return out


def occurrences(x: np.ndarray) -> np.ndarray:
    """How often each number in x occurs in it, in the shape of x; none is negative."""
    counts = np.bincount(x.reshape(-1).astype(np.intp))
    return counts[x] if x.size else np.zeros(x.shape, np.intp)
