"""Lowerings of `dyn/ops/combined.py`."""

from __future__ import annotations

from exporter.registry import lowers


def _scaled(b, node, found):
    return b.op("Mul", found, b.const(node.attrs["value"], node.dtype))


@lowers("addcmul")
def _(b, node):
    x, first, second = node.inputs
    return b.op("Add", x, _scaled(b, node, b.op("Mul", first, second)))


@lowers("addcdiv")
def _(b, node):
    x, first, second = node.inputs
    return b.op("Add", x, _scaled(b, node, b.op("Div", first, second)))
