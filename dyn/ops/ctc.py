"""Connectionist temporal classification: the loss over all alignments, composed of ops.

The forward algorithm in log space, all samples and states of a step at once; the steps are
unrolled, so their number must be fixed where the loss is traced.
"""

from __future__ import annotations

from typing import Any

from dyn.core.op import OPS
from dyn.core.tensor import Tensor
from dyn.ops.cross_entropy import need_reduction
from dyn.ops.loss import reduce_loss
from dyn.ops.softmax import log_softmax

HIDDEN = -1e30
"""Log probability of what cannot be; finite, so that no gradient is NaN."""


def _shifted(a: Tensor, by: int) -> Tensor:
    """States moved on by `by` places, [N, S]; what comes in at the start is impossible."""
    lead = OPS["full"](shape=(a.shape[0], by), value=HIDDEN, dtype=a.dtype.name)
    return OPS["concat"](lead, a[:, :-by], axis=1)


def _add(*logs: Tensor) -> Tensor:
    """log(sum(exp)) of tensors of one shape."""
    wide = OPS["concat"](*(OPS["unsqueeze"](x, axes=(2,)) for x in logs), axis=2)
    return OPS["logsumexp"](wide, axes=(2,), keepdims=False)


def ctc_loss(
    log_probs: Tensor,
    labels: Tensor,
    input_lengths: Tensor,
    label_lengths: Tensor,
    blank: int = 0,
    reduction: str = "mean",
    norm_by_times: bool = False,
) -> Tensor:
    """Minus the log probability of the labels, summed over all alignments with the inputs.

    Args:
        log_probs: [T, N, C] logits; they are normalised here.
        labels: [N, L] integers, what follows a label's length is not read.
        input_lengths, label_lengths: [N] integers.
        blank: the class that stands for no label.
        reduction: "none", "sum", or "mean": each loss divided by its label length, then averaged.
        norm_by_times: divide each loss by its input length.

    Returns:
        0-d, or [N] without reduction.

    Source: Graves et al., ICML 2006.
    """
    need_reduction(reduction)
    steps, batch, _ = log_probs.shape
    logs = log_softmax(log_probs, 2)
    count = labels.shape[1]
    # Blanks before, between and after the labels: 2 L + 1 states.
    gap = OPS["full"](shape=(batch, count, 1), value=blank, dtype=labels.dtype.name)
    pairs = OPS["concat"](gap, OPS["unsqueeze"](labels, axes=(2,)), axis=2)
    states = OPS["concat"](OPS["reshape"](pairs, shape=(batch, 2 * count)), gap[:, :1, 0], axis=1)
    states = OPS["maximum"](states, OPS["zeros_like"](states))
    # A label may be entered from the label before it, unless they are equal.
    skip = states[:, 2:] != states[:, :-2]
    skip = OPS["logical_and"](skip, states[:, 2:] != blank)
    skip = OPS["concat"](OPS["zeros_like"](states[:, :2]).astype("bool"), skip, axis=1)
    hidden = OPS["full"](shape=(batch, 2 * count + 1), value=HIDDEN, dtype=logs.dtype.name)
    number = OPS["arange"](start=0, stop=2 * count + 1, step=1, dtype="int64")
    a: Any = None
    for t in range(steps):
        seen = OPS["take_along_axis"](logs[t], states, axis=1)
        if a is None:
            a = OPS["where"](number < 2, seen, hidden)
            continue
        jump = OPS["where"](skip, _shifted(a, 2), hidden)
        moved = _add(a, _shifted(a, 1), jump) + seen
        running = OPS["unsqueeze"](input_lengths > t, axes=(1,))
        a = OPS["where"](running, moved, a)
    last = OPS["unsqueeze"](label_lengths, axes=(1,)).astype("int64") * 2
    ends = OPS["logical_or"](number == last, number == last - 1)
    loss = -OPS["logsumexp"](OPS["where"](ends, a, hidden), axes=(1,), keepdims=False)
    if norm_by_times:
        loss = loss / input_lengths.astype(loss.dtype)
    if reduction == "mean":
        floor = OPS["maximum"](label_lengths, OPS["ones_like"](label_lengths))
        loss = loss / floor.astype(loss.dtype)
    return reduce_loss(loss, reduction)


__all__ = ["ctc_loss"]
