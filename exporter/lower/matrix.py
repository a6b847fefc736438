"""Lowerings of `dyn/ops/matrix.py`."""

from __future__ import annotations

import numpy as np

from dyn.core.expr import Expr
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
    return b.op("Trilu", node.x, b.size(node.attrs["diagonal"]), upper=upper)


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


def _first(offset, columns):
    """Where a diagonal begins among the elements of a matrix, one row after the other."""
    if isinstance(offset, Expr):
        return offset
    return max(offset, 0) + max(-offset, 0) * columns


def _diagonal(b, node, count):
    # On a diagonal each place is a row and a column behind the one before.
    *lead, rows, columns = node.shape
    flat = b.reshape(node.x, [*lead, rows * columns])
    first, step = _first(node.attrs["offset"], columns), columns + 1
    end, total = first + count * step, rows * columns
    if isinstance(first, int) and isinstance(end, int) and isinstance(total, int):
        first, end = min(first, end, total), min(end, total)
    places = (b.shape_vector([n]) for n in (first, end))
    return b.op("Slice", flat, *places, b.ints(len(lead)), b.shape_vector([step]))


@lowers("diagonal")
def _(b, node):
    return _diagonal(b, node, node.out.shape[-1])


@lowers("trace")
def _(b, node):
    rows, columns = node.shape[-2:]
    offset, last = node.attrs["offset"], node.rank - 2
    count = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    found = _diagonal(b, node, count)
    return b.axes("ReduceSum", b.cast(found, node.out.dtype), (last,), keepdims=False)


@lowers("diagonal_grad")
def _(b, node):
    # Behind each element as many zeros as a row has, then cut or filled up to whole matrices.
    *lead, rows, columns = node.out.shape
    count, none = node.shape[-1], b.const(0, node.dtype)
    wide = b.unsqueeze(node.x, node.rank)
    around = [0] * (node.rank + 1)
    wide = b.op("Pad", wide, b.shape_vector([*around, *around[:-1], columns]), none)
    flat = b.reshape(wide, [*lead, count * (columns + 1)])
    first = _first(node.attrs["offset"], columns)
    if isinstance(first, int) and isinstance(rows * columns, int):
        first = min(first, rows * columns)
    behind = rows * columns - count * (columns + 1) - first
    around = [0] * len(lead)
    flat = b.op("Pad", flat, b.shape_vector([*around, first, *around, behind]), none)
    return b.reshape(flat, [*lead, rows, columns])
