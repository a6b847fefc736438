"""Lowerings of `dyn/ops/distance.py`: cosines, and distances of pairs of rows."""

from __future__ import annotations

from typing import Any

from exporter.registry import NodeView, lowers


def _differences(b: Any, x: Any, y: Any, node: NodeView, first: int) -> Any:
    """x[..., i, :] - y[..., j, :] for all i and j; `first` is the place of x among the inputs."""
    ranks = [len(t.shape) for t in node.input_types[first : first + 2] if t is not None]
    return b.op("Sub", b.unsqueeze(x, ranks[0] - 1), b.unsqueeze(y, ranks[1] - 2))


@lowers("cosine")
def _(b: Any, node: NodeView) -> Any:
    x, y = node.inputs
    axes, least = (node.attrs["axis"],), b.const(node.attrs["epsilon"], node.dtype)
    dot = b.axes("ReduceSum", b.op("Mul", x, y), axes, keepdims=False)
    lengths = [b.op("Max", b.axes("ReduceL2", a, axes, keepdims=False), least) for a in (x, y)]
    return b.op("Div", dot, b.op("Mul", *lengths)), *lengths


@lowers("cosine_grad")
def _(b: Any, node: NodeView) -> Any:
    g, x, y, out, *lengths = node.inputs
    axis, dtype = node.attrs["axis"], node.dtype
    across = b.unsqueeze(b.op("Div", g, b.op("Mul", *lengths)), axis)
    turned, made = b.op("Mul", g, out), []
    for own, other, length in ((x, y, lengths[0]), (y, x, lengths[1])):
        free = b.op("Greater", length, b.const(node.attrs["epsilon"], dtype))
        along = b.op("Div", turned, b.op("Mul", length, length))
        along = b.unsqueeze(b.op("Where", free, along, b.const(0, dtype)), axis)
        made.append(b.op("Sub", b.op("Mul", other, across), b.op("Mul", own, along)))
    return tuple(made)


@lowers("pairwise_distance")
def _(b: Any, node: NodeView) -> Any:
    away = b.op("Sub", *node.inputs)
    away = b.op("Add", away, b.const(node.attrs["epsilon"], node.dtype))
    return b.axes("ReduceL2", away, (len(node.out.shape),), keepdims=False)


@lowers("euclidean_distance")
def _(b: Any, node: NodeView) -> Any:
    x, y = node.inputs
    away = _differences(b, x, y, node, 0)
    return b.axes("ReduceL2", away, (len(node.out.shape),), keepdims=False)


@lowers("euclidean_distance_grad")
def _(b: Any, node: NodeView) -> Any:
    g, x, y, distance = node.inputs
    last = len(node.out.shape)
    none = b.op("Equal", distance, b.const(0, node.dtype))
    safe = b.op("Where", none, b.const(1, node.dtype), distance)
    weight = b.op("Where", none, b.const(0, node.dtype), b.op("Div", g, safe))
    parts = b.op("Mul", b.unsqueeze(weight, last), _differences(b, x, y, node, 1))
    return b.axes("ReduceSum", parts, (last - 1,), keepdims=False)
