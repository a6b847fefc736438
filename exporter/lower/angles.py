"""Lowerings of `dyn/ops/angles.py`."""

from __future__ import annotations

from exporter.registry import lower_table, lowers

lower_table(
    sin="Sin",
    cos="Cos",
    tan="Tan",
    asin="Asin",
    acos="Acos",
    atan="Atan",
    sinh="Sinh",
    cosh="Cosh",
    tanh="Tanh",
    asinh="Asinh",
    acosh="Acosh",
    atanh="Atanh",
    erf="Erf",
)


@lowers("tanh_grad")
def _(b, node):
    g, out = node.inputs
    return b.op("Mul", g, b.op("Sub", b.const(1, node.dtype), b.op("Mul", out, out)))
