"""Lowerings of `dyn/ops/products.py`: Einsum and Det."""

from __future__ import annotations

from exporter.registry import lower_table, lowers

lower_table(det="Det")


@lowers("einsum")
def _(b, node):
    return b.op("Einsum", *node.inputs, equation=node.attrs["equation"])
