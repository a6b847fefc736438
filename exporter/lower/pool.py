"""Lowerings of `dyn/ops/pool.py`: MaxPool, AveragePool, and their gradients by scattering."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from dyn.core.expr import Expr
from exporter.lower.gather import scattered
from exporter.registry import NodeView, lowers
from exporter.windows import filled, is_symbolic, onnx_pads, pad, volume


@lowers("max_pool")
def _(b: Any, node: NodeView) -> Any:
    if not node.used[1]:
        return _max_pool(b, node, outputs=1)[0], None
    out, index = _max_pool(b, node, outputs=2)
    return out, b.cast(index, np.int32)


@lowers("max_pool_index")
def _(b: Any, node: NodeView) -> Any:
    return _max_pool(b, node, outputs=2)[1]


def _max_pool(b: Any, node: NodeView, outputs: int) -> tuple[Any, ...]:
    """MaxPool, and the winners' positions among the spatial axes."""
    attrs = node.attrs
    x, padding, spatial = node.x, attrs["padding"], node.shape[2:]
    if is_symbolic(padding):
        low = b.const(np.finfo(node.dtype).min, node.dtype)
        x, padding = pad(b, x, padding, low), (0,) * len(padding)
        spatial = [
            Expr.of(n) + Expr.of(attrs["padding"][2 * i]) + Expr.of(attrs["padding"][2 * i + 1])
            for i, n in enumerate(spatial)
        ]
    made = b.op(
        "MaxPool",
        x,
        outputs=outputs,
        kernel_shape=list(attrs["kernel"]),
        strides=list(attrs["stride"]),
        dilations=list(attrs["dilation"]),
        pads=onnx_pads(padding),
        ceil_mode=int(attrs["ceil_mode"]),
    )
    if outputs == 1:
        return (made,)
    # ONNX counts positions through batch and channels as well.
    index = b.op("Mod", made[1], b.size(volume(spatial)))
    if padding != attrs["padding"]:
        index = _without_padding(b, index, spatial, node)
    return made[0], index


def _without_padding(b: Any, index: Any, padded: Any, node: NodeView) -> Any:
    """Positions in a padded plane as positions in the plane itself."""
    sizes, padding = node.shape[2:], node.attrs["padding"]
    total = None
    for i in reversed(range(len(sizes))):
        at = b.op("Mod", index, b.size(padded[i]))
        index = b.op("Div", index, b.size(padded[i]))
        at = b.op("Sub", at, b.size(padding[2 * i]))
        at = b.op("Mul", at, b.size(volume(sizes[i + 1 :])))
        total = at if total is None else b.op("Add", total, at)
    return total


@lowers("max_pool_grad")
def _(b: Any, node: NodeView) -> Any:
    g, index = node.inputs
    shape = node.attrs["x_shape"]
    planes, plane = list(shape[:2]), volume(shape[2:])
    windows = volume(node.shape[2:])
    rows = b.reshape(g, [*planes, windows])
    where = b.cast(b.reshape(index, [*planes, windows]), np.int64)
    zeros = filled(b, [*planes, plane], 0, node.dtype)
    out = scattered(b, "ScatterElements", zeros, where, rows, node.dtype, "add", 2)
    return b.reshape(out, shape)


@lowers("avg_pool")
def _(b: Any, node: NodeView) -> Any:
    attrs = node.attrs
    padding = attrs["padding"]
    if is_symbolic(attrs["kernel"]):
        # Such a window is all of the plane.
        mean = b.axes("ReduceMean", node.x, range(2, node.rank))
        if not attrs["divisor"]:
            return mean
        count = b.cast(b.size(volume(attrs["kernel"])), node.dtype)
        return b.op("Mul", mean, b.op("Div", count, b.const(attrs["divisor"], node.dtype)))
    if (
        attrs["ceil_mode"]
        or attrs["divisor"]
        or is_symbolic(padding)
        or node.dtype != np.float32
        # onnxruntime 1.23 and older count too little of a padding that is wider at the end.
        or (not attrs["exclusive"] and padding[::2] != padding[1::2])
    ):
        sizes, out = node.shape[2:], node.out.shape[2:]
        total = _window_sums(b, node, node.x, sizes, padding, out)
        return b.op("Div", total, _counts(b, node, node.shape[2:]))
    return b.op(
        "AveragePool",
        node.x,
        kernel_shape=list(attrs["kernel"]),
        strides=list(attrs["stride"]),
        pads=onnx_pads(padding),
        count_include_pad=int(not attrs["exclusive"]),
    )


@lowers("avg_pool_grad")
def _(b: Any, node: NodeView) -> Any:
    """A transposed convolution with ones, plane by plane, of each window's share."""
    attrs = node.attrs
    shape, steps, kernel = attrs["x_shape"], attrs["stride"], attrs["kernel"]
    if is_symbolic(kernel):
        count = b.const(attrs["divisor"], node.dtype) if attrs["divisor"] else None
        count = count or b.cast(b.size(volume(kernel)), node.dtype)
        return b.op("Expand", b.op("Div", node.x, count), b.shape_vector(shape))
    share = b.op("Div", node.x, _counts(b, node, shape[2:]))
    share = b.reshape(share, [volume(shape[:2]), 1, *node.shape[2:]])
    if node.dtype == np.float32:
        ones = b.const(np.ones((1, 1, *kernel), np.float32))
        spread = b.op("ConvTranspose", share, ones, strides=list(steps))
        reach = [
            (Expr.of(n) - Expr.of(1)) * Expr.of(s) + Expr.of(k)
            for n, s, k in zip(node.shape[2:], steps, kernel, strict=True)
        ]
    else:
        spread = _spread(b, share, node)
        reach = [
            Expr.of(n) * Expr.of(s) + Expr.of(k - 1)
            for n, s, k in zip(node.shape[2:], steps, kernel, strict=True)
        ]
    ends = []
    for i, size in enumerate(shape[2:]):
        low = Expr.of(attrs["padding"][2 * i])
        ends += [-low, Expr.of(size) + low - reach[i]]
    return b.reshape(pad(b, spread, ends), shape)


def _spread(b: Any, share: Any, node: NodeView) -> Any:
    """The transposed convolution with ones that onnxruntime has in float32 only."""
    kernel, steps, sizes = node.attrs["kernel"], node.attrs["stride"], node.shape[2:]
    planes = volume(node.attrs["x_shape"][:2])
    # Zeros between the elements, so that neighbours are a stride apart ...
    share = b.reshape(share, [planes, 1, *(n for size in sizes for n in (size, 1))])
    gaps = [0, 0, *(n for s in steps for n in (0, s - 1))]
    share = b.op("Pad", share, b.ints(*[0] * len(gaps), *gaps))
    apart = [volume([n, s]) for n, s in zip(sizes, steps, strict=True)]
    share = b.reshape(share, [planes, 1, *apart])
    # ... and one shifted copy for each place in the window.
    total = None
    for tap in itertools.product(*(range(k) for k in kernel)):
        ends = [n for t, k in zip(tap, kernel, strict=True) for n in (t, k - 1 - t)]
        moved = pad(b, share, ends)
        total = moved if total is None else b.op("Add", total, moved)
    return total


def _window_sums(b: Any, node: NodeView, x: Any, sizes: Any, padding: Any, out: Any) -> Any:
    """Sum of each of `out` windows over x [N, C, *sizes]; what sticks out counts nothing."""
    kernel, steps = node.attrs["kernel"], node.attrs["stride"]
    spans = [(Expr.of(n) - Expr.of(1)) * Expr.of(s) for n, s in zip(out, steps, strict=True)]
    ends = []
    for i, size in enumerate(sizes):
        low = Expr.of(padding[2 * i])
        ends += [low, spans[i] + Expr.of(kernel[i]) - Expr.of(size) - low]
    x = pad(b, x, ends)
    if node.dtype == np.float32:
        mean = b.op("AveragePool", x, kernel_shape=list(kernel), strides=list(steps))
        return b.op("Mul", mean, b.const(float(np.prod(kernel)), node.dtype))
    # onnxruntime pools means in float32 only: add up what each place in the window sees.
    axes = b.ints(*range(2, 2 + len(kernel)))
    total = None
    for tap in itertools.product(*(range(k) for k in kernel)):
        stops = [span + Expr.of(t + 1) for span, t in zip(spans, tap, strict=True)]
        seen = b.op("Slice", x, b.ints(*tap), b.shape_vector(stops), axes, b.ints(*steps))
        total = seen if total is None else b.op("Add", total, seen)
    return total


def _counts(b: Any, node: NodeView, sizes: Any) -> Any:
    """What each window's sum is divided by; `sizes` are those of the pooled axes."""
    attrs = node.attrs
    padding = attrs["padding"]
    out = node.out.shape[2:] if node.op == "avg_pool" else node.shape[2:]
    if attrs["divisor"]:
        return b.const(attrs["divisor"], node.dtype)
    if not attrs["exclusive"]:
        # Padding counts as the input does, but not what ceil_mode adds beyond it.
        sizes = [
            Expr.of(n) + Expr.of(padding[2 * i]) + Expr.of(padding[2 * i + 1])
            for i, n in enumerate(sizes)
        ]
        padding = (0,) * len(padding)
    ones = filled(b, [1, 1, *sizes], 1, node.dtype)
    return _window_sums(b, node, ones, sizes, padding, out)
