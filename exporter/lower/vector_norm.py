"""Lowerings of `dyn/ops/vector_norm.py`."""

from __future__ import annotations

from exporter.registry import lowers


@lowers("norm")
def _(b, node):
    if not node.attrs["axes"]:
        return b.op("Abs", node.x)
    return b.axes("ReduceL2", node.x, node.attrs["axes"], keepdims=node.attrs["keepdims"])
