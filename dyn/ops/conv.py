"""Convolution over 1 to 3 spatial axes, its transpose, and the gradient of its weight.

Three ops that are each other's gradients, for any number of spatial axes. Paddle's signatures
around them (`conv2d` ...) are in `convolutions.py`. Only sliding sums belong here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.core.errors import AttributeValueError, GradError, ShapeError
from dyn.core.op import op
from dyn.core.tensor import Tensor
from dyn.kernels import conv as kernels
from dyn.kernels.reduce import summing
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
from dyn.ops.windows import window_sizes


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


_conv.shortcut = lambda x, w, b, **attrs: kernels.bound(len(x.shape), x.dtype, **attrs)


@_conv.vjp("x", "w", "b", only={"x": "w", "w": "x"})
def _(g, *, x, w, x_shape, w_shape, stride, padding, dilation, groups, activation, wanted):
    _need_no_activation(activation)
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    size, window = tuple(x_shape[2:]), tuple(w_shape[2:])
    return (
        _conv_transpose(g, w, size=size, **how) if "x" in wanted else None,
        _conv_grad_w(g, x, window=window, **how) if "w" in wanted else None,
        _sum(g, axes=_channel_axes(g), keepdims=False) if "b" in wanted else None,
    )


@_conv.fused_vjp("x", "w", "b")
def _(g, *, x, w, x_shape, w_shape, stride, padding, dilation, groups, activation, wanted):
    _need_no_activation(activation)
    by_x, by_w = kernels.bound_gradients(
        x_shape, w_shape, g.dtype, stride, padding, dilation, groups
    )
    return (
        by_x(g, w) if "x" in wanted else None,
        by_w(g, x) if "w" in wanted else None,
        _of_bias(g) if "b" in wanted else None,
    )


def _of_bias(g: np.ndarray) -> np.ndarray:
    """The gradient by the bias."""
    return summing(g.shape, g.dtype, (0, *range(2, g.ndim)))(g)


def _need_no_activation(activation: str | None) -> None:
    """A convolution that clips its result is made where nothing is differentiated (`fusion.py`);
    others need not keep their result for the gradient."""
    if activation is not None:
        raise GradError(
            f"a convolution with activation={activation!r} has no gradient; call relu() on the "
            "result of one without"
        )


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
        if expr_of(window(n, k, stride[i], low, high, dilation[i], ceil=False)) == expr_of(h):
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


_conv_transpose.shortcut = lambda x, w, b, **attrs: kernels.bound(
    len(x.shape), x.dtype, transposed=True, **attrs
)


@_conv_transpose.vjp("x", "w", "b", only={"x": "w", "w": "x"})
def _(g, *, x, w, w_shape, stride, padding, dilation, groups, wanted):
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (
        _conv(g, w, **how) if "x" in wanted else None,
        _conv_grad_w(x, g, window=tuple(w_shape[2:]), **how) if "w" in wanted else None,
        _sum(g, axes=_channel_axes(g), keepdims=False) if "b" in wanted else None,
    )


@_conv_transpose.fused_vjp("x", "w", "b")
def _(g, *, x, w, w_shape, stride, padding, dilation, groups, wanted):
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (
        kernels.conv(g, w, **how) if "x" in wanted else None,
        kernels.conv_grad_w(x, g, window=w_shape[2:], **how) if "w" in wanted else None,
        _of_bias(g) if "b" in wanted else None,
    )


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


_conv_grad_w.shortcut = lambda g, x, **attrs: kernels.bound_grad_w(len(g.shape), g.dtype, **attrs)


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
