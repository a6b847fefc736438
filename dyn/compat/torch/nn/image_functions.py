"""Functions over images with PyTorch's arguments: sampling, resizing, patches, pooling with places.

The common functions are in `functional.py`, which gives all of them their class of results.
"""

from __future__ import annotations

from typing import Any

from dyn.compat.torch.nn import unpooling
from dyn.nn import functional as F
from dyn.ops import pool


def grid_sample(
    input: Any,
    grid: Any,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Any:
    """The pixels of [N, C, H, W] at the places of a grid [N, h, w, 2] of numbers in [-1, 1]."""
    return F.grid_sample(input, grid, mode, padding_mode, bool(align_corners))


def affine_grid(theta: Any, size: Any, align_corners: bool | None = None) -> Any:
    """Where a map [N, 2, 3] takes every pixel of a size [N, C, H, W]: [N, H, W, 2]."""
    return F.affine_grid(theta, list(size), bool(align_corners))


def fold(
    input: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Any:
    """Patches given as columns [N, C * k, L], added up in their places."""
    return F.fold(input, output_size, kernel_size, stride, padding, dilation)


def upsample(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Any:
    """Another size in pixels: the old name of `interpolate`."""
    return F.interpolate(input, size, scale_factor, mode, align_corners=bool(align_corners))


def upsample_nearest(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """Pixels repeated."""
    return F.interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """Pixels of [N, C, H, W] mixed, corners aligned."""
    return F.interpolate(input, size, scale_factor, "bilinear", align_corners=True)


def _lp_pool(axes: int) -> Any:
    def call(
        input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> Any:
        return unpooling.lp_pool(axes, input, float(norm_type), kernel_size, stride, ceil_mode)

    call.__name__ = f"lp_pool{axes}d"
    call.__doc__ = "(sum |x| ** p) ** (1 / p) over sliding windows."
    return call


def _max_unpool(axes: int) -> Any:
    def call(
        input: Any,
        indices: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        output_size: Any = None,
    ) -> Any:
        return unpooling.max_unpool(axes, input, indices, kernel_size, stride, padding, output_size)

    call.__name__ = f"max_unpool{axes}d"
    call.__doc__ = "Maxima at their places, zeros elsewhere."
    return call


def _max_pool_with_indices(axes: int) -> Any:
    def call(
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = True,
    ) -> Any:
        return pool.max_pool_nd(
            axes, input, kernel_size, stride, padding,
            return_mask=True, ceil_mode=ceil_mode, dilation=dilation,
        )  # fmt: skip

    call.__name__ = f"max_pool{axes}d_with_indices"
    call.__doc__ = "Maxima over sliding windows, and where in the image each was."
    return call


def _adaptive_max_pool_with_indices(axes: int) -> Any:
    function = getattr(F, f"adaptive_max_pool{axes}d")

    def call(input: Any, output_size: Any, return_indices: bool = True) -> Any:
        return function(input, output_size, return_mask=True)

    call.__name__ = f"adaptive_max_pool{axes}d_with_indices"
    call.__doc__ = "Maxima over windows that cover the image evenly, and where each was."
    return call


FUNCTIONS: dict[str, Any] = {
    function.__name__: function
    for function in (
        grid_sample, affine_grid, fold, upsample, upsample_nearest, upsample_bilinear,
        *(make(axes) for axes in (1, 2, 3) for make in (
            _lp_pool, _max_unpool, _max_pool_with_indices, _adaptive_max_pool_with_indices,
        )),
    )
}  # fmt: skip
"""All of them by name."""
