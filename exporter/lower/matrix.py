"""Lowerings of `dyn/ops/matrix.py`."""

from __future__ import annotations

import numpy as np

from exporter.registry import lowers
from exporter.windows import MAX_CONSTANT, is_symbolic


@lowers("eye")
def _(b, node):
    rows, columns = node.attrs["rows"], node.attrs["columns"]
    if not is_symbolic((rows, columns)) and rows * columns <= MAX_CONSTANT:
        return b.const(np.eye(rows, columns, dtype=node.out.dtype))
    zeros = b.op("Expand", b.const(0, np.float32), b.shape_vector((rows, columns)))
    made = b.op("EyeLike", zeros)
    return made if node.out.dtype == np.float32 else b.cast(made, node.out.dtype)


def _triangle(b, node, upper):
    return b.op("Trilu", node.x, b.const(np.int64(node.attrs["diagonal"])), upper=upper)


@lowers("tril")
def _(b, node):
    return _triangle(b, node, 0)


@lowers("triu")
def _(b, node):
    return _triangle(b, node, 1)


@lowers("diag_embed")
def _(b, node):
    offset, size = node.attrs["offset"], node.out.shape[-1]
    before, behind = [0] * node.rank, [0] * node.rank
    before[-1], behind[-1] = max(0, -offset), max(0, offset)
    rows = b.op("Pad", node.x, b.ints(*before, *behind), b.const(0, node.dtype))
    at = b.op("Range", b.size(0), b.size(size), b.size(1))
    distance = b.op("Sub", b.unsqueeze(at, 0), b.unsqueeze(at, 1))
    held = b.op("Equal", distance, b.const(np.int64(offset)))
    beside = b.const(node.attrs["beside"], node.dtype)
    return b.op("Where", held, b.unsqueeze(rows, node.rank), beside)
