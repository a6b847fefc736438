"""Losses with margins over classes, as functions and as modules.

Other losses are in `loss_functions.py` and `loss.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.compat.torch.nn.loss import named_loss
from dyn.core.dispatch import cast_to
from dyn.ops import bounds, compare, gather, multi_margin, ranking, scan
from dyn.ops.activation import relu
from dyn.ops.creation import arange
from dyn.ops.index import where
from dyn.ops.loss import reduce_loss
from dyn.ops.reduce import any as any_of
from dyn.ops.reduce import sum as sum_of
from dyn.ops.shape import reshape, unsqueeze


def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    reduction: str = "mean",
) -> Any:
    """Sum over wrong classes of max(0, margin - input[target] + input[class]) ** p / C."""
    if input.ndim == 2:
        return multi_margin.multi_margin_loss(input, target, p, margin, weight, reduction)
    input, target = reshape(input, [1, -1]), reshape(target, [1])
    found = multi_margin.multi_margin_loss(input, target, p, margin, weight, reduction)
    return reshape(found, [])


def multilabel_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """Sum over right and wrong classes of max(0, 1 - right + wrong) / C; -1 ends the targets."""
    if input.ndim == 1:
        input, target = unsqueeze(input, 0), unsqueeze(target, 0)
        return reshape(_multilabel(input, target, reduction), [])
    return _multilabel(input, target, reduction)


def _multilabel(input: Any, target: Any, reduction: str) -> Any:
    count = input.shape[1]
    # A target counts if none before it is -1.
    counts = scan.cumprod(cast_to(target >= 0, np.dtype(np.int64)), 1) > 0
    classes = arange(0, count, 1, target._array.dtype.name)
    same = unsqueeze(target, 2) == classes
    right = any_of(compare.logical_and(same, unsqueeze(counts, 2)), 1)
    scores = gather.take_along_axis(input, bounds.clip(target, 0, None), 1, broadcast=False)
    over = relu(1.0 - unsqueeze(scores, 2) + unsqueeze(input, 1))
    pairs = compare.logical_and(unsqueeze(counts, 2), compare.logical_not(unsqueeze(right, 1)))
    return reduce_loss(sum_of(where(pairs, over, 0.0), [1, 2]) / count, reduction)


def multilabel_soft_margin_loss(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    """Binary cross-entropy of every class, averaged over the classes (last axis)."""
    return ranking.multi_label_soft_margin_loss(input, target, weight, reduction)


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Any = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """max(0, distance to the positive - distance to the negative + margin)."""
    return ranking.triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function, margin, swap, reduction
    )


NAMES = (
    "multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss",
    "triplet_margin_with_distance_loss",
)  # fmt: skip

MultiMarginLoss = named_loss("MultiMarginLoss", multi_margin_loss)
MultiLabelMarginLoss = named_loss("MultiLabelMarginLoss", multilabel_margin_loss)
MultiLabelSoftMarginLoss = named_loss("MultiLabelSoftMarginLoss", multilabel_soft_margin_loss)
TripletMarginWithDistanceLoss = named_loss(
    "TripletMarginWithDistanceLoss", triplet_margin_with_distance_loss, 3
)
