"""Lowerings of `dyn/ops/join.py`: Concat, Split, Expand, Tile, Slice with step -1, Pad."""

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


@lowers("expand")
def _(b, node):
    return b.op("Expand", node.x, b.shape_vector(node.attrs["shape"]))


@lowers("tile")
def _(b, node):
    return b.op("Tile", node.x, b.shape_vector(node.attrs["repeats"]))


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


def _widths(b, pads):
    return b.shape_vector([low for low, _ in pads] + [high for _, high in pads])


@lowers("pad")
def _(b, node):
    pads, mode = node.attrs["pads"], node.attrs["mode"]
    widths = _widths(b, pads)
    if mode == "constant":
        value = b.const(node.attrs["value"], node.dtype)
        return b.op("Pad", node.x, widths, value)
    if mode == "circular" and not b.has("Pad", since=19):
        return _wrap(b, node.x, pads)
    return b.op(
        "Pad", node.x, widths, mode={"reflect": "reflect", "replicate": "edge"}.get(mode, "wrap")
    )


def _cut(b, x, axis, start, stop):
    """x[start:stop] on one axis; bounds are ints or Exprs, None is the end."""
    last = b.ints(2**63 - 1) if stop is None else b.shape_vector([stop])
    return b.op("Slice", x, b.shape_vector([start]), last, b.ints(axis))


def _wrap(b, x, pads):
    """Circular padding by joining the ends, for targets whose Pad has no mode "wrap"."""
    for axis, (low, high) in enumerate(pads):
        parts = [x]
        if low:
            parts.insert(0, _cut(b, x, axis, -low, None))
        if high:
            parts.append(_cut(b, x, axis, 0, high))
        x = b.op("Concat", *parts, axis=axis) if len(parts) > 1 else x
    return x
