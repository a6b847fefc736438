"""Elements moved between channels and spatial axes: shuffles, windows to columns and back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.lift import shape_of
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import rearrange as kernels
from dyn.ops.infer import Type, need_rank, product, same_size, show, whole
from dyn.ops.windows import padding_pairs, per_axis, window_sizes

# ---- pixel shuffle -----------------------------------------------------------------------------


def _infer_pixel_shuffle(x: Type, *, factor: int) -> Type:
    need_rank("x", x, 4)
    n, c, h, w = x.shape
    if not same_size(c % (factor * factor), 0):
        raise ShapeError(f"{c} channels are not a multiple of {factor} * {factor}")
    return Type((n, c // (factor * factor), h * factor, w * factor), x.dtype)


@op(infer=_infer_pixel_shuffle)
def _pixel_shuffle(x, *, factor):
    """[N, C * r * r, H, W] as [N, C, H * r, W * r]. ONNX: DepthToSpace."""
    return kernels.pixel_shuffle(x, factor)


_pixel_shuffle.shortcut = lambda x, factor: kernels.pixel_shuffle_of(x.shape, x.dtype, factor)


@_pixel_shuffle.vjp("x")
def _(g, *, factor):
    return _pixel_unshuffle(g, factor=factor)


@_pixel_shuffle.fused_vjp("x")
def _(g, *, factor):
    return kernels.pixel_unshuffle(g, factor)


def _infer_pixel_unshuffle(x: Type, *, factor: int) -> Type:
    need_rank("x", x, 4)
    n, c, h, w = x.shape
    if not same_size(h % factor, 0) or not same_size(w % factor, 0):
        raise ShapeError(f"sizes {show((h, w))} are not multiples of {factor}")
    return Type((n, c * factor * factor, h // factor, w // factor), x.dtype)


@op(infer=_infer_pixel_unshuffle)
def _pixel_unshuffle(x, *, factor):
    """[N, C, H * r, W * r] as [N, C * r * r, H, W]. ONNX: Reshape, Transpose."""
    return kernels.pixel_unshuffle(x, factor)


_pixel_unshuffle.shortcut = lambda x, factor: kernels.pixel_unshuffle_of(x.shape, x.dtype, factor)


@_pixel_unshuffle.vjp("x")
def _(g, *, factor):
    return _pixel_shuffle(g, factor=factor)


@_pixel_unshuffle.fused_vjp("x")
def _(g, *, factor):
    return kernels.pixel_shuffle(g, factor)


def _factor(value: Any) -> Any:
    value = whole("the factor", value)
    if value < 1:
        raise AttributeValueError(f"the factor must be positive, got {value}")
    return value


def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """Channels turned into pixels: [N, C * r * r, H, W] to [N, C, H * r, W * r].

    Source: Shi et al., arXiv 1609.05158. ONNX: DepthToSpace.
    """
    return apply(_pixel_shuffle, (x,), (_factor(upscale_factor),))


def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    """Pixels turned into channels: [N, C, H * r, W * r] to [N, C * r * r, H, W]."""
    return apply(_pixel_unshuffle, (x,), (_factor(downscale_factor),))


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Channels of [N, C, H, W] dealt out anew: channel i of group g becomes i * groups + g.

    Source: Zhang et al., arXiv 1707.01083. ONNX: Reshape, Transpose.
    """
    n, c, h, w = x.shape
    if groups < 1 or not same_size(c % groups, 0):
        raise ShapeError(f"{c} channels cannot be cut into {groups} groups", op="channel_shuffle")
    split = OPS["reshape"](x, shape=(n, groups, c // groups, h, w))
    dealt = OPS["transpose"](split, perm=(0, 2, 1, 3, 4))
    return OPS["reshape"](dealt, shape=(n, c, h, w))


def temporal_shift(x: Tensor, seg_num: int, shift_ratio: float = 0.25) -> Tensor:
    """Part of the channels moved one frame back, part one frame on.

    Args:
        x: [N * T, C, H, W].
        seg_num: T, frames of a clip.
        shift_ratio: share of the channels moved in each direction.

    Source: Lin et al., arXiv 1811.08383.
    """
    total, c, h, w = x.shape
    clips = OPS["reshape"](x, shape=(total // seg_num, seg_num, c, h, w))
    fold1, fold2 = int(c * shift_ratio), int(c * 2 * shift_ratio)
    back = clips[:, :-1, :fold1]
    on = clips[:, 1:, fold1:fold2]
    edge = clips[:, :1]
    back = OPS["concat"](OPS["zeros_like"](edge[:, :, :fold1]), back, axis=1)
    on = OPS["concat"](on, OPS["zeros_like"](edge[:, :, fold1:fold2]), axis=1)
    moved = OPS["concat"](back, on, clips[:, :, fold2:], axis=2)
    return OPS["reshape"](moved, shape=(total, c, h, w))


# ---- windows as columns ------------------------------------------------------------------------


def _infer_unfold(x: Type, *, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Type:
    need_rank("x", x, 4)
    out = window_sizes(x, kernel, stride, padding, dilation)
    return Type((x.shape[0], x.shape[1] * product(kernel), product(out)), x.dtype)


@op(infer=_infer_unfold)
def _unfold(x, *, kernel, stride, padding, dilation):
    """The windows of x as columns. ONNX: Pad, Gather, Transpose, Reshape."""
    out = window_sizes(Type(x.shape, x.dtype), kernel, stride, padding, dilation)
    return kernels.unfold(
        x, kernel=kernel, stride=stride, padding=padding, dilation=dilation, out=out
    )


def _unfolding(x: Type, **attrs: Any) -> Callable[[np.ndarray], np.ndarray]:
    return partial(kernels.unfold, **attrs, out=window_sizes(x, *attrs.values()))


_unfold.shortcut = _unfolding


@_unfold.vjp("x")
def _(g, *, x_shape, kernel, stride, padding, dilation):
    sizes = tuple(x_shape[2:])
    return _fold(g, sizes=sizes, kernel=kernel, stride=stride, padding=padding, dilation=dilation)


def _infer_fold(
    x: Type, *, sizes: Any, kernel: Any, stride: Any, padding: Any, dilation: Any
) -> Type:
    need_rank("x", x, 3)
    n, c, count = x.shape
    if not same_size(c % product(kernel), 0):
        raise ShapeError(f"{c} rows are not a multiple of the window's size {product(kernel)}")
    image = Type((n, c // product(kernel), *sizes), x.dtype)
    wanted = product(window_sizes(image, kernel, stride, padding, dilation))
    if not same_size(count, wanted):
        raise ShapeError(f"an image of {show(sizes)} has {wanted} windows, x has {count} columns")
    return image


@op(infer=_infer_fold)
def _fold(x, *, sizes, kernel, stride, padding, dilation):
    """Columns added back to where `unfold` takes them from. ONNX: Col2Im."""
    image = Type((1, 1, *sizes), x.dtype)
    out = window_sizes(image, kernel, stride, padding, dilation)
    return kernels.fold(
        x, sizes=sizes, kernel=kernel, stride=stride, padding=padding, dilation=dilation, out=out
    )


def _folding(x: Type, **attrs: Any) -> Callable[[np.ndarray], np.ndarray]:
    image = Type((1, 1, *attrs["sizes"]), x.dtype)
    return partial(kernels.fold, **attrs, out=window_sizes(image, *[*attrs.values()][1:]))


_fold.shortcut = _folding


@_fold.vjp("x")
def _(g, *, kernel, stride, padding, dilation):
    return _unfold(g, kernel=kernel, stride=stride, padding=padding, dilation=dilation)


def unfold(
    x: Tensor, kernel_sizes: Any, strides: Any = 1, paddings: Any = 0, dilations: Any = 1
) -> Tensor:
    """Sliding windows as columns.

    Args:
        x: [N, C, H, W].
        kernel_sizes, strides, dilations: ints, or one per spatial axis.
        paddings: int, [h, w] or [top, bottom, left, right].

    Returns:
        [N, C * kh * kw, windows], rows ordered by channel, then place in the window.
    """
    kernel = per_axis("kernel_sizes", kernel_sizes, 2)
    steps, gaps = per_axis("strides", strides, 2), per_axis("dilations", dilations, 2)
    padding = padding_pairs(paddings, shape_of(x)[2:], kernel, steps, gaps)
    return apply(_unfold, (x,), (kernel, steps, padding, gaps))


def fold(
    x: Tensor,
    output_sizes: Any,
    kernel_sizes: Any,
    strides: Any = 1,
    paddings: Any = 0,
    dilations: Any = 1,
) -> Tensor:
    """Columns added up in an image, the transpose of `unfold`.

    Args:
        x: [N, C * kh * kw, windows].
        output_sizes: [H, W] of the image.
        kernel_sizes, strides, paddings, dilations: as in `unfold`.

    Returns:
        [N, C, H, W].
    """
    kernel = per_axis("kernel_sizes", kernel_sizes, 2)
    steps, gaps = per_axis("strides", strides, 2), per_axis("dilations", dilations, 2)
    sizes = per_axis("output_sizes", output_sizes, 2)
    padding = padding_pairs(paddings, sizes, kernel, steps, gaps)
    return _fold(x, sizes=sizes, kernel=kernel, stride=steps, padding=padding, dilation=gaps)


__all__ = [
    "channel_shuffle",
    "fold",
    "pixel_shuffle",
    "pixel_unshuffle",
    "temporal_shift",
    "unfold",
]
