"""Lowerings of `dyn/ops/products.py`: Einsum."""

from __future__ import annotations

from exporter.registry import lowers


@lowers("einsum")
def _(b, node):
    return b.op("Einsum", *node.inputs, equation=node.attrs["equation"])
