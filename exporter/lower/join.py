"""Lowerings of `dyn/ops/join.py`: Concat, Split, Expand, Slice with step -1."""

from exporter.registry import lowers

_FAR = -(2**63) + 1
"""ONNX: a stop before the first element; clamped by Slice."""


@lowers("concat")
def _(b, node):
    return b.op("Concat", *node.inputs, axis=node.attrs["axis"])


@lowers("split")
def _(b, node):
    sizes, axis = node.attrs["sizes"], node.attrs["axis"]
    if len(sizes) == 1:
        return (b.op("Identity", node.x),)
    return b.op("Split", node.x, b.shape_vector(sizes), outputs=len(sizes), axis=axis)


@lowers("stack")
def _(b, node):
    axis = node.attrs["axis"]
    return b.op("Concat", *(b.unsqueeze(x, axis) for x in node.inputs), axis=axis)


@lowers("unbind")
def _(b, node):
    axis, count = node.attrs["axis"], len(node.output_types)
    if count == 1:
        return (b.squeeze(node.x, axis),)
    parts = b.op("Split", node.x, b.shape_vector((1,) * count), outputs=count, axis=axis)
    return tuple(b.squeeze(part, axis) for part in parts)


@lowers("expand")
def _(b, node):
    return b.op("Expand", node.x, b.shape_vector(node.attrs["shape"]))


@lowers("roll")
def _(b, node):
    axis, cut = node.attrs["axis"], node.attrs["cut"]
    sizes = (cut, node.shape[axis] - cut)
    head, tail = b.op("Split", node.x, b.shape_vector(sizes), outputs=2, axis=axis)
    return b.op("Concat", tail, head, axis=axis)


def reverse(b, x, axes):
    """x with its elements in reverse order along `axes`."""
    n = len(axes)
    return b.op(
        "Slice", x, b.ints(*[-1] * n), b.ints(*[_FAR] * n), b.ints(*axes), b.ints(*[-1] * n)
    )


@lowers("flip")
def _(b, node):
    axes = node.attrs["axes"]
    return reverse(b, node.x, axes) if axes else b.op("Identity", node.x)
