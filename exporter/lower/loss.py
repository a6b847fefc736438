"""Lowerings of `dyn/ops/loss.py`: squared error. Other losses are made of ops."""

from __future__ import annotations

from typing import Any

from exporter.emptiness import nan_of_none
from exporter.registry import NodeView, lowers
from exporter.windows import volume


def reduced(b: Any, node: NodeView, losses: Any) -> Any:
    """The losses of all elements as the node's attribute says: as they are, summed or averaged."""
    reduction = node.attrs["reduction"]
    if reduction == "none":
        return losses
    if reduction == "sum":
        return b.op("ReduceSum", losses, keepdims=0)
    sizes = [n for type_ in node.input_types if type_ for n in type_.shape]
    return nan_of_none(b, b.op("ReduceMean", losses, keepdims=0), sizes, node.dtype)


@lowers("mse_loss")
def _(b: Any, node: NodeView) -> Any:
    difference = b.op("Sub", *node.inputs)
    return reduced(b, node, b.op("Mul", difference, difference))


@lowers("huber")
def _(b: Any, node: NodeView) -> Any:
    size = b.op("Abs", b.op("Sub", *node.inputs))
    near = b.op("Min", size, b.const(node.attrs["delta"], node.dtype))
    far = b.op("Sub", size, b.op("Mul", near, b.const(0.5, node.dtype)))
    return reduced(b, node, b.op("Mul", near, far))


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
