"""Connectionist temporal classification: the loss over all alignments, and its gradient."""

from __future__ import annotations

from dyn.core.autograd import grad
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import ctc as kernels
from dyn.ops.composite import differentiate_as
from dyn.ops.cross_entropy import need_reduction
from dyn.ops.infer import Type, need_float, need_int, need_rank, same_size, show
from dyn.ops.loss import reduce_loss
from dyn.ops.softmax import log_softmax

HIDDEN = -1e30
"""Log probability of what cannot be, in the formula made of ops: finite, so that no gradient of
it is NaN."""


def _infer(
    logits: Type,
    labels: Type,
    input_lengths: Type,
    label_lengths: Type,
    *,
    blank: int,
    normalised: bool,
) -> list[Type]:
    need_float("log_probs", logits)
    need_rank("log_probs", logits, 3)
    need_rank("labels", labels, 2)
    steps, batch, classes = logits.shape
    if not same_size(labels.shape[0], batch):
        raise ShapeError(
            f"labels of shape {show(labels.shape)} do not fit log_probs of shape "
            f"{show(logits.shape)}: they must be [{batch}, longest]"
        )
    lengths = {"input_lengths": input_lengths, "label_lengths": label_lengths}
    for name, x in {"labels": labels, **lengths}.items():
        need_int(name, x)
        if name in lengths and (len(x.shape) != 1 or not same_size(x.shape[0], batch)):
            raise ShapeError(f"{name} must be [{batch}], one for each sample, got {show(x.shape)}")
    if blank < 0 or (isinstance(classes, int) and blank >= classes):
        raise AttributeValueError(f"blank {blank} is not one of the classes 0..{classes - 1}")
    states = labels.shape[1] * 2 + 1
    return [
        Type((batch,), logits.dtype),
        Type((steps, batch, states), logits.dtype),
        Type((steps, batch), logits.dtype),
    ]


@op(infer=_infer, outputs=("loss", "alpha", "norm"))
def _ctc_loss(logits, labels, input_lengths, label_lengths, *, blank, normalised):
    """Minus the log probability of the labels of each sample, infinite if no alignment fits.

    Args:
        logits: [T, N, C].
        labels: [N, L] integers.
        input_lengths, label_lengths: [N] integers.
        blank: the class that stands for no label.
        normalised: whether logits are log probabilities and taken as they are. The gradient is
            that of logits all the same: its sum over the classes is zero.

    Returns:
        loss, [N]. Private: `alpha`, [T, N, 2 L + 1] log probabilities of having come to each
        state, and `norm`, [T, N], what the logits are normalised by.

    Raises:
        IndexRangeError: a length is larger than its axis, or a label is no class.

    ONNX: LogSoftmax, Scan.
    """
    return kernels.ctc_loss(
        logits, labels, input_lengths, label_lengths, blank=blank, normalised=normalised
    )


@_ctc_loss.vjp("logits")
def _(g, *, logits, labels, input_lengths, label_lengths, loss, alpha, norm, blank):
    return _ctc_loss_grad(
        g, logits, labels, input_lengths, label_lengths, loss, alpha, norm, blank=blank
    )


@op(infer=lambda g, logits, *others, blank: logits)
def _ctc_loss_grad(g, logits, labels, input_lengths, label_lengths, loss, alpha, norm, *, blank):
    """Gradient of `ctc_loss`: (probability - share of the alignments) * g; zero where g is.

    ONNX: Scan, ScatterElements.
    """
    return kernels.ctc_loss_grad(
        g, logits, labels, input_lengths, label_lengths, loss, alpha, norm, blank=blank
    )


# ---- the same made of ops ----------------------------------------------------------------------


def _shifted(a: Tensor, by: int) -> Tensor:
    """States moved on by `by` places, [N, S]; what comes in at the start is impossible."""
    lead = OPS["full"](shape=(a.shape[0], by), value=HIDDEN, dtype=a.dtype.name)
    return OPS["concat"](lead, a[:, :-by], axis=1)


def _add(*logs: Tensor) -> Tensor:
    """log(sum(exp)) of tensors of one shape."""
    wide = OPS["concat"](*(OPS["unsqueeze"](x, axes=(2,)) for x in logs), axis=2)
    return OPS["logsumexp"](wide, axes=(2,), keepdims=False)


def _of_ops(
    logits: Tensor, labels: Tensor, input_lengths: Tensor, label_lengths: Tensor, blank: int
) -> Tensor:
    """The loss of each sample, [N], step by step."""
    steps, batch, _ = logits.shape
    logs = log_softmax(logits, 2)
    count = labels.shape[1]
    # Blanks before, between and after the labels: 2 L + 1 states.
    gap = OPS["full"](shape=(batch, count + 1, 1), value=blank, dtype=labels.dtype.name)
    pairs = OPS["concat"](gap[:, :-1], OPS["unsqueeze"](labels, axes=(2,)), axis=2)
    states = OPS["concat"](OPS["reshape"](pairs, shape=(batch, 2 * count)), gap[:, :1, 0], axis=1)
    number = OPS["arange"](start=0, stop=2 * count + 1, step=1, dtype="int64")
    last = OPS["unsqueeze"](label_lengths, axes=(1,)).astype("int64") * 2
    # What follows a sample's labels may be anything.
    states = OPS["where"](number < last, states, OPS["zeros_like"](states))
    # A label may be entered from the label before it, unless they are equal.
    skip = states[:, 2:] != states[:, :-2]
    skip = OPS["concat"](OPS["zeros_like"](states[:, :2]).astype("bool"), skip, axis=1)
    hidden = OPS["full"](shape=(batch, 2 * count + 1), value=HIDDEN, dtype=logs.dtype.name)
    # Before the first step nothing is read: the same as to be in the first blank.
    a = OPS["where"](number < 1, OPS["zeros_like"](hidden), hidden)
    for t in range(steps):
        seen = OPS["take_along_axis"](logs[t], states, axis=1)
        jump = OPS["where"](skip, _shifted(a, 2), hidden)
        moved = _add(a, _shifted(a, 1), jump) + seen
        running = OPS["unsqueeze"](input_lengths > t, axes=(1,))
        a = OPS["where"](running, moved, a)
    ends = OPS["logical_or"](number == last, number == last - 1)
    return -OPS["logsumexp"](OPS["where"](ends, a, hidden), axes=(1,), keepdims=False)


def _grad_of_ops(g, logits, labels, input_lengths, label_lengths, loss, alpha, norm, *, blank):
    # Standing for itself: its gradient is wanted even if nothing else is differentiated by it.
    own = OPS["reshape"](logits, shape=tuple(logits.shape))
    own.stop_gradient = False
    made = _of_ops(own, labels, input_lengths, label_lengths, blank)
    return grad(made, own, g, create_graph=True)[0]


differentiate_as(_ctc_loss_grad, _grad_of_ops)


# ---- the public function -----------------------------------------------------------------------


def ctc_loss(
    log_probs: Tensor,
    labels: Tensor,
    input_lengths: Tensor,
    label_lengths: Tensor,
    blank: int = 0,
    reduction: str = "mean",
    norm_by_times: bool = False,
    normalised: bool = False,
) -> Tensor:
    """Minus the log probability of the labels, summed over all alignments with the inputs.

    Args:
        log_probs: [T, N, C] logits; they are normalised here.
        labels: [N, L] integers, what follows a label's length is not read.
        input_lengths, label_lengths: [N] integers.
        blank: the class that stands for no label.
        reduction: "none", "sum", or "mean": each loss divided by its label length, then averaged.
        norm_by_times: divide each loss by its input length.
        normalised: log_probs are log probabilities already. The gradient is still that of logits.

    Returns:
        0-d, or [N] without reduction; infinite where a sample has too few steps for its labels.

    Raises:
        IndexRangeError: a length is larger than its axis, or a label is no class.

    Source: Graves et al., ICML 2006. ONNX: LogSoftmax, Scan.
    """
    need_reduction(reduction)
    loss = _ctc_loss(
        log_probs, labels, input_lengths, label_lengths, blank=int(blank), normalised=normalised
    )
    if norm_by_times:
        loss = loss / input_lengths.astype(loss.dtype)
    if reduction == "mean":
        floor = OPS["maximum"](label_lengths, OPS["ones_like"](label_lengths))
        loss = loss / floor.astype(loss.dtype)
    return reduce_loss(loss, reduction)


__all__ = ["ctc_loss"]
