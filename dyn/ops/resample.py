"""Interpolation of spatial axes to other sizes, and its gradient."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from dyn.core.dim import Dim
from dyn.core.errors import AttributeValueError
from dyn.core.op import op
from dyn.core.tensor import Tensor
from dyn.kernels import resample as kernels
from dyn.ops.adaptive import _adaptive_avg_pool
from dyn.ops.infer import Type, need_float, need_pixels, need_rank

RANKS = {
    "nearest": None, "nearest-exact": None, "linear": 1, "bilinear": 2, "trilinear": 3,
    "bicubic": 2, "area": None,
}  # fmt: skip
"""Modes, and the number of spatial axes that each is for (None: any)."""


def _infer_interpolate(x: Type, *, sizes: Any, scales: Any, mode: str, transform: str) -> Type:
    need_float("x", x)
    need_rank("x", x, len(sizes) + 2)
    need_pixels(x)
    return Type((*x.shape[:2], *sizes), x.dtype)


@op(infer=_infer_interpolate)
def _interpolate(x, *, sizes, scales, mode, transform):
    """x at other spatial sizes. ONNX: Resize."""
    return kernels.interpolate(x, sizes=sizes, scales=scales, mode=mode, transform=transform)


@_interpolate.vjp("x")
def _(g, *, x_shape, scales, mode, transform):
    return _interpolate_grad(g, x_shape=x_shape, scales=scales, mode=mode, transform=transform)


def _infer_interpolate_grad(g: Type, *, x_shape: Any, **attrs: Any) -> Type:
    return Type(x_shape, g.dtype)


@op(infer=_infer_interpolate_grad)
def _interpolate_grad(g, *, x_shape, scales, mode, transform):
    """g given back to what each output was made of. ONNX: MatMul with the weights."""
    return kernels.interpolate_grad(
        g, x_shape=x_shape, scales=scales, mode=mode, transform=transform
    )


@_interpolate_grad.vjp("g")
def _(gg, *, g_shape, scales, mode, transform):
    sizes = tuple(g_shape[2:])
    return _interpolate(gg, sizes=sizes, scales=scales, mode=mode, transform=transform)


def _scaled(size: Any, scale: float) -> Any:
    """floor(size * scale), exactly also for a symbolic size."""
    if not isinstance(size, Dim):
        return int(size * scale)
    ratio = Fraction(scale).limit_denominator(1 << 16)
    if float(ratio) != scale:
        raise AttributeValueError(
            f"scale_factor {scale} is not a ratio of small integers, which a size that is not "
            "fixed needs; pass size"
        )
    return size * ratio.numerator // ratio.denominator


def interpolate(
    x: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
    align_mode: int = 0,
    recompute_scale_factor: bool = False,
) -> Tensor:
    """x resampled to other spatial sizes.

    Args:
        x: [N, C, spatial...], floating point.
        size: new spatial sizes, an int for all.
        scale_factor: new over old size, a number for all. Give this or `size`, not both.
        mode: "nearest" takes the element at or before i / scale, "nearest-exact" that at
            (i + 0.5) / scale; "linear" (one spatial axis), "bilinear" (two), "trilinear" (three),
            "bicubic" (two); "area" (means over bins, as adaptive pooling).
        align_corners: first and last elements of old and new axis lie on each other.
        align_mode: 0 samples at (i + 0.5) / scale - 0.5, 1 at i / scale (linear modes).
        recompute_scale_factor: use new size / old size as the scale, not the factor given.

    Returns:
        [N, C, *sizes].

    Raises:
        AttributeValueError: mode and number of axes do not fit, or not exactly one of size and
            scale_factor is given.

    ONNX: Resize.
    """
    count = x.ndim - 2
    if mode not in RANKS or RANKS[mode] not in (None, count):
        known = ", ".join(RANKS)
        raise AttributeValueError(
            f"mode {mode!r} does not fit {count} spatial axes; the modes are {known}",
            op="interpolate",
        )
    if (size is None) == (scale_factor is None):
        raise AttributeValueError("give either size or scale_factor", op="interpolate")
    if align_corners and mode in ("nearest", "nearest-exact", "area"):
        raise AttributeValueError(f"align_corners has no meaning for {mode}", op="interpolate")
    wanted = scale_factor if size is None else size
    given = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted] * count
    if len(given) != count:
        raise AttributeValueError(
            f"{len(given)} sizes were given for {count} spatial axes", op="interpolate"
        )
    scales: tuple[float | None, ...] = (None,) * count
    if size is not None:
        sizes = tuple(n if isinstance(n, Dim) else int(n) for n in given)
    else:
        sizes = tuple(_scaled(n, float(s)) for n, s in zip(x.shape[2:], given, strict=True))
        if not recompute_scale_factor:
            scales = tuple(float(s) for s in given)
    if any(isinstance(n, int) and n < 1 for n in sizes):
        raise AttributeValueError(f"sizes must be positive, got {list(sizes)}", op="interpolate")
    if mode == "area":
        return _adaptive_avg_pool(x, sizes=sizes)
    transform = "half_pixel"
    if align_corners:
        transform = "align_corners"
    elif mode == "nearest" or (align_mode == 1 and mode not in ("bicubic", "nearest-exact")):
        transform = "asymmetric"
    kind = {"nearest": "nearest", "nearest-exact": "nearest", "bicubic": "cubic"}.get(
        mode, "linear"
    )
    return _interpolate(x, sizes=sizes, scales=scales, mode=kind, transform=transform)


def upsample(
    x: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
    align_mode: int = 0,
) -> Tensor:
    """`interpolate` under its older name."""
    return interpolate(x, size, scale_factor, mode, align_corners, align_mode)


__all__ = ["interpolate", "upsample"]
