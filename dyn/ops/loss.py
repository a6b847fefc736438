"""Losses, composed of ops: Paddle's signatures and meanings.

Every loss ends in `reduce_loss`. The fused softmax with cross entropy is in `cross_entropy.py`.
"""

from __future__ import annotations

from typing import Any

from dyn.core.dispatch import apply
from dyn.core.errors import ShapeError
from dyn.core.lift import rank_of, shape_of
from dyn.core.op import OPS, freeze, op
from dyn.core.tensor import Tensor
from dyn.kernels import elementwise
from dyn.kernels import loss as kernels
from dyn.ops.cross_entropy import (
    need_reduction,
    negative_log_likelihood,
    soft_cross_entropy,
    softmax_cross_entropy,
)
from dyn.ops.infer import (
    Type,
    axis_of,
    broadcast_shapes,
    need_float,
    need_one_shape,
    need_same_dtype,
    product,
    same_shape,
    same_size,
    show,
    whole,
)
from dyn.ops.softmax import log_softmax, softmax


def reduce_loss(loss: Tensor, reduction: str) -> Tensor:
    """A loss per element as it is ("none"), its sum, or its mean.

    Raises:
        AttributeValueError: another reduction.
    """
    need_reduction(reduction)
    if reduction == "none":
        return loss
    return apply(OPS[reduction], (loss,), ((*range(loss.ndim),), False))


# ---- squared error -----------------------------------------------------------------------------


def _infer_mse(x: Type, y: Type, *, reduction: str) -> Type:
    need_float("input", x)
    need_same_dtype(input=x, label=y)
    need_reduction(reduction)
    if len(x.shape) != len(y.shape) or not all(
        same_size(a, b) for a, b in zip(x.shape, y.shape, strict=True)
    ):
        raise ShapeError(f"input {show(x.shape)} and label {show(y.shape)} must have one shape")
    return Type(x.shape if reduction == "none" else (), x.dtype)


@op(infer=_infer_mse)
def _mse_loss(x, y, *, reduction):
    """(x - y) ** 2, reduced. ONNX: Sub, Mul, ReduceMean."""
    return kernels.mse(x, y, reduction)


@_mse_loss.vjp("x")
def _(g, *, x, y, reduction):
    return _mse_loss_grad(g, x, y, reduction=reduction)


@_mse_loss.vjp("y")
def _(g, *, x, y, reduction):
    return _mse_loss_grad(g, y, x, reduction=reduction)


@op(infer=lambda g, x, y, *, reduction: x)
def _mse_loss_grad(g, x, y, *, reduction):
    """2 * g * (x - y), divided by the number of elements for a mean. ONNX: Sub, Mul."""
    return kernels.mse_grad(g, x, y, reduction)


def _mse_factor(x: Tensor, reduction: str) -> Any:
    return 2.0 / product(x.shape) if reduction == "mean" else 2.0


@_mse_loss_grad.vjp("g")
def _(gg, *, x, y, g_shape, reduction):
    out = gg * (x - y) * _mse_factor(x, reduction)
    return (
        out
        if g_shape or reduction == "none"
        else OPS["sum"](out, axes=tuple(range(x.ndim)), keepdims=False)
    )


@_mse_loss_grad.vjp("x")
def _(gg, *, g, x, reduction):
    return gg * g * _mse_factor(x, reduction)


@_mse_loss_grad.vjp("y")
def _(gg, *, g, x, reduction):
    return -(gg * g * _mse_factor(x, reduction))


def mse_loss(input: Tensor, label: Tensor, reduction: str = "mean") -> Tensor:
    """Squared difference of input and label, reduced.

    Args:
        input, label: broadcast to one shape; one floating-point dtype.
        reduction: "none", "sum" or "mean".
    """
    if not same_shape(shape_of(input), shape_of(label)):
        return reduce_loss(square_error_cost(input, label), reduction)
    return _mse_loss(input, label, reduction=reduction)


def square_error_cost(input: Tensor, label: Tensor) -> Tensor:
    """(input - label) ** 2, element by element, of shapes that broadcast."""
    return OPS["square"](input - label)


# ---- cross entropy -----------------------------------------------------------------------------


def softmax_with_cross_entropy(
    logits: Tensor,
    label: Tensor,
    soft_label: bool = False,
    ignore_index: int = -100,
    numeric_stable_mode: bool = True,
    return_softmax: bool = False,
    axis: int = -1,
) -> Any:
    """`cross_entropy` of every row, with size 1 along `axis`; and the softmax, if wanted.

    Args:
        logits: [N, ..., C], classes along `axis`.
        label: integers with size 1 along `axis`; with `soft_label` probabilities.
        soft_label: labels are probabilities.
        ignore_index: rows with this label cost nothing.
        numeric_stable_mode: accepted; it always is.
        return_softmax: give the probabilities as well.
        axis: where the classes are.
    """
    rows = cross_entropy(
        logits, label, None, ignore_index, "none", soft_label, axis_of(axis, logits.ndim)
    )
    if rows.ndim < logits.ndim:
        rows = OPS["unsqueeze"](rows, axes=(axis_of(axis, logits.ndim),))
    return (rows, softmax(logits, axis)) if return_softmax else rows


def cross_entropy(
    input: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    soft_label: bool = False,
    axis: int = -1,
    use_softmax: bool = True,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross entropy of predictions with class labels or probabilities.

    Args:
        input: [N, ..., C]: logits, or probabilities if not `use_softmax`; classes along `axis`.
        label: integers of input's shape without `axis` (or with size 1 there); with `soft_label`
            probabilities of input's shape.
        weight: [C] weight of each class.
        ignore_index: rows with this label count nothing (hard labels only).
        reduction: "none", "sum" or "mean"; with weights the mean divides by their sum.
        soft_label: labels are probabilities.
        axis: where the classes are.
        use_softmax: apply softmax to input.
        label_smoothing: s: the target becomes (1 - s) * target + s / C.

    Returns:
        0-d, or without reduction the shape of label (size 1 at `axis` for soft labels).

    Raises:
        DTypeError: hard labels are not integers (a NaN label cannot be one).
        IndexRangeError: a label is neither a class nor `ignore_index`.

    ONNX: SoftmaxCrossEntropyLoss.
    """
    need_reduction(reduction)
    rank = rank_of(input)
    axis = axis_of(axis, rank)
    if soft_label:
        target = label
        if label_smoothing:
            target = target * (1.0 - label_smoothing) + label_smoothing / input.shape[axis]
        return _soft_cross_entropy(input, target, weight, axis, reduction, use_softmax)
    kept_axis = rank_of(label) == rank and _is_one(label.shape[axis])
    if kept_axis:
        label = OPS["squeeze"](label, axes=(axis,))
    if weight is not None and label_smoothing:
        classes = input.shape[axis]
        number = OPS["arange"](start=0, stop=classes, step=1, dtype=label.dtype.name)
        number = number.reshape((classes, *([1] * (rank - 1 - axis))))
        hot = (OPS["unsqueeze"](label, axes=(axis,)) == number).astype(input.dtype)
        counted = OPS["not_equal"](label, ignore_index).astype(input.dtype)
        target = hot * (1.0 - label_smoothing) + label_smoothing / classes
        target = target * OPS["unsqueeze"](counted, axes=(axis,))
        return _soft_cross_entropy(input, target, weight, axis, reduction, use_softmax)
    given = axis, whole("ignore_index", ignore_index), reduction
    if use_softmax:
        inputs = input, label, weight
        loss = apply(softmax_cross_entropy, inputs, (*given, freeze(float(label_smoothing)), False))
    else:
        loss = apply(negative_log_likelihood, (OPS["log"](input), label, weight), (*given, False))
    if reduction == "none" and kept_axis:
        loss = OPS["unsqueeze"](loss, axes=(axis,))
    return loss


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def _soft_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    axis: int,
    reduction: str,
    use_softmax: bool,
) -> Tensor:
    """-sum(target * log(p)) over the classes, each row times its mean class weight."""
    if weight is None and use_softmax and input.shape == target.shape:
        return apply(soft_cross_entropy, (input, target), (axis, reduction))
    logs = log_softmax(input, axis) if use_softmax else OPS["log"](input)
    loss = -OPS["sum"](target * logs, axes=(axis,), keepdims=True)
    if weight is None:
        return reduce_loss(loss, reduction)
    column = weight.reshape((-1, *([1] * (input.ndim - 1 - axis))))
    share = OPS["sum"](target * column, axes=(axis,), keepdims=True)
    loss = loss * share
    if reduction == "mean":
        every = tuple(range(loss.ndim))
        total = OPS["sum"](share, axes=every, keepdims=False)
        return OPS["sum"](loss, axes=every, keepdims=False) / total
    return reduce_loss(loss, reduction)


def nll_loss(
    input: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log probability of the label's class.

    Args:
        input: [N, C, ...] log probabilities.
        label: [N, ...] integers.
        weight: [C] weight of each class; the mean divides by the sum of the weights.
        ignore_index: rows with this label count nothing.
        reduction: "none", "sum" or "mean".

    ONNX: NegativeLogLikelihoodLoss.
    """
    given = 1, int(ignore_index), reduction, False
    return apply(negative_log_likelihood, (input, label, weight), given)


# ---- differences -------------------------------------------------------------------------------


def l1_loss(input: Tensor, label: Tensor, reduction: str = "mean") -> Tensor:
    """|input - label|, reduced.

    Args:
        input, label: broadcast to one shape.
        reduction: "none", "sum" or "mean".
    """
    return reduce_loss(OPS["abs"](input - label), reduction)


def infer_elements(*types: Type, reduction: str, **numbers: float) -> Type:
    """The rule of losses that are a formula of elements which broadcast."""
    need_float("input", types[0])
    need_reduction(reduction)
    shape = broadcast_shapes(*[t.shape for t in types])
    return Type(shape if reduction == "none" else (), types[0].dtype)


def for_each(g: Tensor, reduction: str, *tensors: Tensor) -> Tensor:
    """The gradient of each element's loss, given that of what `infer_elements` tells of."""
    if reduction == "none":
        return g
    shape = broadcast_shapes(*[tuple(x.shape) for x in tensors])
    if reduction == "mean":
        g = g / product(shape)
    return OPS["expand"](g, shape=shape)


def _infer_huber(x: Type, y: Type, *, delta: float, reduction: str) -> Type:
    return _infer_mse(x, y, reduction=reduction)


@op(infer=_infer_huber)
def _huber(x, y, *, delta, reduction="none"):
    """Huber's error, reduced. ONNX: Sub, Abs, Min, Mul, ReduceMean."""
    return kernels.reduced("huber", (x, y), reduction, delta=delta)


@_huber.vjp("x", "y")
def _(g, *, x, y, delta, reduction, wanted):
    gx = _huber_grad(for_each(g, reduction, x), x, y, delta=delta)
    return gx, -gx if "y" in wanted else None


@_huber.fused_vjp("x", "y")
def _(g, *, x, y, delta, reduction, wanted):
    gx = kernels.slope("huber", g, (x, y), reduction, delta=delta)
    return gx, elementwise.unary("neg", gx) if "y" in wanted else None


@op(infer=lambda g, x, y, *, delta: g)
def _huber_grad(g, x, y, *, delta):
    """g * (x - y), the difference brought into [-delta, delta]. ONNX: Sub, Clip, Mul."""
    return elementwise.ternary("huber_grad", g, x, y, delta=delta)


@_huber_grad.vjp("g")
def _(gg, *, x, y, delta):
    return _huber_grad(gg, x, y, delta=delta)


@_huber_grad.vjp("x")
def _(gg, *, g, x, y, delta):
    return OPS["clip_grad"](gg * g, x - y, low=-delta, high=delta)


@_huber_grad.vjp("y")
def _(gg, *, g, x, y, delta):
    return -OPS["clip_grad"](gg * g, x - y, low=-delta, high=delta)


def huber_loss(input: Tensor, label: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Half the squared difference d up to `delta`, then delta * (|d| - delta / 2), reduced.

    Args:
        input, label: broadcast to one shape; one floating-point dtype.
        reduction: "none", "sum" or "mean".
        delta: the difference up to which the error is squared.

    Source: Huber 1964.
    """
    if not same_shape(input.shape, label.shape):
        difference = input - label
        input, label = difference, OPS["zeros_like"](difference)
    return apply(_huber, (input, label), (freeze(float(delta)), reduction))


def smooth_l1_loss(
    input: Tensor,
    label: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    is_huber: bool = True,
) -> Tensor:
    """`huber_loss`, or with `is_huber=False` the same divided by delta.

    Args:
        input, label, reduction, delta: as in `huber_loss`.
        is_huber: whether the slope of large differences is delta, or 1.

    Raises:
        ShapeError: input and label differ in shape.
    """
    need_one_shape("smooth_l1_loss: input", input, label)
    loss = huber_loss(input, label, reduction, delta)
    return loss if is_huber else loss / float(delta)


__all__ = [
    "cross_entropy",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
    "softmax_with_cross_entropy",
    "square_error_cost",
]
