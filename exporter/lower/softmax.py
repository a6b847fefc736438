"""Lowerings of `dyn/ops/softmax.py`."""

from __future__ import annotations

from typing import Any

from exporter.registry import NodeView, lowers


@lowers("softmax")
def _(b: Any, node: NodeView) -> Any:
    return b.op("Softmax", node.x, axis=node.attrs["axis"])


@lowers("softmax_grad")
def _(b: Any, node: NodeView) -> Any:
    g, out = node.inputs
    inner = b.axes("ReduceSum", b.op("Mul", g, out), [node.attrs["axis"]])
    return b.op("Mul", out, b.op("Sub", g, inner))


@lowers("log_softmax")
def _(b: Any, node: NodeView) -> Any:
    return b.op("LogSoftmax", node.x, axis=node.attrs["axis"])


@lowers("log_softmax_grad")
def _(b: Any, node: NodeView) -> Any:
    g, out = node.inputs
    total = b.axes("ReduceSum", g, [node.attrs["axis"]])
    return b.op("Sub", g, b.op("Mul", b.op("Exp", out), total))
