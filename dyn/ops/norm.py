"""Normalisation: batch norm (training and inference) and layer norm, with their gradients.

Running statistics are not kept here: `batch_norm` returns the statistics of the batch, and the
layer assigns its buffers by ordinary ops. Group, instance and RMS norm are in `group_norm.py`.
"""

from __future__ import annotations

from typing import Any

from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.lift import shape_of
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import batch_norm as kernels
from dyn.kernels import layer_norm as row_kernels
from dyn.ops.composite import differentiate_as
from dyn.ops.infer import Type, need_float, need_same_dtype, product, same_size, show
from dyn.ops.shape import sizes_of

# ---- batch norm --------------------------------------------------------------------------------


def need_channels(x: Type, **vectors: Type | None) -> None:
    """Raise unless x is floating point [N, C, ...] and each given vector is [C] of its dtype."""
    need_float("x", x)
    if len(x.shape) < 2:
        raise ShapeError(f"x must be [N, C, ...], got shape {show(x.shape)}")
    need_same_dtype(x=x, **vectors)
    for name, v in vectors.items():
        if v is not None and (len(v.shape) != 1 or not same_size(v.shape[0], x.shape[1])):
            raise ShapeError(
                f"{name} must have shape [{x.shape[1]}] for x of shape {show(x.shape)}, "
                f"got {show(v.shape)}"
            )


def _infer_batch_norm(
    x: Type,
    scale: Type | None,
    bias: Type | None,
    residual: Type | None,
    *,
    epsilon: float,
    activation: str | None,
) -> list[Type]:
    need_channels(x, scale=scale, bias=bias)
    if activation not in (None, "relu"):
        raise AttributeValueError(f"activation must be None or 'relu', got {activation!r}")
    if residual is not None:
        need_same_dtype(x=x, residual=residual)
        if len(residual.shape) != len(x.shape) or not all(
            same_size(a, b) for a, b in zip(residual.shape, x.shape, strict=True)
        ):
            raise ShapeError(
                f"residual {show(residual.shape)} must have the shape of x, {show(x.shape)}"
            )
    count = product((x.shape[0], *x.shape[2:]))
    if isinstance(count, int) and count == 0:
        raise ShapeError(f"an empty batch {show(x.shape)} has no statistics")
    per_channel = Type((x.shape[1],), x.dtype)
    return [x, per_channel, per_channel]


@op(infer=_infer_batch_norm, outputs=("out", "mean", "var"), public=3)
def batch_norm(x, scale=None, bias=None, residual=None, *, epsilon=1e-5, activation=None):
    """x normalised per channel by the statistics of this batch.

    out = (x - mean) / sqrt(var + epsilon) * scale + bias, with mean and the biased variance taken
    over every axis but 1; then residual is added and the activation applied, in the same pass.

    Args:
        x: [N, C, ...], floating point.
        scale, bias: [C] or None.
        residual: of the shape of x, or None.
        epsilon: added to the variance.
        activation: None or "relu".

    Returns:
        out [N, C, ...], mean [C], var [C]; gradients flow through all three.

    Source: Ioffe & Szegedy, arXiv 1502.03167. ONNX: BatchNormalization with training_mode.
    """
    return kernels.batch_norm(x, scale, bias, residual, epsilon=epsilon, activation=activation)


@batch_norm.vjp("x", "scale", "bias", "residual")
def _(g, *, x, scale, bias, residual, mean, var, epsilon, activation):
    made = _batch_norm_grad(
        g[0],
        x,
        scale,
        bias,
        residual,
        mean,
        var,
        g[1],
        g[2],
        epsilon=epsilon,
        activation=activation,
    )
    return made if residual is not None else (*made, None)


def _infer_batch_norm_grad(
    g: Type,
    x: Type,
    scale: Type | None,
    bias: Type | None,
    residual: Type | None,
    mean: Type,
    *rest: Type,
    **attrs: Any,
) -> list[Type]:
    made = [x, mean, mean]
    return made if residual is None else [*made, x]


@op(
    infer=_infer_batch_norm_grad,
    outputs=("gx", "gscale", "gbias", "gresidual"),
    public=4,
)
def _batch_norm_grad(g, x, scale, bias, residual, mean, var, g_mean, g_var, *, epsilon, activation):
    """Gradients of `batch_norm` from those of its three outputs. ONNX: composed.

    There is a gradient of residual only if there is a residual. mean and var are taken as functions
    of x: the second gradient with respect to x is complete.
    """
    return kernels.batch_norm_grad(
        g,
        x,
        scale,
        bias,
        residual,
        mean,
        var,
        g_mean,
        g_var,
        epsilon=epsilon,
        activation=activation,
    )


def _batch_norm_grad_of_ops(
    g, x, scale, bias, residual, mean, var, g_mean, g_var, *, epsilon, activation
):
    """`_batch_norm_grad` made of ops, its statistics computed from x."""
    axes = (0, *range(2, x.ndim))
    column = (1, x.shape[1], *([1] * (x.ndim - 2)))
    count = product((x.shape[0], *x.shape[2:]))
    centred = x - x.mean(axes, keepdim=True)
    var = (centred * centred).mean(axes, keepdim=True)
    rstd = (var + epsilon) ** -0.5
    normal = centred * rstd
    if activation == "relu":
        before = normal if scale is None else normal * scale.reshape(column)
        before = before if bias is None else before + bias.reshape(column)
        before = before if residual is None else before + residual
        g = g * (before > 0).astype(g.dtype)
    gbias = g.sum(axes, keepdim=True)
    gscale = (g * normal).sum(axes, keepdim=True)
    wide = rstd if scale is None else rstd * scale.reshape(column)
    gx = wide * (g - (gbias + normal * gscale) / count)
    gx = gx + (g_mean.reshape(column) + 2.0 * g_var.reshape(column) * centred) / count
    made = (gx, gscale.reshape([-1]), gbias.reshape([-1]))
    return made if residual is None else (*made, g)


@batch_norm.fused_vjp("x", "scale", "bias", "residual")
def _(g, *, x, scale, bias, residual, mean, var, epsilon, activation):
    return _batch_norm_grad.kernel(
        g[0], x, scale, bias, residual, mean, var, *g[1:], epsilon=epsilon, activation=activation
    )


differentiate_as(_batch_norm_grad, _batch_norm_grad_of_ops)


def _infer_noted(
    old_mean: Type, old_var: Type, mean: Type, var: Type, *, take: float, more: float
) -> list[Type]:
    for old, new in ((old_mean, mean), (old_var, var)):
        if len(old.shape) != 1 or not same_size(old.shape[0], new.shape[0]):
            raise ShapeError(f"statistics {show(old.shape)} are not those of {show(new.shape)}")
    return [old_mean, old_var]


@op(
    infer=_infer_noted,
    outputs=("running_mean", "running_var"),
    public=2,
    promote="float",
    differentiable=False,
)
def _running_statistics(old_mean, old_var, mean, var, *, take, more):
    """Running statistics of which a share is replaced by those of a batch.

    old + take * (new - old), the new variance times `more`. ONNX: Sub, Mul, Add.
    """
    take, more = old_mean.dtype.type(take), old_mean.dtype.type(more)
    return old_mean + take * (mean - old_mean), old_var + take * (var * more - old_var)


def _infer_batch_norm_infer(
    x: Type, scale: Type | None, bias: Type | None, mean: Type, var: Type, *, epsilon: float
) -> Type:
    need_channels(x, scale=scale, bias=bias, mean=mean, var=var)
    return x


@op(infer=_infer_batch_norm_infer)
def batch_norm_infer(x, scale, bias, mean, var, *, epsilon=1e-5):
    """x normalised per channel by given statistics.

    out = (x - mean) / sqrt(var + epsilon) * scale + bias.

    Args:
        x: [N, C, ...], floating point.
        scale, bias: [C] or None.
        mean, var: [C].
        epsilon: added to the variance.

    Returns:
        [N, C, ...]. ONNX: BatchNormalization.
    """
    return kernels.batch_norm_infer(x, scale, bias, mean, var, epsilon=epsilon)


@batch_norm_infer.vjp("x", "scale", "bias", "mean", "var")
def _(g, *, x, scale, bias_shape, mean, var, epsilon):
    gx, gscale, gbias, gmean, gvar = _batch_norm_infer_grad(g, x, scale, mean, var, epsilon=epsilon)
    return (
        gx, None if scale is None else gscale, None if bias_shape is None else gbias, gmean, gvar
    )  # fmt: skip


def _infer_batch_norm_infer_grad(
    g: Type, x: Type, scale: Type | None, mean: Type, var: Type, *, epsilon: float
) -> list[Type]:
    return [x, mean, mean, mean, mean]


@op(
    infer=_infer_batch_norm_infer_grad,
    outputs=("gx", "gscale", "gbias", "gmean", "gvar"),
    public=5,
)
def _batch_norm_infer_grad(g, x, scale, mean, var, *, epsilon):
    """Gradients of `batch_norm_infer`. ONNX: composed."""
    return kernels.batch_norm_infer_grad(g, x, scale, mean, var, epsilon=epsilon)


def _batch_norm_infer_grad_of_ops(g, x, scale, mean, var, *, epsilon):
    """`_batch_norm_infer_grad` made of ops."""
    axes = (0, *range(2, x.ndim))
    column = (1, x.shape[1], *([1] * (x.ndim - 2)))
    rstd = (var + epsilon) ** -0.5
    factor = rstd if scale is None else rstd * scale
    gbias = OPS["sum"](g, axes=axes, keepdims=False)
    centred = OPS["sum"](g * (x - mean.reshape(column)), axes=axes, keepdims=False)
    gvar = -0.5 * rstd * rstd * factor * centred
    return g * factor.reshape(column), centred * rstd, gbias, -factor * gbias, gvar


batch_norm_infer.fused_vjp("x", "scale", "bias", "mean", "var")(_batch_norm_infer_grad.kernel)
differentiate_as(_batch_norm_infer_grad, _batch_norm_infer_grad_of_ops)


# ---- layer norm --------------------------------------------------------------------------------


def _infer_layer_norm(
    x: Type, scale: Type | None, bias: Type | None, *, axes_count: int, epsilon: float
) -> list[Type]:
    need_trailing(x, axes_count, scale=scale, bias=bias)
    rows = Type((*x.shape[: len(x.shape) - axes_count], *([1] * axes_count)), x.dtype)
    return [x, rows, rows]


def need_trailing(x: Type, axes_count: int, **vectors: Type | None) -> None:
    """Raise unless each given parameter has the shape of x's last `axes_count` axes."""
    need_float("x", x)
    if not 1 <= axes_count <= len(x.shape):
        raise ShapeError(f"{axes_count} axes cannot be normalised in shape {show(x.shape)}")
    need_same_dtype(x=x, **vectors)
    wanted = x.shape[len(x.shape) - axes_count :]
    for name, v in vectors.items():
        if v is not None and (
            len(v.shape) != axes_count
            or not all(same_size(a, b) for a, b in zip(v.shape, wanted, strict=True))
        ):
            raise ShapeError(
                f"{name} must have shape {show(wanted)} for x of shape {show(x.shape)}, "
                f"got {show(v.shape)}"
            )


@op(infer=_infer_layer_norm, outputs=("out", "mean", "rstd"))
def _layer_norm(x, scale=None, bias=None, *, axes_count, epsilon):
    """x normalised over its last axes. ONNX: LayerNormalization."""
    return row_kernels.layer_norm(x, scale, bias, axes_count=axes_count, epsilon=epsilon)


@_layer_norm.vjp("x", "scale", "bias")
def _(g, *, x, scale, mean, rstd, axes_count, epsilon):
    return _layer_norm_grad(g, x, scale, mean, rstd, axes_count=axes_count, epsilon=epsilon)


def _infer_layer_norm_grad(
    g: Type, x: Type, scale: Type | None, mean: Type, rstd: Type, *, axes_count: int, epsilon: float
) -> list[Type]:
    vector = Type(x.shape[len(x.shape) - axes_count :], x.dtype)
    return [x, vector, vector]


@op(infer=_infer_layer_norm_grad, outputs=("gx", "gscale", "gbias"), public=3)
def _layer_norm_grad(g, x, scale, mean, rstd, *, axes_count, epsilon):
    """Gradients of `layer_norm`; mean and rstd are taken as functions of x. ONNX: composed."""
    return row_kernels.layer_norm_grad(g, x, scale, mean, rstd, axes_count=axes_count)


def _layer_norm_grad_of_ops(g, x, scale, mean, rstd, *, axes_count, epsilon):
    axes = tuple(range(x.ndim - axes_count, x.ndim))
    rows = tuple(range(x.ndim - axes_count))
    centred = x - x.mean(axes, keepdim=True)
    rstd = ((centred * centred).mean(axes, keepdim=True) + epsilon) ** -0.5
    normal = centred * rstd
    scaled = g if scale is None else g * scale
    inner = (scaled * normal).mean(axes, keepdim=True)
    gx = rstd * (scaled - scaled.mean(axes, keepdim=True) - normal * inner)
    return (
        gx,
        OPS["sum"](g * normal, axes=rows, keepdims=False),
        OPS["sum"](g, axes=rows, keepdims=False),
    )


_layer_norm.fused_vjp("x", "scale", "bias")(_layer_norm_grad.kernel)
differentiate_as(_layer_norm_grad, _layer_norm_grad_of_ops)


def layer_norm(
    x: Tensor,
    normalized_shape: Any = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """x normalised over its last axes, then scaled and shifted.

    out = (x - mean) / sqrt(var + epsilon) * weight + bias, mean and biased variance per row.

    Args:
        x: (..., *normalized_shape), floating point.
        normalized_shape: sizes of the axes to normalise over, an int for one; the last axis by
            default.
        weight, bias: of shape `normalized_shape`, or None.
        epsilon: added to the variance.

    Returns:
        The shape of x.

    Raises:
        ShapeError: the last sizes of x are not `normalized_shape`.

    Source: Ba et al., arXiv 1607.06450. ONNX: LayerNormalization.
    """
    count = trailing_axes(x, normalized_shape)
    return apply(_layer_norm, (x, weight, bias), (count, float(epsilon)))


def trailing_axes(x: Tensor, normalized_shape: Any) -> int:
    """How many axes `normalized_shape` names; ShapeError unless they are the last ones of x."""
    if normalized_shape is None:
        return 1
    sizes = list(sizes_of(normalized_shape))
    given = list(shape_of(x))
    if given[max(0, len(given) - len(sizes)) :] != sizes:
        raise ShapeError(
            f"x of shape {show(given)} does not end in the normalised shape {show(sizes)}",
            op="layer_norm",
        )
    return len(sizes)


__all__ = ["batch_norm", "batch_norm_infer", "layer_norm"]
