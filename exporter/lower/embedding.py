"""Lowerings of `dyn/ops/embedding.py`."""

from __future__ import annotations

from typing import Any

from exporter.lower.gather import scattered
from exporter.registry import NodeView, lowers
from exporter.windows import filled


@lowers("embedding")
def _(b: Any, node: NodeView) -> Any:
    x, weight = node.inputs
    index: Any = node.input_types[0]
    return b.op("Gather", weight, b.index(x, index.dtype, narrow=True), axis=0)


@lowers("embedding_grad")
def _(b: Any, node: NodeView) -> Any:
    g, x = node.inputs
    index: Any = node.input_types[1]
    rows = b.unsqueeze(x, len(index.shape))
    if node.attrs["padding_idx"] is not None:
        padding = b.const(node.attrs["padding_idx"], index.dtype)
        g = b.op("Where", b.op("Equal", rows, padding), b.const(0, node.dtype), g)
    zeros = filled(b, node.attrs["shape"], 0, node.dtype)
    return scattered(b, "ScatterND", zeros, b.index(rows, index.dtype), g, node.dtype, "add")
