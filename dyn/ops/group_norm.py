"""Group, instance and RMS normalisation, and local response normalisation."""

from __future__ import annotations

from typing import Any

from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import group_norm as kernels
from dyn.kernels import layer_norm as row_kernels
from dyn.ops.composite import differentiate_as
from dyn.ops.infer import Type, same_size, show
from dyn.ops.norm import need_channels, need_trailing, trailing_axes

# ---- group norm --------------------------------------------------------------------------------


def _infer_group_norm(
    x: Type, scale: Type | None, bias: Type | None, *, groups: Any, epsilon: float
) -> list[Type]:
    need_channels(x, scale=scale, bias=bias)
    if not same_size(x.shape[1] % groups, 0):
        raise ShapeError(f"{x.shape[1]} channels cannot be cut into {groups} equal groups")
    rows = Type((x.shape[0], groups), x.dtype)
    return [x, rows, rows]


@op(infer=_infer_group_norm, outputs=("out", "mean", "rstd"))
def _group_norm(x, scale=None, bias=None, *, groups, epsilon):
    """Channels normalised in groups. ONNX: InstanceNormalization, GroupNormalization."""
    return kernels.group_norm(x, scale, bias, groups=groups, epsilon=epsilon)


@_group_norm.vjp("x", "scale", "bias")
def _(g, *, x, scale, mean, rstd, groups, epsilon):
    return _group_norm_grad(g, x, scale, mean, rstd, groups=groups, epsilon=epsilon)


def _infer_group_norm_grad(
    g: Type, x: Type, scale: Type | None, mean: Type, rstd: Type, **attrs: Any
) -> list[Type]:
    return [x, Type((x.shape[1],), x.dtype), Type((x.shape[1],), x.dtype)]


@op(infer=_infer_group_norm_grad, outputs=("gx", "gscale", "gbias"), public=3)
def _group_norm_grad(g, x, scale, mean, rstd, *, groups, epsilon):
    """Gradients of `group_norm`; mean and rstd are taken as functions of x. ONNX: composed."""
    return kernels.group_norm_grad(g, x, scale, mean, rstd, groups=groups)


def _group_norm_grad_of_ops(g, x, scale, mean, rstd, *, groups, epsilon):
    axes = (0, *range(2, x.ndim))
    shape = tuple(x.shape)
    rows = (shape[0], groups, -1)
    column = (1, shape[1], *([1] * (x.ndim - 2)))
    centred = x.reshape(rows)
    centred = centred - centred.mean([2], keepdim=True)
    rstd = ((centred * centred).mean([2], keepdim=True) + epsilon) ** -0.5
    normal = centred * rstd
    scaled = (g if scale is None else g * scale.reshape(column)).reshape(rows)
    inner = (scaled * normal).mean([2], keepdim=True)
    gx = rstd * (scaled - scaled.mean([2], keepdim=True) - normal * inner)
    gscale = OPS["sum"](g * normal.reshape(shape), axes=axes, keepdims=False)
    return gx.reshape(shape), gscale, OPS["sum"](g, axes=axes, keepdims=False)


_group_norm.fused_vjp("x", "scale", "bias")(_group_norm_grad.kernel)
differentiate_as(_group_norm_grad, _group_norm_grad_of_ops)


def group_norm(
    x: Tensor,
    num_groups: int,
    epsilon: float = 1e-5,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Each group of channels normalised by its own mean and variance, per sample.

    Args:
        x: [N, C, ...], floating point.
        num_groups: number of groups; divides C.
        epsilon: added to the variance.
        weight, bias: [C] or None.

    Returns:
        The shape of x.

    Source: Wu & He, arXiv 1803.08494. ONNX: GroupNormalization.
    """
    return _group_norm(x, weight, bias, groups=num_groups, epsilon=float(epsilon))


def instance_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of each sample normalised by its own mean and variance.

    Args:
        x: [N, C, ...] with at least one further axis, floating point.
        weight, bias: [C] or None.
        eps: added to the variance.

    Source: Ulyanov et al., arXiv 1607.08022. ONNX: InstanceNormalization.
    """
    if x.ndim < 3:
        raise ShapeError(f"x must be [N, C, ...], got {show(x.shape)}", op="instance_norm")
    return _group_norm(x, weight, bias, groups=x.shape[1], epsilon=float(eps))


# ---- RMS norm ----------------------------------------------------------------------------------


def _infer_rms_norm(x: Type, scale: Type | None, *, axes_count: int, epsilon: float) -> list[Type]:
    need_trailing(x, axes_count, scale=scale)
    rows = (*x.shape[: len(x.shape) - axes_count], *([1] * axes_count))
    return [x, Type(rows, x.dtype)]


@op(infer=_infer_rms_norm, outputs=("out", "rstd"))
def _rms_norm(x, scale=None, *, axes_count, epsilon):
    """Rows divided by their root mean square. ONNX: RMSNormalization."""
    return row_kernels.rms_norm(x, scale, axes_count=axes_count, epsilon=epsilon)


@_rms_norm.vjp("x", "scale")
def _(g, *, x, scale, rstd, axes_count, epsilon):
    return _rms_norm_grad(g, x, scale, rstd, axes_count=axes_count, epsilon=epsilon)


def _infer_rms_norm_grad(
    g: Type, x: Type, scale: Type | None, rstd: Type, *, axes_count: int, epsilon: float
) -> list[Type]:
    return [x, Type(x.shape[len(x.shape) - axes_count :], x.dtype)]


@op(infer=_infer_rms_norm_grad, outputs=("gx", "gscale"), public=2)
def _rms_norm_grad(g, x, scale, rstd, *, axes_count, epsilon):
    """Gradients of `rms_norm`; rstd is taken as a function of x. ONNX: composed."""
    return row_kernels.rms_norm_grad(g, x, scale, rstd, axes_count=axes_count)


def _rms_norm_grad_of_ops(g, x, scale, rstd, *, axes_count, epsilon):
    axes = tuple(range(x.ndim - axes_count, x.ndim))
    rows = tuple(range(x.ndim - axes_count))
    rstd = ((x * x).mean(axes, keepdim=True) + epsilon) ** -0.5
    normal = x * rstd
    scaled = g if scale is None else g * scale
    gx = rstd * (scaled - normal * (scaled * normal).mean(axes, keepdim=True))
    return gx, OPS["sum"](g * normal, axes=rows, keepdims=False)


_rms_norm.fused_vjp("x", "scale")(_rms_norm_grad.kernel)
differentiate_as(_rms_norm_grad, _rms_norm_grad_of_ops)


def rms_norm(
    x: Tensor,
    normalized_shape: Any = None,
    weight: Tensor | None = None,
    eps: float = 1e-6,
) -> Tensor:
    """x divided by the root mean square over its last axes, then scaled.

    Args:
        x: (..., *normalized_shape), floating point.
        normalized_shape: sizes of the axes to normalise over, an int for one; the last axis by
            default.
        weight: of shape `normalized_shape`, or None.
        eps: added to the mean square.

    Source: Zhang & Sennrich, arXiv 1910.07467. ONNX: RMSNormalization.
    """
    count = trailing_axes(x, normalized_shape)
    return _rms_norm(x, weight, axes_count=count, epsilon=float(eps))


# ---- local response ----------------------------------------------------------------------------


def _infer_channels(x: Type, **attrs: Any) -> Type:
    need_channels(x)
    return x


@op(infer=_infer_channels)
def _channel_window_sum(x, *, low, high):
    """Sum of the channels from c - low to c + high. ONNX: AveragePool over channels."""
    return kernels.channel_window_sum(x, low=low, high=high)


@_channel_window_sum.vjp("x")
def _(g, *, low, high):
    return _channel_window_sum(g, low=high, high=low)


def _response(x: Any, size: int, alpha: float, k: float) -> Any:
    """k + alpha / size * (sum of squares of the neighbouring channels)."""
    squares = _channel_window_sum(x * x, low=size // 2, high=(size - 1) // 2)
    return squares * (alpha / size) + k


@op(infer=_infer_channels)
def _local_response_norm(x, *, size, alpha, beta, k):
    """x / (k + alpha * mean of squares of neighbouring channels) ** beta. ONNX: LRN."""
    squares = kernels.channel_window_sum(x * x, low=size // 2, high=(size - 1) // 2)
    base = squares * x.dtype.type(alpha / size) + x.dtype.type(k)
    return x * base ** x.dtype.type(-beta)


def _local_response_norm_of_ops(x, *, size, alpha, beta, k):
    return x * _response(x, size, alpha, k) ** -beta


differentiate_as(_local_response_norm, _local_response_norm_of_ops)


def local_response_norm(
    x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x divided by a power of the mean of squares over neighbouring channels.

    out = x / (k + alpha / size * sum of x[c'] ** 2) ** beta, c' from c - size // 2 to
    c + (size - 1) // 2, channels beyond the ends counting zero.

    Args:
        x: [N, C, ...], floating point.
        size: number of channels in the window.

    Source: Krizhevsky et al., NIPS 2012. ONNX: LRN (odd sizes).
    """
    if size < 1:
        raise AttributeValueError(f"size must be positive, got {size}", op="local_response_norm")
    return _local_response_norm(x, size=int(size), alpha=float(alpha), beta=float(beta), k=float(k))


__all__ = ["group_norm", "instance_norm", "local_response_norm", "rms_norm"]
