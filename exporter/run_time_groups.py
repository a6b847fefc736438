"""Grouped convolutions of which only the run knows how many groups there are.

ONNX's operators want the number as an attribute. Here windows become columns by a convolution with
an identity, and groups are matrices of a batched product: convolutions whose weights are computed
for each image (`groups=x.shape[0]`) are of this kind.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dyn.core.expr import Expr
from exporter.errors import ExportError
from exporter.registry import NodeView
from exporter.windows import Size, is_symbolic, onnx_pads, pad, volume


def has_run_time_groups(node: NodeView) -> bool:
    """Whether the number of groups is no constant."""
    return is_symbolic([node.attrs["groups"]])


def conv(b: Any, node: NodeView) -> Any:
    """[N, G * C, ...] with weights [G * O, C, ...]: [N, G * O, ...]."""
    x, w, bias = (*node.inputs, None)[:3]
    groups, window = node.attrs["groups"], node.input_types[1].shape[2:]  # type: ignore[union-attr]
    channels = _whole(node, 1, 1)
    outs = _per_group(node, node.input_types[1].shape[0])  # type: ignore[union-attr]
    columns = _columns(b, node, x, node.input_types[0].shape, channels, window)  # type: ignore[union-attr]
    kernels = b.reshape(w, [groups, outs, channels * math.prod(window)])
    y = b.reshape(b.op("MatMul", kernels, columns), node.out.shape)
    return _shifted(b, y, bias, node)


def conv_transpose(b: Any, node: NodeView) -> tuple[Any, Any]:
    """What the groups contribute to each window, [N * G, O * K, ...], and the identity [O * K, O,
    ...] that a transposed convolution of one group adds them up by.
    """
    x, w = node.inputs[:2]
    groups, window = node.attrs["groups"], node.input_types[1].shape[2:]  # type: ignore[union-attr]
    n, full, *size = node.input_types[0].shape  # type: ignore[union-attr]
    channels, outs = _per_group(node, full), _whole(node, 1, 1)
    taps = math.prod(window)
    kernels = b.transpose(b.reshape(w, [groups, channels, outs * taps]), (0, 2, 1))
    rows = b.reshape(x, [n, groups, channels, volume(size)])
    parts = b.op("MatMul", kernels, rows)
    parts = b.reshape(parts, [_times(n, groups), outs * taps, *size])
    return parts, _identity(b, node, outs, window)


def joined(b: Any, y: Any, bias: Any, node: NodeView) -> Any:
    """[N * G, O, ...] as the result [N, G * O, ...], with its bias."""
    return _shifted(b, b.reshape(y, node.out.shape), bias, node)


def conv_grad_w(b: Any, node: NodeView) -> Any:
    """The gradient of the weights [G * O, C, ...] from that of the result and the images."""
    g, x = node.inputs
    (n, full, *size), images = (t.shape for t in node.input_types)  # type: ignore[union-attr]
    groups, window = node.attrs["groups"], node.attrs["window"]
    channels = _known(node, _per_group(node, images[1]))
    outs = _per_group(node, full)
    columns = _columns(b, node, x, images, channels, window)
    slopes = b.reshape(g, [n, groups, outs, volume(size)])
    each = b.op("MatMul", slopes, b.transpose(columns, (0, 1, 3, 2)))
    return b.reshape(b.axes("ReduceSum", each, [0], keepdims=False), node.out.shape)


def _columns(
    b: Any, node: NodeView, x: Any, shape: Any, channels: int, window: tuple[int, ...]
) -> Any:
    """The windows of images [N, G * C, ...] as columns: [N, G, C * K, windows]."""
    attrs, groups = node.attrs, node.attrs["groups"]
    n, _, *size = shape
    padding = attrs["padding"]
    if is_symbolic(padding):
        x = pad(b, x, padding)
        ends = zip(size, padding[::2], padding[1::2], strict=True)
        size = [Expr.of(own) + low + high for own, low, high in ends]
        padding = (0,) * len(padding)
    columns = b.op(
        "Conv",
        b.reshape(x, [_times(n, groups), channels, *size]),
        _identity(b, node, channels, window),
        pads=onnx_pads(padding),
        strides=list(attrs["stride"]),
        dilations=list(attrs["dilation"]),
    )
    taps = math.prod(window)
    return b.op("Reshape", columns, b.shape_vector([n, groups, channels * taps, -1]))


def _identity(b: Any, node: NodeView, channels: int, window: tuple[int, ...]) -> Any:
    """Kernels [C * K, C, ...], each of which takes one element of a window."""
    taps = channels * math.prod(window)
    return b.const(np.eye(taps).reshape(taps, channels, *window).astype(node.dtype))


def _shifted(b: Any, y: Any, bias: Any, node: NodeView) -> Any:
    if bias is not None:
        y = b.op("Add", y, b.unsqueeze(bias, *range(1, node.rank - 1)))
    return b.op("Relu", y) if node.attrs.get("activation") == "relu" else y


def _times(a: Size, b: Size) -> Size:
    return volume([a, b])


def _per_group(node: NodeView, size: Size) -> Size:
    found = Expr.of(size).divide_exactly(Expr.of(node.attrs["groups"]))
    return Expr.of(size) // node.attrs["groups"] if found is None else volume([found])


def _whole(node: NodeView, place: int, axis: int) -> int:
    return _known(node, node.input_types[place].shape[axis])  # type: ignore[union-attr]


def _known(node: NodeView, size: Size) -> int:
    if is_symbolic([size]):
        raise ExportError(
            f"{node.op}: there are {node.attrs['groups']} groups of {size} channels, both of which "
            "depend on sizes that only the run knows; declare one of them as a number in the "
            "InputSpec"
        )
    return int(volume([size]))  # type: ignore[arg-type]
