"""Lowerings of `dyn/ops/loss.py`: squared error. Other losses are made of ops."""

from __future__ import annotations

from typing import Any

from exporter.registry import NodeView, lowers
from exporter.windows import volume

REDUCTIONS = {"mean": "ReduceMean", "sum": "ReduceSum"}


@lowers("mse_loss")
def _(b: Any, node: NodeView) -> Any:
    difference = b.op("Sub", *node.inputs)
    square = b.op("Mul", difference, difference)
    reduction = REDUCTIONS.get(node.attrs["reduction"])
    return b.op(reduction, square, keepdims=0) if reduction else square


@lowers("huber")
def _(b: Any, node: NodeView) -> Any:
    size = b.op("Abs", b.op("Sub", *node.inputs))
    near = b.op("Min", size, b.const(node.attrs["delta"], node.dtype))
    return b.op("Mul", near, b.op("Sub", size, b.op("Mul", near, b.const(0.5, node.dtype))))


@lowers("huber_grad")
def _(b: Any, node: NodeView) -> Any:
    g, x, y = node.inputs
    delta = node.attrs["delta"]
    near = b.op("Clip", b.op("Sub", x, y), b.const(-delta, node.dtype), b.const(delta, node.dtype))
    return b.op("Mul", g, near)


@lowers("mse_loss_grad")
def _(b: Any, node: NodeView) -> Any:
    g, x, y = node.inputs
    factor = b.op("Mul", g, b.const(2, node.dtype))
    if node.attrs["reduction"] == "mean":
        count = b.size(volume(node.input_types[1].shape))  # type: ignore[union-attr]
        factor = b.op("Div", factor, b.cast(count, node.dtype))
    return b.op("Mul", b.op("Sub", x, y), factor)
