"""Lowerings of `dyn/ops/bags.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from exporter.lower.gather import scattered
from exporter.registry import NodeView, lowers
from exporter.windows import filled


def _bag_of_each(b: Any, starts: Any, count: Any) -> Any:
    """The bag of each index: how many bags begin at it or before it, less one."""
    place = b.unsqueeze(b.op("Range", b.size(0), b.size(count), b.size(1)), 1)
    begun = b.cast(b.op("LessOrEqual", starts, place), np.int64)
    return b.op("Sub", b.axes("ReduceSum", begun, (1,), keepdims=False), b.const(1, np.int64))


def _numbers(b: Any, starts: Any, index: Any, dtype: Any) -> Any:
    """How many indices each bag has, at least 1: a column, or a number for bags of one size."""
    one = b.const(1, np.int64)
    if starts is None:
        return b.cast(b.op("Max", b.size(index.shape[1]), one), dtype)
    ends = b.op("Concat", starts, b.reshape(b.size(index.shape[0]), [1]), axis=0)
    ends = b.op("Slice", ends, b.ints(1), b.ints(np.iinfo(np.int64).max), b.ints(0))
    return b.unsqueeze(b.cast(b.op("Max", b.op("Sub", ends, starts), one), dtype), 1)


@lowers("sum_bags")
def _(b: Any, node: NodeView) -> Any:
    places, weight, offsets, shares = node.inputs
    types: Any = node.input_types
    index, _, kind, _ = types
    rows = b.op("Gather", weight, b.index(places, index.dtype, narrow=True), axis=0)
    if shares is not None:
        rows = b.op("Mul", rows, b.unsqueeze(shares, len(index.shape)))
    if offsets is None:
        starts, total = None, b.axes("ReduceSum", rows, (1,), keepdims=False)
    else:
        starts = b.index(offsets, kind.dtype)
        bag = b.unsqueeze(_bag_of_each(b, starts, index.shape[0]), 1)
        zeros = filled(b, node.out.shape, 0, node.out.dtype)
        total = scattered(b, "ScatterND", zeros, bag, rows, node.out.dtype, "add")
    if not node.attrs["mean"]:
        return total
    return b.op("Div", total, _numbers(b, starts, index, node.out.dtype))


@lowers("sum_bags_grad")
def _(b: Any, node: NodeView) -> Any:
    g, places, offsets, shares = node.inputs
    types: Any = node.input_types
    _, index, kind, _ = types
    starts = None if offsets is None else b.index(offsets, kind.dtype)
    if node.attrs["mean"]:
        g = b.op("Div", g, _numbers(b, starts, index, node.dtype))
    if starts is None:
        rows = b.op("Expand", b.unsqueeze(g, 1), b.shape_vector((*index.shape, node.out.shape[1])))
    else:
        rows = b.op("Gather", g, _bag_of_each(b, starts, index.shape[0]), axis=0)
    if shares is not None:
        rows = b.op("Mul", rows, b.unsqueeze(shares, len(index.shape)))
    zeros = filled(b, node.attrs["shape"], 0, node.dtype)
    at = b.index(b.unsqueeze(places, len(index.shape)), index.dtype)
    return scattered(b, "ScatterND", zeros, at, rows, node.dtype, "add")
