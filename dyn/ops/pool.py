"""Pooling with sliding windows over 1 to 3 spatial axes, and its gradients.

The ops take any number of spatial axes; `max_pool1d` ... `avg_pool3d` are Paddle's signatures
around them. Adaptive pooling is in `adaptive.py`, resampling in `resample.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import pool as kernels
from dyn.ops.infer import I64, Type, as_numpy, need_float, need_pixels, product, show
from dyn.ops.windows import is_dynamic, need_whole, window_of, window_sizes

# ---- maximum -----------------------------------------------------------------------------------


def _infer_max_pool(
    x: Type, *, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> list[Type]:
    _need_inner_padding(kernel, padding, dilation)
    need_pixels(x)
    need_places(x)
    shape = (*x.shape[:2], *window_sizes(x, kernel, stride, padding, dilation, ceil_mode))
    return [Type(shape, x.dtype), Type(shape, as_numpy("int32"))]


def need_places(x: Type) -> None:
    """ShapeError if the pixels of an image are more than an int32 can number."""
    pixels = product(x.shape[2:])
    if isinstance(pixels, int) and pixels > np.iinfo(np.int32).max:
        raise ShapeError(f"x is {show(x.shape)}; its images have more pixels than int32 can number")


def _need_inner_padding(kernel: Any, padding: Any, dilation: Any) -> None:
    """Every window must see the input: the maximum of padding alone does not exist."""
    for i, (k, d) in enumerate(zip(kernel, dilation, strict=True)):
        if any(isinstance(p, int) and p > d * (k - 1) for p in padding[2 * i : 2 * i + 2]):
            raise AttributeValueError(
                f"padding {tuple(padding)} must be smaller than the window {tuple(kernel)}"
            )


@op(infer=_infer_max_pool, outputs=("out", "index"))
def _max_pool(x, *, kernel, stride, padding, dilation, ceil_mode):
    """Largest value in each window. ONNX: MaxPool."""
    return kernels.max_pool(
        x, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )


_max_pool.shortcut = lambda x, **window: kernels.max_pool_of(*x, **window)


@_max_pool.vjp("x")
def _(g, *, index, x_shape):
    return _max_pool_grad(g, index, x_shape=x_shape)


def _infer_max_pool_index(x: Type, **attrs: Any) -> Type:
    return Type(_infer_max_pool(x, **attrs)[0].shape, I64)


@op(infer=_infer_max_pool_index, differentiable=False)
def _max_pool_index(x, *, kernel, stride, padding, dilation, ceil_mode):
    """Flat position of each window's largest value among the spatial axes. ONNX: MaxPool."""
    return kernels.max_pool(
        x, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )[1].astype("int64")


def _infer_max_pool_grad(g: Type, index: Type, *, x_shape: Any) -> Type:
    return Type(x_shape, g.dtype)


@op(infer=_infer_max_pool_grad)
def _max_pool_grad(g, index, *, x_shape):
    """g added at the positions that won. ONNX: ScatterElements with addition."""
    return kernels.max_pool_grad(g, index, x_shape=x_shape)


_max_pool_grad.shortcut = lambda g, index, x_shape: kernels.max_pool_grad_of(
    g.shape, g.dtype, tuple(x_shape)
)


@_max_pool_grad.vjp("g")
def _(g, *, index, x_shape):
    planes = tuple(x_shape[:2])
    flat = OPS["reshape"](g, shape=(*planes, product(x_shape[2:])))
    where = OPS["reshape"](index, shape=(*planes, product(tuple(index.shape)[2:])))
    taken = OPS["take_along_axis"](flat, where, axis=2)
    return OPS["reshape"](taken, shape=tuple(index.shape))


def max_pool_nd(
    count: int,
    x: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    *,
    return_mask: bool,
    ceil_mode: bool,
    dilation: Any = 1,
) -> Any:
    """Maximum pooling over `count` spatial axes; see `max_pool2d`."""
    kernel, steps, pairs, gaps = window_of(count, x, kernel_size, stride, padding, dilation)
    if is_dynamic(kernel):
        need_whole(x, kernel, pairs, gaps)
        ones = (1,) * count
        out = OPS["adaptive_max_pool"](x, sizes=ones)
        return (out, OPS["adaptive_max_pool_index"](x, sizes=ones)) if return_mask else out
    attrs = kernel, steps, pairs, gaps, bool(ceil_mode)
    out = apply(_max_pool, (x,), attrs)
    return (out, apply(_max_pool_index, (x,), attrs)) if return_mask else out


def max_pool1d(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    return_mask: bool = False,
    ceil_mode: bool = False,
) -> Any:
    """Maximum over sliding windows of x [N, C, L]; see `max_pool2d`."""
    return max_pool_nd(
        1, x, kernel_size, stride, padding, return_mask=return_mask, ceil_mode=ceil_mode
    )


def max_pool2d(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    return_mask: bool = False,
    ceil_mode: bool = False,
    dilation: Any = 1,
) -> Any:
    """Maximum over sliding windows.

    Args:
        x: [N, C, H, W].
        kernel_size: window size, an int or one per axis.
        stride: step between windows; the window size by default.
        padding: int, [h, w], [top, bottom, left, right], "SAME" or "VALID"; padding never wins.
        return_mask: also return where each maximum stands.
        ceil_mode: keep a last window that sticks out at the far end.
        dilation: distance between the elements of a window.

    Returns:
        [N, C, H', W'] with H' = (H + top + bottom - dilation * (k - 1) - 1) // stride + 1; with
        `return_mask` also int64 positions h * W + w of the same shape.

    Raises:
        ShapeError: x has not four axes.
        AttributeValueError: padding is not smaller than the window, or the window does not fit.
    """
    return max_pool_nd(
        2,
        x,
        kernel_size,
        stride,
        padding,
        return_mask=return_mask,
        ceil_mode=ceil_mode,
        dilation=dilation,
    )


def max_pool3d(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    return_mask: bool = False,
    ceil_mode: bool = False,
) -> Any:
    """Maximum over sliding windows of x [N, C, D, H, W]; see `max_pool2d`."""
    return max_pool_nd(
        3, x, kernel_size, stride, padding, return_mask=return_mask, ceil_mode=ceil_mode
    )


# ---- mean --------------------------------------------------------------------------------------


def _infer_avg_pool(
    x: Type,
    *,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    exclusive: bool,
    divisor: int | None,
) -> Type:
    need_float("x", x)
    ones = (1,) * len(kernel)
    _need_inner_padding(kernel, padding, ones)
    return Type((*x.shape[:2], *window_sizes(x, kernel, stride, padding, ones, ceil_mode)), x.dtype)


@op(infer=_infer_avg_pool)
def _avg_pool(x, *, kernel, stride, padding, ceil_mode, exclusive, divisor):
    """Mean of each window. ONNX: AveragePool."""
    return kernels.avg_pool(
        x,
        kernel=kernel,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        exclusive=exclusive,
        divisor=divisor,
    )


_avg_pool.shortcut = lambda x, **window: kernels.avg_pool_of(*x, **window)


@_avg_pool.vjp("x")
def _(g, *, x_shape, kernel, stride, padding, ceil_mode, exclusive, divisor):
    return _avg_pool_grad(
        g,
        x_shape=x_shape,
        kernel=kernel,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        exclusive=exclusive,
        divisor=divisor,
    )


def _infer_avg_pool_grad(g: Type, *, x_shape: Any, **attrs: Any) -> Type:
    return Type(x_shape, g.dtype)


@op(infer=_infer_avg_pool_grad)
def _avg_pool_grad(g, *, x_shape, kernel, stride, padding, ceil_mode, exclusive, divisor):
    """g spread evenly over its windows. ONNX: ConvTranspose per channel."""
    return kernels.avg_pool_grad(
        g,
        x_shape=x_shape,
        kernel=kernel,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        exclusive=exclusive,
        divisor=divisor,
    )


_avg_pool_grad.shortcut = lambda g, **window: kernels.avg_pool_of(*g, **window)


@_avg_pool_grad.vjp("g")
def _(g, *, kernel, stride, padding, ceil_mode, exclusive, divisor):
    return _avg_pool(
        g,
        kernel=kernel,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        exclusive=exclusive,
        divisor=divisor,
    )


def avg_pool_nd(
    count: int,
    x: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    *,
    exclusive: bool,
    ceil_mode: bool,
    divisor: Any = None,
) -> Tensor:
    """Average pooling over `count` spatial axes; see `avg_pool2d`."""
    kernel, steps, pairs, gaps = window_of(count, x, kernel_size, stride, padding)
    if is_dynamic(kernel):
        need_whole(x, kernel, pairs, gaps)
    if divisor is not None and int(divisor) < 1:
        raise AttributeValueError(f"divisor_override must be positive, got {divisor}")
    divisor = None if divisor is None else int(divisor)
    return apply(_avg_pool, (x,), (kernel, steps, pairs, bool(ceil_mode), bool(exclusive), divisor))


def avg_pool1d(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    exclusive: bool = True,
    ceil_mode: bool = False,
) -> Tensor:
    """Mean over sliding windows of x [N, C, L]; see `avg_pool2d`."""
    return avg_pool_nd(1, x, kernel_size, stride, padding, exclusive=exclusive, ceil_mode=ceil_mode)


def avg_pool2d(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    exclusive: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean over sliding windows.

    Args:
        x: [N, C, H, W], floating point.
        kernel_size: window size, an int or one per axis.
        stride: step between windows; the window size by default.
        padding: int, [h, w], [top, bottom, left, right], "SAME" or "VALID".
        ceil_mode: keep a last window that sticks out at the far end.
        exclusive: divide by the number of elements that are not padding.
        divisor_override: divide by this instead.

    Returns:
        [N, C, H', W'] with H' = (H + top + bottom - k) // stride + 1.

    Raises:
        ShapeError: x has not four axes.
        AttributeValueError: padding is not smaller than the window, or the window does not fit.
    """
    return avg_pool_nd(
        2,
        x,
        kernel_size,
        stride,
        padding,
        exclusive=exclusive,
        ceil_mode=ceil_mode,
        divisor=divisor_override,
    )


def avg_pool3d(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    exclusive: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean over sliding windows of x [N, C, D, H, W]; see `avg_pool2d`."""
    return avg_pool_nd(
        3,
        x,
        kernel_size,
        stride,
        padding,
        exclusive=exclusive,
        ceil_mode=ceil_mode,
        divisor=divisor_override,
    )


__all__ = ["avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d"]
