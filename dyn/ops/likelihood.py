"""Losses of probabilities: binary cross entropy, divergences, and likelihoods of distributions."""

from __future__ import annotations

import math

from dyn.core.dispatch import apply
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import elementwise as kernels
from dyn.kernels import loss as losses
from dyn.ops.creation import one_hot
from dyn.ops.elementwise import keep_where
from dyn.ops.infer import Type, broadcast, need_float, need_one_shape
from dyn.ops.loss import for_each, infer_elements, reduce_loss

# ---- element by element ------------------------------------------------------------------------


def _infer_loss(x: Type, y: Type) -> Type:
    need_float("input", x)
    return broadcast(x, y)


@op(infer=_infer_loss, promote=True)
def _binary_cross_entropy(p, y):
    """-(y * log(p) + (1 - y) * log(1 - p)), logarithms not below -100. ONNX: Log, Max, Mul."""
    return kernels.binary("binary_cross_entropy", p, y)


_HALF_FLOOR = 2.0**-24
"""The least float16 above 0: 1e-12 is none, and 0 / 0 would be NaN."""


@_binary_cross_entropy.vjp("p")
def _(g, *, p, y):
    # At probabilities of 0 and 1 the gradient is large but finite, as in PyTorch.
    floor = _HALF_FLOOR if p.dtype == "float16" else 1e-12
    return g * (p - y) / OPS["maximum"](p * (1.0 - p), floor)


@_binary_cross_entropy.fused_vjp("p")
def _(g, *, p, y):
    return kernels.ternary("binary_cross_entropy_grad", g, p, y)


@_binary_cross_entropy.vjp("y")
def _(g, *, p):
    hit = OPS["maximum"](OPS["log"](p), -100.0)
    return g * (OPS["maximum"](OPS["log1p"](-p), -100.0) - hit)


@op(infer=_infer_loss, promote=True)
def _logistic_cross_entropy(z, y):
    """log(1 + e^z) - y * z: cross entropy of sigmoid(z). ONNX: Softplus, Abs, Where, Mul, Add."""
    return kernels.binary("logistic_cross_entropy", z, y)


@_logistic_cross_entropy.vjp("z")
def _(g, *, z, y):
    return g * (OPS["sigmoid"](z) - y)


@_logistic_cross_entropy.fused_vjp("z")
def _(g, *, z, y):
    return kernels.ternary("logistic_cross_entropy_grad", g, z, y)


@_logistic_cross_entropy.vjp("y")
def _(g, *, z):
    return -(g * z)


@op(infer=_infer_loss, promote=True)
def _kl_div(x, y):
    """y * (log(y) - x), 0 where y is 0, NaN where it is negative. ONNX: Log, Sub, Mul, Where."""
    return kernels.binary("kl_div", x, y)


@_kl_div.vjp("x")
def _(g, *, y):
    return -(g * y)


@_kl_div.fused_vjp("x")
def _(g, *, y):
    return kernels.binary("kl_div_grad", g, y)


@_kl_div.vjp("y")
def _(g, *, x, y):
    held = OPS["not_equal"](y, 0)
    safe = OPS["where"](held, y, OPS["ones_like"](y))
    return keep_where(held, g * (OPS["log"](safe) + 1.0 - x))


@_kl_div.fused_vjp("y")
def _(g, *, x, y):
    return kernels.ternary("kl_div_target_grad", g, x, y)


@op(infer=infer_elements, promote="float")
def _poisson_nll(x, y, *, reduction):
    """e^x - y * x, reduced. ONNX: Exp, Mul, Sub, ReduceMean."""
    return losses.reduced("poisson_nll", (x, y), reduction)


@_poisson_nll.vjp("x")
def _(g, *, x, y, reduction):
    return for_each(g, reduction, x, y) * (OPS["exp"](x) - y)


@_poisson_nll.vjp("y")
def _(g, *, x, y, reduction):
    return -(for_each(g, reduction, x, y) * x)


@_poisson_nll.fused_vjp("x")
def _(g, *, x, y, reduction):
    return losses.slope("poisson_nll", g, (x, y), reduction)


# ---- reduced -----------------------------------------------------------------------------------


def binary_cross_entropy(
    input: Tensor, label: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """-(y * log(p) + (1 - y) * log(1 - p)), logarithms not below -100, reduced.

    Args:
        input: (...) probabilities p in [0, 1].
        label: (...) targets y in [0, 1].
        weight: factor per element; broadcasts to (...).
        reduction: "none", "sum" or "mean".

    Returns:
        (...) without a reduction, else 0-d; so do the other losses here.

    Raises:
        ShapeError: input and label differ in shape, as [N, 1] and [N] do.
    """
    need_one_shape("binary_cross_entropy: input", input, label)
    return _weighted(_binary_cross_entropy(input, label), weight, reduction)


def _weighted(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return reduce_loss(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(
    logit: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy` of sigmoid(logit), computed without overflow.

    Args:
        logit: (...) any real numbers.
        label: (...) targets in [0, 1].
        weight: factor per element; broadcasts to (...).
        reduction: "none", "sum" or "mean".
        pos_weight: factor of the term of positive targets; broadcasts to (...).

    Raises:
        ShapeError: logit and label differ in shape.
    """
    need_one_shape("binary_cross_entropy_with_logits: logit", logit, label)
    if pos_weight is None:
        return _weighted(_logistic_cross_entropy(logit, label), weight, reduction)
    loss = -OPS["log_sigmoid"](logit) * ((pos_weight - 1.0) * label + 1.0)
    return _weighted((1.0 - label) * logit + loss, weight, reduction)


def kl_div(
    input: Tensor, label: Tensor, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """Kullback-Leibler divergence label * (log(label) - input), reduced.

    Args:
        input: (...) log probabilities.
        label: (...) probabilities; 0 contributes nothing.
        reduction: "none", "sum", "mean" over all elements, or "batchmean" over the first axis.
        log_target: whether the labels are log probabilities.

    Raises:
        ShapeError: input and label differ in shape.
    """
    need_one_shape("kl_div: input", input, label)
    loss = OPS["exp"](label) * (label - input) if log_target else _kl_div(input, label)
    if reduction == "batchmean":
        return reduce_loss(loss, "sum") / (input.shape[0] if input.ndim else 1)
    return reduce_loss(loss, reduction)


def log_loss(input: Tensor, label: Tensor, epsilon: float = 1e-4) -> Tensor:
    """-y * log(p + epsilon) - (1 - y) * log(1 - p + epsilon), element by element.

    Args:
        input: (...) probabilities p in [0, 1].
        label: (...) targets y in [0, 1].
        epsilon: keeps the logarithm of 0 finite.

    Returns:
        (...), never reduced.

    Raises:
        ShapeError: input and label differ in shape.
    """
    need_one_shape("log_loss: input", input, label)
    hit = OPS["log"](input + epsilon)
    miss = OPS["log"](1.0 - input + epsilon)
    return -(label * hit) - (1.0 - label) * miss


def poisson_nll_loss(
    input: Tensor,
    label: Tensor,
    log_input: bool = True,
    full: bool = False,
    epsilon: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log likelihood of counts under a Poisson distribution, reduced.

    Args:
        input: (...) logarithms of the rates, or the rates.
        label: (...) counts.
        log_input: whether the input is logarithms.
        full: add Stirling's approximation of log(label!) where label > 1.
        epsilon: keeps the logarithm of a rate of 0 finite.
        reduction: "none", "sum" or "mean".

    Raises:
        ShapeError: input and label differ in shape.
    """
    need_one_shape("poisson_nll_loss: input", input, label)
    if log_input:
        loss = apply(_poisson_nll, (input, label), ("none" if full else reduction,))
        if not full:
            return loss
    else:
        loss = input - label * OPS["log"](input + epsilon)
    if full:
        ones = OPS["ones_like"](label)
        many = label > 1
        n = OPS["where"](many, label, ones)
        stirling = n * OPS["log"](n) - n + 0.5 * OPS["log"](n * (2.0 * math.pi))
        loss = loss + OPS["where"](many, stirling, OPS["zeros_like"](label))
    return reduce_loss(loss, reduction)


def gaussian_nll_loss(
    input: Tensor,
    label: Tensor,
    variance: Tensor,
    full: bool = False,
    epsilon: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log likelihood under a normal distribution, reduced.

    Args:
        input: (...) means.
        label: (...) observations.
        variance: variances; broadcasts to (...).
        full: add the constant log(2 pi) / 2.
        epsilon: the least variance; smaller ones count as this.
        reduction: "none", "sum" or "mean".
    """
    # What is too small counts as `epsilon`, with the gradient there.
    missing = OPS["relu"](float(epsilon) - variance.detach())
    variance = variance + missing
    difference = input - label
    loss = 0.5 * (OPS["log"](variance) + difference * difference / variance)
    if full:
        loss = loss + 0.5 * math.log(2.0 * math.pi)
    return reduce_loss(loss, reduction)


def sigmoid_focal_loss(
    logit: Tensor,
    label: Tensor,
    normalizer: Tensor | None = None,
    alpha: float = 0.25,
    gamma: float = 2.0,
    reduction: str = "sum",
) -> Tensor:
    """Binary cross entropy with what is classified well weighted down.

    -alpha_t * (1 - p_t) ** gamma * log(p_t), p_t the probability of the right answer.

    Args:
        logit, label: as in `binary_cross_entropy_with_logits`.
        normalizer: what the loss is divided by, such as the number of positive targets; or None.
        alpha: weight of positive targets; negative ones have 1 - alpha.
        gamma: how much less counts what is classified well; 0 weights nothing down.
        reduction: "none", "sum" or "mean".

    Source: Lin et al., arXiv 1708.02002.
    """
    loss = binary_cross_entropy_with_logits(logit, label, reduction="none")
    p = OPS["sigmoid"](logit)
    wrong = 1.0 - (p * label + (1.0 - p) * (1.0 - label))
    balance = alpha * label + (1.0 - alpha) * (1.0 - label)
    loss = balance * OPS["pow"](wrong, float(gamma)) * loss
    return reduce_loss(loss if normalizer is None else loss / normalizer, reduction)


def dice_loss(input: Tensor, label: Tensor, epsilon: float = 1e-5) -> Tensor:
    """1 - 2 * overlap / total of predicted and true regions, averaged over the batch.

    Args:
        input: [N, ..., C] probabilities.
        label: [N, ..., 1] class numbers.
        epsilon: added to the total, so that empty regions do not divide by 0.

    Returns:
        0-d.
    """
    target = one_hot(OPS["squeeze"](label, axes=(label.ndim - 1,)), input.shape[-1])
    target = target.astype(input.dtype)
    axes = tuple(range(1, input.ndim))
    overlap = OPS["sum"](input * target, axes=axes, keepdims=False)
    total = OPS["sum"](input, axes=axes, keepdims=False)
    total = total + OPS["sum"](target, axes=axes, keepdims=False)
    return reduce_loss(1.0 - overlap * 2.0 / (total + epsilon), "mean")


def label_smooth(label: Tensor, prior_dist: Tensor | None = None, epsilon: float = 0.1) -> Tensor:
    """(1 - epsilon) * label + epsilon * prior, the prior being even by default.

    Args:
        label: (..., C) probabilities.
        prior_dist: [1, C] prior probabilities, or None.
        epsilon: weight of the prior, in [0, 1].

    Returns:
        (..., C) probabilities.
    """
    prior = 1.0 / label.shape[-1] if prior_dist is None else prior_dist
    return (1.0 - epsilon) * label + epsilon * prior


__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "dice_loss",
    "gaussian_nll_loss",
    "kl_div",
    "label_smooth",
    "log_loss",
    "poisson_nll_loss",
    "sigmoid_focal_loss",
]
