"""Lowerings of `dyn/ops/likelihood.py`. Its reduced losses are made of ops."""

from __future__ import annotations

from typing import Any

from exporter.registry import NodeView, lowers


@lowers("binary_cross_entropy")
def _(b: Any, node: NodeView) -> Any:
    p, y = node.inputs
    one, floor = b.const(1, node.dtype), b.const(-100, node.dtype)
    hit = b.op("Mul", y, b.op("Max", b.op("Log", p), floor))
    miss = b.op("Max", b.op("Log", b.op("Sub", one, p)), floor)
    return b.op("Neg", b.op("Add", hit, b.op("Mul", b.op("Sub", one, y), miss)))


@lowers("logistic_cross_entropy")
def _(b: Any, node: NodeView) -> Any:
    z, y = node.inputs
    # Softplus of the negative of large z loses nothing: z - y * z is exact where y is 1.
    rest = b.op("Mul", b.op("Sub", b.const(1, node.dtype), y), z)
    return b.op("Add", rest, b.op("Softplus", b.op("Neg", z)))


@lowers("kl_div")
def _(b: Any, node: NodeView) -> Any:
    x, y = node.inputs
    zero = b.const(0, node.dtype)
    held = b.op("Greater", y, zero)
    log = b.op("Log", b.op("Where", held, y, b.const(1, node.dtype)))
    return b.op("Where", held, b.op("Mul", y, b.op("Sub", log, x)), zero)
