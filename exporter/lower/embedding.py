"""Lowerings of `dyn/ops/embedding.py`."""

from __future__ import annotations

from typing import Any

from exporter.registry import NodeView, lowers
from exporter.windows import filled


@lowers("embedding")
def _(b: Any, node: NodeView) -> Any:
    x, weight = node.inputs
    return b.op("Gather", weight, x, axis=0)


@lowers("embedding_grad")
def _(b: Any, node: NodeView) -> Any:
    g, x = node.inputs
    index = node.input_types[1]
    rows = b.unsqueeze(x, len(index.shape))  # type: ignore[union-attr]
    if node.attrs["padding_idx"] is not None:
        padding = b.const(node.attrs["padding_idx"], index.dtype)  # type: ignore[union-attr]
        g = b.op("Where", b.op("Equal", rows, padding), b.const(0, node.dtype), g)
    zeros = filled(b, node.attrs["shape"], 0, node.dtype)
    return b.op("ScatterND", zeros, _int64(b, rows, index), g, reduction="add")


def _int64(b: Any, value: Any, type_: Any) -> Any:
    return value if type_.dtype.name == "int64" else b.cast(value, "int64")
