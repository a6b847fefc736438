"""Lowerings of `dyn/ops/group_norm.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.expr import Expr
from exporter.lower.norm import vector
from exporter.registry import NodeView, lowers
from exporter.windows import filled, is_symbolic, volume


def _column(b: Any, v: Any, rank: int) -> Any:
    """[C] to go with [N, C, ...]."""
    return b.unsqueeze(v, *range(1, rank - 1))


def _to_rows(b: Any, x: Any, node: NodeView) -> Any:
    """[N, C, ...] as [N, groups, everything of a group]."""
    groups = node.attrs["groups"]
    if isinstance(groups, int):
        if not is_symbolic(node.shape):
            return b.reshape(x, (node.shape[0], groups, volume(node.shape[1:]) // groups))
        # A 0 copies the size of x: said so, lest the peephole drops a reshape that made x.
        return b.op("Reshape", x, b.ints(0, groups, -1), allowzero=0)
    return b.op("Reshape", x, b.shape_vector([0, groups, -1]), allowzero=0)


def _from_rows(b: Any, rows: Any, node: NodeView) -> Any:
    """Back to the shape of x."""
    if is_symbolic(node.shape):
        return b.op("Reshape", rows, b.op("Shape", node.inputs[0]))
    return b.reshape(rows, node.shape)


def _statistics(b: Any, rows: Any, epsilon: float, dtype: Any) -> tuple[Any, Any, Any]:
    """Centred rows, mean and 1 / sqrt(var + epsilon) along the last axis."""
    mean = b.axes("ReduceMean", rows, [2])
    centred = b.op("Sub", rows, mean)
    var = b.axes("ReduceMean", b.op("Mul", centred, centred), [2])
    deviation = b.op("Sqrt", b.op("Add", var, b.const(epsilon, dtype)))
    return centred, mean, b.op("Div", b.const(1, dtype), deviation)


@lowers("group_norm")
def _(b: Any, node: NodeView) -> Any:
    x, scale, bias = node.inputs
    epsilon, channels, groups = node.attrs["epsilon"], node.shape[1], node.attrs["groups"]
    if node.dtype == np.float32 and not any(node.used[1:]):
        ones, zeros = (vector(b, v, [channels], n, node.dtype) for v, n in ((scale, 1), (bias, 0)))
        # InstanceNormalization wants an axis behind the channels.
        if Expr.of(groups) == Expr.of(channels) and node.rank > 2:
            return b.op("InstanceNormalization", x, ones, zeros, epsilon=epsilon), None, None
        if b.has("GroupNormalization", since=21):
            out = b.op("GroupNormalization", x, ones, zeros, num_groups=groups, epsilon=epsilon)
            return out, None, None
        rows = _to_rows(b, x, node)
        ones, zeros = (filled(b, [groups], n, node.dtype) for n in (1, 0))
        rows = b.op("InstanceNormalization", rows, ones, zeros, epsilon=epsilon)
        return _affine(b, _from_rows(b, rows, node), scale, bias, node), None, None
    centred, mean, rstd = _statistics(b, _to_rows(b, x, node), epsilon, node.dtype)
    out = _from_rows(b, b.op("Mul", centred, rstd), node)
    out = _affine(b, out, scale, bias, node)
    return out, b.squeeze(mean, 2), b.squeeze(rstd, 2)


def _affine(b: Any, out: Any, scale: Any, bias: Any, node: NodeView) -> Any:
    """out * scale + bias per channel, where they are given."""
    if scale is not None:
        out = b.op("Mul", out, _column(b, scale, node.rank))
    return out if bias is None else b.op("Add", out, _column(b, bias, node.rank))


@lowers("group_norm_grad")
def _(b: Any, node: NodeView) -> Any:
    g, x, scale, mean, rstd = node.inputs
    rank = node.rank
    axes = [0, *range(2, rank)]
    rstd = b.unsqueeze(rstd, 2)
    centred = b.op("Sub", _to_rows(b, x, node), b.unsqueeze(mean, 2))
    normal = b.op("Mul", centred, rstd)
    projected = b.op("Mul", g, _from_rows(b, normal, node))
    gscale = b.axes("ReduceSum", projected, axes, keepdims=False)
    gbias = b.axes("ReduceSum", g, axes, keepdims=False)
    scaled = g if scale is None else b.op("Mul", g, _column(b, scale, rank))
    scaled = _to_rows(b, scaled, node)
    inner = b.axes("ReduceMean", b.op("Mul", scaled, normal), [2])
    gx = b.op("Sub", scaled, b.axes("ReduceMean", scaled, [2]))
    gx = b.op("Mul", rstd, b.op("Sub", gx, b.op("Mul", normal, inner)))
    return _from_rows(b, gx, node), gscale, gbias


@lowers("rms_norm")
def _(b: Any, node: NodeView) -> Any:
    x, scale = node.inputs
    count, epsilon = node.attrs["axes_count"], node.attrs["epsilon"]
    sizes = node.shape[node.rank - count :]
    if b.has("RMSNormalization") and not node.used[1] and node.dtype == np.float32:
        scale = vector(b, scale, sizes, 1, node.dtype)
        return b.op("RMSNormalization", x, scale, axis=-count, epsilon=epsilon), None
    axes = range(node.rank - count, node.rank)
    square = b.axes("ReduceMean", b.op("Mul", x, x), axes)
    root = b.op("Sqrt", b.op("Add", square, b.const(epsilon, node.dtype)))
    rstd = b.op("Div", b.const(1, node.dtype), root)
    out = b.op("Mul", x, rstd)
    return (out if scale is None else b.op("Mul", out, scale)), rstd


@lowers("rms_norm_grad")
def _(b: Any, node: NodeView) -> Any:
    g, x, scale, rstd = node.inputs
    count = node.attrs["axes_count"]
    axes = range(node.rank - count, node.rank)
    normal = b.op("Mul", x, rstd)
    gscale = b.axes("ReduceSum", b.op("Mul", g, normal), range(node.rank - count), keepdims=False)
    scaled = g if scale is None else b.op("Mul", g, scale)
    inner = b.axes("ReduceMean", b.op("Mul", scaled, normal), axes)
    return b.op("Mul", rstd, b.op("Sub", scaled, b.op("Mul", normal, inner))), gscale


def _window_sum(b: Any, x: Any, node: NodeView, low: int, high: int) -> Any:
    """Sum over neighbouring channels: a sliding sum along axis 1, by a convolution with ones."""
    shape = node.shape
    flat = b.reshape(x, [shape[0], 1, shape[1], volume(shape[2:])])
    width = low + high + 1
    if node.dtype == np.float32:
        ones = b.const(np.ones((1, 1, width, 1), np.float32))
        return b.reshape(b.op("Conv", flat, ones, pads=[low, 0, high, 0]), shape)
    # onnxruntime convolves in float32 only: add the shifted channels up.
    wide = b.op("Pad", flat, b.ints(0, 0, low, 0, 0, 0, high, 0))
    total = None
    for tap in range(width):
        stop = Expr.of(shape[1]) + Expr.of(tap)
        seen = b.op("Slice", wide, b.ints(tap), b.shape_vector([stop]), b.ints(2))
        total = seen if total is None else b.op("Add", total, seen)
    return b.reshape(total, shape)


@lowers("channel_window_sum")
def _(b: Any, node: NodeView) -> Any:
    return _window_sum(b, node.x, node, node.attrs["low"], node.attrs["high"])


@lowers("local_response_norm")
def _(b: Any, node: NodeView) -> Any:
    size, alpha, beta, k = (node.attrs[name] for name in ("size", "alpha", "beta", "k"))
    if size % 2 and node.rank == 4 and node.dtype == np.float32:
        return b.op("LRN", node.x, size=size, alpha=alpha, beta=beta, bias=k)
    # ONNX places a window of even size one channel further on.
    square = b.op("Mul", node.x, node.x)
    total = _window_sum(b, square, node, size // 2, (size - 1) // 2)
    base = b.op("Mul", total, b.const(alpha / size, node.dtype))
    base = b.op("Add", base, b.const(k, node.dtype))
    return b.op("Mul", node.x, b.op("Pow", base, b.const(-beta, node.dtype)))
