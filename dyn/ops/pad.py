"""Padding: elements added around a tensor, or removed from its edges.

The gradient of constant padding is padding by the opposite amounts; that of the other modes, which
is `pad_grad`, adds each element where padding copied it from.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from dyn.core.dim import Dim
from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.lift import cast_to, rank_of
from dyn.core.op import OPS, freeze, op
from dyn.core.tensor import Tensor
from dyn.kernels import shape as kernels
from dyn.kernels.pads import pad_grad
from dyn.ops.infer import Type
from dyn.ops.shape import sizes_of

MODES = ("constant", "reflect", "replicate", "circular")


def _infer_pad(x: Type, *, pads: tuple[Any, ...], mode: str, value: float) -> Type:
    if mode not in MODES:
        raise AttributeValueError(f"mode {mode!r} is not one of {', '.join(MODES)}")
    sizes = []
    for n, (low, high) in zip(x.shape, pads, strict=True):
        out = n + low + high
        # What is cut off is not there to be repeated.
        kept = n - sum(-m for m in (low, high) if isinstance(m, int) and m < 0)
        limit = {"reflect": kept - 1, "circular": kept}.get(mode)
        if mode == "replicate" and isinstance(kept, int) and kept < 1:
            limit = 0
        if limit is not None and (low > limit or high > limit):
            raise ShapeError(f"{mode} padding ({low}, {high}) is wider than size {n} allows")
        if out < 0:
            raise ShapeError(
                f"padding ({low}, {high}) removes more than the {n} elements there are"
            )
        sizes.append(out)
    return Type(tuple(sizes), x.dtype)


@op(infer=_infer_pad)
def _pad(x, *, pads, mode, value):
    """`pads[i] = (before, after)` elements added on axis i, or removed if negative. ONNX: Pad."""
    return kernels.pad(x, pads, mode, value)


@_pad.vjp("x")
def _(g, *, x_shape, pads, mode):
    if mode == "constant":
        return _pad(g, pads=tuple((-low, -high) for low, high in pads), mode=mode, value=0.0)
    return _pad_grad(g, pads=pads, mode=mode, shape=x_shape)


def _infer_pad_grad(g: Type, *, pads: Any, mode: str, shape: tuple[Any, ...]) -> Type:
    return Type(shape, g.dtype)


@op(infer=_infer_pad_grad)
def _pad_grad(g, *, pads, mode, shape):
    """Zeros of `shape` to which g is added where padding copied from. ONNX: Pad, ScatterND."""
    return pad_grad(g, pads, mode, shape)


@_pad_grad.vjp("g")
def _(g, *, pads, mode):
    return _pad(g, pads=pads, mode=mode, value=0.0)


def pad(
    x: Tensor,
    pad: Any,
    mode: str = "constant",
    value: float = 0.0,
    data_format: str = "NCHW",
) -> Tensor:
    """Add elements around a tensor.

    Args:
        x: any shape.
        pad: one int for all spatial axes; or (before, after) for every axis, first axis first, if
            there are 2 * ndim numbers; or pairs for the last spatial axes, last axis first (left,
            right, top, bottom, ...), as in Paddle and PyTorch. Negative numbers remove elements.
        mode: "constant", "reflect" (without the edge), "replicate" (the edge) or "circular".
        value: what is added in constant mode; a dynamic size may be it.
        data_format: "NCHW"-like (channels second) or "NHWC"-like (channels last); says which axes
            are spatial.

    Raises:
        ShapeError: padding is wider than the mode allows.
    """
    ndim = rank_of(x)
    if pad.__class__ is list and all(n.__class__ is int for n in pad):
        pairs = _plain_pairs(ndim, tuple(pad), mode, data_format)
    else:
        pairs = _pairs(ndim, pad, mode, data_format)
    if isinstance(value, Dim) and mode == "constant":
        inside = apply(_pad, (OPS["ones_like"](x),), (pairs, mode, 0.0))
        beside = cast_to(value.scope.lift(value), x._read().dtype)
        kept = apply(_pad, (x,), (pairs, mode, 0.0))
        return OPS["where"](OPS["not_equal"](inside, 0), kept, beside)
    return apply(_pad, (x,), (pairs, mode, freeze(float(value))))


def _pairs(ndim: int, pad: Any, mode: str, data_format: str) -> tuple[tuple[Any, Any], ...]:
    """(before, after) of every axis."""
    last = ndim - 1 if data_format in ("NHWC", "NLC", "NDHWC") else ndim
    pairs = [(0, 0)] * ndim
    amounts = (pad,) * (2 * max(last - 2 + (last < ndim), 1)) if isinstance(pad, int) else pad
    amounts = sizes_of(amounts)
    if len(amounts) % 2 or len(amounts) > 2 * ndim:
        raise AttributeValueError(f"pad {amounts} must hold a pair for each padded axis")
    if len(amounts) == 2 * ndim and mode == "constant":
        pairs = [(amounts[2 * i], amounts[2 * i + 1]) for i in range(ndim)]
    else:
        for i in range(len(amounts) // 2):
            pairs[last - 1 - i] = (amounts[2 * i], amounts[2 * i + 1])
    return tuple(pairs)


_plain_pairs = lru_cache(1024)(_pairs)
"""Remembered for amounts that are plain numbers."""


def zeropad2d(x: Tensor, padding: Any, data_format: str = "NCHW") -> Tensor:
    """Zeros around an image: (left, right, top, bottom), or as many on every side."""
    sides = [padding] * 4 if isinstance(padding, int) else list(padding)
    return pad(x, sides, data_format=data_format)


__all__ = ["pad", "zeropad2d"]
