"""Lowerings of `dyn/ops/extremes.py`."""

from __future__ import annotations

import numpy as np

from exporter.registry import lowers


def extreme(b, x, y, dtype, target):
    """The larger ("Max") or smaller ("Min") of two numbers."""
    if dtype.itemsize == 1:
        # onnxruntime compares integers of 32 bits and more.
        wide = [b.cast(t, np.int32) for t in (x, y)]
        return b.cast(b.op(target, *wide), dtype)
    return b.op(target, x, y)


@lowers("maximum")
def _(b, node):
    x, y = node.inputs
    return b.op("Or", x, y) if node.dtype.kind == "b" else extreme(b, x, y, node.dtype, "Max")


@lowers("minimum")
def _(b, node):
    x, y = node.inputs
    return b.op("And", x, y) if node.dtype.kind == "b" else extreme(b, x, y, node.dtype, "Min")
