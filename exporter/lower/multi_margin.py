"""Lowerings of `dyn/ops/multi_margin.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from exporter.lower.gather import scattered
from exporter.registry import NodeView, lowers


def _parts(b: Any, node: NodeView, first: int) -> tuple[Any, Any, Any]:
    """Which classes are wrong, how far each goes beyond its margin, what a row is multiplied by."""
    x, label, weight = node.inputs[first : first + 3]
    kind, dtype = node.input_types[first], node.out.dtype
    label = b.cast(label, np.int64)
    column, classes = b.unsqueeze(label, 1), b.size(kind.shape[1])  # type: ignore[union-attr]
    number = b.op("Range", b.const(0, np.int64), classes, b.const(1, np.int64))
    wrong = b.op("Not", b.op("Equal", column, number))
    right = b.op("GatherElements", x, column, axis=1)
    less = b.op("Sub", b.const(node.attrs["margin"], dtype), right)
    over = b.op("Relu", b.op("Add", less, x))
    factor = b.op("Div", b.const(1, dtype), b.cast(classes, dtype))
    if weight is not None:
        factor = b.op("Mul", factor, b.op("Gather", weight, label, axis=0))
    return wrong, over, factor


@lowers("multi_margin")
def _(b: Any, node: NodeView) -> Any:
    wrong, over, factor = _parts(b, node, 0)
    loss = b.op("Mul", over, over) if node.attrs["p"] == 2 else over
    loss = b.op("Where", wrong, loss, b.const(0, node.dtype))
    return b.op("Mul", b.axes("ReduceSum", loss, (1,), keepdims=False), factor)


@lowers("multi_margin_grad")
def _(b: Any, node: NodeView) -> Any:
    dtype = node.out.dtype
    wrong, over, factor = _parts(b, node, 1)
    if node.attrs["p"] == 2:
        slopes = b.op("Add", over, over)
    else:
        slopes = b.cast(b.op("Greater", over, b.const(0, dtype)), dtype)
    slopes = b.op("Where", wrong, slopes, b.const(0, dtype))
    total = b.op("Neg", b.axes("ReduceSum", slopes, (1,)))
    factor = b.op("Mul", factor, node.x)
    return b.op("Mul", b.op("Where", wrong, slopes, total), b.unsqueeze(factor, 1))


def _pairs(b: Any, node: NodeView, first: int) -> tuple[Any, Any, Any, Any]:
    """[N, label, class]: which pairs count, and how far the wrong class goes beyond the margin.

    Then the labels, 0 for those that do not count, and the number of classes.
    """
    x, label = node.inputs[first : first + 2]
    kind, dtype = node.input_types[first], node.out.dtype
    label, classes = b.cast(label, np.int64), b.size(kind.shape[1])  # type: ignore[union-attr]
    ended = b.cast(b.op("Less", label, b.const(0, np.int64)), np.int32)
    counts = b.op("Equal", b.op("CumSum", ended, b.const(1, np.int64)), b.const(0, np.int32))
    label = b.op("Where", counts, label, b.const(0, np.int64))
    number = b.op("Range", b.const(0, np.int64), classes, b.const(1, np.int64))
    same = b.op("Equal", b.unsqueeze(label, 2), number)
    same = b.cast(b.op("And", same, b.unsqueeze(counts, 2)), np.int32)
    right = b.cast(b.axes("ReduceMax", same, (1,)), np.bool_)
    pairs = b.op("And", b.unsqueeze(counts, 2), b.op("Not", right))
    less = b.op("Sub", b.const(1, dtype), b.op("GatherElements", x, label, axis=1))
    return pairs, b.op("Add", b.unsqueeze(less, 2), b.unsqueeze(x, 1)), label, classes


@lowers("multilabel_margin")
def _(b: Any, node: NodeView) -> Any:
    pairs, over, _, classes = _pairs(b, node, 0)
    loss = b.op("Where", pairs, b.op("Relu", over), b.const(0, node.dtype))
    return b.op(
        "Div", b.axes("ReduceSum", loss, (1, 2), keepdims=False), b.cast(classes, node.dtype)
    )


@lowers("multilabel_margin_grad")
def _(b: Any, node: NodeView) -> Any:
    dtype = node.out.dtype
    pairs, over, label, classes = _pairs(b, node, 1)
    slopes = b.cast(b.op("And", pairs, b.op("Greater", over, b.const(0, dtype))), dtype)
    less = b.op("Neg", b.axes("ReduceSum", slopes, (2,), keepdims=False))
    made = b.axes("ReduceSum", slopes, (1,), keepdims=False)
    made = scattered(b, "ScatterElements", made, label, less, dtype, "add", 1)
    factor = b.op("Div", node.x, b.cast(classes, dtype))
    return b.op("Mul", made, b.unsqueeze(factor, 1))
