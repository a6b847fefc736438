"""Losses that compare: margins, pairs and triplets."""

from __future__ import annotations

from typing import Any

from dyn.core.dispatch import apply
from dyn.core.errors import ShapeError
from dyn.core.op import OPS, freeze, op
from dyn.core.tensor import Tensor
from dyn.kernels import elementwise
from dyn.kernels import loss as kernels
from dyn.ops.distance import cosine_similarity, pairwise_distance
from dyn.ops.infer import need_one_shape, same_size, show
from dyn.ops.loss import for_each, infer_elements, reduce_loss
from dyn.ops.softmax import log_softmax

# ---- margins -----------------------------------------------------------------------------------


@op(infer=infer_elements, promote="float")
def _margin_excess(x, y, *, margin, reduction):
    """max(0, x - y + margin), reduced. ONNX: Sub, Add, Relu, ReduceMean."""
    return kernels.reduced("margin_excess", (x, y), reduction, margin=margin)


@_margin_excess.vjp("x", "y")
def _(g, *, x, y, margin, reduction, wanted):
    gx = OPS["relu_grad"](for_each(g, reduction, x, y), x - y + margin)
    return gx, -gx if "y" in wanted else None


@_margin_excess.fused_vjp("x", "y")
def _(g, *, x, y, margin, reduction, wanted):
    gx = kernels.slope("margin_excess", g, (x, y), reduction, margin=margin)
    return gx, elementwise.unary("neg", gx) if "y" in wanted else None


@op(infer=infer_elements, promote="float")
def _margin_ranking(x, y, label, *, margin, reduction):
    """max(0, margin - label * (x - y)), reduced. ONNX: Sub, Mul, Relu, ReduceMean."""
    return kernels.reduced("margin_ranking", (x, y, label), reduction, margin=margin)


@_margin_ranking.vjp("x", "y", "label")
def _(g, *, x, y, label, margin, reduction, wanted):
    away = x - y
    each = OPS["relu_grad"](for_each(g, reduction, x, y, label), margin - label * away)
    gx = -(each * label)
    return gx, -gx if "y" in wanted else None, -(each * away) if "label" in wanted else None


@_margin_ranking.fused_vjp("x", "y", "label")
def _(g, *, x, y, label, margin, reduction, wanted):
    return kernels.margin_ranking_grad(g, x, y, label, margin, reduction, wanted)


@op(infer=infer_elements, promote="float")
def _soft_margin(x, y, *, reduction):
    """log(1 + exp(-x * y)), reduced. ONNX: Mul, Neg, Softplus, ReduceMean."""
    return kernels.reduced("soft_margin", (x, y), reduction)


@_soft_margin.vjp("x", "y")
def _(g, *, x, y, reduction, wanted):
    each = -(for_each(g, reduction, x, y) * OPS["sigmoid"](-(x * y)))
    return each * y, each * x if "y" in wanted else None


@_soft_margin.fused_vjp("x", "y")
def _(g, *, x, y, reduction, wanted):
    gx, gy = (
        kernels.slope("soft_margin", g, pair, reduction) if name in wanted else None
        for name, pair in (("x", (x, y)), ("y", (y, x)))
    )
    return gx, gy


# ---- losses ------------------------------------------------------------------------------------


def margin_ranking_loss(
    input: Tensor, other: Tensor, label: Tensor, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """max(0, -label * (input - other) + margin), reduced.

    Args:
        input, other: (...) scores.
        label: (...) 1 where the input should be larger than the other, -1 where smaller.
        margin: by how much.
        reduction: "none", "sum" or "mean".

    Returns:
        (...) without a reduction, else 0-d; so do the other losses here that name no shape.
    """
    return apply(_margin_ranking, (input, other, label), (freeze(float(margin)), reduction))


def hinge_embedding_loss(
    input: Tensor, label: Tensor, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """input where label is 1, max(0, margin - input) where it is -1, reduced.

    Args:
        input: (...) distances of pairs.
        label: (...) 1 for pairs that belong together, -1 for others.
        margin: how far apart others should be.
        reduction: "none", "sum" or "mean".
    """
    apart = OPS["relu"](margin - input)
    return reduce_loss(OPS["where"](label == 1, input, apart), reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    label: Tensor,
    margin: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos where label is 1, max(0, cos - margin) where it is -1, reduced.

    Args:
        input1, input2: [N, M] or [M].
        label: [N] or 0-d; 1 for pairs that belong together, -1 for others.
        margin: the cosine that others may have.
        reduction: "none", "sum" or "mean".

    Raises:
        ShapeError: there is not one label for each pair.
    """
    cos = cosine_similarity(input1, input2, axis=-1)
    if label.ndim != cos.ndim or not all(map(same_size, label.shape, cos.shape)):
        raise ShapeError(
            f"cosine_embedding_loss: labels of {show(label.shape)} for pairs of {show(cos.shape)}"
        )
    apart = OPS["relu"](cos - float(margin))
    return reduce_loss(OPS["where"](label == 1, 1.0 - cos, apart), reduction)


def triplet_margin_with_distance_loss(
    input: Tensor,
    positive: Tensor,
    negative: Tensor,
    distance_function: Any = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(input, positive) - d(input, negative) + margin), reduced.

    Args:
        input, positive, negative: (..., D) embeddings: of which the positive ones should be nearer.
        distance_function: of two tensors; the pairwise 2-norm by default.
        margin: by how much nearer.
        swap: use the smaller of the negative's distances to input and positive.
        reduction: "none", "sum" or "mean".

    Returns:
        What the distance function returns, (...) by default, without a reduction; else 0-d.
    """
    distance = distance_function or pairwise_distance
    near, far = distance(input, positive), distance(input, negative)
    if swap:
        far = OPS["minimum"](far, distance(positive, negative))
    return apply(_margin_excess, (near, far), (freeze(float(margin)), reduction))


def triplet_margin_loss(
    input: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    epsilon: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_with_distance_loss` with the p-norm.

    Args:
        input, positive, negative, margin, swap, reduction: as there.
        p: of the norm, as in `norm`.
        epsilon: added to the differences, so that the gradient at 0 is finite.

    Source: Balntas et al., BMVC 2016.
    """

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, epsilon)

    return triplet_margin_with_distance_loss(
        input, positive, negative, distance, margin, swap, reduction
    )


def soft_margin_loss(input: Tensor, label: Tensor, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-label * input)), reduced.

    Args:
        input: (...) scores.
        label: (...) 1 or -1.
        reduction: "none", "sum" or "mean".

    Raises:
        ShapeError: input and label differ in shape.
    """
    need_one_shape("soft_margin_loss: input", input, label)
    return apply(_soft_margin, (input, label), (reduction,))


def multi_label_soft_margin_loss(
    input: Tensor, label: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Binary cross entropy of every class, averaged over the classes (last axis), reduced.

    Args:
        input: (..., C) logits.
        label: (..., C) 1 for the classes that apply, else 0.
        weight: factor by class; broadcasts to (..., C).
        reduction: "none", "sum" or "mean".

    Returns:
        (...) without a reduction, else 0-d.

    Raises:
        ShapeError: input and label differ in shape.
    """
    need_one_shape("multi_label_soft_margin_loss: input", input, label)
    hit, miss = OPS["log_sigmoid"](input), OPS["log_sigmoid"](-input)
    loss = -(label * hit + (1.0 - label) * miss)
    if weight is not None:
        loss = loss * weight
    return reduce_loss(OPS["mean"](loss, axes=(loss.ndim - 1,), keepdims=False), reduction)


def npair_loss(anchor: Tensor, positive: Tensor, labels: Tensor, l2_reg: float = 0.002) -> Tensor:
    """Cross entropy of which positive belongs to each anchor, and a penalty of their lengths.

    Args:
        anchor, positive: [N, D] embeddings.
        labels: [N] or [N, 1]; rows of the same label belong together.
        l2_reg: weight of the penalty, the mean squared lengths over 4.

    Source: Sohn, NIPS 2016.
    """
    column = OPS["reshape"](labels, shape=(labels.shape[0], 1))
    same = OPS["equal"](column, OPS["transpose"](column, perm=(1, 0))).astype(anchor.dtype)
    same = same / OPS["sum"](same, axes=(1,), keepdims=True)
    squares = OPS["sum"](anchor * anchor + positive * positive, axes=(1,), keepdims=False)
    likely = log_softmax(OPS["matmul"](anchor, positive, transpose_y=True), -1)
    entropy = -OPS["sum"](same * likely, axes=(1,), keepdims=True)
    spread = OPS["sum"](same * entropy, axes=(0,), keepdims=False)
    return reduce_loss(squares, "mean") * (0.25 * l2_reg) + reduce_loss(spread, "mean")


__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_label_soft_margin_loss",
    "npair_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]
