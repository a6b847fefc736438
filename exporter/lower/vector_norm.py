"""Lowerings of `dyn/ops/vector_norm.py`."""

from __future__ import annotations

from exporter.registry import lowers


@lowers("norm")
def _(b, node):
    if not node.attrs["axes"]:
        return b.op("Abs", node.x)
    return b.axes("ReduceL2", node.x, node.attrs["axes"], keepdims=node.attrs["keepdims"])


@lowers("normalize")
def _(b, node):
    least = b.const(node.attrs["epsilon"], node.dtype)
    return b.op("Div", node.x, b.op("Max", b.axes("ReduceL2", node.x, node.attrs["axes"]), least))
