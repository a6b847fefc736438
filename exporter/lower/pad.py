"""Lowering of `dyn/ops/pad.py`: Pad, and its parts where the target lacks a mode."""

from exporter.registry import lowers


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
