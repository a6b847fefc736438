"""Lowerings of `dyn/ops/products.py`: Einsum; products of vectors and blocks by their formula."""

from __future__ import annotations

from exporter.registry import lowers


@lowers("einsum")
def _(b, node):
    return b.op("Einsum", *node.inputs, equation=node.attrs["equation"])


@lowers("kron")
def _(b, node):
    x, y = node.inputs
    left = b.unsqueeze(x, *range(1, 2 * node.rank, 2))
    right = b.unsqueeze(y, *range(0, 2 * node.rank, 2))
    made = b.op("And" if node.dtype.kind == "b" else "Mul", left, right)
    return b.reshape(made, node.out.shape)


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
