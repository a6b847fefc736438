"""Lowerings of `dyn/ops/combined.py`."""

from __future__ import annotations

from exporter.registry import lowers


def _scaled(b, node, x):
    return b.op("Mul", b.const(node.attrs["value"], node.dtype), x)


@lowers("addcmul")
def _(b, node):
    x, first, second = node.inputs
    return b.op("Add", x, b.op("Mul", _scaled(b, node, first), second))


@lowers("addcdiv")
def _(b, node):
    x, first, second = node.inputs
    return b.op("Add", x, b.op("Div", _scaled(b, node, first), second))
