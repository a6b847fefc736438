"""Convolution over 1 to 3 spatial axes, its transpose, and the gradient of its weight.

Three ops that are each other's gradients, for any number of spatial axes; `conv1d` ...
`conv3d_transpose` are Paddle's signatures around them. Only sliding sums belong here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.op import op
from dyn.core.tensor import Tensor
from dyn.kernels import conv as kernels
from dyn.ops.activation import relu_grad
from dyn.ops.infer import (
    Type,
    decide,
    expr_of,
    need_float,
    need_rank,
    need_same_dtype,
    same_size,
    show,
    window,
)
from dyn.ops.reduce import _sum
from dyn.ops.shape import _transpose
from dyn.ops.windows import padding_pairs, per_axis, window_sizes


def _need_operands(x: Type, w: Type, b: Type | None, channels: Any, groups: int) -> None:
    """Check what all three ops ask of weight, bias and groups; `channels` is the bias's size."""
    need_float("x", x)
    need_same_dtype(x=x, weight=w, bias=b)
    need_rank("weight", w, len(x.shape))
    if groups < 1 or w.shape[0] % groups:
        raise AttributeValueError(
            f"groups={groups} must be positive and divide {w.shape[0]}, the first size of weight "
            f"{show(w.shape)}"
        )
    if b is not None and not (len(b.shape) == 1 and same_size(b.shape[0], channels)):
        raise ShapeError(f"bias must have shape [{channels}], got {show(b.shape)}")


def _channel_axes(g: Tensor) -> tuple[int, ...]:
    return (0, *range(2, g.ndim))


# ---- forward -----------------------------------------------------------------------------------


def _infer_conv(
    x: Type,
    w: Type,
    b: Type | None = None,
    *,
    stride: Sequence[int],
    padding: Sequence[Any],
    dilation: Sequence[int],
    groups: int,
    activation: str | None,
) -> Type:
    need_rank("x", x, len(stride) + 2)
    _need_operands(x, w, b, w.shape[0], groups)
    if not same_size(x.shape[1], w.shape[1] * groups):
        raise ShapeError(
            f"x {show(x.shape)} has {x.shape[1]} channels, weight {show(w.shape)} with "
            f"groups={groups} wants {w.shape[1] * groups}"
        )
    if activation not in (None, "relu"):
        raise AttributeValueError(f"activation must be None or 'relu', got {activation!r}")
    sizes = window_sizes(x, w.shape[2:], stride, padding, dilation)
    return Type((x.shape[0], w.shape[0], *sizes), x.dtype)


@op(infer=_infer_conv)
def _conv(x, w, b=None, *, stride, padding, dilation, groups, activation=None):
    """Cross-correlation of x [N, Ci, ...] with w [Co, Ci/groups, ...] plus b [Co]. ONNX: Conv."""
    return kernels.conv(
        x,
        w,
        b,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        activation=activation,
    )


def _before(g: Tensor, out: Tensor, activation: str | None) -> Tensor:
    """The gradient before the fused activation."""
    return g if activation is None else relu_grad(g, out)


@_conv.vjp("x")
def _(g, *, w, out, x_shape, stride, padding, dilation, groups, activation):
    return _conv_transpose(
        _before(g, out, activation),
        w,
        size=tuple(x_shape[2:]),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


@_conv.vjp("w")
def _(g, *, x, out, w_shape, stride, padding, dilation, groups, activation):
    return _conv_grad_w(
        _before(g, out, activation),
        x,
        window=tuple(w_shape[2:]),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


@_conv.vjp("b")
def _(g, *, out, activation):
    g = _before(g, out, activation)
    return _sum(g, axes=_channel_axes(g), keepdims=False)


# ---- transpose ---------------------------------------------------------------------------------


def _need_size(
    size: Sequence[Any],
    x: Type,
    w: Type,
    stride: Sequence[int],
    padding: Sequence[Any],
    dilation: Sequence[int],
) -> None:
    """The sizes must be such that a convolution of them gives the sizes of x."""
    need_rank("x", x, len(size) + 2)
    for i, (n, h) in enumerate(zip(size, x.shape[2:], strict=True)):
        low, high, k = padding[2 * i], padding[2 * i + 1], w.shape[2 + i]
        if expr_of(window(n, k, stride[i], low, high, dilation[i], False)) == expr_of(h):
            continue
        # Where h is symbolic, the distance to the least possible size is often a plain number.
        least = (h - 1) * stride[i] + dilation[i] * (k - 1) + 1 - low - high
        beyond = expr_of(n) - expr_of(least)
        known = decide(beyond, ">="), decide(expr_of(stride[i]) - beyond, ">")
        if known != (True, True) and not (n >= least and n < least + stride[i]):
            raise AttributeValueError(
                f"an output size of {n} is not possible from an input size of {h} with window {k}, "
                f"stride {stride[i]} and padding {low}, {high}: it must be {least} to "
                f"{least + stride[i] - 1}"
            )


def _infer_conv_transpose(
    x: Type,
    w: Type,
    b: Type | None = None,
    *,
    size: Sequence[Any],
    stride: Sequence[int],
    padding: Sequence[Any],
    dilation: Sequence[int],
    groups: int,
) -> Type:
    need_rank("x", x, len(stride) + 2)
    channels = w.shape[1] * groups
    _need_operands(x, w, b, channels, groups)
    if not same_size(x.shape[1], w.shape[0]):
        raise ShapeError(
            f"x {show(x.shape)} has {x.shape[1]} channels, weight {show(w.shape)} wants "
            f"{w.shape[0]}"
        )
    _need_size(size, x, w, stride, padding, dilation)
    return Type((x.shape[0], channels, *size), x.dtype)


@op(infer=_infer_conv_transpose)
def _conv_transpose(x, w, b=None, *, size, stride, padding, dilation, groups):
    """The adjoint of `conv`: x [N, Co, ...] spread over [N, Ci, *size]. ONNX: ConvTranspose."""
    return kernels.conv_transpose(
        x, w, b, size=size, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


@_conv_transpose.vjp("x")
def _(g, *, w, stride, padding, dilation, groups):
    return _conv(g, w, stride=stride, padding=padding, dilation=dilation, groups=groups)


@_conv_transpose.vjp("w")
def _(g, *, x, w_shape, stride, padding, dilation, groups):
    return _conv_grad_w(
        x,
        g,
        window=tuple(w_shape[2:]),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


@_conv_transpose.vjp("b")
def _(g):
    return _sum(g, axes=_channel_axes(g), keepdims=False)


# ---- gradient of the weight --------------------------------------------------------------------


def _infer_conv_grad_w(
    g: Type,
    x: Type,
    *,
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Any],
    dilation: Sequence[int],
    groups: int,
) -> Type:
    return Type((g.shape[1], x.shape[1] // groups, *window), g.dtype)


@op(infer=_infer_conv_grad_w)
def _conv_grad_w(g, x, *, window, stride, padding, dilation, groups):
    """Gradient of `conv` by w [Co, Ci/groups, *window] for g [N, Co, ...]. ONNX: Conv."""
    return kernels.conv_grad_w(
        g,
        x,
        window=window,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


@_conv_grad_w.vjp("g")
def _(gw, *, x, stride, padding, dilation, groups):
    return _conv(x, gw, stride=stride, padding=padding, dilation=dilation, groups=groups)


@_conv_grad_w.vjp("x")
def _(gw, *, g, x_shape, stride, padding, dilation, groups):
    return _conv_transpose(
        g,
        gw,
        size=tuple(x_shape[2:]),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


# ---- Paddle's signatures -----------------------------------------------------------------------

_FORMATS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


def _is_channels_last(data_format: str, count: int) -> bool:
    first, last = _FORMATS[count]
    if data_format not in (first, last):
        raise AttributeValueError(f"data_format must be {first!r} or {last!r}, got {data_format!r}")
    return data_format == last


def _channels_first(x: Tensor, count: int) -> Tensor:
    return _transpose(x, perm=(0, count + 1, *range(1, count + 1)))


def _channels_last(x: Tensor, count: int) -> Tensor:
    return _transpose(x, perm=(0, *range(2, count + 2), 1))


def _conv_nd(
    count: int,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    data_format: str,
) -> Tensor:
    last = _is_channels_last(data_format, count)
    if last:
        x = _channels_first(x, count)
    steps, gaps = per_axis("stride", stride, count), per_axis("dilation", dilation, count)
    pads = padding_pairs(padding, x.shape[2:], tuple(weight.shape[2:]), steps, gaps)
    y = _conv(x, weight, bias, stride=steps, padding=pads, dilation=gaps, groups=int(groups))
    return _channels_last(y, count) if last else y


def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    data_format: str = "NCL",
) -> Tensor:
    """Convolution of x [N, Ci, L] with weight [Co, Ci / groups, K]; see `conv2d`."""
    return _conv_nd(1, x, weight, bias, stride, padding, dilation, groups, data_format)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    data_format: str = "NCHW",
) -> Tensor:
    """Convolution (cross-correlation) of images with a bank of filters.

    out[n, o, i, j] = bias[o] + sum over c, u, v of
    x[n, c, i * stride + u * dilation - top, j * stride + v * dilation - left] * weight[o, c, u, v],
    with zeros around x and c running over the channels of o's group.

    Args:
        x: [N, Ci, H, W], floating point; [N, H, W, Ci] with data_format "NHWC".
        weight: [Co, Ci / groups, Kh, Kw], in both data formats.
        bias: [Co] or None.
        stride: step between windows, an int or one per axis.
        padding: int, [h, w], [top, bottom, left, right], a pair per axis, "SAME" or "VALID".
        dilation: distance between the elements of a window, an int or one per axis.
        groups: channels are cut into so many groups that do not see each other.
        data_format: "NCHW" or "NHWC", for x and the result.

    Returns:
        [N, Co, H', W'] (or [N, H', W', Co]) with
        H' = (H + top + bottom - dilation * (Kh - 1) - 1) // stride + 1.

    Raises:
        ShapeError: ranks, channels or the bias do not fit.
        DTypeError: x is not floating point, or weight or bias has another dtype.
        AttributeValueError: a stride, padding, dilation or group count that cannot be.
    """
    return _conv_nd(2, x, weight, bias, stride, padding, dilation, groups, data_format)


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    data_format: str = "NCDHW",
) -> Tensor:
    """Convolution of x [N, Ci, D, H, W] with weight [Co, Ci / groups, Kd, Kh, Kw]; see `conv2d`."""
    return _conv_nd(3, x, weight, bias, stride, padding, dilation, groups, data_format)


def _conv_transpose_nd(
    count: int,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
    output_size: Any,
    data_format: str,
) -> Tensor:
    last = _is_channels_last(data_format, count)
    if last:
        x = _channels_first(x, count)
    steps, gaps = per_axis("stride", stride, count), per_axis("dilation", dilation, count)
    sizes, kernel = x.shape[2:], tuple(weight.shape[2:])
    pads = padding_pairs(padding, sizes, kernel, steps, gaps)
    if output_size is None:
        extra = padding_pairs(output_padding, sizes, kernel, steps, gaps)[1::2]
        output_size = [
            (sizes[i] - 1) * steps[i] - pads[2 * i] - pads[2 * i + 1] + gaps[i] * (k - 1) + 1 + more
            for i, (k, more) in enumerate(zip(kernel, extra, strict=True))
        ]
    elif output_padding not in (0, (0,) * count, [0] * count):
        raise AttributeValueError("give output_padding or output_size, not both")
    y = _conv_transpose(
        x,
        weight,
        bias,
        size=per_axis("output_size", output_size, count),
        stride=steps,
        padding=pads,
        dilation=gaps,
        groups=int(groups),
    )
    return _channels_last(y, count) if last else y


def conv1d_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    output_size: Any = None,
    data_format: str = "NCL",
) -> Tensor:
    """Transposed convolution of x [N, Ci, L]; see `conv2d_transpose`."""
    return _conv_transpose_nd(
        1, x, weight, bias, stride, padding, output_padding, groups, dilation, output_size,
        data_format,
    )  # fmt: skip


def conv2d_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    output_size: Any = None,
    data_format: str = "NCHW",
) -> Tensor:
    """Transposed convolution: every element of x adds a filter, scaled by it, to the output.

    It is the adjoint (gradient by the input) of `conv2d` with the same weight and arguments.

    Args:
        x: [N, Ci, H, W], floating point; [N, H, W, Ci] with data_format "NHWC".
        weight: [Ci, Co / groups, Kh, Kw], in both data formats.
        bias: [Co] or None.
        stride: step between the places where filters are added.
        padding: what is cut off the result at its borders, in the forms of `conv2d`.
        output_padding: rows and columns added at the far end, fewer than `stride`.
        groups: channels are cut into so many groups that do not see each other.
        dilation: distance between the elements of a filter.
        output_size: [H', W'] instead of `output_padding`.
        data_format: "NCHW" or "NHWC", for x and the result.

    Returns:
        [N, Co, H', W'] (or [N, H', W', Co]) with
        H' = (H - 1) * stride - top - bottom + dilation * (Kh - 1) + 1 + output_padding.

    Raises:
        ShapeError: ranks, channels or the bias do not fit.
        DTypeError: x is not floating point, or weight or bias has another dtype.
        AttributeValueError: a stride, padding, dilation, group count or output size that cannot be.
    """
    return _conv_transpose_nd(
        2, x, weight, bias, stride, padding, output_padding, groups, dilation, output_size,
        data_format,
    )  # fmt: skip


def conv3d_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    output_size: Any = None,
    data_format: str = "NCDHW",
) -> Tensor:
    """Transposed convolution of x [N, Ci, D, H, W]; see `conv2d_transpose`."""
    return _conv_transpose_nd(
        3, x, weight, bias, stride, padding, output_padding, groups, dilation, output_size,
        data_format,
    )  # fmt: skip


__all__ = [
    "conv1d",
    "conv1d_transpose",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "conv3d_transpose",
]
