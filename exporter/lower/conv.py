"""Convolution, its transpose and the gradient of its weight in ONNX: Conv and ConvTranspose."""

from __future__ import annotations

from typing import Any

from dyn.core.expr import Expr
from exporter import run_time_groups as groups
from exporter.registry import NodeView, lowers
from exporter.windows import is_symbolic, onnx_pads


def _window_attrs(node: NodeView) -> dict[str, Any]:
    attrs = node.attrs
    return {
        "strides": list(attrs["stride"]),
        "dilations": list(attrs["dilation"]),
        "group": attrs["groups"],
    }


def _padded(b: Any, x: Any, padding: Any) -> Any:
    """x [N, C, ...] with zeros around it (cut where negative); the amounts may be symbolic."""
    return b.op("Pad", x, b.shape_vector([0, 0, *padding[::2], 0, 0, *padding[1::2]]))


@lowers("conv")
def _(b: Any, node: NodeView) -> Any:
    if groups.has_run_time_groups(node):
        return groups.conv(b, node)
    x, w, bias = (*node.inputs, None)[:3]
    padding = node.attrs["padding"]
    if is_symbolic(padding):
        x, padding = _padded(b, x, padding), (0,) * len(padding)
    y = b.op("Conv", x, w, bias, pads=onnx_pads(padding), **_window_attrs(node))
    return b.op("Relu", y) if node.attrs["activation"] == "relu" else y


@lowers("conv_transpose")
def _(b: Any, node: NodeView) -> Any:
    x, w, bias = (*node.inputs, None)[:3]
    if not groups.has_run_time_groups(node):
        return _transposed(b, node, x, w, bias, _window_attrs(node))
    x, w = groups.conv_transpose(b, node)
    y = _transposed(b, node, x, w, None, {**_window_attrs(node), "group": 1})
    return groups.joined(b, y, bias, node)


def _transposed(b: Any, node: NodeView, x: Any, w: Any, bias: Any, window_attrs: Any) -> Any:
    attrs = node.attrs
    padding, window = attrs["padding"], node.input_types[1].shape[2:]  # type: ignore[union-attr]
    beyond = []
    for i, (size, n) in enumerate(zip(attrs["size"], node.shape[2:], strict=True)):
        reach = (Expr.of(n) - Expr.of(1)) * Expr.of(attrs["stride"][i])
        reach = reach + Expr.of(attrs["dilation"][i] * (window[i] - 1) + 1)
        low, high = Expr.of(padding[2 * i]), Expr.of(padding[2 * i + 1])
        beyond.append(Expr.of(size) + low + high - reach)
    if not is_symbolic(beyond) and not is_symbolic(padding):
        extra = [e.constant for e in beyond]
        return b.op(
            "ConvTranspose",
            x,
            w,
            bias,
            pads=onnx_pads(padding),
            output_padding=extra if any(extra) else None,
            **window_attrs,
        )
    # Only the run knows how far the result reaches: take all of it, then cut or extend to size.
    y = b.op("ConvTranspose", x, w, bias, **window_attrs)
    ends: list[Any] = []
    for i, more in enumerate(beyond):
        low, high = Expr.of(padding[2 * i]), Expr.of(padding[2 * i + 1])
        ends += [-low, more - high]
    return _padded(b, y, ends)


@lowers("conv_grad_w")
def _(b: Any, node: NodeView) -> Any:
    """Sum over the batch: batch and channels change places, stride and dilation too."""
    if groups.has_run_time_groups(node):
        return groups.conv_grad_w(b, node)
    g, x = node.inputs
    attrs = node.attrs
    count, padding, rank = attrs["groups"], attrs["padding"], node.rank
    sizes = node.input_types[1].shape  # type: ignore[union-attr]
    swapped = (1, 0, *range(2, rank))
    if count == 1:
        x = b.transpose(x, swapped)
    else:
        inner = sizes[1] // count
        x = b.reshape(x, [sizes[0], count, inner, *sizes[2:]])
        x = b.transpose(x, (2, 1, 0, *range(3, rank + 1)))
        x = b.reshape(x, [inner, Expr.of(count) * Expr.of(sizes[0]), *sizes[2:]])
    if is_symbolic(padding):
        x, padding = _padded(b, x, padding), (0,) * len(padding)
    w = b.op(
        "Conv",
        x,
        b.transpose(g, swapped),
        pads=onnx_pads(padding),
        strides=list(attrs["dilation"]),
        dilations=list(attrs["stride"]),
        group=count,
    )
    window = attrs["window"]
    if any(s > 1 for s in attrs["stride"]):
        # Rows that the strided windows never reached look like further taps.
        axes = list(range(2, rank))
        w = b.op("Slice", w, b.ints(*[0] * len(axes)), b.ints(*window), b.ints(*axes))
    return b.transpose(w, swapped)
