"""Lowerings of `dyn/ops/ranking.py`: margins. Other losses that compare are made of ops."""

from __future__ import annotations

from typing import Any

from exporter.lower.loss import reduced
from exporter.registry import NodeView, lowers


@lowers("margin_excess")
def _(b: Any, node: NodeView) -> Any:
    away = b.op("Sub", *node.inputs)
    return reduced(
        b, node, b.op("Relu", b.op("Add", away, b.const(node.attrs["margin"], node.dtype)))
    )


@lowers("margin_ranking")
def _(b: Any, node: NodeView) -> Any:
    x, y, label = node.inputs
    along = b.op("Mul", label, b.op("Sub", x, y))
    return reduced(
        b, node, b.op("Relu", b.op("Sub", b.const(node.attrs["margin"], node.dtype), along))
    )


@lowers("soft_margin")
def _(b: Any, node: NodeView) -> Any:
    return reduced(b, node, b.op("Softplus", b.op("Neg", b.op("Mul", *node.inputs))))
