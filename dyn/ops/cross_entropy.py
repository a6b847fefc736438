"""Cross entropy of logits with class labels, fused with its softmax and its gradient.

Labels are integers, or probabilities without weights; all other losses are composed of ops in
`loss.py`.
"""

from __future__ import annotations

from typing import Any

from dyn.core.errors import AttributeValueError, DTypeError, ShapeError
from dyn.core.lift import scalar
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import cross_entropy as kernels
from dyn.kernels import negative_log_likelihood as likelihood
from dyn.kernels import soft_cross_entropy as soft_kernels
from dyn.ops.infer import (
    Type,
    need_float,
    need_same_dtype,
    need_shape,
    product,
    reduced_shape,
    same_size,
    show,
)

REDUCTIONS = ("none", "sum", "mean")


def need_reduction(reduction: str) -> None:
    """Raise AttributeValueError unless `reduction` is none, sum or mean."""
    if reduction not in REDUCTIONS:
        raise AttributeValueError(f"reduction {reduction!r} is not one of {', '.join(REDUCTIONS)}")


def _infer_rows(
    logits: Type, label: Type, weight: Type | None, axis: int, reduction: str
) -> tuple[Any, ...]:
    """The shape of one value per row, after checking labels and weights."""
    need_float("logits", logits)
    if label.dtype.kind not in "iu":
        raise DTypeError(
            f"labels are class numbers and must be integers, got {label.dtype.name}; for "
            "probabilities pass soft_label=True"
        )
    need_reduction(reduction)
    rows = (*logits.shape[:axis], *logits.shape[axis + 1 :])
    if len(label.shape) != len(rows) or not all(
        same_size(a, b) for a, b in zip(label.shape, rows, strict=True)
    ):
        raise ShapeError(
            f"labels of shape {show(label.shape)} do not fit logits of shape {show(logits.shape)} "
            f"with classes along axis {axis}; they need shape {show(rows)}"
        )
    if weight is not None:
        need_same_dtype(logits=logits, weight=weight)
        if len(weight.shape) != 1 or not same_size(weight.shape[0], logits.shape[axis]):
            raise ShapeError(
                f"weight must have one value per class, [{logits.shape[axis]}], "
                f"got {show(weight.shape)}"
            )
    return rows


def _infer(
    logits: Type,
    label: Type,
    weight: Type | None,
    *,
    axis: int,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    nan_of_none: bool,
) -> list[Type]:
    if not 0 <= label_smoothing <= 1:
        raise AttributeValueError(f"label_smoothing must lie in [0, 1], got {label_smoothing}")
    rows = _infer_rows(logits, label, weight, axis, reduction)
    loss = Type(rows if reduction == "none" else (), logits.dtype)
    return [loss, logits, Type(rows, logits.dtype)]


@op(infer=_infer, outputs=("loss", "dlogits", "share"))
def softmax_cross_entropy(
    logits,
    label,
    weight=None,
    *,
    axis=1,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    nan_of_none=False,
):
    """-log(softmax(logits)) at the label, times the weight of the label's class.

    With smoothing s the target is 1 - s at the label plus s / C at every class.

    Args:
        logits: classes along `axis`, floating point.
        label: integers, shape of logits without `axis`.
        weight: [C] weight of each class, or None.
        axis: where the classes are (counted from the front).
        ignore_index: rows with this label count nothing.
        reduction: "none" gives one loss per row; "mean" divides by the sum of the weights of the
            rows that count.
        label_smoothing: s, in [0, 1].
        nan_of_none: the mean is NaN, as 0 / 0 and in PyTorch, and not 0 where no row counts.

    Returns:
        loss, 0-d or the shape of label. Private: `dlogits`, the gradient of the loss (of each row's
        own loss without reduction), and `share`, by what each row counts in it.

    Raises:
        IndexRangeError: a label is neither a class nor `ignore_index`.

    ONNX: SoftmaxCrossEntropyLoss.
    """
    return kernels.softmax_cross_entropy(
        logits,
        label,
        weight,
        axis=axis,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        nan_of_none=nan_of_none,
    )


@softmax_cross_entropy.vjp("logits")
def _(g, *, label, axis, label_smoothing, dlogits, share, g_dlogits):
    gx = None if g is None else _softmax_cross_entropy_grad(g, dlogits, axis=axis)
    if g_dlogits is None:
        return gx
    # dlogits = share * (softmax - target), so its own derivative is share times softmax's.
    share = OPS["unsqueeze"](share, axes=(axis,))
    classes = dlogits.shape[axis]
    number = OPS["arange"](start=0, stop=classes, step=1, dtype=label.dtype.name)
    number = number.reshape((classes, *([1] * (dlogits.ndim - 1 - axis))))
    hot = (OPS["unsqueeze"](label, axes=(axis,)) == number).astype(dlogits.dtype)
    target = hot * (1.0 - label_smoothing) + label_smoothing / classes
    probs = dlogits / (share + (share == 0).astype(share.dtype)) + target
    inner = OPS["sum"](g_dlogits * probs, axes=(axis,), keepdims=True)
    through = share * probs * (g_dlogits - inner)
    return through if gx is None else gx + through


def _infer_grad(g: Type, dlogits: Type, *, axis: int) -> Type:
    return dlogits


@op(infer=_infer_grad)
def _softmax_cross_entropy_grad(g, dlogits, *, axis):
    """dlogits times g, which is 0-d or has one value per row. ONNX: Mul."""
    return kernels.softmax_cross_entropy_grad(g, dlogits, axis)


@_softmax_cross_entropy_grad.vjp("g")
def _(gg, *, dlogits, g_shape, axis):
    axes = (axis,) if g_shape else tuple(range(dlogits.ndim))
    return OPS["sum"](gg * dlogits, axes=axes, keepdims=False)


@_softmax_cross_entropy_grad.vjp("dlogits")
def _(gg, *, g, axis):
    return _softmax_cross_entropy_grad(g, gg, axis=axis)


# ---- probabilities as labels -------------------------------------------------------------------


def _infer_soft(x: Type, target: Type, *, axis: int, reduction: str) -> Type:
    need_float("logits", x)
    need_shape("label", target, *x.shape)
    need_reduction(reduction)
    shape = reduced_shape(x.shape, (axis,), keepdims=True) if reduction == "none" else ()
    return Type(shape, x.dtype)


@op(infer=_infer_soft, promote="float")
def soft_cross_entropy(x, target, *, axis, reduction):
    """-sum(target * log(softmax(x))) along an axis, reduced. ONNX: LogSoftmax, Mul, ReduceSum."""
    return soft_kernels.loss(x, target, axis, reduction)


@soft_cross_entropy.vjp("x", "target")
def _(g, *, x, target, axis, reduction, wanted):
    if reduction == "mean":
        g = g / product([n for a, n in enumerate(x.shape) if a != axis])
    logs = OPS["log_softmax"](x, axis=axis)
    share = OPS["exp"](logs) * OPS["sum"](target, axes=(axis,), keepdims=True)
    return g * (share - target), -(g * logs) if "target" in wanted else None


@soft_cross_entropy.fused_vjp("x", "target")
def _(g, *, x, target, axis, reduction, wanted):
    return soft_kernels.gradients(g, x, target, axis, reduction, wanted)


# ---- log probabilities given -------------------------------------------------------------------


def _infer_nll(
    x: Type,
    label: Type,
    weight: Type | None,
    *,
    axis: int,
    ignore_index: int,
    reduction: str,
    nan_of_none: bool,
) -> list[Type]:
    rows = _infer_rows(x, label, weight, axis, reduction)
    return [Type(rows if reduction == "none" else (), x.dtype), Type(rows, x.dtype)]


@op(infer=_infer_nll, outputs=("loss", "share"))
def negative_log_likelihood(
    x, label, weight=None, *, axis=1, ignore_index=-100, reduction="mean", nan_of_none=False
):
    """-x at the label, times the weight of the label's class.

    Arguments are those of `softmax_cross_entropy`, with log probabilities in the place of logits.
    ONNX: NegativeLogLikelihoodLoss.
    """
    return likelihood.negative_log_likelihood(
        x,
        label,
        weight,
        axis=axis,
        ignore_index=ignore_index,
        reduction=reduction,
        nan_of_none=nan_of_none,
    )


@negative_log_likelihood.vjp("x")
def _(g, *, label, share, x_shape, axis, ignore_index):
    return _negative_log_likelihood_grad(
        g, label, share, classes=x_shape[axis], axis=axis, ignore_index=ignore_index
    )


def _infer_nll_grad(
    g: Type, label: Type, share: Type, *, classes: Any, axis: int, ignore_index: int
) -> Type:
    return Type((*label.shape[:axis], classes, *label.shape[axis:]), share.dtype)


@op(infer=_infer_nll_grad)
def _negative_log_likelihood_grad(g, label, share, *, classes, axis, ignore_index):
    """Zeros with -g * share at the label of each row. ONNX: ScatterElements."""
    return likelihood.negative_log_likelihood_grad(g, label, share, classes, axis, ignore_index)


def _at_label(x: Tensor, label: Tensor, axis: int, ignore_index: int) -> Tensor:
    """The element of each row at its label; 0 for a row that does not count."""
    kept = label != ignore_index
    index = OPS["where"](kept, label, OPS["zeros_like"](label))
    found = OPS["take_along_axis"](x, OPS["unsqueeze"](index, axes=(axis,)), axis=axis)
    return OPS["where"](kept, OPS["squeeze"](found, axes=(axis,)), scalar(0.0, x._array.dtype))


@_negative_log_likelihood_grad.vjp("g")
def _(gg, *, label, share, g_shape, axis, ignore_index):
    rows = -(_at_label(gg, label, axis, ignore_index) * share)
    if g_shape:
        return rows
    return OPS["sum"](rows, axes=tuple(range(rows.ndim)), keepdims=False)


@_negative_log_likelihood_grad.vjp("share")
def _(gg, *, g, label, axis, ignore_index):
    return -(_at_label(gg, label, axis, ignore_index) * g)


__all__ = ["negative_log_likelihood", "soft_cross_entropy", "softmax_cross_entropy"]
