"""Lowering of `dyn/ops/pad.py`: Pad, and its parts where the target lacks a mode."""

from exporter.lower.gather import added
from exporter.registry import lowers


def _widths(b, pads):
    return b.shape_vector([low for low, _ in pads] + [high for _, high in pads])


def _padded(b, x, pads, mode):
    """x padded with elements of its own."""
    if mode == "circular" and not b.has("Pad", since=19):
        return _wrap(b, x, pads)
    words = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    return b.op("Pad", x, _widths(b, pads), mode=words[mode])


@lowers("pad")
def _(b, node):
    pads, mode = node.attrs["pads"], node.attrs["mode"]
    if mode != "constant":
        return _padded(b, node.x, pads, mode)
    return b.op("Pad", node.x, _widths(b, pads), b.const(node.attrs["value"], node.dtype))


@lowers("pad_grad")
def _(b, node):
    pads, mode, shape = (node.attrs[name] for name in ("pads", "mode", "shape"))
    g, sizes = node.x, list(node.input_types[0].shape)
    for axis, amounts in enumerate(pads):
        if amounts == (0, 0):
            continue
        sizes[axis] = shape[axis]
        positions = b.op("Range", b.size(0), b.size(shape[axis]), b.size(1))
        source = _padded(b, positions, [amounts], mode)
        g = added(b, g, source, axis, sizes, 1, node.dtype)
    return g


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
