"""Rows of a table by index, and the sum of row gradients back into the table.

Rows are copied by all threads; the same pass finds indices that are out of range.
"""

from __future__ import annotations

import numpy as np

from dyn.kernels.copy import contiguous, filled
from dyn.kernels.index import add_rows, take_rows
from dyn.kernels.runtime.memory import empty


def embedding(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """weight[x].

    Raises:
        IndexError: an index is not a row of `weight`.
    """
    rows, width = weight.shape
    out = empty((*x.shape, width), weight.dtype)
    index = np.ascontiguousarray(x, np.int64)
    weight = contiguous(weight)
    if not take_rows(weight, index, 1, rows, width * weight.itemsize, out, wrap=False):
        bad = index[(index < 0) | (index >= rows)][0]
        raise IndexError(f"index {bad} is not a row of a table of {rows} rows")
    return out


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
