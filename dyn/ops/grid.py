"""Sampling of images at the places of a grid, and grids of affine maps."""

from __future__ import annotations

from functools import partial
from typing import Any

from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.op import op
from dyn.core.tensor import Tensor
from dyn.kernels import affine_grid as affine_kernels
from dyn.kernels import grid as kernels
from dyn.kernels.grid_places import PADDINGS
from dyn.ops.infer import Type, need_float, need_rank, need_same_dtype, same_size, show

MODES = ("bilinear", "nearest", "bicubic")


def _infer_grid_sample(
    x: Type, grid: Type, *, mode: str, padding: str, align_corners: bool
) -> Type:
    need_float("x", x)
    need_same_dtype(x=x, grid=grid)
    need_rank("x", x, 4)
    need_rank("grid", grid, 4)
    if mode not in MODES:
        raise AttributeValueError(f"mode {mode!r} is not one of {', '.join(MODES)}")
    if padding not in PADDINGS:
        raise AttributeValueError(f"padding_mode {padding!r} is not one of {', '.join(PADDINGS)}")
    if not same_size(grid.shape[3], 2) or not same_size(grid.shape[0], x.shape[0]):
        raise ShapeError(f"the grid {show(grid.shape)} must be [{x.shape[0]}, h, w, 2]")
    return Type((*x.shape[:2], *grid.shape[1:3]), x.dtype)


@op(infer=_infer_grid_sample)
def _grid_sample(x, grid, *, mode, padding, align_corners):
    """x at the places of the grid. ONNX: GridSample."""
    return kernels.grid_sample(x, grid, mode=mode, padding=padding, align_corners=align_corners)


def _sampling(x: Type, grid: Type, **attrs: Any) -> Any:
    general = partial(_grid_sample.kernel, **attrs)
    return kernels.bound(x.shape, grid.shape, x.dtype, general, (*attrs.values(),))


_grid_sample.shortcut = _sampling


@_grid_sample.vjp("x")
def _(g, *, grid, x_shape, mode, padding, align_corners):
    return _grid_sample_grad_x(
        g, grid, x_shape=x_shape, mode=mode, padding=padding, align_corners=align_corners
    )


@_grid_sample.vjp("grid")
def _(g, *, x, grid, mode, padding, align_corners):
    return _grid_sample_grad_grid(
        g, x, grid, mode=mode, padding=padding, align_corners=align_corners
    )


def _infer_grid_sample_grad_x(g: Type, grid: Type, *, x_shape: Any, **attrs: Any) -> Type:
    return Type(tuple(x_shape), g.dtype)


@op(infer=_infer_grid_sample_grad_x)
def _grid_sample_grad_x(g, grid, *, x_shape, mode, padding, align_corners):
    """g given back to the pixels that were read. ONNX: ScatterElements."""
    return kernels.grid_sample_grad_x(
        g, grid, x_shape=x_shape, mode=mode, padding=padding, align_corners=align_corners
    )


# What is given back is linear in g, and by g as steep in the grid as what was read.


@_grid_sample_grad_x.vjp("g")
def _(gg, *, grid, x_shape, mode, padding, align_corners):
    return _grid_sample(gg, grid, mode=mode, padding=padding, align_corners=align_corners)


@_grid_sample_grad_x.vjp("grid")
def _(gg, *, g, grid, x_shape, mode, padding, align_corners):
    return _grid_sample_grad_grid(
        g, gg, grid, mode=mode, padding=padding, align_corners=align_corners
    )


def _infer_grid_sample_grad_grid(g: Type, x: Type, grid: Type, **attrs: Any) -> Type:
    return grid


@op(infer=_infer_grid_sample_grad_grid, differentiable=False)
def _grid_sample_grad_grid(g, x, grid, *, mode, padding, align_corners):
    """What moving the places would change; zeros for mode "nearest". ONNX: GatherElements."""
    return kernels.grid_sample_grad_grid(
        g, x, grid, mode=mode, padding=padding, align_corners=align_corners
    )


def grid_sample(
    x: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = True,
) -> Tensor:
    """x read at the places that a grid names.

    Args:
        x: [N, C, H, W], floating point.
        grid: [N, h, w, 2], x (along W) and y (along H); -1 and 1 are the ends of the axis.
        mode: "bilinear" (of four pixels), "nearest", or "bicubic" (of sixteen, as PyTorch's).
        padding_mode: what lies outside: "zeros", "border" (the nearest pixel) or "reflection".
        align_corners: the ends are the centres of the outer pixels, not their outer edges.

    Returns:
        [N, C, h, w]. Its gradient by the grid cannot be differentiated again.

    Source: Jaderberg et al., arXiv 1506.02025; Keys, Cubic convolution interpolation (1981), with
    a = -3/4. ONNX: GridSample.
    """
    return apply(_grid_sample, (x, grid), (mode, padding_mode, bool(align_corners)))


def _infer_affine_grid(theta: Type, *, sizes: Any, align_corners: bool) -> Type:
    need_float("theta", theta)
    need_rank("theta", theta, 3)
    n = theta.shape[0]
    fits = all(same_size(a, b) for a, b in zip(theta.shape, (sizes[0], 2, 3), strict=True))
    if not fits:
        raise ShapeError(f"theta {show(theta.shape)} must be [{sizes[0]}, 2, 3]")
    return Type((n, *sizes[1:], 2), theta.dtype)


@op(infer=_infer_affine_grid)
def _affine_grid(theta, *, sizes, align_corners):
    """The places that maps take pixels to. ONNX: Mul, Add."""
    return affine_kernels.affine_grid(theta, sizes=sizes, align_corners=align_corners)


@_affine_grid.vjp("theta")
def _(g, *, align_corners):
    return _affine_grid_grad(g, align_corners=align_corners)


def _infer_affine_grid_grad(g: Type, *, align_corners: bool) -> Type:
    return Type((g.shape[0], 2, 3), g.dtype)


@op(infer=_infer_affine_grid_grad)
def _affine_grid_grad(g, *, align_corners):
    """Sums of g times (x, y, 1). ONNX: ReduceSum."""
    return affine_kernels.affine_grid_grad(g, align_corners=align_corners)


@_affine_grid_grad.vjp("g")
def _(gg, *, g_shape, align_corners):
    return _affine_grid(gg, sizes=tuple(g_shape[:3]), align_corners=align_corners)


def affine_grid(theta: Tensor, out_shape: Any, align_corners: bool = True) -> Tensor:
    """The grid of an affine map, for `grid_sample`.

    Args:
        theta: [N, 2, 3] matrices that map (x, y, 1) of the output to x and y of the input.
        out_shape: [N, C, H, W] of the output.
        align_corners: as in `grid_sample`.

    Returns:
        [N, H, W, 2]. ONNX: Mul, Add.

    Raises:
        ShapeError: theta is not [N, 2, 3].
    """
    n, _, h, w = tuple(out_shape)
    return _affine_grid(theta, sizes=(n, h, w), align_corners=bool(align_corners))


__all__ = ["affine_grid", "grid_sample"]
