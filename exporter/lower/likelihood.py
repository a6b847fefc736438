"""Lowerings of `dyn/ops/likelihood.py`. Its reduced losses are made of ops."""

from __future__ import annotations

from typing import Any

from exporter.lower.loss import reduced
from exporter.lower.unary import log1p
from exporter.registry import NodeView, lowers


@lowers("binary_cross_entropy")
def _(b: Any, node: NodeView) -> Any:
    p, y = node.inputs
    one, floor = b.const(1, node.dtype), b.const(-100, node.dtype)
    hit = b.op("Mul", y, b.op("Max", b.op("Log", p), floor))
    miss = b.op("Max", log1p(b, b.op("Neg", p), node.dtype), floor)
    return b.op("Neg", b.op("Add", hit, b.op("Mul", b.op("Sub", one, y), miss)))


@lowers("logistic_cross_entropy")
def _(b: Any, node: NodeView) -> Any:
    z, y = node.inputs
    # As the kernel: exact where y is 0 or 1, and nothing of an infinite z that is right.
    zero, size = b.const(0, node.dtype), b.op("Abs", z)
    miss = b.op("Sub", b.const(1, node.dtype), y)
    wrong = b.op("Where", b.op("Greater", z, zero), miss, y)
    rest = b.op("Where", b.op("Equal", wrong, zero), zero, b.op("Mul", wrong, size))
    return b.op("Add", rest, b.op("Softplus", b.op("Neg", size)))


@lowers("kl_div")
def _(b: Any, node: NodeView) -> Any:
    x, y = node.inputs
    zero = b.const(0, node.dtype)
    none = b.op("Equal", y, zero)
    log = b.op("Log", b.op("Where", none, b.const(1, node.dtype), y))
    nothing = b.op("Where", b.op("IsNaN", x), x, zero)
    return b.op("Where", none, nothing, b.op("Mul", y, b.op("Sub", log, x)))


@lowers("poisson_nll")
def _(b: Any, node: NodeView) -> Any:
    x, y = node.inputs
    return reduced(b, node, b.op("Sub", b.op("Exp", x), b.op("Mul", y, x)))
