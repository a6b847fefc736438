"""Lowerings of `dyn/ops/decompose.py`: factors are Scans over the columns of the matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from exporter.builder import Val
from exporter.lower.solutions import back, column_of_numbers, eye, real, stepped, turned
from exporter.registry import NodeView, lowers


@lowers("cholesky")
def _(b: Any, node: NodeView) -> Any:
    dtype, (x,) = real(b, node)
    upper, n, rank = node.attrs["upper"], node.shape[-1], node.rank
    half = b.op("Trilu", x, b.const(np.int64(0)), upper=int(upper))
    other = b.op("Trilu", x, b.const(np.int64(1 if upper else -1)), upper=int(upper))
    whole = b.op("Add", half, turned(b, other, rank))
    rows, zero = column_of_numbers(b, n), b.const(0, dtype)

    def step(child: Any, place: Val, rest: Val) -> Any:
        column = child.op("Gather", rest, place, axis=rank - 1)
        pivot = child.op("Gather", column, place, axis=rank - 2)
        column = child.op("Div", column, child.op("Sqrt", pivot))
        column = child.op("Where", child.op("GreaterOrEqual", rows, place), column, zero)
        taken = child.op("Mul", column, turned(child, column, rank))
        return (child.op("Sub", rest, taken),), (child.squeeze(column, rank - 1),)

    # Its columns are stacked as rows where the upper factor is wanted.
    results = [(dtype, rank, rank - 2 if upper else rank - 1)]
    return back(b, stepped(b, step, n, [(whole, dtype, rank)], results)[1], node)


@lowers("qr", "qr_complete")
def _(b: Any, node: NodeView) -> Any:
    dtype, (x,) = real(b, node)
    *lead, m, n = node.shape
    kept, rank = node.out.shape[-1], node.rank
    rows, zero, one = column_of_numbers(b, m), b.const(0, dtype), b.const(1, dtype)
    last = b.ints(rank - 2)

    def squares(child: Any, x: Val) -> Val:
        return child.axes("ReduceSum", child.op("Mul", x, x), [rank - 2])

    def step(child: Any, place: Val, q: Val, r: Val) -> Any:
        column = child.op("Gather", r, place, axis=rank - 1)
        column = child.op("Where", child.op("GreaterOrEqual", rows, place), column, zero)
        first = child.op("Gather", column, place, axis=rank - 2)
        size = child.op("Sqrt", squares(child, column))
        size = child.op("Where", child.op("Less", first, zero), child.op("Neg", size), size)
        here = child.cast(child.op("Equal", rows, place), dtype)
        mirror = child.op("Add", column, child.op("Mul", size, here))
        # A column that is zero below its diagonal is left as it is.
        below = child.op("Where", child.op("Greater", rows, place), child.op("Abs", column), zero)
        none = child.op("Equal", child.axes("ReduceSum", below, [rank - 2]), zero)
        mirror = child.op("Where", none, zero, mirror)
        square = child.op("Where", none, one, squares(child, mirror))
        twice = child.op("Div", child.op("Add", mirror, mirror), square)
        seen = child.op("MatMul", turned(child, mirror, rank), r)
        r = child.op("Sub", r, child.op("Mul", twice, seen))
        taken = child.op("Mul", child.op("MatMul", q, mirror), turned(child, twice, rank))
        return (child.op("Sub", q, taken), r), ()

    unit = b.op("Expand", eye(b, m, dtype), b.shape_vector([*lead, m, m]))
    states = [(unit, dtype, rank), (x, dtype, rank)]
    q, r = stepped(b, step, max(min(m - 1, n), 0), states)
    q = b.op("Slice", q, b.ints(0), b.ints(kept), b.ints(rank - 1))
    r = b.op("Slice", r, b.ints(0), b.ints(kept), last)
    r = b.op("Trilu", r, b.const(np.int64(0)), upper=1)
    return back(b, q, node), back(b, r, node)
