"""Losses as functions, with PyTorch's names and argument orders: the target comes second."""

from __future__ import annotations

import math
import warnings
from typing import Any

from dyn.compat.torch.creation import as_tensor
from dyn.compat.torch.nn.packing import pad_sequence
from dyn.compat.torch.reduction import norm
from dyn.core import observe
from dyn.core.dispatch import apply
from dyn.core.errors import user_level
from dyn.core.modes import no_grad
from dyn.core.op import freeze
from dyn.nn import functional as F
from dyn.ops.bounds import clip
from dyn.ops.creation import arange, numel, ones_like
from dyn.ops.cross_entropy import negative_log_likelihood, softmax_cross_entropy
from dyn.ops.extremes import maximum, minimum
from dyn.ops.gather import take_along_axis
from dyn.ops.index import where
from dyn.ops.infer import same_shape
from dyn.ops.join import broadcast_tensors, split
from dyn.ops.loss import reduce_loss
from dyn.ops.places import take
from dyn.ops.reduce import sum as sum_of
from dyn.ops.scan import cumsum
from dyn.ops.shape import reshape, squeeze, unsqueeze
from dyn.ops.unary import cast

NAMES = (
    "cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "poisson_nll_loss",
    "gaussian_nll_loss", "margin_ranking_loss", "hinge_embedding_loss", "cosine_embedding_loss",
    "triplet_margin_loss", "soft_margin_loss", "ctc_loss", "cosine_similarity",
    "pairwise_distance",
)  # fmt: skip


def use_reduction(settings: dict[str, Any]) -> None:
    """Bring `size_average` and `reduce`, which PyTorch has given up, into `reduction`."""
    average, reduces = settings.pop("size_average", None), settings.pop("reduce", None)
    if average is None and reduces is None:
        return
    found = "none" if reduces is False else "sum" if average is False else "mean"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{found}' instead.",
        stacklevel=user_level(),
    )
    settings["reduction"] = found


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Cross-entropy of scores [N, C, ...] with class numbers, or with probabilities of floats."""
    soft = target.ndim == input.ndim
    axis = 0 if input.ndim == 1 else 1
    if soft:
        if not target.dtype.is_floating_point:
            raise RuntimeError(
                f"Expected floating point type for target with class probabilities, got "
                f"{target.dtype}; class numbers have the shape of the input without axis {axis}"
            )
        if not same_shape(target.shape, input.shape):
            raise ValueError(
                f"probabilities of {input.shape} are wanted as target, got {target.shape}"
            )
    else:
        _need_classes(target)
    if weight is not None and (soft or label_smoothing):
        return _weighted(
            input, target, weight, ignore_index, reduction, soft, axis, label_smoothing
        )
    if soft:
        rows = F.cross_entropy(
            input,
            target,
            ignore_index=ignore_index,
            reduction="none",
            soft_label=True,
            axis=axis,
            label_smoothing=label_smoothing,
        )
        return reduce_loss(squeeze(rows, axis), reduction)
    given = axis, int(ignore_index), reduction, freeze(float(label_smoothing)), True
    return apply(softmax_cross_entropy, (input, target, weight), given)


def _weighted(
    input: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    soft: bool,
    axis: int,
    smoothing: float,
) -> Any:
    """Cross-entropy where each class counts by its weight; in Paddle, each sample does."""
    classes = input.shape[axis]
    logs = F.log_softmax(input, axis)
    weighted = logs * reshape(weight, [-1, *([1] * (input.ndim - axis - 1))])
    if soft:
        found = -sum_of(weighted * (target * (1 - smoothing) + smoothing / classes), axis)
        return found if reduction == "none" else _reduced(found, reduction, numel(found))
    counts = target != ignore_index
    known = where(counts, target, 0)
    exact = -take_along_axis(weighted, unsqueeze(known, axis), axis).squeeze(axis)
    found = (1 - smoothing) * exact - smoothing / classes * sum_of(weighted, axis)
    found = where(counts, found, 0.0)
    share = where(counts, take(weight, known), 0.0)
    return found if reduction == "none" else _reduced(found, reduction, sum_of(share))


def _reduced(found: Any, reduction: str, share: Any) -> Any:
    total = sum_of(found)
    return total if reduction == "sum" else total / share


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    """Negative log-probability of the true class."""
    axis = 0 if input.ndim == 1 else 1
    _need_classes(target)
    given = axis, int(ignore_index), reduction, True
    return apply(negative_log_likelihood, (input, target, weight), given)


def _broadcast(input: Any, target: Any) -> tuple[Any, Any]:
    """Input and target of one shape; a warning if they had two, which is mostly a mistake."""
    if same_shape(target.shape, input.shape):
        return input, target
    warnings.warn(
        f"Using a target size ({target.shape}) that is different to the input size "
        f"({input.shape}). This will likely lead to incorrect results due to broadcasting. "
        "Please ensure they have the same size.",
        stacklevel=user_level(),
    )
    first, second = broadcast_tensors([input, target])
    return first, second


def _alike(input: Any, target: Any) -> tuple[Any, Any]:
    """Input and target of one shape; some losses of PyTorch broadcast without a word."""
    if same_shape(target.shape, input.shape):
        return input, target
    first, second = broadcast_tensors([input, target])
    return first, second


def beside(input: Any, target: Any) -> Any:
    """The target in the shape of the input, which others of PyTorch need not be given.

    Raises:
        ShapeError: it cannot be expanded to that.
    """
    return target if same_shape(target.shape, input.shape) else target.expand(input.shape)


def _weighed(errors: Any, input: Any, weight: Any, reduction: str, share: Any) -> Any:
    """Errors of elements times their weights; the mean is the sum over `share`."""
    if not same_shape(weight.shape, input.shape):
        raise ValueError(
            f"Weights and input must have the same size, got {list(weight.shape)} and "
            f"{list(input.shape)}"
        )
    errors = errors * weight
    return errors if reduction == "none" else _reduced(errors, reduction, share)


def mse_loss(input: Any, target: Any, reduction: str = "mean", *, weight: Any = None) -> Any:
    """(input - target) ** 2; with weights of the elements the mean is over their sum."""
    pair = _broadcast(input, target)
    if weight is None:
        return F.mse_loss(*pair, reduction)
    return _weighed(F.mse_loss(*pair, "none"), input, weight, reduction, sum_of(weight))


def l1_loss(input: Any, target: Any, reduction: str = "mean", *, weight: Any = None) -> Any:
    """|input - target|; with weights of the elements the mean is over their sum."""
    pair = _broadcast(input, target)
    if weight is None:
        return F.l1_loss(*pair, reduction)
    return _weighed(F.l1_loss(*pair, "none"), input, weight, reduction, sum_of(weight))


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """0.5 * d ** 2 / beta while |d| < beta, |d| - 0.5 * beta beyond."""
    if beta == 0:
        return l1_loss(input, target, reduction)
    # Huber's loss is beta times as large.
    return F.huber_loss(*_broadcast(input, target), reduction, beta) / beta


def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, *, weight: Any = None
) -> Any:
    """0.5 * d ** 2 while |d| < delta, delta * (|d| - 0.5 * delta) beyond.

    With weights of the elements the mean is over their number, as in PyTorch.
    """
    pair = _broadcast(input, target)
    if weight is None:
        return F.huber_loss(*pair, reduction, delta)
    errors = F.huber_loss(*pair, "none", delta)
    return _weighed(errors, input, weight, reduction, sum_of(ones_like(errors)))


def _need_probabilities(input: Any) -> None:
    """Raise RuntimeError unless elements are in [0, 1]; the examples of a trace may be anything."""
    if observe.current():
        return
    with no_grad():
        if numel(input) and not (input.min() >= 0 and input.max() <= 1):
            raise RuntimeError("all elements of input should be between 0 and 1")


def _need_classes(target: Any) -> None:
    if target.dtype.is_floating_point:
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {target.dtype}; class numbers are "
            "integers, probabilities have the shape of the input"
        )


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    """Binary cross-entropy of probabilities."""
    if not same_shape(target.shape, input.shape):
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}) is deprecated. Please ensure they have the same size."
        )
    _need_probabilities(input)
    return F.binary_cross_entropy(input, target, weight, reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """Binary cross-entropy of sigmoid(input), without overflow."""
    if not same_shape(target.shape, input.shape):
        raise ValueError(
            f"Target size ({target.shape}) must be the same as input size ({input.shape})"
        )
    return F.binary_cross_entropy_with_logits(input, target, weight, reduction, pos_weight)


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """target * (log(target) - input)."""
    if reduction == "batchmean":
        summed = F.kl_div(*_alike(input, target), "sum", log_target)
        return summed / (input.shape[0] if input.ndim else 1)
    return F.kl_div(*_alike(input, target), reduction, log_target)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Any:
    """Negative log-likelihood of counts."""
    return F.poisson_nll_loss(*_alike(input, target), log_input, full, eps, reduction)


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """0.5 * (log(var) + (input - target) ** 2 / var)."""
    return F.gaussian_nll_loss(input, target, var, full, eps, reduction)


def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Any:
    """max(0, -target * (input1 - input2) + margin)."""
    return reduce_loss(clip(margin - target * (input1 - input2), 0.0), reduction)


def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, reduction: str = "mean"
) -> Any:
    """input where the target is 1, max(0, margin - input) where it is -1, else their sum."""
    near, far = where(target == -1, 0.0, input), where(target == 1, 0.0, clip(margin - input, 0.0))
    return reduce_loss(near + far, reduction)


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Any:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1."""
    return F.cosine_embedding_loss(input1, input2, target, margin, reduction)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """max(0, distance to the positive - distance to the negative + margin)."""
    return F.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """The cosine of the angle between vectors along an axis."""
    return F.cosine_similarity(x1, x2, dim, eps)


def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Any:
    """The p-norm of the difference of vectors along the last axis."""
    return norm(x1 - x2 + eps, p, -1, keepdim)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """log(1 + exp(-target * input))."""
    return F.soft_margin_loss(input, beside(input, target), reduction)


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    """Connectionist temporal classification, over log-probabilities.

    Args:
        log_probs: [T, N, C], or [T, C] of one sequence.
        targets: [N, L], or all labels one behind the other; [L] of one sequence.
        input_lengths, target_lengths: [N] integers, a tensor or a list.
        blank: the class that stands for no label.
        reduction: "none", "sum", or "mean": each divided by its length of labels, then averaged.
        zero_infinity: whether a sequence too short for its labels costs nothing.
    """
    alone, targets = log_probs.ndim == 2, as_tensor(targets)
    steps, lengths = as_tensor(input_lengths), as_tensor(target_lengths)
    if alone:
        log_probs, targets = unsqueeze(log_probs, 1), unsqueeze(targets, 0)
        steps, lengths = reshape(steps, [1]), reshape(lengths, [1])
    if targets.ndim == 1 and observe.current():
        targets = _rows(targets, lengths)
    elif targets.ndim == 1:
        targets = pad_sequence(split(targets, lengths.tolist()), batch_first=True)
    loss = F.ctc_loss(log_probs, targets, steps, lengths, blank, "none", normalised=True)
    if zero_infinity:
        loss = where(loss >= math.inf, 0.0, loss)
    if reduction == "mean":
        loss = loss / cast(maximum(lengths, 1), loss._array.dtype)
    return reduce_loss(loss[0] if alone else loss, reduction)


def _rows(labels: Any, lengths: Any) -> Any:
    """Labels that lie one behind the other as a row for each length, of which the rest is anything.

    The lengths stay tensors: each row is as wide as all labels together, and goes on with its last
    label. Lengths beyond the labels point behind them, which whoever runs the graph refuses.
    """
    lengths = cast(lengths, "int64")
    starts = unsqueeze(cumsum(lengths, 0) - lengths, 1)
    steps = minimum(arange(labels.shape[0], dtype="int64"), unsqueeze(lengths, 1) - 1)
    return take(labels, maximum(starts + steps, 0))
