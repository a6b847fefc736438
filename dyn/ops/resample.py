"""Interpolation of spatial axes to other sizes, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from dyn.core.dim import Dim
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.lift import rank_of
from dyn.core.op import op
from dyn.core.tensor import Tensor
from dyn.kernels import resample as kernels
from dyn.ops.adaptive import _adaptive_avg_pool
from dyn.ops.infer import Type, as_numbers, infer_resized, whole

RANKS = {
    "nearest": None, "nearest-exact": None, "linear": 1, "bilinear": 2, "trilinear": 3,
    "bicubic": 2, "area": None,
}  # fmt: skip
"""Modes, and the number of spatial axes that each is for (None: any)."""
KINDS = {"nearest": "nearest", "nearest-exact": "nearest", "bicubic": "cubic"}
"""How a mode interpolates along an axis: "linear" where nothing else stands here."""
SMOOTH = {"bilinear": "smooth-linear", "bicubic": "smooth-cubic"}
"""How one does with `antialias`."""


@op(infer=infer_resized)
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


def _new_sizes(
    old: Sequence[Any], size: Any, scale_factor: Any
) -> tuple[tuple[Any, ...], tuple[float | None, ...]]:
    """New spatial sizes, and the scales that were given (None each where sizes were)."""
    if (size is None) == (scale_factor is None):
        raise AttributeValueError(
            f"give either size or scale_factor, got size={size} and scale_factor={scale_factor}",
            op="interpolate",
        )
    wanted, word = (scale_factor, "scale factors") if size is None else (size, "sizes")
    wanted = as_numbers(wanted)
    given = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted] * len(old)
    if len(given) != len(old):
        raise AttributeValueError(
            f"{len(given)} {word} were given for {len(old)} spatial axes", op="interpolate"
        )
    if size is not None:
        sizes = tuple(whole("size", n) for n in given)
        scales: tuple[float | None, ...] = (None,) * len(old)
    else:
        scales = tuple(float(scale) for scale in given)
        sizes = tuple(_scaled(n, float(s)) for n, s in zip(old, given, strict=True))
    if any(isinstance(n, int) and n < 1 for n in sizes):
        raise AttributeValueError(f"sizes must be positive, got {list(sizes)}", op="interpolate")
    return sizes, scales


def interpolate(
    x: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
    align_mode: int = 0,
    recompute_scale_factor: bool = False,
    antialias: bool = False,
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
        antialias: where an axis gets shorter an element takes what all that it stands for
            weighs, not its neighbours alone, as PyTorch and Pillow do ("bilinear", "bicubic").

    Returns:
        [N, C, *sizes].

    Raises:
        ShapeError: there are no spatial axes.
        AttributeValueError: mode and number of axes do not fit, the mode has no `antialias`, or
            not exactly one of size and scale_factor is given.

    ONNX: Resize.
    """
    count = rank_of(x) - 2
    if count < 1:
        raise ShapeError(
            f"x must have axes for images and channels, and spatial ones behind them, got shape "
            f"{list(x.shape)}",
            op="interpolate",
        )
    if mode not in RANKS or RANKS[mode] not in (None, count):
        known = ", ".join(RANKS)
        raise AttributeValueError(
            f"mode {mode!r} does not fit {count} spatial axes; the modes are {known}",
            op="interpolate",
        )
    if align_corners and mode in ("nearest", "nearest-exact", "area"):
        raise AttributeValueError(f"align_corners has no meaning for {mode}", op="interpolate")
    if antialias and (mode not in SMOOTH or align_mode != 0):
        raise AttributeValueError(
            f"antialias is for bilinear and bicubic with align_mode 0, got mode {mode!r} with "
            f"align_mode {align_mode}; mode 'area' takes means of what falls together",
            op="interpolate",
        )
    sizes, scales = _new_sizes(x.shape[2:], size, scale_factor)
    if mode == "area":
        return _adaptive_avg_pool(x, sizes=sizes)
    if recompute_scale_factor:
        scales = (None,) * count
    transform = "half_pixel"
    if align_corners:
        transform = "align_corners"
    elif mode == "nearest" or (align_mode == 1 and mode not in ("bicubic", "nearest-exact")):
        transform = "asymmetric"
    kind = SMOOTH[mode] if antialias else KINDS.get(mode, "linear")
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
