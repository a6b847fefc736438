"""Pooling composed of other ops: power means over windows, and maxima put back in place."""

from __future__ import annotations

from typing import Any

from dyn.core.errors import AttributeValueError
from dyn.core.op import OPS
from dyn.core.tensor import Tensor
from dyn.ops.index import where
from dyn.ops.infer import product
from dyn.ops.pool import avg_pool_nd, max_pool_nd
from dyn.ops.windows import padding_pairs, per_axis


def lp_pool_nd(
    count: int, x: Tensor, norm_type: float, kernel_size: Any, stride: Any, padding: Any, ceil: bool
) -> Tensor:
    """(sum |x| ** p) ** (1 / p) over sliding windows of the last `count` axes, p = `norm_type`."""
    kernel = per_axis("kernel_size", kernel_size, count)
    if not norm_type:
        raise AttributeValueError("norm_type must not be zero")
    if norm_type == float("inf"):
        return max_pool_nd(
            count, OPS["abs"](x), kernel, stride, padding, return_mask=False, ceil_mode=ceil
        )
    powers = OPS["pow"](OPS["abs"](x), float(norm_type))
    mean = avg_pool_nd(
        count, powers, kernel, stride, padding, exclusive=False, ceil_mode=ceil, divisor=1
    )
    # The root of 0 has no slope; the gradient at 0 is 0.
    nothing = OPS["equal"](mean, 0)
    return where(nothing, mean, OPS["pow"](where(nothing, 1, mean), 1.0 / norm_type))


def lp_pool1d(
    x: Tensor,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum |x| ** p) ** (1 / p) over sliding windows of x [N, C, L], p = `norm_type`."""
    return lp_pool_nd(1, x, norm_type, kernel_size, stride, padding, ceil_mode)


def lp_pool2d(
    x: Tensor,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum |x| ** p) ** (1 / p) over sliding windows of x [N, C, H, W], p = `norm_type`."""
    return lp_pool_nd(2, x, norm_type, kernel_size, stride, padding, ceil_mode)


def _max_unpool_nd(
    count: int,
    x: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
) -> Tensor:
    kernel = per_axis("kernel_size", kernel_size, count)
    steps = kernel if stride is None else per_axis("stride", stride, count)
    pads = padding_pairs(padding, x.shape[2:], kernel, steps, (1,) * count)
    if output_size is None:
        spatial = [
            (n - 1) * s - pads[2 * i] - pads[2 * i + 1] + k
            for i, (n, s, k) in enumerate(zip(x.shape[2:], steps, kernel, strict=True))
        ]
    else:
        spatial = list(output_size)[-count:]
    planes = tuple(x.shape[:2])
    zeros = OPS["full"](shape=(*planes, product(spatial)), value=0, dtype=x.dtype.name)
    rows = (*planes, product(tuple(x.shape)[2:]))
    flat = OPS["put_along_axis"](
        zeros,
        OPS["reshape"](indices, shape=rows),
        OPS["reshape"](x, shape=rows),
        axis=2,
        reduction="none",
    )
    return OPS["reshape"](flat, shape=(*planes, *spatial))


def max_unpool1d(
    x: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Maxima put back where `max_pool1d` found them; see `max_unpool2d`."""
    return _max_unpool_nd(1, x, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    x: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Maxima put back where `max_pool2d` found them, zeros elsewhere.

    Args:
        x: [N, C, H, W] maxima.
        indices: positions that `max_pool2d(..., return_mask=True)` gave, same shape.
        kernel_size, stride, padding: those of the pooling; they give the size of the result.
        output_size: the result's spatial sizes, where the pooling rounded.
    """
    return _max_unpool_nd(2, x, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    x: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Maxima put back where `max_pool3d` found them; see `max_unpool2d`."""
    return _max_unpool_nd(3, x, indices, kernel_size, stride, padding, output_size)


__all__ = ["lp_pool1d", "lp_pool2d", "max_unpool1d", "max_unpool2d", "max_unpool3d"]
