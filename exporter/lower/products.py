"""Lowerings of `dyn/ops/products.py`: Einsum, and vector products by their formula."""

from __future__ import annotations

from exporter.registry import lowers


@lowers("einsum")
def _(b, node):
    return b.op("Einsum", *node.inputs, equation=node.attrs["equation"])


@lowers("cross")
def _(b, node):
    place = node.attrs["axis"] - len(node.out.shape)
    first, second = b.ints(1, 2, 0), b.ints(2, 0, 1)

    def turned(i, order):
        # Axes are counted from the end in the inputs, which may have fewer than the result.
        axis = place + len(node.input_types[i].shape)
        return b.op("Gather", node.inputs[i], order, axis=axis)

    one = b.op("Mul", turned(0, first), turned(1, second))
    return b.op("Sub", one, b.op("Mul", turned(0, second), turned(1, first)))
