"""Losses with margins over classes, as functions and as modules.

Other losses are in `loss_functions.py` and `loss.py`.
"""

from __future__ import annotations

from typing import Any

from dyn.compat.torch.nn.loss import named_loss
from dyn.compat.torch.nn.loss_functions import beside
from dyn.ops import multi_margin, ranking
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
        return reshape(multi_margin.multilabel_margin_loss(input, target, reduction), [])
    return multi_margin.multilabel_margin_loss(input, target, reduction)


def multilabel_soft_margin_loss(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    """Binary cross-entropy of every class, averaged over the classes (last axis)."""
    return ranking.multi_label_soft_margin_loss(input, beside(input, target), weight, reduction)


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
