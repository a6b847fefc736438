"""Margins of right classes to all others. Source: Weston & Watkins, ESANN 1999.

The loss of every row is an op, its gradient another; what is differentiated again is made of ops.
Other losses that compare are in `ranking.py`.
"""

from __future__ import annotations

from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.op import OPS, freeze, op
from dyn.core.tensor import Tensor
from dyn.kernels import multi_margin as kernels
from dyn.ops.composite import differentiate_as
from dyn.ops.elementwise import keep_where
from dyn.ops.infer import (
    Type,
    need_float,
    need_int,
    need_rank,
    need_same_dtype,
    need_shape,
    same_size,
    show,
)
from dyn.ops.loss import reduce_loss


def _infer_rows(x: Type, label: Type, weight: Type | None, *, p: int, margin: float) -> Type:
    need_float("input", x)
    need_int("label", label)
    need_rank("input", x, 2)
    need_same_dtype(input=x, weight=weight)
    need_shape("weight", weight, x.shape[1])
    if len(label.shape) != 1 or not same_size(label.shape[0], x.shape[0]):
        raise ShapeError(
            f"label {show(label.shape)} must have a class for each row {show(x.shape)}"
        )
    return Type(x.shape[:1], x.dtype)


@op(infer=_infer_rows)
def _multi_margin(x, label, weight=None, *, p, margin):
    """Sum over wrong classes of max(0, margin - right + wrong)^p / C. ONNX: GatherElements, Sub."""
    return kernels.multi_margin(x, label, weight, p, margin)


@_multi_margin.vjp("x")
def _(g, *, x, label, weight, p, margin):
    return apply(_multi_margin_grad, (g, x, label, weight), (p, margin))


@_multi_margin.vjp("weight")
def _(g, *, x, label, weight_shape, p, margin):
    zeros = OPS["full"](shape=tuple(weight_shape), value=0, dtype=x._array.dtype.name)
    rows = g * apply(_multi_margin, (x, label, None), (p, margin))
    return OPS["put_along_axis"](zeros, label, rows, axis=0, reduction="add")


@op(infer=lambda g, x, label, weight, *, p, margin: x)
def _multi_margin_grad(g, x, label, weight=None, *, p, margin):
    """The gradient of `multi_margin` with respect to x. ONNX: Greater, Where, ReduceSum."""
    return kernels.multi_margin_grad(g, x, label, weight, p, margin)


def _slopes(x: Tensor, label: Tensor, p: int, margin: float) -> tuple[Tensor, Tensor]:
    """Which classes are wrong, and by how much each goes beyond its margin."""
    column = OPS["unsqueeze"](label, axes=(1,))
    number = OPS["arange"](start=0, stop=x.shape[1], step=1, dtype=label.dtype.name)
    right = OPS["take_along_axis"](x, column, axis=1)
    return OPS["not_equal"](number, column), OPS["relu"](margin - right + x)


def _grad_of_ops(
    g: Tensor, x: Tensor, label: Tensor, weight: Tensor | None, p: int, margin: float
) -> Tensor:
    """`_multi_margin_grad` made of ops."""
    wrong, over = _slopes(x, label, p, margin)
    slopes = over + over if p == 2 else OPS["greater_than"](over, 0).astype(x.dtype)
    slopes = keep_where(wrong, slopes)
    total = OPS["sum"](slopes, axes=(1,), keepdims=True)
    factor = g / x.shape[1]
    if weight is not None:
        factor = factor * OPS["gather"](weight, label, axis=0)
    return OPS["where"](wrong, slopes, -total) * OPS["unsqueeze"](factor, axes=(1,))


differentiate_as(_multi_margin_grad, _grad_of_ops, "g", "x", "weight")


def multi_margin_loss(
    input: Tensor,
    label: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over wrong classes of max(0, margin - input[label] + input[class]) ** p / C.

    Args:
        input: [N, C] scores.
        label: [N] class numbers.
        p: 1 or 2.
        margin: by how much the right class should exceed the others.
        weight: [C] factor by right class, or None.
        reduction: "none", "sum" or "mean".

    Returns:
        [N] without a reduction, else 0-d.

    Raises:
        AttributeValueError: p is neither 1 nor 2.
    """
    if p not in (1, 2):
        raise AttributeValueError(f"p must be 1 or 2, got {p}", op="multi_margin_loss")
    return reduce_loss(
        apply(_multi_margin, (input, label, weight), (p, freeze(float(margin)))), reduction
    )


# ---- several right classes ---------------------------------------------------------------------


def _infer_multilabel(x: Type, label: Type) -> Type:
    need_float("input", x)
    need_int("label", label)
    need_rank("input", x, 2)
    if len(label.shape) != 2 or not all(map(same_size, label.shape, x.shape)):
        raise ShapeError(f"label {show(label.shape)} must have the shape {show(x.shape)} of input")
    return Type(x.shape[:1], x.dtype)


@op(infer=_infer_multilabel)
def _multilabel_margin(x, label):
    """Sum over right and wrong classes of max(0, 1 - right + wrong) / C, for every row.

    ONNX: CumSum, GatherElements, Relu, Where, ReduceSum.
    """
    return kernels.multilabel_margin(x, label)


@_multilabel_margin.vjp("x")
def _(g, *, x, label):
    return apply(_multilabel_margin_grad, (g, x, label))


@op(infer=lambda g, x, label: x)
def _multilabel_margin_grad(g, x, label):
    """The gradient of `multilabel_margin` with respect to x. ONNX: CumSum, Greater, ReduceSum."""
    return kernels.multilabel_margin_grad(g, x, label)


@_multilabel_margin_grad.vjp("g")
def _(g, *, x, label):
    ones = OPS["full"](shape=tuple(x.shape[:1]), value=1, dtype=x._array.dtype.name)
    slopes = apply(_multilabel_margin_grad, (ones, x, label))
    return OPS["sum"](g * slopes, axes=(1,), keepdims=False)


@_multilabel_margin_grad.vjp("x")
def _(g):
    return None  # the loss is made of straight pieces


def multilabel_margin_loss(input: Tensor, label: Tensor, reduction: str = "mean") -> Tensor:
    """sum over right and wrong classes of max(0, 1 - input[right] + input[wrong]) / C.

    Args:
        input: [N, C] scores.
        label: [N, C] integers: the right classes, up to the first negative number of a row.
        reduction: "none", "sum" or "mean".

    Returns:
        [N] without a reduction, else 0-d.
    """
    return reduce_loss(apply(_multilabel_margin, (input, label)), reduction)


__all__ = ["multi_margin_loss", "multilabel_margin_loss"]
