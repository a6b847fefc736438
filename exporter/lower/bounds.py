"""Lowerings of `dyn/ops/bounds.py`."""

from __future__ import annotations

import math

import numpy as np

from exporter.lower.extremes import extreme
from exporter.registry import lowers


def _bound(b, value, dtype):
    """A bound as a constant; one that no integer of the type reaches bounds nothing."""
    if value is None:
        return None
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        value = min(max(value, info.min), info.max)
    return b.const(value, dtype)


@lowers("clip")
def _(b, node):
    low, high = (_bound(b, node.attrs[name], node.dtype) for name in ("low", "high"))
    return b.op("Clip", node.x, low, high)


@lowers("clip_grad")
def _(b, node):
    g, x = node.inputs
    low, high = (_bound(b, node.attrs[name], node.dtype) for name in ("low", "high"))
    tests = [] if low is None else [b.op("GreaterOrEqual", x, low)]
    if high is not None:
        tests.append(b.op("LessOrEqual", x, high))
    if not tests:
        return b.op("Identity", g)
    inside = tests[0] if len(tests) == 1 else b.op("And", *tests)
    return b.op("Where", inside, g, b.const(0, node.dtype))


@lowers("clip_between")
def _(b, node):
    x, low, high = node.inputs
    if low is not None:
        x = extreme(b, x, low, node.dtype, "Max")
    return x if high is None else extreme(b, x, high, node.dtype, "Min")


@lowers("nan_to_num")
def _(b, node):
    nan, high, low = (b.const(node.attrs[name], node.dtype) for name in ("nan", "high", "low"))
    x = b.op("Where", b.op("IsNaN", node.x), nan, node.x)
    x = b.op("Where", b.op("Equal", x, b.const(math.inf, node.dtype)), high, x)
    return b.op("Where", b.op("Equal", x, b.const(-math.inf, node.dtype)), low, x)
