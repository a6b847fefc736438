"""Lowerings of `dyn/ops/norm.py`: BatchNormalization, LayerNormalization, and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from exporter.registry import NodeView, lowers
from exporter.windows import filled, volume


def vector(b: Any, value: Any, shape: Any, default: float, dtype: Any) -> Any:
    """A parameter, or where it is absent a tensor of its neutral number."""
    return filled(b, shape, default, dtype) if value is None else value


@lowers("batch_norm")
def _(b: Any, node: NodeView) -> Any:
    # Not in training mode: onnxruntime then writes the statistics over its own constants.
    x, scale, bias, residual = node.inputs
    channels = [node.shape[1]]
    axes = [0, *range(2, node.rank)]
    mean = b.axes("ReduceMean", x, axes)
    centred = b.op("Sub", x, mean)
    var = b.axes("ReduceMean", b.op("Mul", centred, centred), axes, keepdims=False)
    mean = b.squeeze(mean, *axes)
    out = b.op(
        "BatchNormalization",
        x,
        vector(b, scale, channels, 1, node.dtype),
        vector(b, bias, channels, 0, node.dtype),
        mean,
        var,
        epsilon=node.attrs["epsilon"],
    )
    if residual is not None:
        out = b.op("Add", out, residual)
    return (b.op("Relu", out) if node.attrs["activation"] else out), mean, var


@lowers("running_statistics")
def _(b, node):
    old_mean, old_var, mean, var = node.inputs
    take, more = (b.const(node.attrs[name], node.dtype) for name in ("take", "more"))
    if node.attrs["more"] != 1:
        var = b.op("Mul", var, more)
    pairs = (old_mean, mean), (old_var, var)
    return tuple(b.op("Add", old, b.op("Mul", take, b.op("Sub", new, old))) for old, new in pairs)


@lowers("batch_norm_infer")
def _(b: Any, node: NodeView) -> Any:
    x, scale, bias, mean, var = node.inputs
    channels = [node.shape[1]]
    return b.op(
        "BatchNormalization",
        x,
        vector(b, scale, channels, 1, node.dtype),
        vector(b, bias, channels, 0, node.dtype),
        mean,
        var,
        epsilon=node.attrs["epsilon"],
    )


@lowers("batch_norm_grad")
def _(b: Any, node: NodeView) -> Any:
    g, x, scale, bias, residual, mean, var, g_mean, g_var = node.inputs
    sizes = node.shape
    axes = [0, *range(2, len(sizes))]
    column = [1, sizes[1], *([1] * (len(sizes) - 2))]
    count = b.cast(b.size(volume([sizes[0], *sizes[2:]])), node.dtype)

    def wide(v: Any) -> Any:
        return b.reshape(v, column)

    one = b.const(1, node.dtype)
    rstd = b.op(
        "Div", one, b.op("Sqrt", b.op("Add", var, b.const(node.attrs["epsilon"], node.dtype)))
    )
    centred = b.op("Sub", x, wide(mean))
    factor = rstd if scale is None else b.op("Mul", rstd, scale)
    if node.attrs["activation"]:
        before = b.op("Mul", centred, wide(factor))
        before = before if bias is None else b.op("Add", before, wide(bias))
        before = before if residual is None else b.op("Add", before, residual)
        zero = b.const(0, node.dtype)
        g = b.op("Where", b.op("Greater", before, zero), g, zero)
    gbias = b.axes("ReduceSum", g, axes, keepdims=False)
    projected = b.axes("ReduceSum", b.op("Mul", g, centred), axes, keepdims=False)
    gscale = b.op("Mul", projected, rstd)
    # gx = factor * g + slope / n * (x - mean) + shift / n
    slope = b.op("Mul", factor, b.op("Mul", rstd, gscale))
    slope = b.op("Sub", b.op("Add", g_var, g_var), slope)
    shift = b.op("Sub", g_mean, b.op("Mul", factor, gbias))
    gx = b.op("Mul", g, wide(factor))
    gx = b.op("Add", gx, b.op("Mul", centred, wide(b.op("Div", slope, count))))
    gx = b.op("Add", gx, wide(b.op("Div", shift, count)))
    return (gx, gscale, gbias) if residual is None else (gx, gscale, gbias, g)


@lowers("batch_norm_infer_grad")
def _(b: Any, node: NodeView) -> Any:
    g, x, scale, mean, var = node.inputs
    axes = [0, *range(2, node.rank)]
    column = [1, node.shape[1], *([1] * (node.rank - 2))]
    deviation = b.op("Sqrt", b.op("Add", var, b.const(node.attrs["epsilon"], node.dtype)))
    rstd = b.op("Div", b.const(1, node.dtype), deviation)
    factor = rstd if scale is None else b.op("Mul", rstd, scale)
    gbias = b.axes("ReduceSum", g, axes, keepdims=False)
    centred = b.op("Mul", g, b.op("Sub", x, b.reshape(mean, column)))
    gscale = b.op("Mul", b.axes("ReduceSum", centred, axes, keepdims=False), rstd)
    slope = b.op("Mul", b.op("Mul", factor, rstd), b.const(-0.5, node.dtype))
    return (
        b.op("Mul", g, b.reshape(factor, column)),
        gscale,
        gbias,
        b.op("Neg", b.op("Mul", factor, gbias)),
        b.op("Mul", slope, gscale),
    )


@lowers("layer_norm")
def _(b: Any, node: NodeView) -> Any:
    x, scale, bias = node.inputs
    count = node.attrs["axes_count"]
    sizes = node.shape[node.rank - count :]
    used = 3 if any(node.used[1:]) else 1
    made = b.op(
        "LayerNormalization",
        x,
        vector(b, scale, sizes, 1, node.dtype),
        bias,
        outputs=used,
        axis=-count,
        epsilon=node.attrs["epsilon"],
    )
    if used == 1:
        return made, None, None
    # ONNX computes the statistics in float32, whatever x is.
    mean, rstd = (v if node.dtype == np.float32 else b.cast(v, node.dtype) for v in made[1:])
    return made[0], mean, rstd


@lowers("layer_norm_grad")
def _(b: Any, node: NodeView) -> Any:
    g, x, scale, mean, rstd = node.inputs
    count = node.attrs["axes_count"]
    rank = node.rank
    axes = list(range(rank - count, rank))
    rows = list(range(rank - count))
    normal = b.op("Mul", b.op("Sub", x, mean), rstd)
    projected = b.op("Mul", g, normal)
    gscale = b.axes("ReduceSum", projected, rows, keepdims=False)
    gbias = b.axes("ReduceSum", g, rows, keepdims=False)
    scaled = g if scale is None else b.op("Mul", g, scale)
    inner = b.axes("ReduceMean", b.op("Mul", scaled, normal), axes)
    outer = b.axes("ReduceMean", scaled, axes)
    gx = b.op("Sub", b.op("Sub", scaled, outer), b.op("Mul", normal, inner))
    return b.op("Mul", rstd, gx), gscale, gbias
