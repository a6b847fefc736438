"""Rows of a table by index, and the sum of row gradients back into the table."""

from __future__ import annotations

import numpy as np

from dyn.kernels.index import add_rows
from dyn.kernels.memory import empty


def embedding(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """weight[x].

    Raises:
        IndexError: an index is not a row of `weight`.
    """
    rows = weight.shape[0]
    if x.size:
        low, high = int(x.min()), int(x.max())
        if low < 0 or high >= rows:
            bad = low if low < 0 else high
            raise IndexError(f"index {bad} is not a row of a table of {rows} rows")
    out = empty((*x.shape, weight.shape[1]), weight.dtype)
    # Every index is in range; "clip" keeps numpy from looking again.
    return np.take(weight, x, axis=0, out=out, mode="clip")


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
