"""Lowerings of `dyn/ops/rearrange.py`."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from dyn.core.expr import Expr
from exporter.registry import NodeView, lowers
from exporter.windows import is_symbolic, onnx_pads, pad, volume


@lowers("pixel_shuffle")
def _(b: Any, node: NodeView) -> Any:
    return b.op("DepthToSpace", node.x, blocksize=node.attrs["factor"], mode="CRD")


@lowers("pixel_unshuffle")
def _(b: Any, node: NodeView) -> Any:
    r = node.attrs["factor"]
    n, c, h, w = (Expr.of(size) for size in node.shape)
    blocks = b.reshape(node.x, [n, c, h // Expr.of(r), r, w // Expr.of(r), r])
    blocks = b.transpose(blocks, (0, 1, 3, 5, 2, 4))
    return b.reshape(blocks, node.out.shape)


def _positions(sizes: Any, node: NodeView) -> list[Any]:
    """Number of windows along each axis of an image of the given sizes."""
    attrs = node.attrs
    found = []
    for i, size in enumerate(sizes):
        padded = Expr.of(size) + Expr.of(attrs["padding"][2 * i])
        padded = padded + Expr.of(attrs["padding"][2 * i + 1])
        reach = Expr.of(attrs["dilation"][i] * (attrs["kernel"][i] - 1) + 1)
        found.append((padded - reach) // Expr.of(attrs["stride"][i]) + Expr.of(1))
    return found


def _seen(b: Any, count: Any, kernel: int, stride: int, dilation: int) -> Any:
    """The place in the padded axis that each place of each window sees: [kernel, count]."""
    if not is_symbolic([count]):
        starts = np.arange(int(count.constant)) * stride
        return b.const(starts + np.arange(kernel)[:, None] * dilation, np.int64)
    starts = b.op("Range", b.const(0, np.int64), b.size(count), b.const(1, np.int64))
    starts = b.op("Mul", starts, b.const(stride, np.int64))
    return b.op("Add", starts, b.const(np.arange(kernel)[:, None] * dilation, np.int64))


@lowers("unfold")
def _(b: Any, node: NodeView) -> Any:
    attrs, x = node.attrs, node.x
    if is_symbolic(attrs["padding"]) or any(attrs["padding"]):
        x = pad(b, x, attrs["padding"])
    rows, columns = (
        _seen(b, count, k, s, d)
        for count, k, s, d in zip(
            _positions(node.shape[2:], node),
            attrs["kernel"],
            attrs["stride"],
            attrs["dilation"],
            strict=True,
        )
    )
    x = b.op("Gather", x, rows, axis=2)
    x = b.op("Gather", x, columns, axis=4)
    return b.reshape(b.transpose(x, (0, 1, 2, 4, 3, 5)), node.out.shape)


@lowers("fold")
def _(b: Any, node: NodeView) -> Any:
    attrs = node.attrs
    sizes, kernel, stride, dilation = (
        attrs[name] for name in ("sizes", "kernel", "stride", "dilation")
    )
    if b.has("Col2Im") and node.dtype == np.float32 and not is_symbolic(attrs["padding"]):
        return b.op(
            "Col2Im",
            node.x,
            b.shape_vector(sizes),
            b.ints(*kernel),
            dilations=list(dilation),
            pads=onnx_pads(attrs["padding"]),
            strides=list(stride),
        )
    # One image per place in the window, its pixels a stride apart and shifted, all added up.
    out = _positions(sizes, node)
    n, c = node.out.shape[:2]
    count = int(np.prod(kernel))
    columns = b.reshape(node.x, [volume([n, c]), count, out[0], 1, out[1], 1])
    gaps = [0, 0, 0, stride[0] - 1, 0, stride[1] - 1]
    columns = b.op("Pad", columns, b.ints(*[0] * 6, *gaps))
    apart = [volume([k, s]) for k, s in zip(out, stride, strict=True)]
    columns = b.reshape(columns, [volume([n, c]), count, *apart])
    total = None
    for place, at in enumerate(itertools.product(*(range(k) for k in kernel))):
        one = b.op("Slice", columns, b.ints(place), b.ints(place + 1), b.ints(1))
        ends = []
        for i, t in enumerate(at):
            low = Expr.of(t * dilation[i]) - Expr.of(attrs["padding"][2 * i])
            ends += [low, Expr.of(sizes[i]) - low - Expr.of(apart[i])]
        moved = pad(b, one, ends)
        total = moved if total is None else b.op("Add", total, moved)
    return b.reshape(total, node.out.shape)
