"""Lowerings of `dyn/ops/groups.py`: an operator per tensor."""

from __future__ import annotations

from typing import Any

from exporter.registry import NodeView, lowers


@lowers("square_sums")
def _(b: Any, node: NodeView) -> Any:
    sums = [b.op("ReduceSumSquare", x, keepdims=0) for x in node.inputs]
    return b.op("Concat", *[b.unsqueeze(x, 0) for x in sums], axis=0)


@lowers("scale_each")
def _(b: Any, node: NodeView) -> Any:
    factors, *xs = node.inputs
    if not node.rank:
        return tuple(b.op("Mul", x, factors) for x in xs)
    own = [b.op("Gather", factors, b.const(i, "int64"), axis=0) for i in range(len(xs))]
    return tuple(b.op("Mul", x, factor) for x, factor in zip(xs, own, strict=True))


@lowers("clip_each")
def _(b: Any, node: NodeView) -> Any:
    bounds = [b.const(node.attrs[name], node.dtype) for name in ("low", "high")]
    return tuple(b.op("Clip", x, *bounds) for x in node.inputs)
