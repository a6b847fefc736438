"""Convolutions in Paddle's signatures (`conv1d` ... `conv3d_transpose`) around `conv.py`.

What is worked out here: layouts, one number for all axes, named padding, the size of a transpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.lift import rank_of, shape_of
from dyn.core.tensor import Tensor
from dyn.ops.conv import _conv, _conv_transpose
from dyn.ops.infer import show
from dyn.ops.pad import _pad
from dyn.ops.shape import _transpose
from dyn.ops.windows import padding_pairs, per_axis, plain_window

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


def _whole(groups: Any) -> int:
    """A number of groups; 1.5 is none."""
    return groups if groups.__class__ is int else per_axis("groups", groups, 1)[0]


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
    plain = stride.__class__ is padding.__class__ is dilation.__class__ is int
    window = plain_window(count, 1, stride, padding, dilation) if plain else None
    if window is not None:
        _, steps, pads, gaps = window
    else:
        steps, gaps = per_axis("stride", stride, count), per_axis("dilation", dilation, count)
        pads = padding_pairs(padding, x.shape[2:], tuple(weight.shape[2:]), steps, gaps)
    y = apply(_conv, (x, weight, bias), (steps, pads, gaps, _whole(groups), None))
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


def _beyond(
    extra: Sequence[int], pads: Sequence[int], steps: Sequence[int], gaps: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Padding, and how many places at the far ends no filter reaches.

    As many places as a stride may be added to a transpose that a convolution still undoes. More of
    them, up to the dilation, are first those that padding would cut off, and then hold the bias.
    """
    found, rest = list(pads), []
    for i, (more, step, gap) in enumerate(zip(extra, steps, gaps, strict=True)):
        if more >= max(step, gap):
            raise AttributeValueError(
                f"output_padding={more} must be smaller than stride={step} or dilation={gap}"
            )
        over = max(more - step + 1, 0)
        shown = min(over, found[2 * i + 1])
        found[2 * i + 1] -= shown
        rest.append(over - shown)
    return tuple(found), tuple(rest)


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
    if rank_of(x) != count + 2:
        given = show(tuple(x.shape))
        raise ShapeError(f"x must have {count + 2} axes, got shape {given}", op="conv_transpose")
    steps, gaps = per_axis("stride", stride, count), per_axis("dilation", dilation, count)
    sizes, kernel = shape_of(x)[2:], tuple(shape_of(weight)[2:])
    pads = padding_pairs(padding, sizes, kernel, steps, gaps)
    if output_size is None:
        extra = padding_pairs(output_padding, sizes, kernel, steps, gaps)[1::2]
        output_size = [
            (sizes[i] - 1) * steps[i] - pads[2 * i] - pads[2 * i + 1] + gaps[i] * (k - 1) + 1 + more
            for i, (k, more) in enumerate(zip(kernel, extra, strict=True))
        ]
        pads, rest = _beyond(extra, pads, steps, gaps)
        output_size = [n - more for n, more in zip(output_size, rest, strict=True)]
    elif output_padding not in (0, (0,) * count, [0] * count):
        raise AttributeValueError("give output_padding or output_size, not both")
    else:
        rest = (0,) * count
    size = per_axis("output_size", output_size, count)
    shift = None if any(rest) else bias
    y = apply(_conv_transpose, (x, weight, shift), (size, steps, pads, gaps, _whole(groups)))
    if any(rest):
        y = _pad(y, pads=((0, 0), (0, 0), *((0, more) for more in rest)), mode="constant", value=0)
        y = y if bias is None else y + bias.reshape((-1, *([1] * count)))
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
    dilation: Any = 1,
    groups: int = 1,
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
        output_padding: rows and columns added at the far end, fewer than `stride` or `dilation`.
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
