"""Lowerings of `dyn/ops/distance.py`: differences of all pairs of rows, and their lengths."""

from __future__ import annotations

from typing import Any

from exporter.registry import NodeView, lowers


def _differences(b: Any, x: Any, y: Any, node: NodeView, first: int) -> Any:
    """x[..., i, :] - y[..., j, :] for all i and j; `first` is the place of x among the inputs."""
    ranks = [len(t.shape) for t in node.input_types[first : first + 2] if t is not None]
    return b.op("Sub", b.unsqueeze(x, ranks[0] - 1), b.unsqueeze(y, ranks[1] - 2))


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
